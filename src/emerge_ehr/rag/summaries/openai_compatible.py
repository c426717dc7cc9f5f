"""A language model's summary: the model is given numbered evidence and answers with statements that cite it.

The model sees one patient's evidence and no note: age, sex, signals, and what the graph says about the linked diseases. Its
statements are audited like those of any summary (``faithfulness``): by their words, not by what they cite.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated, Any, ClassVar

from annotated_types import Ge
from pydantic import TypeAdapter

from emerge_ehr import components
from emerge_ehr.fields import Component, Positive
from emerge_ehr.llm import thoughts
from emerge_ehr.llm.answers import closed_schema, examples, usable
from emerge_ehr.llm.client import Chat, Question
from emerge_ehr.llm.fence import fence_of
from emerge_ehr.llm.prompts import read
from emerge_ehr.rag import sentences
from emerge_ehr.rag.summaries import (
    Cited,
    Evidence,
    OfContraindications,
    OfMention,
    OfModel,
    OfPerson,
    OfSignal,
    OfTreatments,
    OfTriples,
    Statement,
    Summarizer,
    Summary,
    _published,
    bounded,
    mentioned,
)
from emerge_ehr.rag.summaries.template import signal_text
from emerge_ehr.rag.treatments import SAID

NAME = "openai_compatible"
PROMPT, PUBLISHED = "summary.v1", "summary.published.v1"


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


ADAPTER, OF_ONE = TypeAdapter(Lines), TypeAdapter(Line)
IDS = re.compile(r"[A-Z][0-9]+")
NUMBERS = re.compile(r"[0-9]+(?:[.][0-9]+)?")


@dataclass(frozen=True)
class Written:
    """The statements of an answer that can be used, and how many were mended or dropped, by what was wrong."""

    statements: tuple[Statement, ...]
    counts: Mapping[str, int]


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
        summaries = [Summary(reply.value.statements if reply.value else (), NAME, reply.failure) for reply in replies]
        if not self.chat.falls_back:
            return summaries
        failed = [n for n, summary in enumerate(summaries) if summary.failure]
        written = dict(zip(failed, self.template.summarise([evidence[n] for n in failed]), strict=True))
        return [
            Summary(written[n].statements, written[n].backend, summary.failure) if n in written else summary
            for n, summary in enumerate(summaries)
        ]

    def _question(self, evidence: Evidence) -> Question[Written]:
        if self.chat.settings.prompts == "published":
            return self._published_question(evidence)
        lines, items = numbered(evidence, self.window, self.options.definition_characters)
        shown = "\n".join(lines)
        prompt, fence = read(PROMPT), fence_of(shown)
        system = prompt.system.substitute(question=self.question, characters=self.options.max_characters, fence=fence)
        user = prompt.user.substitute(question=self.question, evidence=shown, fence=fence)
        reader = partial(self._statements, items, shown, examples(system))
        return Question(PROMPT, system, user, closed_schema(ADAPTER), reader, lambda written: written.counts)

    def _published_question(self, evidence: Evidence) -> Question[Written]:
        shown = _published.shown(evidence, self.options.definition_characters)
        prompt, fence = read(PUBLISHED), fence_of(shown)
        system, user = prompt.system.substitute(fence=fence), prompt.user.substitute(evidence=shown, fence=fence)

        def written(value: dict[str, Any]) -> Written:
            return Written(*_published.statements(value, self.options.max_characters))

        schema = closed_schema(TypeAdapter(_published.Text))
        return Question(PUBLISHED, system, user, schema, written, lambda answer: answer.counts)

    def _statements(
        self, items: Mapping[str, Cited], shown: str, repeated: Sequence[dict[str, Any]], value: dict[str, Any]
    ) -> Written:
        """The answer's statements that cite this patient's evidence; ``items``: what each id stands for.

        Ids that do not exist are left out, and so are statements that cite no other, or that cannot be used.

        Raises:
            ValueError: no statement is left, or the answer only repeats an example of the prompt, of which nothing is ``shown``.
        """
        lines, counts = usable(OF_ONE, value["statements"], "statements", _mended)
        if value in repeated and not all(_is_shown(line.text, shown) for line in lines):
            raise ValueError("it repeats the example of the form")
        written = []
        for line, text in zip(lines, _without_thoughts([line.text for line in lines]), strict=True):
            own = tuple(items[key] for key in line.evidence if key in items)
            if text and not any(map(str.isalpha, text)):
                counts["statements dropped: no words"] += 1
            elif text and own:
                written.append(Statement(text, OfModel(own)))
            else:
                counts["statements dropped: " + ("no evidence cited" if text else "nothing but thoughts")] += 1
        fitting = bounded(written, self.options.max_characters)
        if len(fitting) < len(written):
            counts["statements dropped: too long"] += len(written) - len(fitting)
        if not fitting:
            raise ValueError(
                f"no statement of at most {self.options.max_characters} characters cites the numbered evidence"
            )
        return Written(fitting, counts)


def _is_shown(text: str, shown: str) -> bool:
    """Whether a line of the evidence has all numbers of the text.

    >>> _is_shown("High at 142.", "S1. high: 142 at hour 7"), _is_shown("High at 142.", "S1. high: 1142 at hour 7")
    (True, False)
    """
    numbers = set(NUMBERS.findall(text))
    return any(numbers <= set(NUMBERS.findall(line)) for line in shown.splitlines())


def _mended(item: dict[str, Any]) -> dict[str, Any]:
    """The item with its ids as a list.

    >>> _mended({"text": "Febrile.", "evidence": "[s1], D2"})
    {'text': 'Febrile.', 'evidence': ['S1', 'D2']}
    """
    cited = item.get("evidence")
    if isinstance(cited, list) and all(isinstance(key, str) for key in cited):
        listed = [found for key in cited for found in IDS.findall(key.upper()) or [key]]
        return item if listed == cited else {**item, "evidence": listed}
    return {**item, "evidence": IDS.findall(cited.upper())} if isinstance(cited, str) else item


def _without_thoughts(texts: Sequence[str]) -> list[str]:
    """The texts of statements on one line each, without the thoughts in them, which may begin in one and end in another.

    >>> _without_thoughts(["Febrile. <think>Or", "not?", "No.</think> Hypotensive.", "Reasoning: septic"])
    ['', '', 'Hypotensive.', '']
    """
    spoken, inside = [], False
    for text in texts:
        try:
            left = thoughts.cut(text)
        except thoughts.UnclosedError:
            inside = True
        else:
            inside = inside and thoughts.BEGUN not in left.rules
        spoken.append("" if inside else " ".join(left.text[: left.heading].split()))
    return spoken


def numbered(evidence: Evidence, window: str, definition_characters: int) -> tuple[list[str], dict[str, Cited]]:
    """The evidence as lines with ids, and what each id stands for.

    P1: the patient, S: signals, D: diseases, T: triples, R: drugs that were given, C: their contraindications.
    """
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
        definition = sentences.whole(whole, definition_characters)
        lines[f"D{n}"] = f"the notes mention {name} ({link.count} times, {link.status})" + (
            f": {definition}" if definition else ""
        )
        items[f"D{n}"] = OfMention(link.node_index, link.surface)
        for triple in disease.triples:
            triples += 1
            lines[f"T{triples}"] = f"{disease.name} - {triple.display_relation}: {triple.y_name}"
            items[f"T{triples}"] = OfTriples(link.node_index, triple.display_relation, (triple.y_name,))
    for n, drug in enumerate(evidence.treatments, 1):
        lines[f"R{n}"] = f"{SAID[drug.kind]}: {drug.name}, from hour {drug.hour}"
        items[f"R{n}"] = OfTreatments(drug.kind, (drug.name,))
    for n, one in enumerate(evidence.told_contraindications, 1):
        lines[f"C{n}"] = f"{one.drug}, {SAID[one.kind]}, is contraindicated in {one.disease} by the knowledge graph"
        items[f"C{n}"] = OfContraindications(one.node_index, one.kind, (one.drug,), (one.drug_node_index,))
    return [f"{key}. {line}" for key, line in lines.items()], items


def build(options: Options, *, question: str, window: str, llm: Chat) -> Summarizer:
    """The summariser that asks ``llm``; ``question`` and ``window`` in words, as for the template."""
    template = components.build("summary", Component("template"), question=question, window=window)
    return OpenAICompatibleSummaries(options, llm, question, window, template)
