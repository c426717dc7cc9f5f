"""Asks a language model many questions at once; a question that was answered before, in any run, is not asked again."""

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

from emerge_ehr import decides, privacy
from emerge_ehr.config import Config, Llm
from emerge_ehr.fields import UserError
from emerge_ehr.llm import failures
from emerge_ehr.llm.account import Account, Estimate, total
from emerge_ehr.llm.asking import ATTEMPTS, Asking
from emerge_ehr.llm.balance import Balance, Member
from emerge_ehr.llm.cache import Cache
from emerge_ehr.llm.endpoint import Endpoint, Findings
from emerge_ehr.llm.pace import Pace
from emerge_ehr.llm.question import Question, Reply, key_of

__all__ = ["ATTEMPTS", "Chat", "Question", "Reply", "connect"]
log = logging.getLogger(__name__)
CACHE = "llm.sqlite"
ANSWER_TOKENS = 200.0  # assumed length of an answer until there is one
T = TypeVar("T")
Item = TypeVar("Item")


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
        self._asking = Asking(self.settings, self.balance, self.cache, self.account)
        self._estimated: set[str] = set()  # questions that a dry run has counted; folds ask many of them again

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
            key = key_of(question, self.settings)
            keys.append(key)
            if key in replies or key in pending:
                continue
            stored = self._asking.stored(key, question)
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
        if not self.dry:
            answered = sum(reply.value is not None for reply in replies.values())
            log.info("llm: %s: %d of %d questions answered; %s", topic, answered, len(replies), self.account)
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
            (why, _), *_ = Counter(failed.values()).most_common()
            log.warning("llm: %s: %s (%s); the next run asks again what failed", topic, told, why)

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
                return asyncio.run(self._asking.all(make, pending, topic))
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
    key = _api_key(settings, required=bool(remote) and not dry)
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


def _api_key(settings: Llm, required: bool) -> str:
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
