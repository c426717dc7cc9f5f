"""Asks a language model many questions at once; what was answered before, in this or another run, is not asked again."""

import asyncio
import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import httpx
from tqdm import tqdm

from src.config import Config, Llm
from src.datasets.preprocess.llm import privacy
from src.datasets.preprocess.llm.account import Account, Estimate, total
from src.datasets.preprocess.llm.answers import json_object
from src.datasets.preprocess.llm.cache import Cache
from src.datasets.preprocess.llm.endpoint import BrokenError, Endpoint, RefusedError, UnreachableError
from src.datasets.preprocess.llm.pace import Pace
from src.fields import UserError

log = logging.getLogger(__name__)
CACHE = "llm.sqlite"
ATTEMPTS = 3  # answers to one question that a run may find unusable
IN_A_ROW = 20  # requests that failed one after the other: the endpoint is not well
NUDGE = "\n\nAnswer {attempt} could not be used: {reason}. Answer again, with the JSON object only."
ANSWER_TOKENS = 200.0  # guessed length of an answer as long as none is known
BLOCK = 2000  # questions in memory at a time
T = TypeVar("T")
Item = TypeVar("Item")


@dataclass(frozen=True)
class Question(Generic[T]):
    """``prompt`` names the prompt file; ``schema`` is the answer's JSON schema. ``read`` takes the answer's object and raises
    ``ValueError``, saying what is wrong, if it cannot be used. The text of one patient only."""

    prompt: str
    system: str
    user: str
    schema: Mapping[str, Any]
    read: Callable[[dict[str, Any]], T]


@dataclass(frozen=True)
class Reply(Generic[T]):
    """A value, or why there is none."""

    value: T | None
    failure: str | None = None


