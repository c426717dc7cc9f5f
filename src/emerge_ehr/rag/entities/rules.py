"""Dictionary extraction: all disease names of the graph, clinical terms and the cues of context in one automaton.

``clinical_terms.csv`` maps what clinicians write to the disease's name: the first of its names in the graph wins. What counts
as a match is said in ``matching.py``, what a mention means in ``context.py``.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from emerge_ehr.compute.forms import Json
from emerge_ehr.compute.local import LOCAL
from emerge_ehr.compute.work import Pool, Work
from emerge_ehr.fields import Positive
from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.progress import bar
from emerge_ehr.rag.entities import Entity, EntityExtractor, Extraction
from emerge_ehr.rag.mentions.abbreviations import definitions
from emerge_ehr.rag.mentions.context import Reader
from emerge_ehr.rag.mentions.dictionary import Entry, Target, dictionary
from emerge_ehr.rag.mentions.folding import pattern
from emerge_ehr.rag.mentions.matching import Event, FoundName, Prepared, prepare, search

MUCH = 100_000_000  # characters from which processes of their own are worth their start
BLOCK = 500_000  # characters, about, that are searched as one
TERMS = Path(__file__).with_name("clinical_terms.csv")


@dataclass(frozen=True)
class Options:
    """``terms_file``: a table ``term,names,near,unless`` to use instead of the built-in one. ``minimum_length`` guards short
    names."""

    terms_file: Path = TERMS
    minimum_length: Positive = 4


@dataclass(frozen=True)
class Rules:
    """``prepared``: what is looked for and what it stands for, in one automaton; ``pool``: who reads the texts."""

    prepared: Prepared
    pool: Pool

    def extract(self, texts: Sequence[str]) -> list[Extraction]:
        """Mentions in order of position."""
        work = Work("entities", self.prepared, _extractions, Json[str](str), Json[Extraction](Extraction))
        found = self.pool.map(work, texts, much=sum(map(len, texts)) >= MUCH)
        return list(bar(found, what="entities", unit="patient", total=len(texts)))


def build(options: Options, *, graph: KnowledgeGraph, pool: Pool = LOCAL) -> EntityExtractor:
    """The extractor over the graph's names and the clinical terms.

    Raises:
        UserError: the terms file is missing or has other columns.
    """
    patterns = dictionary(graph, options.terms_file, options.minimum_length)
    return Rules(prepare(patterns), pool)


def _extractions(prepared: Prepared, texts: Sequence[str]) -> list[Extraction]:
    return [Extraction(mentions, "rules") for block in _blocks(texts) for mentions in _mentions(prepared, block)]


def _blocks(texts: Sequence[str]) -> Iterator[list[str]]:
    block: list[str] = []
    size = 0
    for text in texts:
        block.append(text)
        size += len(text)
        if size >= BLOCK:
            yield block
            block, size = [], 0
    if block:
        yield block


def _mentions(prepared: Prepared, texts: Sequence[str]) -> list[tuple[Entity, ...]]:
    return [
        _read(text, _defined(found, text, prepared.patterns))
        for text, found in zip(texts, search(prepared, texts), strict=True)
    ]


def _read(text: str, events: Sequence[Event]) -> tuple[Entity, ...]:
    """The mentions among the events, each in the light of the cues."""
    reader = Reader(text)
    names = []
    for start, end, sentence, entry in events:
        if isinstance(entry, Target):
            reader.mention(start, end, sentence)
            names.append(entry.name)
        elif entry is not None and (reader.active or entry.direction != "turn"):
            reader.cue(entry, start, end, sentence)
    spans = zip(names, reader.spans, reader.statuses, strict=True)
    return tuple([Entity(text[start:end], name, start, end, status) for name, (start, end), status in spans])


def _defined(found: FoundName, text: str, patterns: Mapping[str, Entry]) -> list[Event]:
    """The events with the text's own abbreviations: of a mention, it counts wherever it stands; of anything else, nowhere."""
    if "(" not in text:
        return found.events
    ending = {end: entry for _, end, _, entry in found.events if isinstance(entry, Target)}
    meanings: dict[str, Target | None] = {}
    for one in definitions(text, lambda short, end: end in ending or isinstance(patterns.get(pattern(short)), Target)):
        meanings.setdefault(one.short, ending.get(one.end))
    if not meanings:
        return found.events
    kept = [
        event for event in found.events if not (isinstance(event[3], Target) and text[event[0] : event[1]] in meanings)
    ]
    places = sorted(_occurrences(meanings, text), key=lambda place: place[:2])
    return _merged(kept, [(start, end, found.sentence(start), target) for start, end, target in places])


def _occurrences(meanings: Mapping[str, Target | None], text: str) -> Iterator[tuple[int, int, Target]]:
    for short, target in meanings.items():
        at = text.find(short) if target is not None else -1
        while at >= 0 and target is not None:
            end = at + len(short)
            if not (text[at - 1 : at].isalnum() or text[end : end + 1].isalnum()):
                yield at, end, target
            at = text.find(short, end)


def _merged(events: list[Event], others: list[Event]) -> list[Event]:
    """Both in order; where they overlap, the first list's stand."""
    merged: list[Event] = []
    at = 0
    for other in others:
        while at < len(events) and events[at][0] < other[0]:
            merged.append(events[at])
            at += 1
        clear = at == len(events) or events[at][0] >= other[1]
        if clear and (not merged or merged[-1][1] <= other[0]):
            merged.append(other)
    return merged + events[at:]
