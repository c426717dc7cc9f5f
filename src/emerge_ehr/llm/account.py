"""Counts tokens and cost: of this run, and of the answers that the artefacts are made from, whichever run paid for them. Of these
also how they were read."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from emerge_ehr.config import Llm
from emerge_ehr.fields import UserError
from emerge_ehr.llm.cache import ChatAnswer, Experience

CHARACTERS_PER_TOKEN = 4.0  # about, of English text


@dataclass
class Usage:
    """Answers and their tokens."""

    answers: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def add(self, answer: ChatAnswer) -> None:
        """Count one more answer."""
        self.answers += 1
        self.prompt_tokens += answer.prompt_tokens
        self.completion_tokens += answer.completion_tokens

    def cost(self, prices: Llm) -> float:
        """The cost by the config's prices, which are per million tokens."""
        return (self.prompt_tokens * prices.price_input + self.completion_tokens * prices.price_output) / 1e6

    def record(self, prices: Llm) -> dict[str, Any]:
        """The counts and the cost, for ``metadata.json``."""
        tokens = {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens}
        return {"answers": self.answers, **tokens, "cost": round(self.cost(prices), 6)}


@dataclass
class Reading:
    """How the used answers to a prompt were read: by which rules, and what of them was mended or dropped."""

    rules: Counter[str] = field(default_factory=Counter)
    items: Counter[str] = field(default_factory=Counter)


@dataclass
class Account:
    """``paid``: the answers that this run received, and ``unusable`` those of them that cannot be used, by reason.

    ``used`` and ``read``: by prompt, the answers that the artefacts are made from, which are the same however often the stage is
    run; ``seen``: their keys. ``failed``: by key, the prompt of each question without a usable answer, and why the last one is
    unusable.
    """

    prices: Llm
    paid: Usage = field(default_factory=Usage)
    used: dict[str, Usage] = field(default_factory=dict)
    read: dict[str, Reading] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    failed: dict[str, tuple[str, str]] = field(default_factory=dict)
    unusable: Counter[str] = field(default_factory=Counter)

    def receive(self, answer: ChatAnswer) -> None:
        """Count an answer that has arrived and is stored.

        Raises:
            UserError: the bound on the cost is reached.
        """
        self.paid.add(answer)
        cost, bound = self.paid.cost(self.prices), self.prices.max_cost
        if bound and cost >= bound:
            raise UserError(
                f"llm.max_cost = {bound:g} is reached ({self.paid.answers} answers, which are kept); raise it to continue"
            )

    def use(self, key: str, prompt: str, answer: ChatAnswer, rules: Iterable[str], items: Mapping[str, int]) -> None:
        """Count the answer to the request ``key`` as used by the artefacts, once however often it is used."""
        self.failed.pop(key, None)
        if key not in self.seen:
            self.seen.add(key)
            self.used.setdefault(prompt, Usage()).add(answer)
            reading = self.read.setdefault(prompt, Reading())
            reading.rules.update(rules)
            reading.items.update(items)

    def record(self) -> dict[str, Any]:
        """By prompt for ``metadata.json``: the usage, how the answers were read, what was mended or dropped, and the
        questions without an answer by reason. Equal in all runs that use the same answers."""
        record = dict[str, Any]()
        for prompt in sorted(self.used.keys() | {prompt for prompt, _ in self.failed.values()}):
            reading = self.read.get(prompt, Reading())
            failures = Counter(reason for its, reason in self.failed.values() if its == prompt)
            counts = {"read": reading.rules, "items": reading.items, "failures": failures}
            usage = self.used.get(prompt, Usage()).record(self.prices)
            record[prompt] = usage | {name: dict(sorted(count.items())) for name, count in counts.items()}
        return record

    def __str__(self) -> str:
        paid = (
            f"{self.paid.prompt_tokens} + {self.paid.completion_tokens} tokens, cost {self.paid.cost(self.prices):.4f}"
        )
        return f"{self.paid.answers} answers received in this run ({paid})"


@dataclass
class Estimate:
    """What the requests with one prompt that have no stored answer would take."""

    prompt: str
    experience: Experience | None
    answer_tokens: float
    stored: int = 0
    requests: int = 0
    characters: int = 0

    def add(self, stored: int, requests: int, characters: int) -> None:
        """Count more stored answers, requests and their characters."""
        self.stored += stored
        self.requests += requests
        self.characters += characters

    def usage(self) -> Usage:
        """The expected usage, from stored answers to this prompt by this model, otherwise by rule of thumb."""
        rate = self.experience.tokens_per_character if self.experience else 1 / CHARACTERS_PER_TOKEN
        answer = self.experience.completion_tokens if self.experience else self.answer_tokens
        return Usage(self.requests, round(self.characters * rate), round(self.requests * answer))

    def line(self, prices: Llm) -> str:
        """The estimate in words, for the user."""
        usage = self.usage()
        basis = "by the answers stored so far" if self.experience else "by rule of thumb"
        return (
            f"{self.prompt}: {self.stored} answers are stored, {self.requests} requests would be sent: "
            f"about {usage.prompt_tokens} tokens in, {usage.completion_tokens} out ({basis}), cost {usage.cost(prices):.4f}"
        )


def total(estimates: Mapping[str, Estimate], prices: Llm) -> float:
    """The cost of all estimates together."""
    return sum(estimate.usage().cost(prices) for estimate in estimates.values())
