"""Sends one request to a chat-completions endpoint, and returns its answer or raises what went wrong."""

import asyncio
import json
import re
from typing import Any

import httpx

from emerge_ehr.fetch.http_answers import is_untrusted, retry_after
from emerge_ehr.fields import UserError
from emerge_ehr.llm.cache import ChatAnswer
from emerge_ehr.privacy import is_loopback

CONNECT_SECONDS = 10.0
LARGEST_BODY = 4 << 20  # bytes; an answer within any bound on output tokens is much shorter
LONGEST_NAME = 200  # characters of a model's name
MOST_TOKENS = 1e9  # a larger number cannot be a count of tokens
BROKEN = (408, 409, 425, 500, 502, 503, 504)
CODE = re.compile(r"[A-Za-z0-9_.-]{1,60}")
NO_LEAVE = {
    401: "the key is not accepted; check llm.api_key_env",
    402: "the account has no balance left",
    403: "access is refused; check the key's rights",
    404: "no such model or path; check llm.model and llm.api_base_url",
}


class RefusedError(Exception):
    """The endpoint refuses this request, and would again."""


class BrokenError(Exception):
    """Something went wrong on the way; another attempt may succeed."""


class EndpointUnreachableError(BrokenError):
    """No connection could be made."""


class EndpointBusyError(Exception):
    """The endpoint asks to come later, after ``pause`` seconds if it says so."""

    def __init__(self, status: int, pause: float | None) -> None:
        super().__init__(f"HTTP {status}")
        self.pause = pause


class Endpoint:
    """Sends requests to one URL. ``name``: host and port, for messages; ``timeout``: seconds of one attempt; ``width``: the most
    requests at a time."""

    def __init__(self, url: httpx.URL, key: str, timeout: float, width: int) -> None:
        self.name = url.netloc.decode()
        self._path = str(url).rstrip("/") + "/chat/completions"
        self._timeout = timeout
        self._width = width
        self._key = key
        self.serves = ""  # the model, as its last answer named it
        # A proxy from the environment would take requests to this machine out of it, and could read unencrypted ones.
        self._proxies = url.scheme == "https" and not is_loopback(url.host)

    async def open(self) -> None:
        """Open clients for the current event loop, one for each request at a time: a client with many connections is slow, as it
        goes through all of them at every request."""
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        timeouts = httpx.Timeout(self._timeout, connect=min(self._timeout, CONNECT_SECONDS), pool=None)
        trusted = httpx.create_ssl_context(trust_env=self._proxies)
        self._clients = [
            httpx.AsyncClient(headers=headers, timeout=timeouts, verify=trusted, trust_env=self._proxies)
            for _ in range(self._width)
        ]
        self._idle = list(self._clients)

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients:
            await client.aclose()

    async def complete(self, body: dict[str, Any]) -> ChatAnswer:
        """The answer to ``body``, in one attempt; the caller makes at most ``width`` of these calls at a time.

        Raises:
            RefusedError, BrokenError: this request failed.
            EndpointBusyError: the endpoint asks to send it again later.
            UserError: every request to this endpoint would fail.
        """
        client = self._idle.pop()
        try:
            async with asyncio.timeout(self._timeout), client.stream("POST", self._path, json=body) as response:
                content = await _bounded(response)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            if is_untrusted(error):
                raise UserError("its certificate is not trusted; nothing was sent") from None
            raise EndpointUnreachableError("no connection") from None
        except (httpx.TimeoutException, TimeoutError):
            raise BrokenError(f"no answer in {self._timeout:g} s") from None
        except httpx.RequestError as error:
            raise BrokenError(f"connection lost ({type(error).__name__})") from None
        finally:
            self._idle.append(client)
        self._check_status(response, content)
        answer, self.serves = _read(content)
        return answer

    def _check_status(self, response: httpx.Response, content: bytes) -> None:
        status, later = response.status_code, response.headers.get("Retry-After", "")
        if status == 429 or (status == 503 and later):
            raise EndpointBusyError(status, retry_after(later))
        if status in BROKEN:
            raise BrokenError(f"HTTP {status}")
        if status in NO_LEAVE or response.is_redirect:
            advice = NO_LEAVE.get(status, "redirects are not followed; set llm.api_base_url to where it leads")
            raise UserError(f"HTTP {status}: {advice}")
        if status != 200:
            raise RefusedError(f"HTTP {status}{self._code(content)}")

    def _code(self, content: bytes) -> str:
        """The code of an error in parentheses, unless it repeats the key; never the message, which may quote the note."""
        try:
            error = json.loads(content)["error"]
            code = error.get("code") or error.get("type")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return ""
        harmless = isinstance(code, str) and CODE.fullmatch(code) and not (self._key and self._key in code)
        return f" ({code})" if harmless else ""


async def _bounded(response: httpx.Response) -> bytes:
    """The answer's body, decompressed.

    Raises:
        BrokenError: it is longer than ``LARGEST_BODY``.
    """
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > LARGEST_BODY:
            raise BrokenError(f"the answer is longer than {LARGEST_BODY} bytes")
    return bytes(content)


def _read(body: bytes) -> tuple[ChatAnswer, str]:
    """The answer, and the model that it names. Reasoning beside the content is dropped; tokens that are not counted are 0.

    Raises:
        BrokenError: the body is not that of a chat-completions endpoint.
    """
    try:
        whole = json.loads(body)
        choice, usage = whole["choices"][0], whole.get("usage") or {}
        content, finish = choice["message"].get("content") or "", choice.get("finish_reason") or ""
        tokens = [_count(usage.get(name)) for name in ("prompt_tokens", "completion_tokens")]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise BrokenError("the answer is not that of a chat-completions endpoint") from None
    return ChatAnswer(_text(content), _text(finish), *tokens), _text(whole.get("model") or "")[:LONGEST_NAME]


def _count(value: object) -> int:
    return int(value) if isinstance(value, int | float) and 0 <= value < MOST_TOKENS else 0


def _text(value: object) -> str:
    """The value as text that UTF-8 can hold: JSON may hold halves of surrogate pairs, which are replaced."""
    return str(value).encode(errors="replace").decode()
