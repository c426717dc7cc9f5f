"""Decides for all matches of a block at once which of the slower checks one by one can be spared.

A guard looks at the characters next to a match. Where it finds nothing, the check that it stands before would find nothing
either; where it finds something, the check decides. So guards change no result.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.rag.mentions.candidates import Head
from emerge_ehr.rag.mentions.cues import Cue
from emerge_ehr.rag.mentions.dictionary import Entry, Target
from emerge_ehr.rag.mentions.folding import LETTER, SPACE, by_code, letters_of
from emerge_ehr.rag.mentions.forms import CLOSING, ENDS_OF_SIGNS, FORM_REACH, VALUE, YEAR_REACH
from emerge_ehr.rag.mentions.no_disease import BEGINNINGS

Codes = NDArray[np.uint8] | NDArray[np.uint16]
Places = NDArray[np.int64]
Flags = NDArray[np.bool_]

# Kinds of patterns
QUALIFIER, CUE, HEAD, TARGET = range(4)
# What is to be asked of a match: whether it counts, whether a clinic follows it, a shared word stands before it, a heading stands
# before it, or a word after its colon belongs to it.
COUNTS, FOLLOWED, JOINT, HEADED, VALUED = 4, 8, 16, 32, 64
KIND, ASKED = 3, COUNTS | FOLLOWED | JOINT | HEADED | VALUED
# What the reader of the context needs to know of it: whether a form may be around it; see ``quiet.py`` for the others.
FORM, ALONE, QUIET = 128, 256, 512
SIGNS_IN_WORDS = np.array([int.from_bytes(letters, "big") for letters in (b"neg", b"pos", b"yes")])
NO = int.from_bytes(b"no", "big")
HEADING_REACH = 45  # characters at most between a heading and the finding under it


@dataclass(frozen=True)
class Kinds:
    """By the number of a pattern: its ``kind``; ``words``: how many it has; ``unparted``: it is several words that no punctuation
    may part; ``conditional``: words or letters nearby decide if it counts; ``written``: the row of ``letters`` that holds the
    letters with which alone it counts, or -1; ``header``, ``listing``: it may open a section, without or with a colon;
    ``labelled``: it may open one itself; ``ahead``: it governs mentions after it; ``turn``: it ends what governs those; ``back``:
    it governs mentions before it; ``yields``: it may instead govern the one after it; ``idle``: it
    only keeps its words from being read otherwise; ``longer``: words after it may belong to the phrase that it ends.
    """

    kind: NDArray[np.uint8]
    words: NDArray[np.uint8]
    unparted: Flags
    conditional: Flags
    written: NDArray[np.int64]
    letters: NDArray[np.int64]
    header: Flags
    listing: Flags
    labelled: Flags
    ahead: Flags
    turn: Flags
    back: Flags
    yields: Flags
    idle: Flags
    longer: Flags


def kinds(patterns: Sequence[str], entries: Sequence[Entry]) -> Kinds:
    """The kinds of all patterns."""
    targets = [entry if isinstance(entry, Target) else None for entry in entries]
    cues = [entry if isinstance(entry, Cue) else None for entry in entries]
    words = np.array([min(text.count(" ") - 1, 255) for text in patterns], np.uint8)
    each = zip(targets, cues, entries, strict=True)
    kind = np.array(
        [TARGET if t else CUE if c else HEAD if isinstance(entry, Head) else QUALIFIER for t, c, entry in each],
        np.uint8,
    )
    written, letters = _written(targets)
    return Kinds(
        kind,
        words,
        np.array([bool(t and not t.punctuated) for t in targets], bool) & (words > 1),
        np.array([bool(t and (t.near or t.unless or t.turned or t.word)) for t in targets], bool),
        written,
        letters,
        np.array([bool(c and (c.section or c.heading)) for c in cues], bool),
        np.array([bool(c and c.status is not None) for c in cues], bool),
        np.array([bool(c and c.labelled) for c in cues], bool),
        np.array([bool(c and (c.direction in ("forward", "both") or c.turn == "now")) for c in cues], bool),
        np.array([bool(c and c.direction == "turn" and c.turn != "now") for c in cues], bool),
        np.array([bool(c and c.direction in ("backward", "both")) for c in cues], bool),
        np.array([bool(c and c.yields) for c in cues], bool),
        np.array([bool(c and c.direction == "nothing") for c in cues], bool),
        np.array([isinstance(entry, Head) and entry.kind == "modifier" for entry in entries], bool),
    )


def _written(targets: Sequence[Target | None]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each target its row in a table of the letters with which alone it counts, or -1; and the table, filled up with 0."""
    spelled = [target.written if target else None for target in targets]
    listed = [letters for letters in spelled if letters is not None]
    rows = np.full(len(targets), -1, np.int64)
    rows[[n for n, letters in enumerate(spelled) if letters is not None]] = np.arange(len(listed))
    table = np.zeros((len(listed), max(map(len, listed), default=0)), np.int64)
    for row, letters in zip(table, listed, strict=True):
        row[: len(letters)] = np.minimum([ord(letter) for letter in letters], 0xFFFF)
    return rows, table


