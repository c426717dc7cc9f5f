"""Asks a language model many questions at once; a question that was answered before, in any run, is not asked again."""

import asyncio
import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import httpx

from emerge_ehr import decides, privacy
from emerge_ehr.config import Config, Llm
from emerge_ehr.fields import UserError
from emerge_ehr.llm import answers, failures
from emerge_ehr.llm.account import Account, Estimate, total
from emerge_ehr.llm.balance import IN_A_ROW, Balance, Member
from emerge_ehr.llm.cache import TOO_LONG, Cache, ChatAnswer
from emerge_ehr.llm.endpoint import Endpoint, Findings
from emerge_ehr.llm.errors import BrokenError, EndpointUnreachableError, RefusedError, TooLongError
from emerge_ehr.llm.pace import Pace
from emerge_ehr.progress import bar

log = logging.getLogger(__name__)
CACHE = "llm.sqlite"
FEWEST_IN_A_ROW = 3  # failed questions in a row that end a run in which none was answered: each was asked several times
ATTEMPTS = 3  # unusable answers to one question after which a run gives it up
NUDGE = "\n\nAnswer {attempt} could not be used: {reason}. Answer again, with the JSON object only."
TOO_LONG_FAILURE = "the question is too long for the model's context"
ANSWER_TOKENS = 200.0  # assumed length of an answer until there is one
T = TypeVar("T")
Item = TypeVar("Item")


@dataclass(frozen=True)
class Question(Generic[T]):
    """A question about the text of a single patient.

    ``prompt`` names the prompt file; ``schema`` is the answer's JSON schema. ``read`` turns the answer's JSON object into a
    value, or raises a ``ValueError`` that says what is wrong. ``counts``: what of the answer was mended or dropped for it.
    ``divisible``: whoever asks divides a text that is too long.
    """

    prompt: str
    system: str
    user: str
    schema: Mapping[str, Any]
    read: Callable[[dict[str, Any]], T]
    counts: Callable[[T], Mapping[str, int]] = lambda value: {}
    divisible: bool = False


@dataclass(frozen=True)
class Reply(Generic[T]):
    """The value read from an answer, or why there is none. ``too_long``: the model's context has no room for a divisible
    question."""

    value: T | None
    failure: str | None = None
    too_long: bool = False


