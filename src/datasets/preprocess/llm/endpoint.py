"""One request to a chat-completions endpoint, until it is answered or not worth another try."""

import asyncio
import json
import re
import time
from typing import Any

import httpx
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from src.datasets.http_answers import is_untrusted, retry_after
from src.datasets.preprocess.llm.cache import Answer
from src.datasets.preprocess.llm.pace import Pace
from src.fields import UserError

PATIENCE = 1800.0  # seconds one request waits for a busy endpoint in all
LONGEST_PAUSE = 60.0  # seconds between tries where the endpoint does not say how long to wait
CONNECT_SECONDS = 10.0
LARGEST_BODY = 4 << 20  # bytes of an answer: no bound on output tokens comes near it
MOST_TOKENS = 1e9  # no answer has more: what is beyond is not a count
BROKEN = (408, 409, 425, 500, 502, 503, 504)
CODE = re.compile(r"[A-Za-z0-9_.-]{1,60}")
NO_LEAVE = {
    401: "the key is not accepted; check llm.api_key_env",
    402: "the account has no balance left",
    403: "access is refused; check the key's rights",
    404: "no such model or path; check llm.model and llm.api_base_url",
}


class RefusedError(Exception):
    """This request will never be answered."""


class BrokenError(Exception):
    """Something went wrong on the way; another try may help."""


class UnreachableError(BrokenError):
    """No connection could be made."""


class BusyError(Exception):
    """The endpoint asks to come later, after ``pause`` seconds if it says so."""

    def __init__(self, status: int, pause: float | None) -> None:
        super().__init__(f"HTTP {status}")
        self.pause = pause


class Endpoint:
    """An open connection. ``timeout`` seconds bound one try, ``retries`` how often one that broke is repeated."""

    def __init__(
        self, url: httpx.URL, key: str, local: bool, timeout: float, retries: int, pace: Pace, width: int
    ) -> None:
        self.host = url.host
        self._path = str(url).rstrip("/") + "/chat/completions"
        self._timeout = timeout
        self._retries = retries
        self._pace = pace
        self._key = key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        limits = httpx.Limits(max_connections=width, max_keepalive_connections=width)
        timeouts = httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS), pool=None)
        # Proxies of the environment would carry requests to this machine out of it.
        self._client = httpx.AsyncClient(headers=headers, timeout=timeouts, limits=limits, trust_env=not local)

    async def close(self) -> None:
        """Give the connections back."""
        await self._client.aclose()

    async def complete(self, body: dict[str, Any], tokens: int) -> Answer:
        """The answer to ``body``, of about ``tokens`` tokens with the answer.

        Raises:
            RefusedError, BrokenError: this request failed.
            UserError: every request would.
        """
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(BrokenError),
            stop=stop_after_attempt(self._retries + 1),
            wait=wait_random_exponential(multiplier=0.5, max=LONGEST_PAUSE),
            reraise=True,
        )
        answer: Answer = await retrying(self._when_free, body, tokens)
        return answer

    async def _when_free(self, body: dict[str, Any], tokens: int) -> Answer:
        """Waits as often as the endpoint asks for it: that is no failure."""
        since, pause = time.monotonic(), 1.0
        while True:
            await self._pace.turn(tokens)
            try:
                return await self._once(body)
            except BusyError as busy:
                asked = pause if busy.pause is None else max(0.0, busy.pause)
                if time.monotonic() - since + asked > PATIENCE:
                    raise UserError(
                        f"{self.host}: {busy}, for {asked:.0f} s more; run again later: answers are kept"
                    ) from None
                await self._pace.pause(asked)
                pause = min(2 * pause, LONGEST_PAUSE)

    async def _once(self, body: dict[str, Any]) -> Answer:
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._client.stream("POST", self._path, json=body) as response,
            ):
                content = await _bounded(response)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            if is_untrusted(error):
                raise UserError(f"{self.host}: its certificate is not trusted; nothing was sent") from None
            raise UnreachableError("no connection") from None
        except (httpx.TimeoutException, TimeoutError):
            raise BrokenError(f"no answer in {self._timeout:g} s") from None
        except httpx.RequestError as error:
            raise BrokenError(f"connection lost ({type(error).__name__})") from None
        self._check_status(response, content)
        return _read(content)

    def _check_status(self, response: httpx.Response, content: bytes) -> None:
        status, later = response.status_code, response.headers.get("Retry-After", "")
        if status == 429 or (status == 503 and later):
            raise BusyError(status, retry_after(later))
        if status in BROKEN:
            raise BrokenError(f"HTTP {status}")
        if status in NO_LEAVE or response.is_redirect:
            advice = NO_LEAVE.get(status, "redirects are not followed; set llm.api_base_url to where it leads")
            raise UserError(f"{self.host}: HTTP {status}: {advice}")
        if status != 200:
            raise RefusedError(f"HTTP {status}{self._code(content)}")

    def _code(self, content: bytes) -> str:
        """The error's code, never its message, which may repeat the note; nor a code that repeats the key."""
        try:
            error = json.loads(content)["error"]
            code = error.get("code") or error.get("type")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return ""
        told = isinstance(code, str) and CODE.fullmatch(code) and not (self._key and self._key in code)
        return f" ({code})" if told else ""


async def _bounded(response: httpx.Response) -> bytes:
    """The body, unpacked.

    Raises:
        BrokenError: it does not end.
    """
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > LARGEST_BODY:
            raise BrokenError(f"the answer is longer than {LARGEST_BODY} bytes")
    return bytes(content)


def _read(body: bytes) -> Answer:
    """Reasoning beside the content is dropped; tokens that are not counted are 0."""
    try:
        whole = json.loads(body)
        choice, usage = whole["choices"][0], whole.get("usage") or {}
        content, finish = choice["message"].get("content") or "", choice.get("finish_reason") or ""
        tokens = [_count(usage.get(name)) for name in ("prompt_tokens", "completion_tokens")]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise BrokenError("the answer is not that of a chat-completions endpoint") from None
    return Answer(_text(content), _text(finish), *tokens)


def _count(value: object) -> int:
    return int(value) if isinstance(value, int | float) and 0 <= value < MOST_TOKENS else 0


def _text(value: object) -> str:
    """JSON may hold halves of characters, which no file can."""
    return str(value).encode(errors="replace").decode()
