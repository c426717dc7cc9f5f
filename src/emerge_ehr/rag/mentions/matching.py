"""Finds every pattern of a dictionary in texts; of overlapping matches it keeps the leftmost, and of these the longest.

Many texts are joined and searched as one, so that folding, the automaton and the sentences' ends cost a few array operations
per block instead of per text. A match never reaches from one text into the next.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.rag.mentions.context import breaks, places
from emerge_ehr.rag.mentions.dictionary import NEAR, WORDS, Entry, Target
from emerge_ehr.rag.mentions.folding import codes, fold_codes, pattern

BETWEEN = "\n\n"  # separates the texts that are searched as one
INSIDE = re.compile(r"[,():=\[\]]|\.\s")  # punctuation that separates two names
PHRASE_END = re.compile(r"[ \t]*(?:[,.;:)\n]|$)|[ \t]+(?:and|or|with|who)\b")
JOINTS = ("and ", " or ", "/or ", "and\n", " or\n", "/")
JOINED = re.compile(r"(?<!\w)([A-Za-z]{3,})(?:\s+(?:and|or|and/or)\s+|/)\Z")
Event = tuple[int, int, int, Entry]  # start, end, number of the sentence, entry of the dictionary
Match = tuple[int, int, int, int, int]  # number of the pattern, start, end, number of the first and the last sentence


@dataclass(frozen=True)
class Prepared:
    """``automaton`` finds the patterns; ``entries`` holds what each stands for, by the pattern's number."""

    patterns: Mapping[str, Entry]
    automaton: Any
    entries: Sequence[Entry]

    def __reduce__(self) -> tuple[Any, tuple[Mapping[str, Entry]]]:
        """Pickle the patterns only: an automaton cannot be pickled, so another process builds its own."""
        return prepare, (self.patterns,)


def prepare(patterns: Mapping[str, Entry]) -> Prepared:
    """The patterns with an automaton over them."""
    from ahocorasick_rs import AhoCorasick, MatchKind

    return Prepared(patterns, AhoCorasick(list(patterns), matchkind=MatchKind.Standard), list(patterns.values()))


@dataclass(frozen=True, slots=True)
class FoundName:
    """The matches in one text, in order of position.

    ``stops``: where its sentences end; ``first``: the number of its first sentence; ``bridged``: the number of a sentence that
    begins within a mention, as after the full stop of "C. diff" -> the number of the sentence that it belongs to.
    """

    events: list[Event]
    stops: NDArray[np.int64]
    first: int
    bridged: Mapping[int, int]

    def sentence(self, position: int) -> int:
        """The number of the sentence at a position."""
        number = self.first + int(np.searchsorted(self.stops, position, side="right"))
        return self.bridged.get(number, number)


def search(prepared: Prepared, texts: Sequence[str]) -> Iterator[FoundName]:
    """The matches in each text, in the order of ``texts``."""
    joined = BETWEEN.join(texts)
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    offsets = np.concatenate([[0], np.cumsum(lengths + len(BETWEEN))[:-1]])
    points = codes(joined)
    folded = fold_codes(points)
    matches = prepared.automaton.find_matches_as_indexes(folded.text, overlapping=True)
    hits = np.fromiter(chain.from_iterable(matches), np.int64, 3 * len(matches)).reshape(-1, 3)
    hits = hits[np.argsort((hits[:, 1] << 16) - hits[:, 2] + hits[:, 1])]  # by start, the longest first
    starts, ends = places(folded, hits)
    text = np.searchsorted(offsets, starts, side="right") - 1
    within = ends <= offsets[text] + lengths[text]
    hits, starts, ends, text = hits[within], starts[within], ends[within], text[within]
    stops = breaks(joined, points)
    first, final = np.searchsorted(stops, starts, side="right"), np.searchsorted(stops, ends - 1, side="right")
    columns = [column.tolist() for column in (hits[:, 0], starts - offsets[text], ends - offsets[text], first, final)]
    rows = np.searchsorted(text, np.arange(len(texts) + 1)).tolist()
    at = np.searchsorted(stops, offsets, side="right").tolist()
    until = np.searchsorted(stops, offsets + lengths, side="right").tolist()
    for n, single in enumerate(texts):
        part = slice(rows[n], rows[n + 1])
        events, bridged = _select(prepared, single, zip(*(column[part] for column in columns), strict=True))
        yield FoundName(events, stops[at[n] : until[n]] - offsets[n], at[n], bridged)


