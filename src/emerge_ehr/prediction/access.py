"""Who may ask the service: whoever brings the key that stands in an environment variable of its own."""

import hmac
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from emerge_ehr.fields import UserError
from emerge_ehr.privacy import is_loopback

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

VARIABLE = "EMERGE_API_KEY"
OPEN = ("/health", "/ready")  # for the machines that watch over the service
WANTED = "send the service's key in the header 'Authorization: Bearer <key>' or 'X-API-Key: <key>'"
SHORTEST = 16  # characters


def key(host: str) -> str | None:
    """The key; None where there is none, which this machine alone may do without.

    Raises:
        UserError: the service would listen beyond this machine without a key, or the key can be guessed.
    """
    found = os.environ.get(VARIABLE) or None
    if found is None and not is_loopback(host):
        raise UserError(
            f"--host {host}: whoever reaches this machine could ask for predictions; set the environment variable {VARIABLE} to "
            f"a key of {SHORTEST} characters or more, which every request must bring, or serve at 127.0.0.1"
        )
    if found is not None and (len(found) < SHORTEST or not found.isascii() or not found.isprintable() or " " in found):
        raise UserError(f"{VARIABLE}: take a key of {SHORTEST} ASCII characters or more, without blanks")
    return found


def allowed(path: str, headers: Mapping[str, str], wanted: str) -> bool:
    """Whether a request for this path may be answered.

    >>> allowed("/predict", {"authorization": "Bearer k"}, "k"), allowed("/predict", {"x-api-key": "no"}, "k")
    (True, False)
    >>> allowed("/health", {}, "k")
    True
    """
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    sent = bearer if scheme.lower() == "bearer" else headers.get("x-api-key", "")
    return path in OPEN or hmac.compare_digest(sent.encode(), wanted.encode())


class Door:
    """ASGI middleware that answers 401 to whoever does not bring the key."""

    def __init__(self, app: "ASGIApp", key: str) -> None:
        self.app = app
        self.key = key

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Let the request in, or refuse it."""
        from starlette.datastructures import Headers
        from starlette.responses import JSONResponse

        if scope["type"] == "http" and not allowed(scope["path"], Headers(scope=scope), self.key):
            refusal = JSONResponse({"detail": WANTED}, 401, {"WWW-Authenticate": "Bearer"})
            await refusal(scope, receive, send)
            return
        await self.app(scope, receive, send)
