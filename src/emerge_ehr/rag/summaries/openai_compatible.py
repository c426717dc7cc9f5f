"""A language model's summary: the model is given numbered evidence and answers with statements that cite it.

The model sees one patient's evidence and no note: age, sex, signals, and what the graph says about the linked diseases. Its
statements are audited like those of any summary (``faithfulness``): by their words, not by what they cite.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated, Any, ClassVar

from annotated_types import Ge
from pydantic import TypeAdapter

from emerge_ehr import components
from emerge_ehr.fields import Component, Positive
from emerge_ehr.llm.answers import closed_schema, fill
from emerge_ehr.llm.client import Chat, Question
from emerge_ehr.llm.fence import fence_of
from emerge_ehr.llm.prompts import read
from emerge_ehr.rag.summaries import (
    Cited,
    Evidence,
    OfMention,
    OfModel,
    OfPerson,
    OfSignal,
    OfTriples,
    Statement,
    Summarizer,
    Summary,
    bounded,
    mentioned,
)
from emerge_ehr.rag.summaries.template import signal_text

NAME = "openai_compatible"
PROMPT = "summary.v1"


@dataclass(frozen=True)
class Options:
    """``max_characters``: the most of a summary; ``definition_characters``: the most of a definition that the model is shown."""

    max_characters: Annotated[int, Ge(200)] = 2000
    definition_characters: Positive = 300


@dataclass(frozen=True)
class Line:
    """A statement of the model's answer, and the ids it cites."""

    text: str
    evidence: tuple[str, ...]


@dataclass(frozen=True)
class Lines:
    """The model's answer."""

    statements: tuple[Line, ...]


ADAPTER = TypeAdapter(Lines)


@dataclass(frozen=True)
class OpenAICompatibleSummaries:
    """Summaries by the language model behind ``chat``, for one ``question`` about one ``window``, both in words.

    ``template`` writes in the model's place where it fails and the config allows it.
    """

    asks: ClassVar[bool] = True
    options: Options
    chat: Chat
    question: str
    window: str
    template: Summarizer

    def summarise(self, evidence: Sequence[Evidence]) -> list[Summary]:
        """One summary per patient, in the order of ``evidence``."""
        replies = self.chat.ask(self._question, evidence, "summaries")
        summaries = [Summary(reply.value or (), NAME, reply.failure) for reply in replies]
        if not self.chat.falls_back:
            return summaries
        failed = [n for n, summary in enumerate(summaries) if summary.failure]
        written = dict(zip(failed, self.template.summarise([evidence[n] for n in failed]), strict=True))
        return [
            Summary(written[n].statements, written[n].backend, summary.failure) if n in written else summary
            for n, summary in enumerate(summaries)
        ]

    def _question(self, evidence: Evidence) -> Question[tuple[Statement, ...]]:
        lines, items = numbered(evidence, self.window, self.options.definition_characters)
        shown = "\n".join(lines)
        prompt, fence = read(PROMPT), fence_of(shown)
        system = prompt.system.substitute(question=self.question, characters=self.options.max_characters, fence=fence)
        user = prompt.user.substitute(question=self.question, evidence=shown, fence=fence)
        return Question(PROMPT, system, user, closed_schema(ADAPTER), partial(self._statements, items))

    def _statements(self, items: Mapping[str, Cited], value: dict[str, Any]) -> tuple[Statement, ...]:
        """The answer's statements that cite this patient's evidence; ``items``: what each id stands for.

        Ids that do not exist are left out, and so are statements that cite no other.

        Raises:
            ValueError: no statement is left, or the answer does not have the form that was asked for.
        """
        lines: Lines = fill(ADAPTER, value)
        cited = [
            (" ".join(line.text.split()), tuple(items[key] for key in line.evidence if key in items))
            for line in lines.statements
        ]
        written = [Statement(text, OfModel(own)) for text, own in cited if text and own]
        fitting = bounded(written, self.options.max_characters)
        if not fitting:
            raise ValueError(
                f"no statement of at most {self.options.max_characters} characters cites the numbered evidence"
            )
        return fitting


def numbered(evidence: Evidence, window: str, definition_characters: int) -> tuple[list[str], dict[str, Cited]]:
    """The evidence as lines with ids (P1: the patient, S: signals, D: diseases, T: triples), and what each id stands for."""
    age = "age unknown" if evidence.age is None else f"{evidence.age:.0f} years"
    sex = {"F": "female", "M": "male"}.get(evidence.sex or "", "sex unknown")
    lines = {"P1": f"{age}, {sex}; observed: {window}"}
    items: dict[str, Cited] = {"P1": OfPerson(evidence.age, evidence.sex)}
    for n, signal in enumerate(evidence.signals, 1):
        lines[f"S{n}"] = signal_text(signal)
        items[f"S{n}"] = OfSignal(**asdict(signal))
    triples = 0
    for n, link in enumerate(evidence.links, 1):
        disease = evidence.diseases[link.node_index]
        name, whole = mentioned(link, disease)
        definition = whole[:definition_characters].strip()
        lines[f"D{n}"] = f"the notes mention {name} ({link.count} times)" + (f": {definition}" if definition else "")
        items[f"D{n}"] = OfMention(link.node_index, link.surface)
        for triple in disease.triples:
            triples += 1
            lines[f"T{triples}"] = f"{disease.name} - {triple.display_relation}: {triple.y_name}"
            items[f"T{triples}"] = OfTriples(link.node_index, triple.display_relation, (triple.y_name,))
    return [f"{key}. {line}" for key, line in lines.items()], items


def build(options: Options, *, question: str, window: str, llm: Chat) -> Summarizer:
    """The summariser that asks ``llm``; ``question`` and ``window`` in words, as for the template."""
    template = components.build("summary", Component("template"), question=question, window=window)
    return OpenAICompatibleSummaries(options, llm, question, window, template)
