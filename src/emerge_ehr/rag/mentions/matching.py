"""Finds every pattern of a dictionary in texts; of overlapping matches it keeps the leftmost, and of these the longest.

Many texts are joined and searched as one, so that folding, the automaton and the sentences' ends cost a few array operations
per block instead of per text. A match never reaches from one text into the next.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from emerge_ehr.rag.mentions import guards
from emerge_ehr.rag.mentions.candidates import Head
from emerge_ehr.rag.mentions.choosing import Event, choose
from emerge_ehr.rag.mentions.context import places
from emerge_ehr.rag.mentions.dictionary import Entry, Target
from emerge_ehr.rag.mentions.folding import codes, fold_codes
from emerge_ehr.rag.mentions.guards import Codes, Flags, Kinds, Matches, Places
from emerge_ehr.rag.mentions.lines import breaks
from emerge_ehr.rag.mentions.quiet import quiet
from emerge_ehr.rag.mentions.settled import settled

BETWEEN = "\n\n"  # separates the texts that are searched as one


@dataclass(frozen=True)
class Prepared:
    """``automaton`` finds the patterns; ``entries`` holds what each stands for, by the pattern's number.

    ``vocabulary``: the words of the diseases' names, if candidates are looked for. ``names``: the names of all entries.
    """

    patterns: Mapping[str, Entry]
    automaton: Any
    entries: Sequence[Entry]
    kinds: Kinds
    vocabulary: frozenset[str]
    names: Mapping[str, int]

    def __reduce__(self) -> tuple[Any, tuple[Mapping[str, Entry]]]:
        """Pickle the patterns only: an automaton cannot be pickled, so another process builds its own."""
        return prepare, (self.patterns,)


def prepare(patterns: Mapping[str, Entry]) -> Prepared:
    """The patterns with an automaton over them."""
    from ahocorasick_rs import BytesAhoCorasick, MatchKind

    automaton = BytesAhoCorasick([pattern.encode() for pattern in patterns], matchkind=MatchKind.Standard)
    looked_for = any(isinstance(entry, Head) for entry in patterns.values())
    names = [name for name, entry in patterns.items() if isinstance(entry, Target)] if looked_for else []
    vocabulary = frozenset(word for name in names for word in name.split())
    entries = list(patterns.values())
    targets = dict.fromkeys(entry.name for entry in entries if isinstance(entry, Target))
    numbered = {name: number for number, name in enumerate(targets)}
    return Prepared(patterns, automaton, entries, guards.kinds(list(patterns), entries), vocabulary, numbered)


@dataclass(frozen=True, slots=True)
class FoundName:
    """The matches in one text, in order of position.

    ``stops``: where the sentences of all texts end that were searched as one, in which this begins at ``offset``; ``bridged``:
    the number of a sentence that begins within a mention -> the number of the sentence that it belongs to (``choosing.py``).
    """

    events: list[Event]
    stops: Places
    offset: int
    bridged: Mapping[int, int]

    def sentence(self, position: int) -> int:
        """The number of the sentence at a position."""
        number = int(np.searchsorted(self.stops, self.offset + position, side="right"))
        return self.bridged.get(number, number)


def search(prepared: Prepared, texts: Sequence[str]) -> Iterator[FoundName]:
    """The matches in each text, in the order of ``texts``."""
    joined = BETWEEN.join(texts)
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    offsets = np.concatenate([[0], np.cumsum(lengths + len(BETWEEN))[:-1]])
    points = codes(joined)
    stops = breaks(joined, points)
    matches = _matches(prepared, points, offsets, offsets + lengths, stops)
    asked = guards.asked(prepared.kinds, joined, points, matches)
    taken, away = settled(asked, matches.starts, matches.ends)
    matches, asked, taken = matches.where(~away), asked[~away], taken[~away]
    asked |= guards.in_form(points, matches, asked)
    asked |= quiet(prepared.kinds, points, matches, asked, len(stops))
    text = np.searchsorted(offsets, matches.starts, side="right") - 1
    place = (matches.starts - offsets[text], matches.ends - offsets[text], matches.first)
    numbers, rest = matches.numbers, ~taken
    bounds = np.searchsorted(text[taken], np.arange(len(texts) + 1))
    events = _rows(prepared, place, numbers, asked, taken)
    earlier = np.cumsum(taken) - bounds[text]  # settled matches before each in its text
    open_matches = _rows(prepared, (earlier, *place, matches.final), numbers, asked, rest)
    until = np.searchsorted(text[rest], np.arange(len(texts) + 1)).tolist()
    begins, at = offsets.tolist(), bounds.tolist()
    for n, single in enumerate(texts):
        own, bridged = events[at[n] : at[n + 1]], dict[int, int]()
        if until[n] < until[n + 1]:
            own, bridged = choose(prepared.patterns, single, own, open_matches[until[n] : until[n + 1]])
        yield FoundName(own, stops, begins[n], bridged)


def _rows(prepared: Prepared, columns: Sequence[Places], numbers: Places, asked: Places, which: Flags) -> list[Any]:
    """Of the matches ``which``: the columns, the entry of the dictionary, and what is to be asked."""
    entries = map(prepared.entries.__getitem__, numbers[which].tolist())
    return list(zip(*(column[which].tolist() for column in columns), entries, asked[which].tolist(), strict=True))


def _matches(prepared: Prepared, points: Codes, offsets: Places, stops_of_texts: Places, stops: Places) -> Matches:
    """The matches that may count, by start, and of equal ones the longest first; none reaches from one text into the next.

    ``offsets``, ``stops_of_texts``: where the texts begin and end; ``stops``: where their sentences end.
    """
    folded = fold_codes(points)
    found = prepared.automaton.find_matches_as_indexes(folded.text.encode(), overlapping=True)
    hits = np.fromiter(chain.from_iterable(found), np.int64, 3 * len(found)).reshape(-1, 3)
    hits = hits[np.argsort((hits[:, 1] << 16) - hits[:, 2] + hits[:, 1], kind="stable")]
    numbers, (starts, ends) = hits[:, 0], places(folded, hits)
    within = ends <= stops_of_texts[np.searchsorted(offsets, starts, side="right") - 1]
    which = within & guards.may_count(prepared.kinds, points, numbers, starts, ends)
    numbers, starts, ends = numbers[which], starts[which], ends[which]
    first, final = np.searchsorted(stops, starts, side="right"), np.searchsorted(stops, ends - 1, side="right")
    # "GBS. Negative for gout" holds no "GBS negative"
    return Matches(numbers, starts, ends, first, final).where(~prepared.kinds.idle[numbers] | (first == final))
