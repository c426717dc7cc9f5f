"""One request to a chat-completions endpoint, until it is answered or not worth another try."""

import asyncio
import re
import time
from typing import Any

import httpx
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from src.datasets.http_answers import retry_after
from src.datasets.preprocess.llm.cache import Answer
from src.datasets.preprocess.llm.pace import Pace
from src.fields import UserError

PATIENCE = 1800.0  # seconds one request waits for a busy endpoint in all
LONGEST_PAUSE = 60.0  # seconds between tries where the endpoint does not say how long to wait
CONNECT_SECONDS = 10.0
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
            async with asyncio.timeout(self._timeout):
                response = await self._client.post(self._path, json=body)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise UnreachableError("no connection") from None
        except (httpx.TimeoutException, TimeoutError):
            raise BrokenError(f"no answer in {self._timeout:g} s") from None
        except httpx.RequestError as error:
            raise BrokenError(f"connection lost ({type(error).__name__})") from None
        self._check_status(response)
        return _read(response)

    def _check_status(self, response: httpx.Response) -> None:
        status, later = response.status_code, response.headers.get("Retry-After", "")
        if status == 429 or (status == 503 and later):
            raise BusyError(status, retry_after(later))
        if status in BROKEN:
            raise BrokenError(f"HTTP {status}")
        if status in NO_LEAVE or response.is_redirect:
            advice = NO_LEAVE.get(status, "redirects are not followed; set llm.api_base_url to where it leads")
            raise UserError(f"{self.host}: HTTP {status}: {advice}")
        if status != 200:
            raise RefusedError(f"HTTP {status}{_code(response)}")


def _code(response: httpx.Response) -> str:
    """The error's code, never its message, which may repeat the note."""
    try:
        error = response.json()["error"]
        code = error.get("code") or error.get("type")
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""
    return f" ({code})" if isinstance(code, str) and CODE.fullmatch(code) else ""


def _read(response: httpx.Response) -> Answer:
    """Reasoning beside the content is dropped; tokens that are not counted are 0."""
    try:
        whole = response.json()
        choice, usage = whole["choices"][0], whole.get("usage") or {}
        content, finish = choice["message"].get("content") or "", choice.get("finish_reason") or ""
        tokens = [int(usage.get(name) or 0) for name in ("prompt_tokens", "completion_tokens")]
        return Answer(str(content), str(finish), *tokens)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise BrokenError("the answer is not that of a chat-completions endpoint") from None