def _select(prepared: Prepared, text: str, matches: Iterator[Match]) -> tuple[list[Event], dict[int, int]]:
    """The matches that count and do not overlap, and the bridged sentences; a qualifier becomes part of the mention after it."""
    events: list[Event] = []
    bridged: dict[int, int] = {}
    free, qualified = 0, (-1, -1)
    for number, start, end, first, final in matches:
        if start < free:
            continue
        entry = prepared.entries[number]
        sentence = bridged.get(first, first) if bridged else first
        if isinstance(entry, Target):
            if not _counts(entry, text, start, end, first != final):
                continue
            if first != final:
                bridged.update(dict.fromkeys(range(first + 1, final + 1), sentence))
            begin = qualified[0] if qualified[1] > start - 3 and _joined(text, *qualified, start) else start
            if text[max(start - 4, 0) : start].lower().endswith(JOINTS) and (
                shared := _shares_last_words(prepared, text, start, end, free)
            ):
                events.append((*shared[:2], sentence, shared[2]))
            events.append((begin, end, sentence, entry))
        elif entry is None:
            qualified = (qualified[0] if _joined(text, *qualified, start) else start, end)
            continue
        else:
            events.append((start, end, sentence, entry))
        free = end
    return events, bridged


def _joined(text: str, begin: int, end: int, start: int) -> bool:
    """Whether only a space or a hyphen lies between the end of a qualifier, ``text[begin:end]``, and ``start``."""
    return begin >= 0 and 0 < start - end < 3 and text[end:start].strip(" -\n") == ""


def _shares_last_words(
    prepared: Prepared, text: str, start: int, end: int, free: int
) -> tuple[int, int, Target] | None:
    """The word before "and" that shares the mention's last words, with its start, end and meaning; None if there is none.

    For "ovarian cancer" after "breast and" that is "breast", which stands for breast cancer.
    """
    joined = JOINED.search(text, max(start - 40, free), start)
    last_words = text[start:end].split(maxsplit=1)[1:]
    if joined is None or not last_words:
        return None
    entry = prepared.patterns.get(pattern(f"{joined[1]} {last_words[0]}"))
    return (joined.start(1), joined.end(1), entry) if isinstance(entry, Target) and entry.written is None else None


def _counts(target: Target, text: str, start: int, end: int, crosses: bool) -> bool:
    """Whether the match ``text[start:end]`` means the target; ``crosses``: a sentence ends within it."""
    if target.written is not None and text[start:end] != target.written:
        return False
    if target.punctuated:
        if crosses and "\n\n" in text[start:end]:
            return False
    elif crosses or INSIDE.search(text, start, end):
        return False
    if target.turned and ("," not in text[start:end] or not PHRASE_END.match(text, end)):
        return False
    if target.near is None and target.unless is None and target.written not in WORDS:
        return True
    return _context_allows(target, text, start, end)


def _in_capitals(text: str, start: int, end: int) -> bool:
    """Whether the text nearby is all in capitals, where an abbreviation cannot be distinguished from a word."""
    around = text[max(start - 20, 0) : start] + text[end : end + 20]
    return around.isupper() and sum(letter.isalpha() for letter in around) > 10


def _context_allows(target: Target, text: str, start: int, end: int) -> bool:
    if target.written in WORDS and _in_capitals(text, start, end):
        return False
    if text[end : end + 1] == ":" and not text[text.rfind("\n", 0, start) + 1 : start].strip():
        return False  # a header, such as "PE:" for physical examination
    around = text[max(start - NEAR, 0) : end + NEAR]
    if target.near is not None and not _words(target.near).search(around):
        return False
    return target.unless is None or not _words(target.unless).search(around)


@cache
def _words(listed: str) -> re.Pattern[str]:
    return re.compile("|".join(rf"(?<!\w){re.escape(word)}(?!\w)" for word in listed.split("|")), re.I)