@dataclass(frozen=True)
class Matches:
    """The matches in a block, ``[M]`` each: the number of the pattern, start, end, number of the first and last sentence."""

    numbers: Places
    starts: Places
    ends: Places
    first: Places
    final: Places

    def where(self, which: Flags) -> "Matches":
        """The matches of which ``which`` is true."""
        return Matches(self.numbers[which], self.starts[which], self.ends[which], self.first[which], self.final[which])


def may_count(kinds: Kinds, points: Codes, numbers: Places, starts: Places, ends: Places) -> Flags:
    """Which matches may count: not those in other letters than the pattern asks for, nor those that punctuation parts."""
    counting = np.ones(len(numbers), bool)
    row = kinds.written[numbers]
    at = np.flatnonzero(row >= 0)
    letters = kinds.letters[row[at]]
    column = np.arange(letters.shape[1])
    same = (beside(points, starts[at][:, None] + column) == letters) | (letters == 0)
    counting[at] = same.all(axis=1) & ((letters > 0).sum(axis=1) == ends[at] - starts[at])
    several = np.flatnonzero(kinds.unparted[numbers])
    counting[several] = ~_parted(points, starts[several], ends[several])
    return counting


def asked(kinds: Kinds, text: str, points: Codes, matches: Matches) -> Places:
    """For each match its kind and what is to be asked of it before it is taken; ``text``: that of the block."""
    asked = kinds.kind[matches.numbers].astype(np.int64)
    at = np.flatnonzero(asked == TARGET)
    numbers, starts, ends = matches.numbers[at], matches.starts[at], matches.ends[at]
    crossing = matches.first[at] != matches.final[at]
    asked[at] |= (
        COUNTS * (kinds.conditional[numbers] | crossing)
        | FOLLOWED * _followed(points, ends)
        | JOINT * (_joint(points, starts) & (kinds.words[numbers] > 1))
        | HEADED * _headed(points, starts)
    )
    for n in at[beside(points, ends) == ord(":")].tolist():
        asked[n] |= VALUED * (VALUE.match(text, matches.ends[n]) is not None)
    return asked


def in_form(points: Codes, matches: Matches, asked: Places) -> Places:
    """For each match ``FORM`` if it is a mention of which ``forms.mark`` may find something."""
    form = np.zeros(len(asked), np.int64)
    at = np.flatnonzero(asked & KIND == TARGET)
    starts, ends = matches.starts[at], matches.ends[at]
    form[at] = FORM * (_marked(points, starts, ends, _letters_after(points, ends)) | _dated(points, ends))
    return form


def beside(points: Codes, places: Places) -> Codes:
    """The characters at the places; beyond the ends of the block those at its ends."""
    characters: Codes = points[np.clip(places, 0, len(points) - 1)]
    return characters


def next_of(places: Places, starts: Places, otherwise: int) -> Places:
    """The first of ``places``, which ascend, at or after each of ``starts``; ``otherwise`` where there is none."""
    following: Places = np.append(places, otherwise)[np.searchsorted(places, starts)]
    return following


def _parted(points: Codes, starts: Places, ends: Places) -> Flags:
    """Whether punctuation that separates two names lies within each match."""
    places = np.flatnonzero(by_code(_table(",.():=[]"), points))
    stops = points[places] == ord(".")
    places = (places + stops)[~stops | _blanks()[beside(points, places + 1)]]  # of ". " the blank
    parted: Flags = np.searchsorted(places, ends) > np.searchsorted(places, starts)
    return parted


def _letters_after(points: Codes, ends: Places) -> Places:
    """The three letters after the character that follows each match, as one number."""
    letters = np.zeros(len(ends), np.int64)
    for offset in (1, 2, 3):
        letters = letters << 8 | letters_of(beside(points, ends + offset))
    return letters


