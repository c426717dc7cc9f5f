"""A chat-completions endpoint: finds out how its server wants to be asked, and judges what it refuses."""

import logging
import re
from dataclasses import replace
from typing import Any, Protocol

import httpx

from emerge_ehr.fields import UserError
from emerge_ehr.llm.cache import ChatAnswer
from emerge_ehr.llm.connection import LONGEST_NAME, Connection
from emerge_ehr.llm.errors import BrokenError, RefusedError, SaidNoError, StrainedError, TooLongError
from emerge_ehr.llm.manner import VERSIONS, Manner
from emerge_ehr.llm.refusals import Refusal

log = logging.getLogger(__name__)
MOST_NAMES = 12  # models that are listed where the one asked for is unknown
SHORTEST_ANSWER = 256  # tokens; where the context leaves fewer for the answer, the question is too long
SPARE = 16  # tokens of the context that are left free, as servers count a few more than they say
BROKEN = (408, 409, 425, 500, 502, 503, 504, 529)
NO_LEAVE = {
    401: "the key is not accepted; check llm.api_key_env",
    402: "the account has no balance left",
    403: "access is refused; check the key's rights",
    404: "no such model or path; check llm.model and llm.api_base_url",
    405: "no chat completions under this path; check llm.api_base_url",
}
SETTINGS = {
    "llm.max_output_tokens": re.compile(r"\bmax_(?:completion_|new_)?tokens\b"),
    "llm.temperature": re.compile(r"\btemperature\b.*\b(?:must|should|range|between|less|greater)\b", re.DOTALL),
}
FORM = re.compile(r"response_format|json_schema|json_object")


class Findings(Protocol):
    """Remembers how servers want to be asked."""

    def finding(self, place: str, model: str, server: str) -> Manner | None:
        """What was found out of the server under the URL ``place``; None if nothing was, or long ago."""

    def keep_finding(self, place: str, model: str, server: str, manner: Manner) -> None:
        """Remember what was found out."""


