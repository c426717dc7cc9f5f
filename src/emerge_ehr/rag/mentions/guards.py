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
from emerge_ehr.rag.mentions.folding import LETTER, SPACE, letters_of
from emerge_ehr.rag.mentions.forms import CLOSING, ENDS_OF_SIGNS, FORM_REACH, YEAR_REACH
from emerge_ehr.rag.mentions.no_disease import BEGINNINGS

Codes = NDArray[np.uint8] | NDArray[np.uint16]
Places = NDArray[np.int64]
Flags = NDArray[np.bool_]

# Kinds of patterns
QUALIFIER, CUE, HEAD, TARGET = range(4)
# What a match needs to be asked: whether it counts, whether a heading or a shared word stands before it or a clinic after it.
COUNTS, FOLLOWED, JOINT, HEADED = 4, 8, 16, 32
# What the reader of the context needs to know of it
FORM, ALONE = 64, 128
SIMPLE = 256  # a cue, or a mention of which nothing is to be asked but whether a qualifier stands before it
KIND, ASKED = 3, COUNTS | FOLLOWED | JOINT | HEADED
SIGNS_IN_WORDS = np.array([int.from_bytes(letters, "big") for letters in (b"neg", b"pos", b"yes")])
NO = int.from_bytes(b"no", "big")
HEADING_REACH = 45  # characters at most between a heading and the finding under it


@dataclass(frozen=True)
class Kinds:
    """By the number of a pattern: its ``kind``; ``unparted``: it is several words that no punctuation may part;
    ``conditional``: words or letters decide if it counts; ``header``, ``listing``: it may open a section, without or with a
    colon; ``labelled``: it may open one itself; ``ahead``, ``back``: it acts on mentions after it, on those before it.
    """

    kind: NDArray[np.uint8]
    unparted: Flags
    conditional: Flags
    header: Flags
    listing: Flags
    labelled: Flags
    ahead: Flags
    back: Flags


def kinds(patterns: Sequence[str], entries: Sequence[Entry]) -> Kinds:
    """The kinds of all patterns."""
    targets = [entry if isinstance(entry, Target) else None for entry in entries]
    cues = [entry if isinstance(entry, Cue) else None for entry in entries]
    each = zip(targets, cues, entries, strict=True)
    return Kinds(
        np.array(
            [TARGET if t else CUE if c else HEAD if isinstance(entry, Head) else QUALIFIER for t, c, entry in each],
            np.uint8,
        ),
        np.array(
            [bool(t and not t.punctuated and text.count(" ") > 2) for t, text in zip(targets, patterns, strict=True)],
            bool,
        ),
        np.array([bool(t and (t.written or t.near or t.unless or t.turned or t.word)) for t in targets], bool),
        np.array([bool(c and (c.section or c.heading)) for c in cues], bool),
        np.array([bool(c and c.status is not None) for c in cues], bool),
        np.array([bool(c and c.labelled) for c in cues], bool),
        np.array([bool(c and c.direction in ("forward", "both", "turn")) for c in cues], bool),
        np.array([bool(c and c.direction in ("backward", "both")) for c in cues], bool),
    )


@dataclass(frozen=True)
class Matches:
    """The matches in a block, ``[M]`` each: the number of the pattern, start, end, number of the first and last sentence."""

    numbers: Places
    starts: Places
    ends: Places
    first: Places
    final: Places


def flags(kinds: Kinds, points: Codes, matches: Matches, sentences: int) -> tuple[NDArray[np.int64], Flags]:
    """For each match its kind and what is to be asked of it; and which matches may count."""
    kind = kinds.kind[matches.numbers]
    target = kind == TARGET
    crossing = matches.first != matches.final
    asked = kind.astype(np.int64)
    asked[target & (kinds.conditional[matches.numbers] | crossing)] |= COUNTS
    at = np.flatnonzero(target)
    starts, ends = matches.starts[at], matches.ends[at]
    after = _letters_after(points, ends)
    asked[at] |= (
        FOLLOWED * _followed(points, ends, after) | JOINT * _joint(points, starts) | HEADED * _headed(points, starts)
    )
    answered = np.isin(after, SIGNS_IN_WORDS) | (after >> 8 == NO)
    asked[at] |= FORM * (_in_form(points, starts, ends, answered) | _dated(points, ends))
    asked[_alone(kinds, points, matches, asked, sentences)] |= ALONE
    asked[(kind == CUE) | (target & (asked & ASKED == 0))] |= SIMPLE
    parted = np.zeros(len(kind), bool)
    several = np.flatnonzero(kinds.unparted[matches.numbers])
    parted[several] = _parted(points, matches.starts[several], matches.ends[several])
    return asked, ~parted


def _beside(points: Codes, places: Places) -> Codes:
    """The characters at the places; beyond the ends of the block those at its ends."""
    characters: Codes = points[np.clip(places, 0, len(points) - 1)]
    return characters


def _parted(points: Codes, starts: Places, ends: Places) -> Flags:
    """Whether punctuation that separates two names lies within each match."""
    marks = _table(",():=[]")[points]
    stops = np.flatnonzero(points[:-1] == ord(".")) + 1
    marks[stops[_blanks()[points[stops]]]] = True
    places = np.flatnonzero(marks)
    parted: Flags = np.searchsorted(places, ends) > np.searchsorted(places, starts)
    return parted


