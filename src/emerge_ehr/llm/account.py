"""Tokens and cost: of this run, and of the answers that the artefacts rest on, whenever these were paid for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from emerge_ehr.config import Llm
from emerge_ehr.fields import UserError
from emerge_ehr.llm.cache import ChatAnswer, Experience

CHARACTERS_PER_TOKEN = 4.0  # of English text, where nothing better is known


@dataclass
class Usage:
    """Answers and their tokens."""

    answers: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def add(self, answer: ChatAnswer) -> None:
        """One more."""
        self.answers += 1
        self.prompt_tokens += answer.prompt_tokens
        self.completion_tokens += answer.completion_tokens

    def cost(self, prices: Llm) -> float:
        """By the config's prices."""
        return (self.prompt_tokens * prices.price_input + self.completion_tokens * prices.price_output) / 1e6

    def record(self, prices: Llm) -> dict[str, Any]:
        """For ``metadata.json``."""
        tokens = {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens}
        return {"answers": self.answers, **tokens, "cost": round(self.cost(prices), 6)}


@dataclass
class Account:
    """``paid``: what this run received. ``used``: by prompt, what the artefacts rest on, the same however often it is run."""

    prices: Llm
    paid: Usage = field(default_factory=Usage)
    used: dict[str, Usage] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)

    def receive(self, answer: ChatAnswer) -> None:
        """An answer came and is stored.

        Raises:
            UserError: the bound on the cost is reached.
        """
        self.paid.add(answer)
        cost, bound = self.paid.cost(self.prices), self.prices.max_cost
        if bound and cost >= bound:
            raise UserError(
                f"llm.max_cost = {bound:g} is reached ({self.paid.answers} answers); they are kept: raise it to go on"
            )

    def use(self, key: str, prompt: str, answer: ChatAnswer) -> None:
        """The artefacts will rest on this answer to the request ``key``, perhaps more than once."""
        if key not in self.seen:
            self.seen.add(key)
            self.used.setdefault(prompt, Usage()).add(answer)

    def record(self) -> dict[str, Any]:
        """For ``metadata.json``: the same in every run over the same answers."""
        return {prompt: usage.record(self.prices) for prompt, usage in sorted(self.used.items())}

    def __str__(self) -> str:
        paid = (
            f"{self.paid.prompt_tokens} + {self.paid.completion_tokens} tokens, cost {self.paid.cost(self.prices):.4f}"
        )
        return f"{self.paid.answers} answers received in this run ({paid})"


@dataclass
class Estimate:
    """What the requests of one prompt will take that have no answer yet."""

    prompt: str
    experience: Experience | None
    answer_tokens: float
    stored: int = 0
    requests: int = 0
    characters: int = 0

    def add(self, stored: int, requests: int, characters: int) -> None:
        """More of them."""
        self.stored += stored
        self.requests += requests
        self.characters += characters

    def usage(self) -> Usage:
        """Tokens by experience with this prompt and model, else by rule of thumb."""
        rate = self.experience.tokens_per_character if self.experience else 1 / CHARACTERS_PER_TOKEN
        answer = self.experience.completion_tokens if self.experience else self.answer_tokens
        return Usage(self.requests, round(self.characters * rate), round(self.requests * answer))

    def line(self, prices: Llm) -> str:
        """For the user."""
        usage = self.usage()
        how = "by the answers stored so far" if self.experience else "by rule of thumb"
        return (
            f"{self.prompt}: {self.stored} answers are stored, {self.requests} requests would be sent: "
            f"about {usage.prompt_tokens} tokens in, {usage.completion_tokens} out ({how}), cost {usage.cost(prices):.4f}"
        )


def total(estimates: Mapping[str, Estimate], prices: Llm) -> float:
    """The cost of all."""
    return sum(estimate.usage().cost(prices) for estimate in estimates.values())
