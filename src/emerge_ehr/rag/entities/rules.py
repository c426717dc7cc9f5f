"""Dictionary extraction: the graph's disease names, clinical terms and the cues that decide a mention's status, in one automaton.

``clinical_terms.csv`` maps what clinicians write to names of the disease, of which the first that the graph has is used.
``rag/mentions/matching.py`` decides what counts as a match, ``rag/mentions/context.py`` the status of a mention.
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

MUCH = 100_000_000  # characters from which starting worker processes pays
BLOCK = 500_000  # characters, about, that are searched as one text
TERMS = Path(__file__).with_name("clinical_terms.csv")


@dataclass(frozen=True)
class Options:
    """``terms_file``: a table ``term,names,near,unless`` to use instead of the built-in one; ``minimum_length``: names of the
    graph with fewer characters are not searched for."""

    terms_file: Path = TERMS
    minimum_length: Positive = 4


@dataclass(frozen=True)
class Rules:
    """``prepared``: the patterns, their meanings and the automaton; ``pool``: the processes that read the texts."""

    prepared: Prepared
    pool: Pool

    def extract(self, texts: Sequence[str]) -> list[Extraction]:
        """For each text its mentions in order of position, without overlap."""
        work = Work("entities", self.prepared, _extractions, Json[str](str), Json[Extraction](Extraction))
        extractions = self.pool.map(work, texts, much=sum(map(len, texts)) >= MUCH)
        return list(bar(extractions, title="entities", unit="text", total=len(texts)))


def build(options: Options, *, graph: KnowledgeGraph, pool: Pool = LOCAL) -> EntityExtractor:
    """The extractor over the graph's names and the clinical terms.

    Raises:
        UserError: the terms file is missing or has another form.
    """
    patterns = dictionary(graph, options.terms_file, options.minimum_length)
    return Rules(prepare(patterns), pool)


def _extractions(prepared: Prepared, texts: Sequence[str]) -> list[Extraction]:
    return [Extraction(mentions, "rules") for block in _blocks(texts) for mentions in _mentions(prepared, block)]


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


def _mentions(prepared: Prepared, texts: Sequence[str]) -> list[tuple[Entity, ...]]:
    return [
        _read(text, _with_definitions(matches, text, prepared.patterns))
        for text, matches in zip(texts, search(prepared, texts), strict=True)
    ]


def _read(text: str, events: Sequence[Event]) -> tuple[Entity, ...]:
    """The mentions among the events, each with the status that the cues give it."""
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


def _with_definitions(matches: FoundName, text: str, patterns: Mapping[str, Entry]) -> list[Event]:
    """The events, with abbreviations read as the text itself defines them.

    An abbreviation of a mention means that disease wherever it stands; an abbreviation of anything else means no disease.
    """
    if "(" not in text:
        return matches.events
    target_by_end = {end: entry for _, end, _, entry in matches.events if isinstance(entry, Target)}

    def matters(short: str, end: int) -> bool:
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
    return _merged(others, [(start, end, matches.sentence(start), target) for start, end, target in places])


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