@dataclass
class Chat:
    """A language model behind endpoints.

    ``forbidden``: no request may be sent, as the run is offline. ``dry``: no request is sent; what the requests would take is
    added to ``estimates``, by prompt.
    """

    settings: Llm
    balance: Balance
    cache: Cache
    record: Mapping[str, Any]
    forbidden: bool = False
    dry: bool = False
    estimates: dict[str, Estimate] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.account = Account(self.settings)
        self._failed_in_a_row = 0
        self._estimated: set[str] = set()  # questions that a dry run has counted; folds ask many of them again
        self._given_up = ""

    @property
    def falls_back(self) -> bool:
        """Whether rules and template replace answers that are missing; always in a dry run, which needs some to continue."""
        return self.settings.fallback_to_rules or self.dry

    def metadata(self) -> dict[str, Any]:
        """The model and its usage for ``metadata.json``, equal in all runs that use the same answers."""
        return {**self.record, "usage": self.account.record()}

    def estimate(self) -> list[str]:
        """What the requests that a dry run did not send would take and cost, in lines for the user."""
        lines = [estimate.line(self.settings) for estimate in self.estimates.values()]
        return [
            *lines,
            f"in all about {total(self.estimates, self.settings):.4f} by llm.price_input and llm.price_output; nothing was sent",
        ]

    def ask(self, make: Callable[[Item], Question[T]], items: Sequence[Item], topic: str) -> list[Reply[T]]:
        """A reply to the question about each item, in order; equal questions are asked once. ``topic`` is for the log.

        Raises:
            UserError: no request can be answered (because of key, model, endpoint or bound on the cost), or too few have a usable
                answer; answers so far are kept.
        """
        keys: list[str] = []
        replies: dict[str, Reply[T]] = {}
        pending: dict[str, Item] = {}  # a question is made again when it is sent, so that not all need be in memory
        for item in items:
            question = make(item)
            key = self._key(question)
            keys.append(key)
            if key in replies or key in pending:
                continue
            stored = self._stored(key, question)
            if stored:
                replies[key] = stored
            else:
                pending[key] = item
            if self.dry and key not in self._estimated:
                self._estimated.add(key)
                self._estimate(question, stored is not None)
        if self.dry:
            replies |= dict.fromkeys(pending, Reply[T](None, "not asked: dry run"))
        elif pending:
            replies |= self._send(make, pending, topic)
        ordered = [replies[key] for key in keys]
        log.info("llm: %s: %d replies to %d questions; %s", topic, len(ordered), len(replies), self.account)
        if not self.dry:
            self._judge(topic, replies)
        return ordered

    def _judge(self, topic: str, replies: Mapping[str, Reply[T]]) -> None:
        """Say how answers were read and what share of the questions has none.

        Raises:
            UserError: the share is larger than the config allows.
        """
        if unusable := self.account.unusable:
            log.info(
                "llm: %d answers received in this run cannot be used: %s",
                unusable.total(),
                failures.told(unusable.elements()),
            )
        for prompt, reading in self.account.read.items():
            counts = ", ".join(f"{name} {count}" for name, count in (reading.rules + reading.items).most_common())
            log.info("llm: how the answers to %s were read: %s", prompt, counts)
        failed = {key: reply.failure for key, reply in replies.items() if reply.failure and not reply.too_long}
        if failed:
            reasons = [self.account.failed[key][1] for key in failed]
            if not self.settings.fallback_to_rules:
                failures.refuse_many(topic, reasons, len(replies), self.settings.max_failures)
            told = failures.share(reasons, len(replies))
            log.warning(
                "llm: %s: %s (%s); the next run asks again what failed", topic, told, next(iter(failed.values()))
            )

    def _send(
        self, make: Callable[[Item], Question[T]], pending: Mapping[str, Item], topic: str
    ) -> dict[str, Reply[T]]:
        """Replies to the pending questions, by key; no other process that shares the cache sends requests meanwhile.

        Raises:
            UserError: the run is offline, or as ``ask``.
        """
        if self.forbidden:
            raise UserError(
                f"--offline: {len(pending)} answers of {self.settings.model} are not in {self.cache.place}; run without "
                "--offline to ask for them"
            )
        try:
            with self.cache.alone():
                return asyncio.run(self._ask(make, pending, topic))
        finally:
            if len(self.balance.members) > 1:
                log.info("llm: answers of this run by endpoint: %s", self.balance.answered())

    def _estimate(self, question: Question[T], stored: bool) -> None:
        prompt = question.prompt
        if prompt not in self.estimates:
            answer_tokens = min(ANSWER_TOKENS, self.settings.max_output_tokens)
            experience = self.cache.experience(prompt, self.settings.model)
            self.estimates[prompt] = Estimate(prompt, experience, answer_tokens)
        characters = 0 if stored else len(question.system) + len(question.user)
        self.estimates[prompt].add(int(stored), int(not stored), characters)

    def _stored(self, key: str, question: Question[T]) -> Reply[T] | None:
        """The reply from the first stored answer that can be used; None if there is none."""
        for answer in self._answers(key, question):
            if answer.finish_reason == TOO_LONG:
                return Reply(None, TOO_LONG_FAILURE, too_long=True)
            try:
                value, rules = _read(question, answer)
            except answers.UnusableError:
                continue
            self.account.use(key, question.prompt, answer, rules, question.counts(value))
            return Reply(value)
        return None

    def _answers(self, key: str, question: Question[T]) -> list[ChatAnswer]:
        """The stored answers to a question. Those that were asked for as JSON objects serve where any form does."""
        stored = self.cache.answers(key)
        if not stored and self.settings.json_mode == "auto":
            stored = self.cache.answers(self._key(question, "object"))
        return stored

    async def _ask(
        self, make: Callable[[Item], Question[T]], pending: Mapping[str, Item], topic: str
    ) -> dict[str, Reply[T]]:
        """Replies by key, from as many tasks as there may be requests at a time; before an answer, from two per endpoint."""
        replies: dict[str, Reply[T]] = {}
        shown = bar(title=topic, unit="request", total=len(pending))
        queue = iter(pending.items())
        stopped: list[UserError] = []

        self._begun = asyncio.Event()

        async def work(waits: bool) -> None:
            if waits:
                await self._begun.wait()
            for key, item in queue:
                try:
                    replies[key] = await self._reply(key, make(item))
                except UserError as error:
                    stopped.append(error)
                    self.balance.ends = True
                shown.update()
                if stopped:  # the other tasks finish the requests that they have sent, which are paid for
                    break
            self._begun.set()

        width = self.settings.concurrency * len(self.balance.members)
        try:
            async with self.balance.opened(), asyncio.TaskGroup() as group:
                for n in range(min(width, len(pending))):
                    group.create_task(work(waits=n >= 2 * len(self.balance.members)))
        finally:
            shown.close()
        if stopped:
            log.info("llm: %s", self.account)
            raise stopped[0]
        return replies

    async def _reply(self, key: str, question: Question[T]) -> Reply[T]:
        """The reply to one question, from the cache if another process has stored an answer meanwhile."""
        if reply := self._stored(key, question):
            return reply
        if self._given_up:
            self.account.failed[key] = question.prompt, "not asked"
            return Reply(None, self._given_up)
        try:
            return await self._attempts(key, question)
        except TooLongError as error:
            self._begun.set()
            if question.divisible:  # remembered, so that the next run divides it without asking
                refused = ChatAnswer("", TOO_LONG, 0, 0)
                before = len(self.cache.answers(key))
                self.cache.store(key, before, question.prompt, self.settings.model, len(question.user), refused)
                return Reply(None, TOO_LONG_FAILURE, too_long=True)
            return self._failed(key, question, error)
        except (RefusedError, BrokenError) as error:
            if isinstance(error, RefusedError):
                self._begun.set()
            return self._failed(key, question, error)

    def _failed(self, key: str, question: Question[Any], error: RefusedError | BrokenError) -> Reply[Any]:
        """The reply to a request that failed; many in a row end the run or what it asks.

        Raises:
            UserError: the run must end.
        """
        self.account.failed[key] = question.prompt, str(error)
        if self._given_up:
            return Reply(None, self._given_up)
        self._failed_in_a_row += 1
        gone = isinstance(error, EndpointUnreachableError) and not self.balance.in_service
        enough = IN_A_ROW
        if isinstance(error, BrokenError) and not self.account.paid.answers:
            enough = max(FEWEST_IN_A_ROW, IN_A_ROW // (self.settings.retries + 1))
        if gone or self._failed_in_a_row >= enough:
            self._give_up(error)
        return Reply(None, str(error))

    async def _attempts(self, key: str, question: Question[T]) -> Reply[T]:
        """The reply to one question, which is asked again while answers are unusable, up to ``ATTEMPTS`` answers.

        Answers of a run that was interrupted count; once they reach ``ATTEMPTS``, the next run has as many attempts again.
        """
        before = len(self.cache.answers(key))
        reason = "it does not fit the form asked for"
        for attempt in range(before, (before // ATTEMPTS + 1) * ATTEMPTS):
            nudge = NUDGE.format(attempt=attempt, reason=reason) if attempt else ""
            body = self._body(question, nudge)
            characters = len(question.system) + len(question.user) + len(nudge)
            answer = await self.balance.complete(body, characters // 4 + self.settings.max_output_tokens)
            self._begun.set()
            self.cache.store(key, attempt, question.prompt, self.settings.model, characters, answer)
            self.account.receive(answer)
            try:
                reply = Reply(_read(question, answer)[0])
            except answers.UnusableError as error:
                self.account.failed[key] = question.prompt, error.reason
                reason = str(error)
                if self._unusable(error):
                    break
                continue
            self._failed_in_a_row = 0
            return self._stored(key, question) or reply
        asked = attempt + 1 - before
        return Reply(None, f"no usable answer in {asked} attempt{'s'[: asked != 1]}; the last: {reason}")

    def _unusable(self, error: answers.UnusableError) -> bool:
        """Count an answer that cannot be used; whether no more requests are sent, as there were too many in a row.

        Raises:
            UserError: there were, and no fallback is configured.
        """
        self.account.unusable[error.reason] += 1
        self._failed_in_a_row += 1
        if self._failed_in_a_row < IN_A_ROW:
            return False
        end = failures.in_a_row(self._failed_in_a_row, error.reason, str(error))
        if not self.settings.fallback_to_rules:
            raise end
        self._given_up = self._given_up or str(end)
        return True

    def _give_up(self, error: Exception) -> None:
        """Send no more requests, as the endpoints are down: the remaining questions get this failure as their reply.

        Raises:
            UserError: no fallback is configured, so that the run must end.
        """
        reason = self.balance.trouble() or str(error)
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
        self.balance.ends = True

    def _body(self, question: Question[T], nudge: str, json_mode: str = "") -> dict[str, Any]:
        messages = [
            {"role": "system", "content": question.system},
            {"role": "user", "content": question.user + nudge},
        ]
        return {"messages": messages, **self._parameters(question, json_mode or self.settings.json_mode)}

    def _parameters(self, question: Question[T], json_mode: str) -> dict[str, Any]:
        """Everything in a request, except the messages, that may change its answer."""
        settings = self.settings
        form: dict[str, Any] = {}
        if json_mode == "object":
            form = {"response_format": {"type": "json_object"}}
        elif json_mode in ("schema", "auto"):  # "auto": endpoints that know no schemas are asked for less (manner.py)
            schema = {"name": question.prompt.split(".")[0], "schema": question.schema, "strict": True}
            form = {"response_format": {"type": "json_schema", "json_schema": schema}}
        sampling = {"temperature": settings.temperature, "max_tokens": settings.max_output_tokens}
        return {"model": settings.model, **sampling, **form, **settings.extra_body}

    def _key(self, question: Question[T], json_mode: str = "") -> str:
        """The key that answers to a question are stored under, the same for all endpoints that serve the model, however they were
        asked."""
        content = {"prompt": question.prompt, "body": self._body(question, "", json_mode)}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _read(question: Question[T], answer: ChatAnswer) -> tuple[T, tuple[str, ...]]:
    """The value that an answer gives, and the rules by which its object was found.

    Raises:
        UnusableError: it gives none.
    """
    reading = answers.read(answer, question.schema, question.system)
    try:
        return question.read(reading.value), reading.rules
    except ValueError as error:
        raise answers.UnusableError("another form", str(error)) from None


def connect(config: Config, dry: bool = False) -> Chat | None:
    """The config's language model, or None if it uses none. Sends nothing yet; ``dry``: nor later.

    Raises:
        UserError: records may not go to the endpoint, its key is missing, or the cache cannot be used.
    """
    if not privacy.uses_model(config):
        return None
    privacy.check(config)
    urls, settings = privacy.endpoints(config), config.llm
    remote = privacy.remote(urls)
    key = _key_of(settings, required=bool(remote) and not dry)
    record: dict[str, Any] = {
        "endpoint": ", ".join(sorted({url.host for url in urls})),
        **decides.compared(config, "artefacts")["llm"],
        "credentialed": privacy.credentialed(config),
        "remote_reason": settings.remote_reason if remote else None,
    }
    log.info("llm: %s at %s", settings.model, ", ".join(url.netloc.decode() for url in urls))
    for host in dict.fromkeys(url.host for url in remote if record["credentialed"]):
        log.warning("llm: credentialed records go to %s; the reason given: %s", host, settings.remote_reason)
    for host in dict.fromkeys(url.host for url in remote if url.scheme == "http"):
        log.warning("llm: records and key go to %s unencrypted (llm.allow_http)", host)
    path = config.paths.cache_dir / CACHE
    cache = Cache(None if dry and not path.exists() else path)
    return Chat(settings, _balance(urls, key, settings, cache), cache, record, config.offline and bool(remote), dry)


def _balance(urls: Sequence[httpx.URL], key: str, settings: Llm, findings: Findings) -> Balance:
    """The endpoints at ``urls``. If any is on another machine, those on this machine are not sent the key."""
    with_key = privacy.remote(urls) or urls
    free = settings.json_mode == "auto"
    members = [
        Member(
            Endpoint(url, key if url in with_key else "", settings.timeout_seconds, settings.model, free, findings),
            Pace(settings.requests_per_minute, settings.tokens_per_minute),
            settings.concurrency,
        )
        for url in urls
    ]
    return Balance(members, settings.retries)


def _key_of(settings: Llm, required: bool) -> str:
    """The endpoint's key from the environment, empty if there is none.

    Raises:
        UserError: a ``required`` key is missing, or it holds characters that cannot be sent.
    """
    key = os.environ.get(settings.api_key_env, "").strip() if settings.api_key_env else ""
    if required and settings.api_key_env and not key:
        raise UserError(
            f"llm.api_key_env: the environment variable {settings.api_key_env} is not set; put the endpoint's key there"
        )
    if not (key.isascii() and key.isprintable()):
        raise UserError(
            f"the environment variable {settings.api_key_env} holds characters that no key has; set it again"
        )
    return key
