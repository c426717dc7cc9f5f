"""Delays requests to an endpoint, so as to keep to the configured rates, to the pauses that a busy endpoint asks for, and to what
it bears at once."""

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

FIRST_KNOWN = 4  # requests at once to begin with, at an endpoint that answered an earlier run
ROUND = 4  # answers, at the least, after which the number of requests under way is judged
WORTH = 1.15  # times as many answers per second as before, for a greater number to be kept
SLOWER = 2.0  # times the seconds per answer that the number began with, from which it is halved
AGAIN = 12  # rounds after which a greater number is tried again
QUICK = 1.0  # seconds; quicker answers are no sign of a queue, and their time is partly that of this machine
PATIENT = 4.0  # an answer takes less than this part of the time-out where the number is raised


class Pace:
    """A timetable for the requests to one endpoint: each takes up its share of a minute, by requests or by tokens."""

    def __init__(self, requests_per_minute: int, tokens_per_minute: int) -> None:
        self._request = 60 / requests_per_minute if requests_per_minute else 0.0
        self._token = 60 / tokens_per_minute if tokens_per_minute else 0.0
        self._free = 0.0
        self._held = 0.0
        self._spread = 0.0

    async def turn(self, tokens: int) -> None:
        """Wait until a request of about so many tokens may start; after a pause, requests start at slightly different times."""
        start = max(time.monotonic(), self._free, self._held)
        self._free = start + max(self._request, tokens * self._token)
        late = random.random() * self._spread if self.pause else 0.0
        while (wait := max(start, self._held) + late - time.monotonic()) > 0:
            await asyncio.sleep(wait)

    def hold(self, seconds: float) -> None:
        """Let no request start for so many seconds."""
        end = time.monotonic() + seconds
        if end > self._held:
            self._held, self._spread = end, min(seconds, 1.0)

    @property
    def pause(self) -> float:
        """The seconds for which no request may start."""
        return max(0.0, self._held - time.monotonic())


class Flight:
    """How many requests may be under way at an endpoint: as many as it is seen to bear, from one to ``most``.

    It begins with one request, so that the first answer is there before many are asked. Then the number is doubled as long as
    that gives more answers per second. It is halved where the endpoint refuses for being busy, where an answer does not come
    in time, and where answers take twice as long as they took with as many requests under way. What did not help is tried again
    later.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._under_way = 0
        self._level = (
            0  # how often the number was changed; answers to requests from before a change say nothing about it
        )
        self._ceiling = most  # the most that is tried for now
        self._rounds = 0  # with this number and no change
        self._times: list[float] = []
        self._usual: float | None = None  # seconds per answer when the number was new
        self._before: tuple[int, float] | None = None  # the number before it was raised, and its answers per second
        self.allowed = 1

    def open(self) -> None:
        """Prepare for requests from the current event loop."""
        self._under_way = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def known(self) -> None:
        """Begin with several requests, as it is known how the endpoint wants to be asked."""
        if self.allowed == 1 and self._level == 0:
            self._change(min(FIRST_KNOWN, self._most), self._most)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place among the requests under way, waited for."""
        while self._under_way >= self.allowed:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._wake(1)
                raise
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            self._wake(1)

    def _wake(self, count: int) -> None:
        while count > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                count -= 1

    @property
    def bears(self) -> int:
        """The most that may be under way, by what has been seen so far; ``allowed`` is on its way there."""
        return self._ceiling

    @property
    def level(self) -> int:
        """The current level, which a request remembers when it is sent."""
        return self._level

    def answered(self, seconds: float, level: int, patience: float) -> None:
        """Note an answer that took so many seconds, of at most ``patience`` that are waited for one."""
        if level != self._level:
            return
        self._times.append(seconds)
        if len(self._times) < (1 if self.allowed == 1 and self._usual is None else max(2 * self.allowed, ROUND)):
            return
        mean = max(sum(self._times) / len(self._times), 1e-6)
        self._times = []
        self._rounds += 1
        rate = self.allowed / mean
        if mean < QUICK:
            self._before = None
            self._raise(rate, mean, patience)
        elif self._before and rate < WORTH * self._before[1]:
            self._change(self._before[0], ceiling=self._before[0])  # more at once gave hardly more answers
        elif self._usual is not None and mean > SLOWER * self._usual and self.allowed > 1:
            self._change(self.allowed // 2, ceiling=self.allowed // 2)
        else:
            self._usual = self._usual if self._usual is not None else mean
            self._before = None
            self._raise(rate, mean, patience)

    def _raise(self, rate: float, mean: float, patience: float) -> None:
        if self._rounds >= AGAIN:
            self._ceiling, self._rounds = self._most, 0
        wanted = min(2 * self.allowed, self._ceiling)
        if wanted > self.allowed and mean < patience / PATIENT:
            before = (self.allowed, rate)
            self._change(wanted, ceiling=self._ceiling)
            self._before = before

    def overloaded(self, level: int) -> None:
        """Note that the endpoint was too busy for a request, or too slow."""
        if level == self._level and self.allowed > 1:
            self._change(self.allowed // 2, ceiling=max(1, self.allowed * 3 // 4))

    def _change(self, allowed: int, ceiling: int) -> None:
        more = allowed - self.allowed
        self.allowed, self._ceiling = max(1, allowed), max(1, ceiling)
        self._level += 1
        self._times, self._rounds, self._usual, self._before = [], 0, None, None
        self._wake(more)
