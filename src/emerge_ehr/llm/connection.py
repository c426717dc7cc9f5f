"""Sends one request to a server over HTTP, and reads the answer of chat completions, whole or as a stream."""

import asyncio
import json
from typing import Any

import httpx

from emerge_ehr.fetch.http_answers import is_untrusted, retry_after
from emerge_ehr.fields import UserError
from emerge_ehr.llm import message, refusals
from emerge_ehr.llm.cache import ChatAnswer
from emerge_ehr.llm.errors import (
    BrokenError,
    EndpointBusyError,
    EndpointUnreachableError,
    SaidNoError,
    StrainedError,
)
from emerge_ehr.privacy import is_loopback

CONNECT_SECONDS = 10.0
QUICK_SECONDS = 5.0  # for what a server says of itself
LARGEST_BODY = 4 << 20  # bytes; an answer within any bound on output tokens is much shorter
LONGEST_NAME = 200  # characters of a model's name
MOST_TOKENS = 1e9  # a larger number cannot be a count of tokens
NO_MONEY = ("insufficient_quota", "billing_hard_limit_reached", "insufficient_balance")


class Connection:
    """Sends requests to one server. ``timeout``: seconds of one attempt; ``width``: the most requests at a time."""

    def __init__(self, url: httpx.URL, key: str, timeout: float) -> None:
        self.timeout = timeout
        self._key = key
        # A proxy from the environment would take requests to this machine out of it, and could read unencrypted ones.
        self._proxies = url.scheme == "https" and not is_loopback(url.host)

    async def open(self) -> None:
        """Prepare for requests from the current event loop."""
        self._trusted = httpx.create_ssl_context(trust_env=self._proxies)
        self._clients: list[httpx.AsyncClient] = []
        self._idle: list[httpx.AsyncClient] = []

    async def close(self) -> None:
        """Close the connections."""
        for client in self._clients:
            await client.aclose()

    def _client(self) -> httpx.AsyncClient:
        """A client that sends nothing else meanwhile: one with many connections is slow, as it goes through all of them at every
        request."""
        if self._idle:
            return self._idle.pop()
        client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=httpx.Timeout(self.timeout, connect=min(self.timeout, CONNECT_SECONDS), pool=None),
            verify=self._trusted,
            trust_env=self._proxies,
        )
        self._clients.append(client)
        return client

    async def post(self, url: str, body: dict[str, Any], stream: bool) -> tuple[ChatAnswer, str]:
        """The answer to ``body``, in one attempt, and the model that it names.

        Raises:
            SaidNoError: the server's answer is an error.
            BrokenError: there is none, or it cannot be read.
            EndpointBusyError: the server asks to send the request again later.
            UserError: its certificate is not trusted.
        """
        client = self._client()
        try:
            async with asyncio.timeout(self.timeout), client.stream("POST", url, json=body) as response:
                content = await _bounded(response)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            if is_untrusted(error):
                raise UserError("its certificate is not trusted; nothing was sent") from None
            raise EndpointUnreachableError("no connection") from None
        except (httpx.TimeoutException, TimeoutError):
            raise StrainedError(f"no answer in {self.timeout:g} s") from None
        except httpx.RequestError as error:
            raise BrokenError(f"connection lost ({type(error).__name__})") from None
        finally:
            self._idle.append(client)
        return _answer(response, streamed(content) if stream else content)

    async def get(self, url: str) -> Any:
        """The JSON that the server has under ``url``; None if it has none, or does not say so soon."""
        client = self._client()
        try:
            async with asyncio.timeout(min(self.timeout, QUICK_SECONDS)), client.stream("GET", url) as response:
                content = await _bounded(response)
            return json.loads(content) if response.status_code == 200 else None
        except (httpx.RequestError, TimeoutError, BrokenError, ValueError, RecursionError):
            return None
        finally:
            self._idle.append(client)


def _answer(response: httpx.Response, content: bytes) -> tuple[ChatAnswer, str]:
    status, later = response.status_code, response.headers.get("Retry-After", "")
    if status == 200:
        return _read(content)
    refusal = refusals.read(status, content)
    if status == 429 and refusal.code in NO_MONEY:
        raise UserError(f"HTTP 429 ({refusal.code}): the account has no balance left")
    if status == 429 or (status == 503 and (later or "loading" in refusal.message.lower())):
        raise EndpointBusyError(status, retry_after(later))
    if response.is_redirect:
        raise UserError(f"HTTP {status}: redirects are not followed; set llm.api_base_url to where it leads")
    raise SaidNoError(refusal)


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
    """The answer, and the model that it names. Thoughts beside the content are dropped; tokens that are not counted are 0.

    Raises:
        SaidNoError: it is an error.
        BrokenError: the body is not that of a chat-completions endpoint.
    """
    try:
        whole = json.loads(body)
        if isinstance(whole, dict) and whole.get("error") and not whole.get("choices"):
            raise SaidNoError(refusals.read(200, body))
        choice, usage = whole["choices"][0], whole.get("usage") or {}
        content, ended = message.read(choice)
        tokens = [_count(usage.get(name)) for name in ("prompt_tokens", "completion_tokens")]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise BrokenError("the answer is not that of a chat-completions endpoint") from None
    return ChatAnswer(_text(content), _text(ended), *tokens), _text(whole.get("model") or "")[:LONGEST_NAME]


def streamed(content: bytes) -> bytes:
    """A stream of events as the answer that the same server would give whole; what is no stream is left as it is.

    >>> streamed(b'data: {"choices": [{"delta": {"content": "A"}}]}\\n\\ndata: {"choices": [{"delta": {"content": "B"}}]}')
    b'{"choices": [{"message": {"content": "AB"}, "finish_reason": null}], "usage": null, "model": null}'
    """
    lines = [line[5:].strip() for line in content.splitlines() if line.startswith(b"data:")]
    text, beside, finish, usage, model = "", dict[str, Any](), None, None, None
    for line in lines:
        if line == b"[DONE]":
            break
        try:
            event = json.loads(line)
            if event.get("error"):
                return line
            usage, model = event.get("usage") or usage, event.get("model") or model
            for choice in event.get("choices") or []:
                delta = choice.get("delta", {})
                text += message.text(delta.get("content"))
                beside |= {name: delta[name] for name in message.BESIDE if delta.get(name)}
                finish = choice.get("finish_reason") or finish
        except (ValueError, AttributeError, TypeError, RecursionError):
            return b""  # broken off
    whole = {
        "choices": [{"message": {"content": text, **beside}, "finish_reason": finish}],
        "usage": usage,
        "model": model,
    }
    return json.dumps(whole).encode() if lines else content


def _count(value: object) -> int:
    return int(value) if isinstance(value, int | float) and 0 <= value < MOST_TOKENS else 0


def _text(value: object) -> str:
    """The value as text that UTF-8 can hold: JSON may hold halves of surrogate pairs, which are replaced."""
    return str(value).encode(errors="replace").decode()