def _letters_after(points: Codes, ends: Places) -> Places:
    """The three letters after the character that follows each match, as one number."""
    letters = np.zeros(len(ends), np.int64)
    for offset in (1, 2, 3):
        letters = letters << 8 | letters_of(_beside(points, ends + offset))
    return letters


def _followed(points: Codes, ends: Places, letters: Places) -> Flags:
    """Whether ``letters`` follow with which what makes a disease's name that of a clinic or a test begins."""
    after = _beside(points, ends)
    followed: Flags = ((after == SPACE) | (after == ord("-"))) & np.isin(letters, _beginnings())
    return followed


def _joint(points: Codes, starts: Places) -> Flags:
    """Whether "and", "or" or a slash may stand before."""
    last, letter = _beside(points, starts - 1), _beside(points, starts - 2) | 32
    joint: Flags = (last == ord("/")) | ((last <= SPACE) & ((letter == ord("d")) | (letter == ord("r"))))
    return joint


def _headed(points: Codes, starts: Places) -> Flags:
    """Whether a colon stands before, near enough to join a heading to its finding."""
    colons = np.append(-HEADING_REACH, np.flatnonzero(points == ord(":")))
    headed: Flags = starts - colons[np.searchsorted(colons, starts) - 1] <= HEADING_REACH
    return headed


def _in_form(points: Codes, starts: Places, ends: Places, signs: Flags) -> Flags:
    """Whether ``forms.mark`` may find something of the mentions, but a year. ``signs``: "neg", "pos", "yes" or "no" follows."""
    nearest = _beside(points, starts - 1)
    before = np.where(nearest == SPACE, _beside(points, starts - 2), nearest)
    bullet = (nearest == SPACE) & (before == ord("-")) & (_beside(points, starts - 3) == ord("\n"))
    signed = (_table("".join(ENDS_OF_SIGNS))[before] & ~bullet) | (
        (before == ord("r")) & (_beside(points, starts - 3) == ord("o"))
    )
    signed |= (before == ord("e")) & (_beside(points, starts - np.where(nearest == SPACE, 3, 2)) == ord("v"))
    follow, second = _beside(points, ends), _beside(points, ends + 1)
    colons = np.flatnonzero((points == ord(":")) | (points == ord("?")))
    colons = np.append(colons, len(points) + FORM_REACH)
    labelled = colons[np.searchsorted(colons, ends)] - ends < FORM_REACH
    closing = _table("".join(CLOSING))
    letter = letters_of(second)
    wordy = (letter > SPACE) | (letter == LETTER) | closing[second] | _table(",/")[second]
    plain = closing[follow] | (~labelled & (_table(",/")[follow] | ((follow == SPACE) & wordy & ~signs)))
    possible: Flags = signed | ~plain
    return possible


def _dated(points: Codes, ends: Places) -> Flags:
    """Whether what may be a year begins soon after each end: 19, 20, an apostrophe, or the brackets around a changed date."""
    at = np.flatnonzero((points == ord("1")) | (points == ord("2")) | (points == ord("'")) | (points == ord("[")))
    if points.dtype != np.uint8:
        at = np.sort(np.append(at, np.flatnonzero(points == ord("’"))))
    first, second = points[at], _beside(points, at + 1)
    digit = (second >= ord("0")) & (second <= ord("9"))
    third = _beside(points, at + 2)
    years = ((first == ord("1")) & (second == ord("9"))) | ((first == ord("2")) & (second == ord("0")))
    years &= (third >= ord("0")) & (third <= ord("9"))
    years |= (first == ord("[")) & (second == ord("*"))
    years |= ((first == ord("'")) | (first == ord("’"))) & digit
    at = np.append(at[years], len(points) + YEAR_REACH)
    dated: Flags = at[np.searchsorted(at, ends)] - ends < YEAR_REACH
    return dated


def _alone(kinds: Kinds, points: Codes, matches: Matches, asked: Places, sentences: int) -> Flags:
    """The mentions that no cue of their sentence can govern, and the cues that can govern nothing in theirs.

    A cue governs what comes after it or before it, as its direction says; a header governs its section besides.
    """
    cue, order = asked & KIND == CUE, np.arange(len(asked))
    first, last = np.full((3, sentences + 1), len(order)), np.full((3, sentences + 1), -1)
    ahead, back = kinds.ahead[matches.numbers], kinds.back[matches.numbers]
    for row, which in enumerate((~cue, ahead, back)):
        at = np.flatnonzero(which)
        last[row, matches.first[at]] = at
        first[row, matches.first[at[::-1]]] = at[::-1]
    for n in np.flatnonzero(matches.first != matches.final).tolist():  # these sentences may turn out to be one
        across = slice(matches.first[n], matches.final[n] + 1)
        first[:, across], last[:, across] = -1, len(order)
    after = _beside(points, matches.ends)
    header = kinds.header[matches.numbers] & (after <= SPACE)
    header |= kinds.listing[matches.numbers] & (after == ord(":")) | kinds.labelled[matches.numbers]
    sentence = matches.first
    idle = cue & ~(ahead & (last[0, sentence] > order)) & ~(back & (first[0, sentence] < order)) & ~header
    mention = (asked & KIND == TARGET) & (asked & FORM == 0)
    alone: Flags = idle | (mention & (first[1, sentence] > order) & (last[2, sentence] < order))
    return alone


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