def _followed(points: Codes, ends: Places) -> Flags:
    """Whether letters follow with which what makes a disease's name that of a clinic or a test begins."""
    after = beside(points, ends)
    followed: Flags = (after == SPACE) | (after == ord("-"))
    followed[followed] = np.isin(_letters_after(points, ends[followed]), _beginnings())
    return followed


def _joint(points: Codes, starts: Places) -> Flags:
    """Whether "and", "or" or a slash stands before."""
    last, fourth = beside(points, starts - 1), beside(points, starts - 4) | 32
    third, second = beside(points, starts - 3) | 32, beside(points, starts - 2) | 32
    word = (third == ord("n")) & (second == ord("d")) & (fourth == ord("a")) | (third == ord("o")) & (
        second == ord("r")
    )
    joint: Flags = (last == ord("/")) | ((last == SPACE) | (last == ord("\n"))) & word
    return joint


def _headed(points: Codes, starts: Places) -> Flags:
    """Whether a colon stands before on the same line, near enough to join a heading to its finding."""
    colons = np.append(-HEADING_REACH, np.flatnonzero(points == ord(":")))
    colon = colons[np.searchsorted(colons, starts) - 1]
    headed: Flags = starts - colon <= HEADING_REACH
    newlines = np.append(-1, np.flatnonzero(points == ord("\n")))
    headed[headed] = newlines[np.searchsorted(newlines, starts[headed]) - 1] < colon[headed]
    return headed


def _marked(points: Codes, starts: Places, ends: Places, letters: Places) -> Flags:
    """Whether ``forms.mark`` may find something of the mentions, but a year. ``letters``: the three that follow."""
    signs = np.isin(letters, SIGNS_IN_WORDS) | (letters >> 8 == NO)
    nearest = beside(points, starts - 1)
    before = np.where(nearest == SPACE, beside(points, starts - 2), nearest)
    bullet = (nearest == SPACE) & (before == ord("-")) & (beside(points, starts - 3) == ord("\n"))
    signed = (_table("".join(ENDS_OF_SIGNS))[before] & ~bullet) | (
        (before == ord("r")) & (beside(points, starts - 3) == ord("o"))
    )
    signed |= (before == ord("e")) & (beside(points, starts - np.where(nearest == SPACE, 3, 2)) == ord("v"))
    follow, second = beside(points, ends), beside(points, ends + 1)
    colons = np.flatnonzero(by_code(_table(":?"), points))
    labelled = next_of(colons, ends, len(points) + FORM_REACH) - ends < FORM_REACH
    closing = _table("".join(CLOSING))
    letter = letters_of(second)
    wordy = (letter > SPACE) | (letter == LETTER) | closing[second] | _table(",/")[second]
    plain = closing[follow] | (~labelled & (_table(",/")[follow] | ((follow == SPACE) & wordy & ~signs)))
    possible: Flags = signed | ~plain
    return possible


def _dated(points: Codes, ends: Places) -> Flags:
    """Whether what may be a year begins soon after each end: 19, 20, an apostrophe, or the brackets around a changed date."""
    at = np.flatnonzero(by_code(_table("12'’["), points))
    first, second = points[at], beside(points, at + 1)
    digit = (second >= ord("0")) & (second <= ord("9"))
    third = beside(points, at + 2)
    years = ((first == ord("1")) & (second == ord("9"))) | ((first == ord("2")) & (second == ord("0")))
    years &= (third >= ord("0")) & (third <= ord("9"))
    years |= (first == ord("[")) & (second == ord("*"))
    years |= ((first == ord("'")) | (first == ord("’"))) & digit
    dated: Flags = next_of(at[years], ends, len(points) + YEAR_REACH) - ends < YEAR_REACH
    return dated


@cache
def _table(characters: str) -> Flags:
    """By code point, whether it is one of the characters."""
    table = np.zeros(0x10000, bool)
    table[[ord(character) for character in characters]] = True
    return table


@cache
def _blanks() -> Flags:
    """By code point, whether it is white space."""
    return np.array([chr(code).isspace() for code in range(0x10000)])


@cache
def _beginnings() -> Places:
    """The beginnings of what may follow, three letters as one number."""
    return np.array(sorted(int.from_bytes(letters.encode("ascii"), "big") for letters in BEGINNINGS))