@dataclass
class Chat:
    """A model behind an endpoint. ``dry``: nothing is sent; what would be is added to ``estimates``, by prompt."""

    settings: Llm
    url: httpx.URL
    key: str = field(repr=False)
    cache: Cache
    record: Mapping[str, Any]
    offline: bool = False
    dry: bool = False
    estimates: dict[str, Estimate] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.account = Account(self.settings)
        self._failed_in_a_row = 0
        self._given_up = ""

    @property
    def falls_back(self) -> bool:
        """Whether rules and template stand in for answers that did not come; a dry run needs some to go on with."""
        return self.settings.fallback_to_rules or self.dry

    def metadata(self) -> dict[str, Any]:
        """For ``metadata.json``: the same in every run over the same answers."""
        return {**self.record, "usage": self.account.record()}

    def estimate(self) -> list[str]:
        """Lines for the user: what was not sent in a dry run."""
        lines = [estimate.line(self.settings) for estimate in self.estimates.values()]
        return [
            *lines,
            f"in all about {total(self.estimates, self.settings):.4f} by llm.price_input and llm.price_output; nothing was sent",
        ]

    def ask(self, make: Callable[[Item], Question[T]], items: Sequence[Item], what: str) -> list[Reply[T]]:
        """A reply to the question about each item, in order. The same question twice is asked once.

        Raises:
            UserError: no request can be answered (key, model, dead endpoint, bound on the cost): what was answered is kept.
        """
        replies: list[Reply[T]] = []
        for start in range(0, len(items), BLOCK):
            questions = [make(item) for item in items[start : start + BLOCK]]
            replies += self._block(questions, f"{what} {start}/{len(items)}")
        failures = [reply.failure for reply in replies if reply.failure]
        log.info("llm: %s: %d replies, %d failures; %s", what, len(replies), len(failures), self.account)
        if failures and not self.dry:
            log.warning("llm: %s: %s; failures are asked for again by the next run", what, failures[0])
        return replies

    def _block(self, questions: Sequence[Question[T]], what: str) -> list[Reply[T]]:
        """Texts of some thousands are in memory at a time."""
        keys = [self._key(question) for question in questions]
        distinct = dict(zip(keys, questions, strict=True))
        replies = {key: reply for key, question in distinct.items() if (reply := self._stored(key, question))}
        pending = {key: question for key, question in distinct.items() if key not in replies}
        if self.dry:
            self._estimate(questions[0].prompt, len(replies), pending)
            replies |= dict.fromkeys(pending, Reply[T](None, "not asked: dry run"))
        elif pending:
            self._require_online(len(pending))
            with self.cache.alone():
                replies |= asyncio.run(self._ask(pending, what))
        return [replies[key] for key in keys]

    def _require_online(self, pending: int) -> None:
        if self.offline and not privacy.is_loopback(self.url.host):
            raise UserError(f"--offline: {pending} answers of {self.settings.model} are not in {self.cache.place}")

    def _estimate(self, prompt: str, stored: int, pending: Mapping[str, Question[T]]) -> None:
        if prompt not in self.estimates:
            answer_tokens = min(ANSWER_TOKENS, self.settings.max_output_tokens)
            known = self.cache.experience(prompt, self.settings.model)
            self.estimates[prompt] = Estimate(prompt, known, answer_tokens)
        characters = sum(len(question.system) + len(question.user) for question in pending.values())
        self.estimates[prompt].add(stored, len(pending), characters)

    def _stored(self, key: str, question: Question[T]) -> Reply[T] | None:
        """The first stored answer that can be used."""
        for answer in self.cache.answers(key):
            try:
                reply = Reply(question.read(json_object(answer)))
            except ValueError:
                continue
            self.account.use(key, question.prompt, answer)
            return reply
        return None

    async def _ask(self, pending: Mapping[str, Question[T]], what: str) -> dict[str, Reply[T]]:
        pace = Pace(self.settings.requests_per_minute, self.settings.tokens_per_minute)
        local = privacy.is_loopback(self.url.host)
        width = self.settings.concurrency
        endpoint = Endpoint(
            self.url, self.key, local, self.settings.timeout_seconds, self.settings.retries, pace, width
        )
        replies: dict[str, Reply[T]] = {}
        bar = tqdm(total=len(pending), desc=what, unit="request", disable=None, leave=False)
        queue = iter(pending.items())
        stopped: list[UserError] = []

        async def work() -> None:
            for key, question in queue:
                try:
                    replies[key] = await self._reply(endpoint, key, question)
                except UserError as error:
                    stopped.append(error)
                bar.update()
                if stopped:  # what the others have under way is paid for: they finish it
                    return

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(width, len(pending))):
                    group.create_task(work())
        finally:
            bar.close()
            await endpoint.close()
        if stopped:
            log.info("llm: %s", self.account)
            raise stopped[0]
        return replies

    async def _reply(self, endpoint: Endpoint, key: str, question: Question[T]) -> Reply[T]:
        """Another process may have been faster: the cache is asked once more."""
        if reply := self._stored(key, question):
            return reply
        if self._given_up:
            return Reply(None, self._given_up)
        try:
            return await self._attempts(endpoint, key, question)
        except (RefusedError, BrokenError) as error:
            self._failed_in_a_row += 1
            if isinstance(error, UnreachableError) or self._failed_in_a_row >= IN_A_ROW:
                self._give_up(error)
            return Reply(None, str(error))

    async def _attempts(self, endpoint: Endpoint, key: str, question: Question[T]) -> Reply[T]:
        """Unusable answers count until the round is full, over interrupted runs too; a run after that begins a new round."""
        before = len(self.cache.answers(key))
        reason = "it does not fit the form asked for"
        for attempt in range(before, (before // ATTEMPTS + 1) * ATTEMPTS):
            nudge = NUDGE.format(attempt=attempt, reason=reason) if attempt else ""
            body = self._body(question, nudge)
            characters = len(question.system) + len(question.user) + len(nudge)
            answer = await endpoint.complete(body, characters // 4 + self.settings.max_output_tokens)
            self._failed_in_a_row = 0
            self.cache.store(key, attempt, question.prompt, self.settings.model, characters, answer)
            self.account.receive(answer)
            try:
                reply = Reply(question.read(json_object(answer)))
            except ValueError as error:
                reason = str(error)
                continue
            return self._stored(key, question) or reply
        return Reply(None, f"no usable answer in {ATTEMPTS} attempts; the last: {reason}")

    def _give_up(self, error: Exception) -> None:
        """The endpoint is down: with a fallback the rest falls back, without one the run ends here.

        Raises:
            UserError: without a fallback.
        """
        reason = f"{self.url.host}: {error}"
        if isinstance(error, RefusedError) and not self.settings.fallback_to_rules:
            raise UserError(
                f"{reason}, {IN_A_ROW} requests in a row; the endpoint may not know llm.json_mode = "
                f"'{self.settings.json_mode}', a field of llm.extra_body, or so large an llm.max_output_tokens"
            )
        if not self.settings.fallback_to_rules:
            raise UserError(
                f"{reason}, after {self.settings.retries} retries; the answers so far are kept: run again to go on"
            )
        self._given_up = reason

    def _body(self, question: Question[T], nudge: str) -> dict[str, Any]:
        messages = [
            {"role": "system", "content": question.system},
            {"role": "user", "content": question.user + nudge},
        ]
        return {"messages": messages, **self._parameters(question)}

    def _parameters(self, question: Question[T]) -> dict[str, Any]:
        """All of a request that may change its answer, but the messages."""
        settings = self.settings
        form: dict[str, Any] = {}
        if settings.json_mode == "object":
            form = {"response_format": {"type": "json_object"}}
        elif settings.json_mode == "schema":
            schema = {"name": question.prompt.split(".")[0], "schema": question.schema, "strict": True}
            form = {"response_format": {"type": "json_schema", "json_schema": schema}}
        sampling = {"temperature": settings.temperature, "max_tokens": settings.max_output_tokens}
        return {"model": settings.model, **sampling, **form, **settings.extra_body}

    def _key(self, question: Question[T]) -> str:
        """The same at every endpoint that serves the model."""
        content = {"prompt": question.prompt, "body": self._body(question, "")}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def connect(config: Config, dry: bool = False) -> Chat | None:
    """The config's model, or None if it uses none. Sends nothing yet.

    Raises:
        UserError: records may not go there, the key is missing, or the cache cannot be used.
    """
    if not privacy.uses_model(config):
        return None
    privacy.check(config)
    url, settings = privacy.endpoint(config), config.llm
    record: dict[str, Any] = {
        "endpoint": url.host,
        "model": settings.model,
        "temperature": settings.temperature,
        "max_output_tokens": settings.max_output_tokens,
        "json_mode": settings.json_mode,
        "extra_body": dict(settings.extra_body),
        "credentialed": privacy.credentialed(config),
        "remote_reason": None if privacy.is_loopback(url.host) else settings.remote_reason,
    }
    log.info("llm: %s at %s", settings.model, url.host)
    if not privacy.is_loopback(url.host) and record["credentialed"]:
        log.warning("llm: credentialed records go to %s; the reason given: %s", url.host, settings.remote_reason)
    key = _key_of(settings, required=not (dry or privacy.is_loopback(url.host)))
    path = config.paths.cache_dir / CACHE
    cache = Cache(None if dry and not path.exists() else path)
    return Chat(settings, url, key, cache, record, config.offline, dry)


def _key_of(settings: Llm, required: bool) -> str:
    """The key in the environment; a model on this machine may need none."""
    key = os.environ.get(settings.api_key_env, "").strip() if settings.api_key_env else ""
    if required and settings.api_key_env and not key:
        raise UserError(
            f"llm.api_key_env: the environment variable {settings.api_key_env} is not set; put the endpoint's key there"
        )
    if not (key.isascii() and key.isprintable()):
        raise UserError(f"the environment variable {settings.api_key_env} holds characters that no key has")
    return key
