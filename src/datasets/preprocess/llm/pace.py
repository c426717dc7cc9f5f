"""When the next request may start: the configured rates, and the pauses a busy endpoint asks for."""

import asyncio
import random
import time


class Pace:
    """Requests share one timetable: each takes the time that its share of a minute's requests and tokens is worth."""

    def __init__(self, requests_per_minute: int, tokens_per_minute: int) -> None:
        self._request = 60 / requests_per_minute if requests_per_minute else 0.0
        self._token = 60 / tokens_per_minute if tokens_per_minute else 0.0
        self._free = 0.0

    async def turn(self, tokens: int) -> None:
        """Waits until a request of about so many tokens may start."""
        start = max(time.monotonic(), self._free)
        self._free = start + max(self._request, tokens * self._token)
        while (wait := start - time.monotonic()) > 0:
            await asyncio.sleep(wait)

    async def pause(self, seconds: float) -> None:
        """Nobody starts for so long; who waited leaves a little later, each at another time."""
        self._free = max(self._free, time.monotonic() + seconds)
        await asyncio.sleep(seconds + random.random() * min(seconds, 1.0))
