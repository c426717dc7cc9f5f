"""The status of a mention: present, past, denied, of the family, or only considered.

After NegEx (Chapman et al. 2001, doi 10.1006/jbin.2001.1029) and ConText (Harkema et al. 2009, doi 10.1016/j.jbi.2009.05.002):
a cue governs the mentions after it (or before it) in its sentence, up to a turn, a word such as "but" that ends its effect.
Besides, a header such as "Family History:" governs its section. Cues and mentions are read in one pass, in order of position.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.rag.entities import Status
from emerge_ehr.rag.mentions.cues import Cue, phrases
from emerge_ehr.rag.mentions.folding import SPACE, Folded, codes, fold_codes

REACH = 300  # characters after a cue within which it governs, however long the sentence is
BACK = 30  # most characters between a mention and a cue after it that governs it
ORDER: tuple[Status, ...] = (
    "family",
    "negated",
    "hypothetical",
    "historical",
)  # the first wins where several cues govern
LINE_END = re.compile(r"\n(?:[ \t\r]*+\n\s*+|[ \t]*+(?=[-*•#]|\d++[.)]|[A-Z][A-Za-z /]*+:))")
TITLES = ("dr", "mr", "ms", "vs", "st")  # a full stop after these ends no sentence
# A section ends at an empty line or the next header: two capitalised words, a word in capitals or a common header, and a colon.
SECTION_END = re.compile(
    r"\n[ \t\r]*\n|\n[ \t]*(?:[A-Z][A-Za-z]*(?:[ /][A-Za-z&]+){1,5}|[A-Z]{4,}|Allergies|Medications|Assessment|Plan|Labs|"
    r"Vitals|Exam|Imaging|Impression|Findings|Hospital|Discharge|Indication|HPI|Pertinent)[ \t]*:"
)
SECTION_HEAD = re.compile(r"[ \t]*(?::|$)[ \t]*", re.M)
AND = re.compile(r"\s*,?\s*(?:and/or|and|or|nor|/)\s*", re.I)
COMMA = re.compile(r"\s*,\s*")


def sentences(text: str) -> list[int]:
    """Where sentences end, ascending; the last is the text's end.

    >>> sentences("No fever. CHF.")
    [9, 14, 14]
    """
    return [*breaks(text, codes(text)).tolist(), len(text)]


def breaks(text: str, points: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.int64]:
    """Where sentences end, ascending: after ``. ; ! ?`` before white space, and at empty lines, list items and headers.

    ``points``: the text's ``codes``.
    """
    stop_table, title_table = _tables()
    at = np.flatnonzero(stop_table[points])
    following = points[np.minimum(at + 1, max(len(points) - 1, 0))]
    before = (points[np.maximum(at - 2, 0)].astype(np.int64) & 255) << 8 | points[np.maximum(at - 1, 0)] & 255
    titled = title_table[before] & ((at < 3) | (points[np.maximum(at - 3, 0)] <= SPACE))
    ending = ((following <= SPACE) | (at == len(points) - 1)) & ~titled
    lines = np.array([match.end() for match in LINE_END.finditer(text)], dtype=np.int64)
    return np.sort(np.concatenate([at[ending] + 1, lines]))


@cache
def _tables() -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Two tables: by code point, whether it can end a sentence; by two letters' codes, whether they are a title."""
    stops, titles = np.zeros(0x10000, dtype=bool), np.zeros(0x10000, dtype=bool)
    stops[[ord(mark) for mark in ".;!?"]] = True
    for title in TITLES:
        for spelling in (title, title.capitalize(), title.upper()):
            titles[ord(spelling[0]) << 8 | ord(spelling[1])] = True
    return stops, titles