class Endpoint:
    """Sends requests to one URL. ``name``: host and port, for messages; ``timeout``: seconds of one attempt; ``free``: the form
    of answers may be asked for in whatever way the server knows; ``findings``: what earlier runs found out."""

    def __init__(
        self,
        url: httpx.URL,
        key: str,
        timeout: float,
        model: str = "",
        free: bool = False,
        findings: Findings | None = None,
    ) -> None:
        self.name, self.timeout = url.netloc.decode(), timeout
        self._configured = self._base = str(url).rstrip("/").removesuffix("/chat/completions")
        self._key, self._model, self._free, self._findings = key, model, free, findings
        self._connection = Connection(url, key, timeout)
        self.manner = Manner()
        self.recalled = False  # whether an earlier run found out how the server wants to be asked
        self.serves = ""  # the model, as its last answer named it
        self._server: str | None = None  # name and version, once asked for; empty where the server does not say
        self._proven = False  # it has answered in this manner
        self._said_short = False
        self._listed: list[str] = []  # the models that the server says it has
        self._said_other = False

    async def open(self) -> None:
        """Prepare for requests from the current event loop."""
        await self._connection.open()

    async def close(self) -> None:
        """Close the connections."""
        await self._connection.close()

    async def introduce(self) -> None:
        """Ask once who the server is, and recall what an earlier run found out."""
        if self._server is not None or self._findings is None:
            return
        self._server = await self._identity()
        found = self._findings.finding(self._configured, self._model, self._server)
        if found:  # a form that the config demands is not lowered
            self.manner, self.recalled = found if self._free else replace(found, form=Manner().form), True
            log.info("llm: %s: %s, as an earlier run found out", self._shown, found)

    async def complete(self, body: dict[str, Any]) -> ChatAnswer:
        """The answer to ``body``, written as the server takes it.

        Raises:
            RefusedError, BrokenError: this request failed.
            EndpointBusyError: the endpoint asks to send it again later.
            UserError: every request to this endpoint would fail.
        """
        while True:
            manner, base = self.manner, self._base
            try:
                answer, self.serves = await self._connection.post(
                    f"{base}/chat/completions", manner.written(body), manner.stream
                )
            except SaidNoError as error:
                refusal = error.refusal
            else:
                self._learn(manner)
                return answer
            if refusal.too_long:
                body = self._shorter(body, refusal)
            elif (manner, base) == (self.manner, self._base) and not await self._adapted(refusal, body):
                await self._judge(refusal, body)

    async def _adapted(self, refusal: Refusal, body: dict[str, Any]) -> bool:
        """Whether the request may be sent again, as it will be written otherwise, or sent to another path."""
        if refusal.no_path:
            return await self._moved()
        manner = self.manner.changed(refusal, self._free, self._proven)
        if manner is None:
            return False
        log.warning("llm: %s: %s; from now on: %s", self._shown, self._told(refusal, body), manner)
        self.manner, self._proven = manner, False
        return True

    def _learn(self, manner: Manner) -> None:
        """Note that the server answers in this manner, and warn once where it answers as another model."""
        if not self._said_other and (other := self._other_model()):
            self._said_other = True
            log.warning(
                "llm: %s: asked for llm.model = '%s', it answers by %s; cache, metadata.json and report call the model as "
                "llm.model does: set its true name there",
                self._shown,
                self._model,
                other,
            )
        if self._proven or manner != self.manner:
            return
        self._proven = True
        if self._findings and self._free:  # else the form was not found out
            self._findings.keep_finding(self._configured, self._model, self._server or "", manner)
        if self._free and not self.recalled:
            log.info("llm: %s: %s", self._shown, manner)

    def _other_model(self) -> str:
        """What the server calls the model that answers, where that is not what it was asked for; empty if it is.

        Some servers answer by the model they have, whatever name they are asked for, and repeat that name in the answer. So the
        list of their models counts too.
        """
        if not self._model:
            return ""
        if self.serves and not _is_name(self.serves, self._model):
            return f"'{self.serves}'"
        if any(_is_name(name, self._model) for name in self._listed):
            return ""
        return self._shown_names(self._listed)

    def _shorter(self, body: dict[str, Any], refusal: Refusal) -> dict[str, Any]:
        """The request with a lower bound on the answer.

        Raises:
            TooLongError: the context has no room for an answer.
        """
        room = (refusal.room or 0) - SPARE
        if not SHORTEST_ANSWER <= room < body.get("max_tokens", 0):
            raise TooLongError(f"{self._told(refusal, body)}; the question is too long for the model's context")
        if not self._said_short:
            self._said_short = True
            log.warning(
                "llm: %s: a question and llm.max_output_tokens = %d do not fit the model's context together; such questions get "
                "shorter answers",
                self._shown,
                body["max_tokens"],
            )
        return {**body, "max_tokens": room}

    async def _judge(self, refusal: Refusal, body: dict[str, Any]) -> None:
        """Raise what a refusal means, for this request or for all."""
        told, status = self._told(refusal, body), refusal.status
        if status in (401, 402, 403):
            raise UserError(f"HTTP {status}: {NO_LEAVE[status]}")
        if refusal.unknown_model and (status == 404 or not self._proven):
            raise UserError(f"HTTP {status}: no such model as '{self._model}'; check llm.model{await self._models()}")
        if status in NO_LEAVE or refusal.no_path:
            raise UserError(f"HTTP {status}: {NO_LEAVE.get(status, NO_LEAVE[404])}{await self._models()}")
        if not self._proven and (setting := self._setting(refusal, body)):
            raise UserError(f"{told}; every request would be refused so: {setting}")
        if status in (503, 529):
            raise StrainedError(told)
        if status in BROKEN:
            raise BrokenError(told)
        raise RefusedError(told)

    def _setting(self, refusal: Refusal, body: dict[str, Any]) -> str:
        """What to change in the config, where the refusal names a setting."""
        if FORM.search(refusal.says) and not self._free:
            return 'set llm.json_mode = "auto", which finds out what the server can do'
        named = [setting for setting, words in SETTINGS.items() if words.search(refusal.says)]
        if named:
            return f"change {named[0]}"
        more = body.keys() - {"messages", "model", "temperature", "max_tokens", "response_format"}
        extra = [field for field in sorted(more) if re.search(rf"\b{re.escape(field)}\b", refusal.says)]
        return f"take '{extra[0]}' out of llm.extra_body" if extra else ""

    def _told(self, refusal: Refusal, body: dict[str, Any]) -> str:
        return refusal.told("\n".join(message["content"] for message in body["messages"]), self._key)

    @property
    def _shown(self) -> str:
        return f"{self.name} ({self._server})" if self._server else self.name

    async def _moved(self) -> bool:
        """Whether chat completions are found under the URL with ``/v1``, or without it; they are asked for there from now on."""
        if self._base != self._configured or not _names(await self._connection.get(f"{self._other}/models")):
            return False
        self._base = self._other
        log.warning(
            "llm: %s: nothing under llm.api_base_url = %s; asking %s", self._shown, self._configured, self._other
        )
        return True

    @property
    def _other(self) -> str:
        """The configured URL with ``/v1``, or without it."""
        base = self._configured
        return base.removesuffix("/v1") if base.endswith("/v1") else f"{base}/v1"

    async def _models(self) -> str:
        """The models that the server says it has, in words; empty if it does not."""
        names = _names(await self._connection.get(f"{self._base}/models"))
        return f"; the server has {self._shown_names(names)}" if names else ""

    @staticmethod
    def _shown_names(names: list[str]) -> str:
        shown = ", ".join(f"'{name}'" for name in names[:MOST_NAMES])
        return f"{shown} and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else shown

    async def _identity(self) -> str:
        """The server's name and version, as far as it says."""
        models = await self._connection.get(f"{self._base}/models")
        models = models or await self._connection.get(f"{self._other}/models")
        self._listed = _names(models)
        owners = [model.get("owned_by") for model in _models(models)]
        if not owners or not isinstance(owners[0], str):
            return ""
        if owners[0] not in VERSIONS:
            return owners[0][:LONGEST_NAME]
        name, path, keys = VERSIONS[owners[0]]
        said = await self._connection.get(self._base.removesuffix("/v1") + path)
        for key in keys:
            said = said.get(key) if isinstance(said, dict) else None
        return f"{name} {said}"[:LONGEST_NAME] if isinstance(said, str) else name


def _models(listed: Any) -> list[dict[str, Any]]:
    models = listed.get("data") if isinstance(listed, dict) else None
    return [model for model in models if isinstance(model, dict)] if isinstance(models, list) else []


def _names(listed: Any) -> list[str]:
    return [str(model["id"])[:LONGEST_NAME] for model in _models(listed) if isinstance(model.get("id"), str)]


def _is_name(name: str, asked: str) -> bool:
    """Whether a server's name of a model is the one asked for, be it with a folder, a tag or a date.

    >>> [_is_name(name, "gpt-4o") for name in ("gpt-4o", "openai/GPT-4o", "gpt-4o-2024-08-06", "gpt-4o:latest", "gpt-4")]
    [True, True, True, True, False]
    """
    own, other = (text.casefold().rpartition("/")[2] for text in (name, asked))
    return own.startswith(other)
