"""Delays requests to an endpoint, so as to keep to the configured rates and to the pauses that a busy endpoint asks for."""

import asyncio
import random
import time


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
