"""SOCKET Summarizer: a patient's evidence -> a short text, statement by statement, each with the evidence it rests on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from src.datasets.preprocess.abnormal import AbnormalSignal
from src.datasets.preprocess.linking import Link
from src.datasets.preprocess.retrieval import Retrieved


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


class Summarizer(Protocol):
    """Writes the summary."""

    def summarise(self, evidence: Evidence) -> list[Statement]:
        """The statements in order; the summary is their texts joined by spaces."""
