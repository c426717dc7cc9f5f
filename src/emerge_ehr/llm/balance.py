"""Shares the requests among endpoints that serve the same model, and sets aside endpoints that fail."""

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
from emerge_ehr.llm.endpoint import Endpoint
from emerge_ehr.llm.errors import (
    BrokenError,
    EndpointBusyError,
    EndpointUnreachableError,
    RefusedError,
    StrainedError,
    TooLongError,
)
from emerge_ehr.llm.pace import Flight, Pace

log = logging.getLogger(__name__)
IN_A_ROW = 20  # failed requests in a row after which an endpoint is set aside
PATIENCE = 1800.0  # seconds that one request waits for busy endpoints in all
LONGEST_PAUSE = 60.0  # seconds between attempts where the endpoint does not say how long to wait
FIRST_REST, LONGEST_REST = 5.0, 300.0  # seconds until an endpoint that was set aside is tried again, doubled each time


class Member:
    """An endpoint and its state; it works on at most ``width`` requests at a time.

    ``in_hand``: the number of requests that it works on or that wait for it; ``given``: of all that it was given so far;
    ``rests``: how often in a row it was set aside, 0 if it is in service; ``trouble``: its last failure.
    """

    def __init__(self, endpoint: Endpoint, pace: Pace, width: int) -> None:
        self.endpoint, self.pace, self.name = endpoint, pace, endpoint.name
        self.answered = self.given = self.in_hand = self.rests = 0
        self.trouble = ""
        self.flight = Flight(width)
        self._failed_in_a_row = 0
        self._until = 0.0

    async def open(self) -> None:
        """Prepare for requests from the current event loop."""
        self.flight.open()
        await self.endpoint.open()

    async def introduce(self) -> None:
        """Learn who the server is, and begin with several requests where an earlier run found out how it wants to be asked."""
        await self.endpoint.introduce()
        if self.endpoint.recalled:
            self.flight.known()

    @property
    def load(self) -> float:
        """The requests in hand for each that it bears."""
        return self.in_hand / self.flight.bears

    @property
    def resting(self) -> bool:
        """Whether it is set aside and must not be tried yet."""
        return self.rests > 0 and time.monotonic() < self._until

    @property
    def fit(self) -> bool:
        """Whether it may get another request; after a rest only one at a time, until one is answered."""
        return not self.rests or (self.in_hand == 0 and not self.resting)

    def succeeded(self, needed: bool) -> None:
        """Note an answer, which brings the endpoint back into service.

        While it is still to be left alone, the answer to an earlier request does so only if the endpoint is ``needed``.
        """
        self.answered += 1
        self._failed_in_a_row = 0
        if self.resting and not needed:
            return
        if self.rests:
            log.info("llm: %s answers again", self.name)
        self.rests, self.trouble = 0, ""

    def failed(self, error: Exception) -> bool:
        """Note a failure; whether the endpoint is now out of service."""
        self.trouble = str(error)
        self._failed_in_a_row += 1
        if isinstance(error, UserError | EndpointUnreachableError) or self._failed_in_a_row >= IN_A_ROW:
            self._rest()
        return self.rests > 0

    def _rest(self) -> None:
        """Set the endpoint aside; failures during a rest do not count again."""
        if not self.resting:
            self._until = time.monotonic() + min(FIRST_REST * 2 ** min(self.rests, 10), LONGEST_REST)
            self.rests += 1


