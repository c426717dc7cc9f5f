"""Finds every pattern of a dictionary in texts; of overlapping matches it keeps the leftmost, and of these the longest.

Many texts are joined and searched as one, so that folding, the automaton and the sentences' ends cost a few array operations
per block instead of per text. A match never reaches from one text into the next.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.rag.mentions import guards
from emerge_ehr.rag.mentions.candidates import Head
from emerge_ehr.rag.mentions.context import places
from emerge_ehr.rag.mentions.dictionary import HEADERS, NEAR, Entry, Target
from emerge_ehr.rag.mentions.folding import codes, fold_codes, pattern
from emerge_ehr.rag.mentions.guards import HEADING_REACH, SIMPLE, Kinds, Matches
from emerge_ehr.rag.mentions.lines import breaks, wrapped
from emerge_ehr.rag.mentions.no_disease import FOLLOWED

BETWEEN = "\n\n"  # separates the texts that are searched as one
# What may stand between a heading and the finding under it: "chest pain / ASHD: hyperlipidemia", "Strokes: stroke"
HEADED = re.compile(r"(?: / [^:\n/]{1,30})?:[ \t]*(?:\w+ )?")
# A heading that names a class of diseases, of which the finding is one: "valve disease: mitral stenosis"
CLASS = re.compile(
    r"\b(?:(?:disease|disorder|dementia|malignancy|infection|dysfunction)s?|injury|malignancies"
    r"|(?:arrhythmia|dysrhythmia)s?|(?:anemia|cancer|tumor)s)\Z",
    re.IGNORECASE,
)
DENYING = re.compile(r":[ \t]*(?:no|not|denies|without|never|negative|neg)\b", re.IGNORECASE)
VALUE = re.compile(r":[ \t]*([A-Za-z]{4,})(?=[ \t]*(?:$|[\n:,;.)]))")  # of a form's line
NUMBER = r"[<>~=]?\d+(?:\.\d+)?(?![\d)])"  # "PE 2)" is the end of a list's item
PHRASE_END = re.compile(r"[ \t]*(?:[,.;:)\n]|$)|[ \t]+(?:and|or|with|who)\b")
JOINTS = ("and ", " or ", "/or ", "and\n", " or\n", "/")
JOINT = re.compile(r"(?:,?\s+(?:and|or|and/or)\s+|/)\Z")
LISTED = re.compile(r",\s{1,2}\Z")
LONGEST_JOINT = 12  # characters
SHORTEST = 2  # characters of what shares the last words
JOINED_REACH = 120  # characters before a mention within which what shares its last words may begin
INHERITANCE = re.compile(r"(?:autosomal|x)[ -]", re.IGNORECASE)
# Start, end, number of the sentence, entry of the dictionary, what is to be asked of it (``guards.py``)
Event = tuple[int, int, int, Entry, int]
# Number of the pattern, start, end, number of the first and the last sentence, what is to be asked of it
Match = tuple[int, int, int, int, int, int]


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
    from ahocorasick_rs import AhoCorasick, MatchKind

    automaton = AhoCorasick(list(patterns), matchkind=MatchKind.Standard)
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
    asked, kept = guards.flags(prepared.kinds, points, Matches(hits[:, 0], starts, ends, first, final), len(stops))
    begin = offsets[text]
    columns = [column[kept].tolist() for column in (hits[:, 0], starts - begin, ends - begin, first, final, asked)]
    text = text[kept]
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
    entries, free, qualified = prepared.entries, 0, (-1, -1)
    for number, start, end, first, final, asked in matches:
        if start < free:
            continue
        entry = entries[number]
        sentence = bridged.get(first, first) if bridged else first
        if asked & SIMPLE and qualified[1] <= start - 3 and text[end : end + 1] != ":":
            events.append((start, end, sentence, entry, asked))
            free = end
            continue
        if isinstance(entry, Target):
            if asked & guards.COUNTS and not _counts(entry, text, start, end, first != final):
                continue
            if asked & guards.FOLLOWED and FOLLOWED.match(text, end):
                free = end  # "heart failure clinic", and no shorter name within it either
                continue
            if first != final:
                bridged.update(dict.fromkeys(range(first + 1, final + 1), sentence))
            begin = qualified[0] if qualified[1] > start - 3 and _joined(text, *qualified, start) else start
            if (
                asked & guards.JOINT
                and text[max(start - 4, 0) : start].lower().endswith(JOINTS)
                and (shared := _sharing_last_words(prepared, text, start, end, free))
            ):
                later = bisect_left(events, shared[0][0], key=itemgetter(0))  # heads of candidates, if any
                joint: list[Event] = [(at, stop, sentence, target, guards.FORM) for at, stop, target in shared]
                events[later:] = sorted([*events[later:], *joint], key=itemgetter(0, 1))
            known = asked if begin == start else guards.FORM | guards.HEADED
            if (
                known & guards.HEADED
                and events
                and ":" in text[max(events[-1][1], begin - HEADING_REACH) : begin]
                and _heads(events[-1], text, begin, entry)
            ):
                events.pop()
            valued = text[end : end + 1] == ":"
            free, meaning = _with_value(prepared, text, start, end, entry) if valued else (end, entry)
            inherited = begin < start and not valued and INHERITANCE.match(text, begin)
            meaning = _inherited(prepared, text[start:end], entry) if inherited else meaning
            events.append((begin, free, sentence, meaning, known))
            continue
        if isinstance(entry, Head):
            events.append((start, end, sentence, entry, asked))
            continue
        if entry is None:
            begin = qualified[0] if _joined(text, *qualified, start) else start
            qualified = (begin, end) if end > qualified[1] else qualified  # not "X-linked" in "X-linked recessive"
            continue
        events.append((start, end, sentence, entry, asked))
        free = end
    return events, bridged


def _heads(event: Event, text: str, begin: int, target: Target) -> bool:
    """Whether the mention before ``begin`` is only a heading of the one that begins there.

    It is if a colon joins them, and the heading names several things ("chest pain / ASHD: hyperlipidemia"), a class ("valve
    disease: mitral stenosis", "anemia: iron deficiency"), or in a list the same disease ("- Strokes: stroke").
    """
    start, end, _, entry, _ = event
    if (
        not isinstance(entry, Target)
        or ":" not in text[end:begin]
        or not (between := HEADED.fullmatch(text, end, begin))
    ):
        return False
    if "/" in between[0] or text[max(start - 3, 0) : start] == " / ":
        return True
    if entry.name == target.name:
        return text[max(start - 3, 0) : start] in ("- ", "\n- ")
    general = CLASS.search(text, start, end) or f" {entry.name} " in f" {target.name} "
    return bool(general) and not DENYING.search(between[0])


def _joined(text: str, begin: int, end: int, start: int) -> bool:
    """Whether only a space or a hyphen lies between the end of a qualifier, ``text[begin:end]``, and ``start``."""
    return begin >= 0 and 0 < start - end < 3 and text[end:start].strip(" -\n") == ""


def _sharing_last_words(
    prepared: Prepared, text: str, start: int, end: int, free: int
) -> list[tuple[int, int, Target]]:
    """What before "and" shares the mention's last words: start, end and meaning of each, in order of position.

    For "ovarian cancer" after "breast and" that is "breast", which stands for breast cancer; after "skin, breast and" both do.
    """
    lowest = max(start - JOINED_REACH, free)
    found: list[tuple[int, int, Target]] = []
    joint = JOINT.search(text, max(start - LONGEST_JOINT, lowest), start)
    if joint is None or joint.start() == lowest:
        return found
    words = pattern(text[start:end]).split()
    endings = [f" {' '.join(words[first:])} " for first in range(1, len(words))]
    while joint and (shared := _with_last_words(prepared, text, lowest, joint.start(), endings)):
        found.append(shared)
        joint = LISTED.search(text, max(shared[0] - 3, lowest), shared[0])
    return found[::-1]


def _with_last_words(
    prepared: Prepared, text: str, lowest: int, end: int, endings: Sequence[str]
) -> tuple[int, int, Target] | None:
    """Start, end and meaning of the two words or the word before ``end``, with the first of the folded endings of a mention that
    makes a name of them; None if none does.
    """
    last = _word_start(text, lowest, end)
    for begin in dict.fromkeys((_word_start(text, lowest, max(last - 1, lowest)), last)):
        if end - begin < SHORTEST or not text[begin].isalpha():
            continue
        item = text[begin:end].lower().replace("-", " ")
        for ending in endings:
            entry = prepared.patterns.get(f" {item}{ending}")
            if isinstance(entry, Target) and entry.written is None:
                return begin, end, entry
    return None


def _word_start(text: str, lowest: int, end: int) -> int:
    """Where the word that ends at ``end`` begins, at ``lowest`` at the earliest."""
    return max(text.rfind(" ", lowest, end) + 1, text.rfind("\n", lowest, end) + 1, lowest)


def _with_value(prepared: Prepared, text: str, start: int, end: int, target: Target) -> tuple[int, Target]:
    """The end and the meaning of a mention before a colon, with the one word after it if that tells which disease it is.

    "perforation: esophageal" is esophageal perforation.
    """
    if value := VALUE.match(text, end):
        surface = text[start:end]
        for words in dict.fromkeys((surface, surface.rsplit(maxsplit=1)[-1])):
            entry = prepared.patterns.get(pattern(f"{value[1]} {words}"))
            if isinstance(entry, Target) and entry.written is None and entry.near is None:
                return value.end(), entry
    return end, target


def _inherited(prepared: Prepared, surface: str, target: Target) -> Target:
    """The meaning of a mention of which a mode of inheritance is told: the hereditary disease of its name, if there is one."""
    entry = prepared.patterns.get(pattern(f"hereditary {surface}"))
    return entry if isinstance(entry, Target) and entry.written is None else target


def _counts(target: Target, text: str, start: int, end: int, crosses: bool) -> bool:
    """Whether the match ``text[start:end]`` means the target; ``crosses``: a sentence ends within it."""
    if target.written is not None and text[start:end] != target.written:
        return False
    if target.punctuated:
        if crosses and "\n\n" in text[start:end]:
            return False
    elif crosses and not wrapped(text, start, end):
        return False
    if target.turned and ("," not in text[start:end] or not PHRASE_END.match(text, end)):
        return False
    plain = target.near is None and target.unless is None and not target.word
    return plain or _context_allows(target, text, start, end)


def _in_capitals(text: str, start: int, end: int) -> bool:
    """Whether the text nearby is all in capitals, where an abbreviation cannot be distinguished from a word."""
    around = text[max(start - 20, 0) : start] + text[end : end + 20]
    return around.isupper() and sum(letter.isalpha() for letter in around) > 10


def _context_allows(target: Target, text: str, start: int, end: int) -> bool:
    if target.word and _in_capitals(text, start, end):
        return False
    if (
        target.written in HEADERS
        and text[end : end + 1] == ":"
        and not text[text.rfind("\n", 0, start) + 1 : start].strip()
    ):
        return False  # a header, such as "PE:" for physical examination
    around = text[max(start - NEAR, 0) : end + NEAR]
    if target.near is not None and not _words(target.near).search(around):
        return False
    return target.unless is None or not _words(target.unless).search(around)


@cache
def _words(listed: str) -> re.Pattern[str]:
    ways = [re.escape(word).replace(r"\#", NUMBER) for word in listed.split("|")]
    ends = [
        (r"(?<!\w)" if word[0].isalnum() else "", r"(?!\w)" if word[-1].isalnum() else "") for word in listed.split("|")
    ]
    return re.compile("|".join(f"{before}{way}{after}" for way, (before, after) in zip(ways, ends, strict=True)), re.I)
