"""How long a client may take: uvicorn's connections with a bound on the time until a request's headers are complete.

uvicorn closes a connection that is idle between two requests, but waits without end for the first.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 10.0
KEEP_ALIVE_SECONDS = 5


class Connection(H11Protocol):
    """A connection that is closed when it has sent no complete headers ``HEADER_SECONDS`` after it was made or last answered."""

    overdue: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:  # a request has begun
            self._arrived()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait()

    def _wait(self) -> None:
        self._arrived()
        self.overdue = self.loop.call_later(HEADER_SECONDS, self._close)

    def _arrived(self) -> None:
        if self.overdue is not None:
            self.overdue.cancel()
            self.overdue = None

    def _close(self) -> Any:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
