"""SOCKET Summarizer: a patient's evidence -> a short text, statement by statement, each with the evidence it rests on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, ClassVar, Protocol

from emerge_ehr.rag.linking import Link
from emerge_ehr.rag.retrieval import Retrieved
from emerge_ehr.signals.abnormal import AbnormalSignal


@dataclass(frozen=True)
class Evidence:
    """All that may be said of one patient. ``diseases`` maps a link's node to what was retrieved for it."""

    age: float | None
    sex: str | None
    signals: Sequence[AbnormalSignal]
    links: Sequence[Link]
    diseases: Mapping[int, Retrieved]


@dataclass(frozen=True)
class Statement:
    """A sentence and the evidence behind it, as plain values for ``rag_records.csv``."""

    text: str
    evidence: Mapping[str, Any]


@dataclass(frozen=True)
class Summary:
    """The statements in order; ``text`` is theirs joined by spaces. ``backend`` is the plug that wrote it (a fallback if not
    the one configured); ``failure`` says why the one configured wrote none: the next run tries again."""

    statements: tuple[Statement, ...]
    backend: str
    failure: str | None = None

    @property
    def text(self) -> str:
        """The summary."""
        return " ".join(statement.text for statement in self.statements)


def bounded(statements: Sequence[Statement], characters: int) -> tuple[Statement, ...]:
    """The statements from the first on that fit together, never part of one; they stand in order of relevance.

    >>> [s.text for s in bounded([Statement("Short.", {}), Statement("Too long for it.", {}), Statement("Ok.", {})], 12)]
    ['Short.']
    """
    lengths = accumulate(len(statement.text) + 1 for statement in statements)
    return tuple(statement for statement, length in zip(statements, lengths, strict=True) if length - 1 <= characters)


def mentioned(link: Link, found: Retrieved) -> tuple[str, str]:
    """What the notes mention, in words, and its definition: of a member of a grouped node the graph has none of its own."""
    if link.member is None:
        return found.name, found.definition
    return f"{link.member}, of the group {found.name}", ""


class Summarizer(Protocol):
    """Writes the summaries. ``asks``: by asking a model elsewhere; then one process asks for all patients."""

    asks: ClassVar[bool]

    def summarise(self, evidence: Sequence[Evidence]) -> list[Summary]:
        """One summary a patient, in the patients' order."""
