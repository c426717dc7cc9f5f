"""Dictionary extraction: all disease names of the graph, a table of clinical terms and the cues of context in one automaton.

One pass of Aho-Corasick over the folded text finds every whole-word pattern. Of overlapping ones that count, the leftmost and then
the longest stands. ``clinical_terms.csv`` maps what clinicians write to the disease's name: the first name in the graph wins.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge
from tqdm import tqdm

from src.config import Positive
from src.datasets.graphs import KnowledgeGraph
from src.datasets.preprocess.abbreviations import definitions
from src.datasets.preprocess.context import Reader, breaks, places
from src.datasets.preprocess.dictionary import NEAR, WORDS, Entry, Target, dictionary
from src.datasets.preprocess.entities import Entity, Extraction
from src.datasets.preprocess.folding import codes, fold_codes, pattern
from src.datasets.preprocess.in_parallel import in_parallel

TERMS = Path(__file__).with_name("clinical_terms.csv")
INSIDE = re.compile(r"[,():=\[\]]|\.\s")  # punctuation that parts two names
PHRASE_END = re.compile(r"[ \t]*(?:[,.;:)\n]|$)|[ \t]+(?:and|or|with|who)\b")
JOINTS = ("and ", " or ", "/or ", "and\n", " or\n", "/")
JOINED = re.compile(r"(?<!\w)([A-Za-z]{3,})(?:\s+(?:and|or|and/or)\s+|/)\Z")
Event = tuple[int, int, int, Entry]  # start, end, number of the sentence, what it is


@dataclass(frozen=True)
class Options:
    """``terms_file``: a table ``term,names,near,unless`` to use instead of the built-in one. ``minimum_length`` guards short
    names. ``workers``: processes; 0 takes one a core where there is much text."""

    terms_file: Path = TERMS
    minimum_length: Positive = 4
    workers: Annotated[int, Ge(0)] = 0


@dataclass(frozen=True)
class Prepared:
    """``automaton`` over the patterns; ``entries`` says what each stands for, by the pattern's number."""

    patterns: Mapping[str, Entry]
    automaton: Any
    entries: Sequence[Entry]


@dataclass(frozen=True)
class Rules:
    """``patterns``: what is looked for, folded, and what each stands for; ``prepared`` for this process."""

    patterns: Mapping[str, Entry]
    prepared: Prepared
    workers: int

    def extract(self, texts: Sequence[str]) -> list[Extraction]:
        """Mentions in order of position. The number of workers changes no mention."""
        bar = tqdm(total=len(texts), desc="entities", unit="patient", disable=None, leave=False)
        found = in_parallel(texts, self.prepared, _mentions, self.workers, (_prepare, self.patterns))
        extractions = []
        for mentions in found:
            extractions.append(Extraction(mentions, "rules"))
            bar.update()
        bar.close()
        return extractions


def build(options: Options, *, graph: KnowledgeGraph) -> Rules:
    """The extractor over the graph's names and the clinical terms.

    Raises:
        UserError: the terms file is missing or has other columns.
    """
    patterns = dictionary(graph, options.terms_file, options.minimum_length)
    return Rules(patterns, _prepare(patterns), options.workers)


def _prepare(patterns: Mapping[str, Entry]) -> Prepared:
    from ahocorasick_rs import AhoCorasick, MatchKind

    return Prepared(patterns, AhoCorasick(list(patterns), matchkind=MatchKind.Standard), list(patterns.values()))


def _mentions(prepared: Prepared, text: str) -> tuple[Entity, ...]:
    events = _defined(_standing(prepared, text), text)
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


def _standing(prepared: Prepared, text: str) -> list[Event]:
    """What stands of all matches: counted by its guards, leftmost, then longest; a qualifier only as part of a mention."""
    points = codes(text)
    folded = fold_codes(points)
    matches = prepared.automaton.find_matches_as_indexes(folded.text, overlapping=True)
    hits = np.fromiter(chain.from_iterable(matches), np.int64, 3 * len(matches)).reshape(-1, 3)
    hits = hits[np.argsort((hits[:, 1] << 16) - hits[:, 2] + hits[:, 1])]  # by start, the longest first
    starts, ends = places(folded, hits)
    stops = breaks(text, points)
    first, final = np.searchsorted(stops, starts, side="right"), np.searchsorted(stops, ends - 1, side="right")
    columns = (hits[:, 0], starts, ends, first, final)
    events: list[Event] = []
    free, within, qualified = 0, 0, (-1, -1)
    for number, start, end, sentence, sentence_end in zip(*(column.tolist() for column in columns), strict=True):
        if start < free:
            continue
        entry = prepared.entries[number]
        at = sentence - within  # a full stop inside a mention, as in "C. diff", ends no sentence
        if isinstance(entry, Target):
            if not _counts(entry, text, start, end, sentence != sentence_end):
                continue
            begin = qualified[0] if qualified[1] > start - 3 and _joined(text, *qualified, start) else start
            if text[start - 4 : start].lower().endswith(JOINTS) and (
                shared := _shares_last_words(prepared, text, start, end, free)
            ):
                events.append((*shared[:2], at, shared[2]))
            events.append((begin, end, at, entry))
            within += sentence_end - sentence
        elif entry is None:
            qualified = (qualified[0] if _joined(text, *qualified, start) else start, end)
            continue
        else:
            events.append((start, end, at, entry))
        free = end
    return events