class Balance:
    """Shares requests among ``members``: the endpoint with the fewest requests in hand, for each it bears, gets the next.

    A request that failed goes to an endpoint where it has not failed yet. Once it has failed at every endpoint, it waits before
    each of up to ``retries`` further attempts. An endpoint that is down or refuses everything is set aside, and after a rest it
    is tried with a single request. When all endpoints are set aside, they are tried nevertheless, until the request is given up.
    """

    def __init__(self, members: Sequence[Member], retries: int) -> None:
        self.members = members
        self._retries = retries
        self.ends = False  # requests that are still waiting shall not be sent
        self._compared = False

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Open the endpoints' connections for the block, and close them at its end."""
        self.ends = False
        for member in self.members:
            await member.open()
        try:
            await asyncio.gather(*(member.introduce() for member in self.members))
            yield
        finally:
            for member in self.members:
                await member.endpoint.close()

    @property
    def in_service(self) -> bool:
        """Whether any endpoint is in service."""
        return any(not member.rests for member in self.members)

    def trouble(self) -> str:
        """The last failure of each endpoint that has one, in words."""
        return "; ".join(f"{member.name}: {member.trouble}" for member in self.members if member.trouble)

    def answered(self) -> str:
        """The number of answers from each endpoint, in words for the log."""
        return ", ".join(f"{member.name} {member.answered}" for member in self.members)

    async def complete(self, body: dict[str, Any], tokens: int) -> ChatAnswer:
        """The answer to ``body`` from any endpoint; request and answer have about ``tokens`` tokens.

        Raises:
            RefusedError, BrokenError: this request failed.
            UserError: every request would fail, at every endpoint.
        """
        since, pause, waits = time.monotonic(), 1.0, 0
        failures: Counter[Member] = Counter()
        while True:
            if self.ends:
                raise BrokenError("not sent, as the run ends")
            member = self._next(failures)
            try:
                answer = await self._at(member, body, tokens)
                if answer is not None:
                    return answer
            except EndpointBusyError as busy:
                wait = pause if busy.pause is None else max(0.0, busy.pause)
                if time.monotonic() - since + wait <= PATIENCE:
                    member.pace.hold(wait)
                    pause = min(2 * pause, LONGEST_PAUSE)
                    continue
                late = UserError(f"{busy}, for {wait:.0f} s more; run again later: answers are kept")
                self._judge(member, late, failures)
            except (RefusedError, BrokenError, UserError) as error:
                self._judge(member, error, failures)
            if failures[self._next(failures)] > waits:
                await asyncio.sleep(random.uniform(0, min(0.5 * 2 ** min(waits, 10), LONGEST_PAUSE)))
                waits += 1

    def _next(self, failures: Counter[Member]) -> Member:
        """The endpoint with the shortest pause; of equals the one where this request failed least often, then the one with the
        fewest requests in hand for each that it bears, then the one that was given the fewest so far, then the first."""
        fit = [member for member in self.members if member.fit] or self.members
        return min(fit, key=lambda member: (member.pace.pause, failures[member], member.load, member.given))

    async def _at(self, member: Member, body: dict[str, Any], tokens: int) -> ChatAnswer | None:
        """The answer from one endpoint; None if it was set aside while the request waited for it."""
        member.in_hand += 1
        member.given += 1  # which endpoint of several equal ones gets the next does not rest on which answered first
        try:
            async with member.flight.place():
                await member.pace.turn(tokens)
                if self.ends or (member.resting and self.in_service):
                    return None
                answer = await self._timed(member, body)
                member.succeeded(needed=not self.in_service)
                self._compare()
                return answer
        finally:
            member.in_hand -= 1

    async def _timed(self, member: Member, body: dict[str, Any]) -> ChatAnswer:
        """The answer from one endpoint, of which is noted how many requests at once it bears."""
        flight, start = member.flight, time.monotonic()
        level = flight.level
        try:
            answer = await member.endpoint.complete(body)
        except TooLongError:
            flight.known()
            raise
        except (EndpointBusyError, StrainedError):
            flight.overloaded(level)
            raise
        flight.answered(time.monotonic() - start, level, member.endpoint.timeout)
        return answer

    def _compare(self) -> None:
        """Warn once of endpoints that answer as different models."""
        served = {member.endpoint.serves: member.name for member in self.members if member.endpoint.serves}
        if len(served) > 1 and not self._compared:
            self._compared = True
            models = ", ".join(f"{name} as {model!r}" for model, name in served.items())
            log.warning(
                "llm: endpoints answer as different models (%s): which answers a question is a matter of time", models
            )

    def _judge(self, member: Member, error: Exception, failures: Counter[Member]) -> None:
        """Note a failure, and return if another attempt may succeed.

        Raises:
            RefusedError, BrokenError, UserError: none will.
        """
        failures[member] += 1
        rests_before = member.rests
        if member.failed(error) and not rests_before:
            self._warn_of(member)
        everywhere = all(failures[other] for other in self.members if other.fit or not self.in_service)
        if isinstance(error, UserError) and everywhere and not self.in_service:
            raise UserError(self.trouble()) from None
        if isinstance(error, RefusedError) and everywhere:
            raise error
        if failures.total() >= self._retries + len(self.members):
            raise BrokenError(str(error)) if isinstance(error, UserError) else error

    def _warn_of(self, member: Member) -> None:
        """Log that an endpoint was set aside, if there are others; trouble with the only one ends the run, or is over soon."""
        if len(self.members) > 1:
            others = "its requests go to the others" if self.in_service else "no endpoint is left; all are tried again"
            log.warning("llm: %s: %s; set aside for a while: %s", member.name, member.trouble, others)
