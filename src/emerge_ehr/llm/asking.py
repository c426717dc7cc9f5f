"""Asks questions whose answers are not stored yet, many at once, until each has a reply or it is clear that none will come."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from emerge_ehr.config import Llm
from emerge_ehr.fields import UserError
from emerge_ehr.llm import answers, failures
from emerge_ehr.llm.account import Account
from emerge_ehr.llm.balance import IN_A_ROW, Balance
from emerge_ehr.llm.cache import TOO_LONG, Cache, ChatAnswer
from emerge_ehr.llm.errors import BrokenError, EndpointUnreachableError, RefusedError, TooLongError
from emerge_ehr.llm.question import Question, Reply, body, key_of, read
from emerge_ehr.progress import bar

log = logging.getLogger(__name__)
FEWEST_IN_A_ROW = 3  # failed questions in a row that end a run in which none was answered: each was asked several times
ATTEMPTS = 3  # unusable answers to one question after which a run gives it up
NUDGE = "\n\nAnswer {attempt} could not be used: {reason}. Answer again, with the JSON object only."
TOO_LONG_FAILURE = "the question is too long for the model's context"
T = TypeVar("T")
Item = TypeVar("Item")


class Asking:
    """Asks by way of ``balance``, stores every answer in ``cache`` and counts it in ``account``. Failures in a row are counted
    over all questions of a run."""

    def __init__(self, settings: Llm, balance: Balance, cache: Cache, account: Account) -> None:
        self._settings, self._balance, self._cache, self._account = settings, balance, cache, account
        self._failed_in_a_row = 0
        self._given_up = ""

    def stored(self, key: str, question: Question[T]) -> Reply[T] | None:
        """The reply from the first stored answer that can be used; None if there is none."""
        for answer in self._answers(key, question):
            if answer.finish_reason == TOO_LONG:
                return Reply(None, TOO_LONG_FAILURE, too_long=True)
            try:
                value, rules = read(question, answer)
            except answers.UnusableError:
                continue
            self._account.use(key, question.prompt, answer, rules, question.counts(value))
            return Reply(value)
        return None

    def _answers(self, key: str, question: Question[Any]) -> list[ChatAnswer]:
        """The stored answers to a question. Those that were asked for as JSON objects serve where any form does."""
        stored = self._cache.answers(key)
        if not stored and self._settings.json_mode == "auto":
            stored = self._cache.answers(key_of(question, self._settings, "object"))
        return stored

    async def all(
        self, make: Callable[[Item], Question[T]], pending: Mapping[str, Item], topic: str
    ) -> dict[str, Reply[T]]:
        """Replies by key, from as many tasks as there may be requests at a time; before an answer, from two per endpoint.

        Raises:
            UserError: the run must end; answers so far are kept.
        """
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
                    self._balance.ends = True
                shown.update()
                if stopped:  # the other tasks finish the requests that they have sent, which are paid for
                    break
            self._begun.set()

        width = self._settings.concurrency * len(self._balance.members)
        try:
            async with self._balance.opened(), asyncio.TaskGroup() as group:
                for n in range(min(width, len(pending))):
                    group.create_task(work(waits=n >= 2 * len(self._balance.members)))
        finally:
            shown.close()
        if stopped:
            log.info("llm: %s", self._account)
            raise stopped[0]
        return replies

    async def _reply(self, key: str, question: Question[T]) -> Reply[T]:
        """The reply to one question, from the cache if another process has stored an answer meanwhile."""
        if reply := self.stored(key, question):
            return reply
        if self._given_up:
            self._account.failed[key] = question.prompt, "not asked"
            return Reply(None, self._given_up)
        try:
            return await self._attempts(key, question)
        except TooLongError as error:
            self._begun.set()
            if question.divisible:  # remembered, so that the next run divides it without asking
                refused = ChatAnswer("", TOO_LONG, 0, 0)
                before = len(self._cache.answers(key))
                self._cache.store(key, before, question.prompt, self._settings.model, len(question.user), refused)
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
        self._account.failed[key] = question.prompt, str(error)
        if self._given_up:
            return Reply(None, self._given_up)
        self._failed_in_a_row += 1
        gone = isinstance(error, EndpointUnreachableError) and not self._balance.in_service
        enough = IN_A_ROW
        if isinstance(error, BrokenError) and not self._account.paid.answers:
            enough = max(FEWEST_IN_A_ROW, IN_A_ROW // (self._settings.retries + 1))
        if gone or self._failed_in_a_row >= enough:
            self._give_up(error)
        return Reply(None, str(error))

    async def _attempts(self, key: str, question: Question[T]) -> Reply[T]:
        """The reply to one question, which is asked again while answers are unusable, up to ``ATTEMPTS`` answers.

        Answers of a run that was interrupted count; once they reach ``ATTEMPTS``, the next run has as many attempts again.
        """
        settings, before = self._settings, len(self._cache.answers(key))
        reason = "it does not fit the form asked for"
        for attempt in range(before, (before // ATTEMPTS + 1) * ATTEMPTS):
            nudge = NUDGE.format(attempt=attempt, reason=reason) if attempt else ""
            characters = len(question.system) + len(question.user) + len(nudge)
            tokens = characters // 4 + settings.max_output_tokens
            answer = await self._balance.complete(body(question, settings, nudge), tokens)
            self._begun.set()
            self._cache.store(key, attempt, question.prompt, settings.model, characters, answer)
            self._account.receive(answer)
            try:
                reply = Reply(read(question, answer)[0])
            except answers.UnusableError as error:
                self._account.failed[key] = question.prompt, error.reason
                reason = str(error)
                if self._unusable(error):
                    break
                continue
            self._failed_in_a_row = 0
            return self.stored(key, question) or reply
        asked = attempt + 1 - before
        return Reply(None, f"no usable answer in {asked} attempt{'s'[: asked != 1]}; the last: {reason}")

    def _unusable(self, error: answers.UnusableError) -> bool:
        """Count an answer that cannot be used; whether no more requests are sent, as there were too many in a row.

        Raises:
            UserError: there were, and no fallback is configured.
        """
        self._account.unusable[error.reason] += 1
        self._failed_in_a_row += 1
        if self._failed_in_a_row < IN_A_ROW:
            return False
        end = failures.in_a_row(self._failed_in_a_row, error.reason, str(error))
        if not self._settings.fallback_to_rules:
            raise end
        self._given_up = self._given_up or str(end)
        return True

    def _give_up(self, error: Exception) -> None:
        """Send no more requests, as the endpoints are down: the remaining questions get this failure as their reply.

        Raises:
            UserError: no fallback is configured, so that the run must end.
        """
        reason = self._balance.trouble() or str(error)
        if isinstance(error, RefusedError) and not self._settings.fallback_to_rules:
            raise UserError(
                f"{reason}, {IN_A_ROW} requests in a row; the endpoint may not know llm.json_mode = "
                f"'{self._settings.json_mode}', a field of llm.extra_body, or so large an llm.max_output_tokens"
            )
        if not self._settings.fallback_to_rules:
            raise UserError(
                f"{reason}, after {self._settings.retries} retries; the answers so far are kept: run again to go on"
            )
        self._given_up = reason
        self._balance.ends = True