def _joined(text: str, begin: int, end: int, start: int) -> bool:
    """Whether only a space or a hyphen lies between the qualifier that ends at ``end`` and ``start``."""
    return begin >= 0 and 0 < start - end < 3 and text[end:start].strip(" -\n") == ""


def _shares_last_words(
    prepared: Prepared, text: str, start: int, end: int, free: int
) -> tuple[int, int, Target] | None:
    """For "ovarian cancer" after "breast and": the word "breast", which stands for breast cancer."""
    joined = JOINED.search(text, max(start - 40, free), start)
    last_words = text[start:end].split(maxsplit=1)[1:]
    if joined is None or not last_words:
        return None
    entry = prepared.patterns.get(pattern(f"{joined[1]} {last_words[0]}"))
    return (joined.start(1), joined.end(1), entry) if isinstance(entry, Target) and entry.written is None else None


def _counts(target: Target, text: str, start: int, end: int, crosses: bool) -> bool:
    if target.written is not None and text[start:end] != target.written:
        return False
    if not target.punctuated and (crosses or INSIDE.search(text, start, end)):
        return False
    if target.punctuated and crosses and "\n\n" in text[start:end]:
        return False
    if target.turned and ("," not in text[start:end] or not PHRASE_END.match(text, end)):
        return False
    if target.written in WORDS and _shouted(text, start, end):
        return False
    if target.near is None and target.unless is None:
        return True
    return _context_allows(target, text, start, end)


def _shouted(text: str, start: int, end: int) -> bool:
    """Whether all around is in capitals, so that an abbreviation cannot be told from a word."""
    around = text[max(start - 20, 0) : start] + text[end : end + 20]
    return around.isupper() and sum(letter.isalpha() for letter in around) > 10


def _context_allows(target: Target, text: str, start: int, end: int) -> bool:
    if text[end : end + 1] == ":" and not text[text.rfind("\n", 0, start) + 1 : start].strip():
        return False  # a header, such as "PE:" for physical examination
    around = text[max(start - NEAR, 0) : end + NEAR]
    if target.near is not None and not _words(target.near).search(around):
        return False
    return target.unless is None or not _words(target.unless).search(around)


@cache
def _words(listed: str) -> re.Pattern[str]:
    return re.compile("|".join(rf"(?<!\w){re.escape(word)}(?!\w)" for word in listed.split("|")), re.I)


def _defined(events: list[Event], text: str) -> list[Event]:
    """The events with the text's own abbreviations: of a mention, it counts wherever it stands; of anything else, nowhere."""
    shorts = list(definitions(text)) if "(" in text else []
    if not shorts:
        return events
    ending = {end: entry for _, end, _, entry in events if isinstance(entry, Target)}
    meanings: dict[str, Target | None] = {}
    for found in shorts:
        meanings.setdefault(found.short, ending.get(found.end))
    kept = [event for event in events if not (isinstance(event[3], Target) and text[event[0] : event[1]] in meanings)]
    return _merged(kept, sorted(_occurrences(meanings, text)), text)


def _occurrences(meanings: Mapping[str, Target | None], text: str) -> Iterator[tuple[int, int, Target]]:
    for short, target in meanings.items():
        at = text.find(short) if target is not None else -1
        while at >= 0 and target is not None:
            end = at + len(short)
            if not (text[at - 1 : at].isalnum() or text[end : end + 1].isalnum()):
                yield at, end, target
            at = text.find(short, end)


def _merged(events: list[Event], found: list[tuple[int, int, Target]], text: str) -> list[Event]:
    """Both in order; where they overlap, the events stand."""
    stops = breaks(text, codes(text))
    numbers = np.searchsorted(stops, [start for start, _, _ in found], side="right").tolist()
    merged: list[Event] = []
    at = 0
    for (start, end, target), number in zip(found, numbers, strict=True):
        while at < len(events) and events[at][0] < start:
            merged.append(events[at])
            at += 1
        clear = at == len(events) or events[at][0] >= end
        if clear and (not merged or merged[-1][1] <= start):
            merged.append((start, end, number, target))
    return merged + events[at:]
