"""Dictionary extraction: the graph's disease names, clinical terms and the cues that decide a mention's status, in one automaton.

``clinical_terms.csv`` maps what clinicians write to names of the disease, of which the first that the graph has is used.
``rag/mentions/matching.py`` decides what counts as a match, ``rag/mentions/reading.py`` the status of a mention.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from emerge_ehr.compute import collector
from emerge_ehr.compute.forms import Json, Rows
from emerge_ehr.compute.local import LOCAL
from emerge_ehr.compute.work import Pool, Work
from emerge_ehr.fields import Positive
from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.progress import bar
from emerge_ehr.rag.entities import Entity, EntityExtractor, Extraction
from emerge_ehr.rag.mentions.abbreviations import definitions
from emerge_ehr.rag.mentions.choosing import MADE, Event
from emerge_ehr.rag.mentions.dictionary import Entry, Target, dictionary
from emerge_ehr.rag.mentions.folding import pattern
from emerge_ehr.rag.mentions.guards import ALONE, QUIET
from emerge_ehr.rag.mentions.matching import FoundName, Prepared, prepare, search
from emerge_ehr.rag.mentions.reading import STATUSES, TITLE, Row, read

MUCH = 100_000_000  # characters from which starting worker processes pays
BLOCK = 500_000  # characters, about, that are searched as one text
TERMS = Path(__file__).with_name("clinical_terms.csv")


@dataclass(frozen=True)
class Options:
    """``terms_file``: a table ``term,names,near,unless`` to use instead of the built-in one; ``minimum_length``: names of the
    graph with fewer characters are not searched for; ``candidates``: phrases and titles that no dictionary holds are looked up
    too (``rag/mentions/candidates.py``)."""

    light: ClassVar[bool] = True
    terms_file: Path = TERMS
    minimum_length: Positive = 4
    candidates: bool = True


@dataclass(frozen=True)
class Rules:
    """``prepared``: the patterns, their meanings and the automaton; ``pool``: the processes that read the texts."""

    prepared: Prepared
    pool: Pool

    def extract(self, texts: Sequence[str]) -> list[Extraction]:
        """For each text its mentions in order of position, without overlap."""
        work = Work("entities", self.prepared, _rows, Json[str](str), Rows(4))
        found = bar(
            self.pool.map(work, texts, much=sum(map(len, texts)) >= MUCH),
            title="entities",
            unit="text",
            total=len(texts),
        )
        names = list(self.prepared.names)
        with collector.paused():
            return [_extraction(text, rows, names) for text, rows in zip(texts, found, strict=True)]


def build(options: Options, *, graph: KnowledgeGraph, pool: Pool = LOCAL) -> EntityExtractor:
    """The extractor over the graph's names and the clinical terms.

    Raises:
        UserError: the terms file is missing or has another form.
    """
    patterns = dictionary(graph, options.terms_file, options.minimum_length, options.candidates)
    return Rules(prepare(patterns), pool)


def _extraction(text: str, rows: Sequence[Row], names: Sequence[str]) -> Extraction:
    """The mentions and candidates in the rows."""
    # What Entity(...) does, in half the time: a note holds many.
    entities = [
        tuple.__new__(Entity, (text[start:end], names[name], start, end, STATUSES[status]))
        for start, end, name, status in rows
        if name >= 0
    ]
    if len(entities) == len(rows):
        return Extraction(tuple(entities), "rules", exact=True)
    spoken = [(text[start:end], start, end, STATUSES[status]) for start, end, name, status in rows if name < 0]
    candidates = [Entity(words, words, start, end, status) for words, start, end, status in spoken]
    whole = frozenset((start, end) for start, end, name, _ in rows if name == TITLE)
    return Extraction(tuple(entities), "rules", candidates=tuple(candidates), titles=whole, exact=True)


def _rows(prepared: Prepared, texts: Sequence[str]) -> list[Sequence[Row]]:
    with collector.paused():
        return [rows for block in _blocks(texts) for rows in _read_block(prepared, block)]


def _blocks(texts: Sequence[str]) -> Iterator[list[str]]:
    """The texts in blocks of about ``BLOCK`` characters."""
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


def _read_block(prepared: Prepared, texts: Sequence[str]) -> list[Sequence[Row]]:
    return [
        read(text, _with_definitions(matches, text, prepared.patterns), prepared.names, prepared.vocabulary)
        for text, matches in zip(texts, search(prepared, texts), strict=True)
    ]


def _with_definitions(matches: FoundName, text: str, patterns: Mapping[str, Entry]) -> list[Event]:
    """The events, with abbreviations read as the text itself defines them.

    An abbreviation of a mention means that disease wherever it stands; an abbreviation of anything else means no disease.
    """
    if "(" not in text:
        return matches.events
    target_by_end: dict[int, Target] = {}

    def matters(short: str, end: int) -> bool:
        if not target_by_end:
            target_by_end.update({at: entry for _, at, _, entry, _ in matches.events if isinstance(entry, Target)})
        return end in target_by_end or isinstance(patterns.get(pattern(short)), Target)

    meanings: dict[str, Target | None] = {}
    for definition in definitions(text, matters):
        meanings.setdefault(definition.short, target_by_end.get(definition.end))
    if not meanings:
        return matches.events
    others = [
        event
        for event in matches.events
        if not (isinstance(event[3], Target) and text[event[0] : event[1]] in meanings)
    ]
    places = sorted(_occurrences(meanings, text), key=lambda place: place[:2])
    if places:  # they may be what a cue governs that had nothing to govern
        others = [(*event[:4], event[4] & ~(ALONE | QUIET)) for event in others]
    return _merged(others, [(start, end, matches.sentence(start), target, MADE) for start, end, target in places])


def _occurrences(meanings: Mapping[str, Target | None], text: str) -> Iterator[tuple[int, int, Target]]:
    """Where the abbreviations of diseases stand as whole words: ``(start, end, disease)``."""
    for short, target in meanings.items():
        at = text.find(short) if target is not None else -1
        while at >= 0 and target is not None:
            end = at + len(short)
            if not (text[at - 1 : at].isalnum() or text[end : end + 1].isalnum()):
                yield at, end, target
            at = text.find(short, end)


def _merged(events: list[Event], others: list[Event]) -> list[Event]:
    """Both lists in order of position, without those of ``others`` that overlap an event."""
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
