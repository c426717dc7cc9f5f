"""Reads statements: which names of the graph and signals stand in them, and what of a patient's evidence can bear on them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from emerge_ehr.rag.entities import Entity, EntityExtractor
from emerge_ehr.rag.faithfulness import person_claims, signal_claims
from emerge_ehr.rag.faithfulness.names_in_text import NamesInText, Span, blanked
from emerge_ehr.rag.faithfulness.wording import with_digits
from emerge_ehr.rag.names import normal

MOST = 50_000  # statements that are kept
QUESTION = re.compile(r"\bthe question (?:is|of|whether|:) ", re.IGNORECASE)


@dataclass(frozen=True)
class Statement:
    """A statement read once, for every patient: its text without the task's words, and the names of the graph in it.

    ``keys``: these names as ``PatientEvidence.noted`` has them; ``signals``: codes of the signals that it names;
    ``of_person``: it may speak of age or sex, ``counts``: of how many there are; ``measures``: it states values or durations.
    """

    text: str
    entities: Sequence[Entity]
    named: Sequence[Span]
    keys: tuple[int | str, ...]
    signals: frozenset[str]
    of_person: bool
    counts: bool
    measures: bool


@dataclass(frozen=True)
class Reader:
    """Reads statements, each text once.

    ``extractor`` finds the graph's diseases and their status; ``nodes``: normal name -> node; ``neighbours`` finds other names of
    the graph, ``words`` are those for signals; ``question`` and ``window``: the task's, which a statement may repeat unchecked;
    ``known``: statements read so far.
    """

    extractor: EntityExtractor
    nodes: Mapping[str, int]
    neighbours: NamesInText
    words: signal_claims.Vocabulary
    question: str
    window: str
    known: dict[str, Statement] = field(default_factory=dict)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without what was read so far."""
        return Reader, (self.extractor, self.nodes, self.neighbours, self.words, self.question, self.window)

    def read(self, texts: set[str]) -> dict[str, Statement]:
        """The statements with these texts."""
        if len(self.known) + len(texts) > MOST:
            self.known.clear()
        raw = sorted(texts - self.known.keys())
        clean = [with_digits(self._without_task(text)) for text in raw]
        for text, own, extraction in zip(raw, clean, self.extractor.extract(clean), strict=True):
            self.known[text] = self._statement(own, extraction.entities)
        return {text: self.known[text] for text in texts}

    def _statement(self, text: str, entities: Sequence[Entity]) -> Statement:
        codes = frozenset(
            code for _, _, name in self.words.finder.find(text) for code in signal_claims.codes(name, self.words)
        )
        named = self.neighbours.find(text)
        names = [normal(name) for name in (*(entity.name for entity in entities), *(name for _, _, name in named))]
        return Statement(
            text,
            entities,
            named,
            tuple(dict.fromkeys(key for name in names for key in (self.nodes.get(name, name), name))),
            codes,
            of_person=person_claims.OF_PERSON.search(text) is not None,
            counts=person_claims.COUNTS.search(text) is not None,
            measures=bool(codes) and signal_claims.MEASURES.search(text) is not None,
        )

    def _without_task(self, text: str) -> str:
        """The text with the task's question, where it is called so, and the window blanked out. A disease that the question names
        is checked wherever else it is stated."""
        for match in QUESTION.finditer(text):
            if text.startswith(self.question, match.end()):
                text = blanked(text, match.start(), match.end() + len(self.question))
        return text.replace(self.window, " " * len(self.window)) if self.window else text