@dataclass(slots=True)
class Reader:
    """Is given the cues and mentions of one text in order of position, each with its sentence's number.

    ``spans`` and ``statuses`` then hold the position and the status of each mention.
    """

    text: str
    spans: list[tuple[int, int]] = field(default_factory=list)
    statuses: list[Status] = field(default_factory=list)
    active: dict[Status, tuple[int, Cue]] = field(default_factory=dict)  # the cues that govern, each with its end
    _sentence: int = -1
    _first: int = 0  # the sentence's first mention
    _section: Status | None = None
    _section_end: int = 0

    def mention(self, start: int, end: int, sentence: int) -> None:
        """Take a mention. Its status is that of the cue that governs it so far; a later cue may change it."""
        if sentence != self._sentence:
            self._enter(sentence)
        status = self._governing(start) if self.active else None
        if status is None and start and self.text[start - 1] == "?":
            status = "hypothetical"
        if status is None and start < self._section_end:
            status = self._section
        self.spans.append((start, end))
        self.statuses.append(status or "present")

    def cue(self, cue: Cue, start: int, end: int, sentence: int) -> None:
        """Take a cue: it begins to govern, ends what governs, or changes the status of mentions before it."""
        if sentence != self._sentence:
            self._enter(sentence)
        if cue.direction == "nothing":
            return
        if cue.direction == "turn":
            self._turn(cue, start)
            return
        if cue.section and self._opens_section(cue, start, end):
            return
        if cue.direction != "forward" and self._govern_back(cue, start):
            return
        if cue.direction == "backward" or cue.status is None:
            return
        if cue.status == "historical" and self.active and self._comma_before(start):
            self.active.clear()
        self.active[cue.status] = (end, cue)

    def _enter(self, sentence: int) -> None:
        self._sentence = sentence
        self.active.clear()
        self._first = len(self.spans)

    def _governing(self, start: int) -> Status | None:
        governing: Status | None = None
        for status in ORDER:
            if status in self.active:
                end, cue = self.active[status]
                if self._reaches(end, cue, start):
                    governing = governing or status
                    if cue.reach != "next":
                        continue
                del self.active[status]
        return governing

    def _reaches(self, end: int, cue: Cue, start: int) -> bool:
        if cue.reach == "list":
            return start - end <= REACH
        if cue.reach == "touching":
            return start - end <= 3
        return start - end <= (REACH if cue.reach == "comma" else BACK) and "," not in self.text[end:start]

    def _turn(self, cue: Cue, start: int) -> None:
        match cue.turn:
            case "all":
                self.active.clear()
            case "family":
                self.active.pop("family", None)
            case "cause":
                self.active.pop("negated", None)
                self.active.pop("hypothetical", None)
            case "after comma":
                if self.active and self._comma_before(start):
                    self.active.clear()

    def _comma_before(self, start: int) -> bool:
        return self.text[max(start - 10, 0) : start].rstrip().endswith(",")

    def _opens_section(self, cue: Cue, start: int, end: int) -> bool:
        """Whether the cue is a header, whose section then begins.

        A header starts a line, is followed by a colon or the line's end, and is in title case, in capitals or alone on its line.
        """
        line = self.text.rfind("\n", 0, start) + 1
        head = SECTION_HEAD.match(self.text, end)
        if self.text[line:start].strip(" \t#*") or not head or head.end() == end:
            return False
        written = self.text[start:end]
        alone = self.text[head.end() : head.end() + 1] in ("", "\n", "\r")
        if not alone and written != written.upper() and written != written.title():
            return False
        filled = re.compile(r"\S").search(self.text, head.end())
        section_end = SECTION_END.search(self.text, filled.start() if filled else len(self.text))
        self._section, self._section_end = cue.status, section_end.start() if section_end else len(self.text)
        return True

    def _govern_back(self, cue: Cue, start: int) -> bool:
        """Whether the cue governs the mention before it; if so, set that mention's status, and that of mentions which "and" or
        "or" joins to it."""
        last = len(self.spans) - 1
        if last < self._first or cue.status is None:
            return False
        between = self.text[self.spans[last][1] : start]
        near = 3 if cue.reach == "touching" or (cue.status == "family" and cue.direction == "both") else BACK
        if len(between) > near or "," in between.strip(" ,:()-\n"):
            return False
        if cue.status == "family" and cue.direction == "both" and not between.strip().startswith(("(", "-", ":")):
            return False
        self._correct(last, cue.status)
        joined = False
        for n in range(last, self._first, -1):
            link = self.text[self.spans[n - 1][1] : self.spans[n][0]]
            joined = joined or AND.fullmatch(link) is not None
            if not joined or not (AND.fullmatch(link) or COMMA.fullmatch(link)):
                break
            self._correct(n - 1, cue.status)
        return True

    def _correct(self, n: int, status: Status) -> None:
        now = self.statuses[n]
        if now == "present" or ORDER.index(status) < ORDER.index(now):
            self.statuses[n] = status


@cache
def _cues() -> tuple[object, Sequence[Cue]]:
    from ahocorasick_rs import AhoCorasick

    listed = phrases()
    return AhoCorasick(list(listed)), tuple(listed.values())


def statuses(text: str, spans: Iterable[tuple[int, int]]) -> list[Status]:
    """The status of each mention ``text[start:end]``; ``spans`` must be in order of position and must not overlap.

    >>> statuses("denies asthma but has gout", [(7, 13), (22, 26)])
    ['negated', 'present']
    """
    points = codes(text)
    folded, ends = fold_codes(points), breaks(text, points).tolist()
    mentions = list(spans)
    reader = Reader(text)
    events: list[tuple[int, int, Cue | None]] = [(start, -end, None) for start, end in mentions]
    events += [(start, -end, cue) for start, end, cue in cue_spans(folded)]
    last = 0
    for start, negative_end, cue in sorted(events, key=lambda event: (event[0], event[1], event[2] is not None)):
        end = -negative_end
        if cue is None:
            reader.mention(start, end, bisect_right(ends, start))
            last = end
        elif start >= last and not any(a < end and start < b for a, b in mentions):
            reader.cue(cue, start, end, bisect_right(ends, start))
            last = end
    return reader.statuses


def cue_spans(folded: Folded) -> list[tuple[int, int, Cue]]:
    """``(start, end, cue)`` in the text for every cue, including those inside longer ones."""
    automaton, listed = _cues()
    hits = np.array(automaton.find_matches_as_indexes(folded.text, overlapping=True), dtype=np.int64).reshape(-1, 3)  # type: ignore[attr-defined]
    starts, ends = places(folded, hits)
    return [(a, b, listed[n]) for n, a, b in zip(hits[:, 0].tolist(), starts.tolist(), ends.tolist(), strict=True)]


def places(folded: Folded, hits: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Start and end in the text, ``[M]`` each, of ``hits [M, 3]``: pattern, start and end in the folded text.

    The patterns begin and end with a space, which does not count.
    """
    return folded.original(hits[:, 1]), folded.original(hits[:, 2] - 3) + 1


def status(text: str, start: int, end: int, sentence_start: int, sentence_end: int) -> Status:
    """The status of one mention within its sentence, regardless of the section it stands in.

    >>> text = "denies asthma but has gout"
    >>> status(text, 7, 13, 0, len(text)), status(text, 22, 26, 0, len(text))
    ('negated', 'present')
    """
    return statuses(text[sentence_start:sentence_end], [(start - sentence_start, end - sentence_start)])[0]
