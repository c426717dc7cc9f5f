"""The template summary: sentences filled with the evidence, without a language model."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge

from emerge_ehr.fields import Positive
from emerge_ehr.rag.linking import Link
from emerge_ehr.rag.retrieval import Retrieved
from emerge_ehr.rag.summaries import (
    Evidence,
    OfDisease,
    OfNothing,
    OfPerson,
    OfSignal,
    OfTriples,
    Statement,
    Summarizer,
    Summary,
    bounded,
    mentioned,
)
from emerge_ehr.signals.abnormal import AbnormalSignal


@dataclass(frozen=True)
class Options:
    """``definition_characters``: the most of a definition that is quoted; ``max_characters``: the most of a summary."""

    definition_characters: Positive = 300
    max_characters: Annotated[int, Ge(200)] = 12000


@dataclass(frozen=True)
class Template:
    """Summaries for one ``question`` about one ``window``, both in words."""

    asks: ClassVar[bool] = False
    options: Options
    question: str
    window: str

    def summarise(self, evidence: Sequence[Evidence]) -> list[Summary]:
        """One summary per patient, in the order of ``evidence``."""
        limit = self.options.max_characters
        return [Summary(bounded(self._statements(patient), limit), "template") for patient in evidence]

    def _statements(self, evidence: Evidence) -> list[Statement]:
        """Statements about the patient, the abnormal signals, and each disease with its definition and triples."""
        statements = [self._opening(evidence)]
        statements += [Statement(signal_text(signal), OfSignal(**asdict(signal))) for signal in evidence.signals]
        if not evidence.signals:
            statements.append(Statement("No abnormal signal was found.", OfNothing("no signal")))
        for link in evidence.links:
            statements += self._disease(link, evidence.diseases[link.node_index])
        if not evidence.links:
            statements.append(Statement("No disease was found in the notes.", OfNothing("no disease")))
        return statements

    def _opening(self, evidence: Evidence) -> Statement:
        sex = {"F": "woman", "M": "man"}.get(evidence.sex or "", "patient")
        who = f"A {sex}" if evidence.age is None else f"A {evidence.age:.0f}-year-old {sex}"
        text = f"{who}, {self.window}; the question is {self.question}."
        return Statement(text, OfPerson(evidence.age, evidence.sex))

    def _disease(self, link: Link, disease: Retrieved) -> list[Statement]:
        name, whole = mentioned(link, disease)
        definition = whole[: self.options.definition_characters].rstrip(". ")
        text = f"The notes mention {name}" + (f": {definition}." if definition else ".")
        statements = [Statement(text, OfDisease(link.node_index, link.surface, link.score, bool(definition)))]
        relations: dict[str, list[str]] = {}
        for triple in disease.triples:
            relations.setdefault(triple.display_relation, []).append(triple.y_name)
        for relation, names in relations.items():
            text = f"{disease.name} - {relation}: {', '.join(names)}."
            statements.append(Statement(text, OfTriples(link.node_index, relation, tuple(names))))
        return statements


def signal_text(signal: AbnormalSignal) -> str:
    """A signal in words, as summaries state it."""
    unit = f" {signal.unit}" if signal.unit else ""
    return (
        f"Abnormally {signal.direction} {signal.label}: {signal.value:g}{unit} at hour {signal.hour} (z {signal.z:+.1f}, "
        f"{signal.hours_beyond} h beyond the threshold)."
    )


def build(options: Options, *, question: str, window: str) -> Summarizer:
    """The summariser; ``question`` and ``window`` in words: "death in this hospital admission", "first 48 h of the stay"."""
    return Template(options, question, window)
