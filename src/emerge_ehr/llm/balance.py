"""Endpoints that serve the same model share the requests: who gets the next one, and who is set aside for a while."""

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from emerge_ehr.fields import UserError
from emerge_ehr.llm.cache import ChatAnswer
from emerge_ehr.llm.endpoint import BrokenError, Endpoint, EndpointBusyError, EndpointUnreachableError, RefusedError
from emerge_ehr.llm.pace import Pace

log = logging.getLogger(__name__)
IN_A_ROW = 20  # requests that failed one after the other: the endpoint is not well
PATIENCE = 1800.0  # seconds one request waits for busy endpoints in all
LONGEST_PAUSE = 60.0  # seconds between tries where the endpoint does not say how long to wait
FIRST_REST, LONGEST_REST = 5.0, 300.0  # seconds until an endpoint that was set aside is tried again; they double


class Member:
    """An endpoint and how it stands. ``in_hand``: requests that it has, or that wait for it. ``rests``: how often in a row it
    was set aside; 0: in service."""

    def __init__(self, endpoint: Endpoint, pace: Pace, width: int) -> None:
        self.endpoint, self.pace, self.name = endpoint, pace, endpoint.name
        self.answered = self.in_hand = self.rests = 0
        self.trouble = ""
        self._width = width
        self._failed_in_a_row = 0
        self._until = 0.0

    async def open(self) -> None:
        """Ready for requests of this event loop."""
        self.slots = asyncio.Semaphore(self._width)
        await self.endpoint.open()

    @property
    def resting(self) -> bool:
        """Set aside, and not to be tried yet."""
        return self.rests > 0 and time.monotonic() < self._until

    @property
    def fit(self) -> bool:
        """May have another request; after a rest one at a time, until that is answered."""
        return not self.rests or (self.in_hand == 0 and not self.resting)

    def succeeded(self, needed: bool) -> None:
        """It answers. What it had begun before it was set aside does not bring it back, unless it is ``needed``."""
        self.answered += 1
        self._failed_in_a_row = 0
        if self.resting and not needed:
            return
        if self.rests:
            log.info("llm: %s answers again", self.name)
        self.rests, self.trouble = 0, ""

    def failed(self, error: Exception) -> bool:
        """Whether it is out of service by this, or still."""
        self.trouble = str(error)
        self._failed_in_a_row += 1
        if isinstance(error, UserError | EndpointUnreachableError) or self._failed_in_a_row >= IN_A_ROW:
            self._rest()
        return self.rests > 0

    def _rest(self) -> None:
        """What fails at the same time counts once."""
        if not self.resting:
            self._until = time.monotonic() + min(FIRST_REST * 2 ** min(self.rests, 10), LONGEST_REST)
            self.rests += 1


class Balance:
    """The endpoint with the fewest requests in hand gets the next. A request that failed goes to an endpoint that it did not
    fail at; has it failed at all, it waits before the next try, ``retries`` times.

    One that is down or refuses everything is set aside, and tried again with a single request after a rest. When all are, they
    are tried as if none were, until the request is given up.
    """

    def __init__(self, members: Sequence[Member], retries: int) -> None:
        self.members = members
        self._retries = retries
        self._compared = False

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Connections, given back at the end."""
        for member in self.members:
            await member.open()
        try:
            yield
        finally:
            for member in self.members:
                await member.endpoint.close()

    @property
    def in_service(self) -> bool:
        """Whether any endpoint is."""
        return any(not member.rests for member in self.members)

    def trouble(self) -> str:
        """What is wrong with each endpoint, as far as something is."""
        return "; ".join(f"{member.name}: {member.trouble}" for member in self.members if member.trouble)

    def answered(self) -> str:
        """For the log: which endpoint gave how many answers."""
        return ", ".join(f"{member.name} {member.answered}" for member in self.members)

    async def complete(self, body: dict[str, Any], tokens: int) -> ChatAnswer:
        """The answer to ``body``, of about ``tokens`` tokens with the answer, by whichever endpoint.

        Raises:
            RefusedError, BrokenError: this request failed.
            UserError: every request would, at every endpoint.
        """
        since, pause, waits = time.monotonic(), 1.0, 0
        failures: Counter[Member] = Counter()
        while True:
            member = self._next(failures)
            try:
                answer = await self._at(member, body, tokens)
                if answer is not None:
                    return answer
            except EndpointBusyError as busy:
                asked = pause if busy.pause is None else max(0.0, busy.pause)
                if time.monotonic() - since + asked <= PATIENCE:
                    member.pace.hold(asked)
                    pause = min(2 * pause, LONGEST_PAUSE)
                    continue
                late = UserError(f"{busy}, for {asked:.0f} s more; run again later: answers are kept")
                self._judge(member, late, failures)
            except (RefusedError, BrokenError, UserError) as error:
                self._judge(member, error, failures)
            if failures[self._next(failures)] > waits:
                await asyncio.sleep(random.uniform(0, min(0.5 * 2 ** min(waits, 10), LONGEST_PAUSE)))
                waits += 1

    def _next(self, failures: Counter[Member]) -> Member:
        """Not one that is paused; where this request failed least; of those the one with the fewest in hand, then the first."""
        fit = [member for member in self.members if member.fit] or self.members
        return min(fit, key=lambda member: (member.pace.pause, failures[member], member.in_hand))

    async def _at(self, member: Member, body: dict[str, Any], tokens: int) -> ChatAnswer | None:
        """None: set aside while the request waited for it."""
        member.in_hand += 1
        try:
            async with member.slots:
                if member.resting and self.in_service:
                    return None
                await member.pace.turn(tokens)
                answer = await member.endpoint.complete(body)
                member.succeeded(needed=not self.in_service)
                self._compare()
                return answer
        finally:
            member.in_hand -= 1

    def _compare(self) -> None:
        """Warn once of endpoints that answer as different models."""
        named = {one.endpoint.serves: one.name for one in self.members if one.endpoint.serves}
        if len(named) > 1 and not self._compared:
            self._compared = True
            told = ", ".join(f"{name} as {model!r}" for model, name in named.items())
            log.warning(
                "llm: endpoints answer as different models (%s): which answers a question is a matter of time", told
            )

    def _judge(self, member: Member, error: Exception, failures: Counter[Member]) -> None:
        """Notes the failure; passes where another try may help.

        Raises:
            RefusedError, BrokenError, UserError: it will not.
        """
        failures[member] += 1
        known = member.rests
        if member.failed(error) and not known:
            self._tell(member)
        everywhere = all(failures[one] for one in self.members if one.fit or not self.in_service)
        if isinstance(error, UserError) and everywhere and not self.in_service:
            raise UserError(self.trouble()) from None
        if isinstance(error, RefusedError) and everywhere:
            raise error
        if failures.total() >= self._retries + len(self.members):
            raise BrokenError(str(error)) if isinstance(error, UserError) else error

    def _tell(self, member: Member) -> None:
        """Of several; what is wrong with a single one ends the run, or is over soon."""
        if len(self.members) > 1:
            others = "its requests go to the others" if self.in_service else "no endpoint is left; all are tried again"
            log.warning("llm: %s: %s; set aside for a while: %s", member.name, member.trouble, others)
