"""When the next request to an endpoint may start: the configured rates, and the pauses it asks for when busy."""

import asyncio
import random
import time


class Pace:
    """Requests share one timetable: each takes the time that its share of a minute's requests and tokens is worth."""

    def __init__(self, requests_per_minute: int, tokens_per_minute: int) -> None:
        self._request = 60 / requests_per_minute if requests_per_minute else 0.0
        self._token = 60 / tokens_per_minute if tokens_per_minute else 0.0
        self._free = 0.0
        self._held = 0.0
        self._spread = 0.0

    async def turn(self, tokens: int) -> None:
        """Waits until a request of about so many tokens may start; after a pause each starts a little later, at another time."""
        start = max(time.monotonic(), self._free, self._held)
        self._free = start + max(self._request, tokens * self._token)
        late = random.random() * self._spread if self.pause else 0.0
        while (wait := max(start, self._held) + late - time.monotonic()) > 0:
            await asyncio.sleep(wait)

    def hold(self, seconds: float) -> None:
        """Nobody starts for so long."""
        end = time.monotonic() + seconds
        if end > self._held:
            self._held, self._spread = end, min(seconds, 1.0)

    @property
    def pause(self) -> float:
        """Seconds for which it is held."""
        return max(0.0, self._held - time.monotonic())
