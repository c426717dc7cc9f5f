"""Where sentences end: at full stops, after "1)" in a list on one line, and at line ends that are no mere wrapping.

In notes a line may be a finding by itself, without bullet or full stop, or a piece of a sentence that was wrapped at some width.
A sentence goes on over a line end if the line is as full as those of its paragraph, if it ends with a comma, a slash or a word
such as "or", or if the next line begins with such a word. It does not go on before bullets, check boxes, numbers and labels
("Heart:"). Where nothing of this decides, a line in small letters goes on a paragraph that ends with a full stop.
"""

import re
from functools import cache

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.rag.mentions.folding import SPACE, by_code, codes

Codes = NDArray[np.uint8] | NDArray[np.uint16]
Places = NDArray[np.int64]

# No note is wrapped at fewer characters than the first or at more than the second.
NARROWEST, WIDEST = 50, 130
LONGEST_WORD = 25
INDENT = 8  # blanks at a line's begin or end that are looked through
TITLES = ("dr", "mr", "ms", "vs", "st")  # a full stop after these ends no sentence
LIST_REACH = 300  # characters on either side of a number within which a list on one line is looked at
LED_INTO = frozenset(("of", "for", "no", "not", "denies", "denied", "without", "r/o", "h/o", "hx", "out", "exclude"))
LATIN = [ord(".") << 8 | ord(letter) for letter in "geGE"]
ABBREVIATED = [ord(letter) for letter in "eiEI"]
# A line that begins with one of these is an item of a list.
BULLETS = frozenset(map(ord, "-*•·▪◦#+|☐☑☒✓✗✔✘?"))
ITEM = re.compile(r"\[[^\[\]\n]{0,2}\]|\([-+xX? ]?\)|\d++[.)](?!\d)")
# A label is an item too, but in small letters it may also be a sentence's middle.
LONGEST_LABEL, LONGEST_SMALL_LABEL = 60, 41  # characters before the colon
# A sentence goes on after a line that ends with one of these words, and before a line that begins with one.
_OPEN_ENDS = (
    "and or nor and/or of with w/ the a an no not for to in on by from at as than that who which "
    "his her their any is was are were "
    "be been has had have without denies denied denying due secondary including both either neither"
)
OPEN_ENDS = frozenset(_OPEN_ENDS.split())
_OPEN_ADJECTIVES = "acute significant focal obvious definite residual"
OPEN_ADJECTIVES = frozenset(_OPEN_ADJECTIVES.split())  # unless they qualify: "failure, acute"
_CONTINUATIONS = (
    "and or nor with of vs versus but who which due secondary while because as than that for to in "
    "on by at from is was are were has "
    "had have been per"
)
CONTINUATIONS = frozenset(_CONTINUATIONS.split())
ALTERNATIVE = re.compile(r"(?:[\w-]+ ){1,3}(?:or|nor)\b")
LIST_CLOSES = re.compile(r"(?:[\w-]+ ){1,3}and\b")
WRAPPED = re.compile(r"[^.;?!\n]*(?:\n[ \t\r]*[a-z][^.;?!\n]*)*")


def sentences(text: str) -> list[int]:
    """Where sentences end, ascending; the last is the text's end.

    >>> sentences("No fever. CHF.")
    [9, 14, 14]
    """
    return [*breaks(text, codes(text)).tolist(), len(text)]


def breaks(text: str, points: Codes) -> Places:
    """Where sentences end, ascending: after ``. ; ! ?`` before white space, and after line ends that are no wrapping.

    ``points``: the text's ``codes``.
    """
    stop_table, title_table = _tables()
    at = np.flatnonzero(by_code(stop_table, points))
    following = _beside(points, at + 1)
    titled = title_table[_pair(points, np.maximum(at - 1, 0))] & ((at < 3) | (points[np.maximum(at - 3, 0)] <= SPACE))
    third = points[np.maximum(at - 3, 0)]
    latin = np.isin(_pair(points, np.maximum(at - 1, 0)), LATIN) & np.isin(third, ABBREVIATED)  # e.g., i.e.
    ending = ((following <= SPACE) | (at == len(points) - 1)) & ~titled & ~latin
    return np.sort(np.concatenate([at[ending] + 1, _numberings(text, points), _line_ends(text, points)]))


def _numberings(text: str, points: Codes) -> Places:
    """The places after "1)", "a)" or "(1)" in a line that also holds the number before or after it, and before a further "#"."""
    if not (")" in text or " #" in text):
        return np.zeros(0, np.int64)
    at = np.flatnonzero((points == ord(")")) | (points == ord("#")))
    second = points[np.maximum(at - 2, 0)]
    mark = points[at] == ord("#")
    at = at[(at > 1) & np.where(mark, points[at - 1] == SPACE, (second <= SPACE) | (second == ord("(")))]
    ends: list[int] = []
    for end in at.tolist():
        before = f" {text[max(end - LIST_REACH, 0) : end].rpartition(chr(10))[2]}"
        after, last = text[end : end + LIST_REACH].partition("\n")[0], text[end - 1]
        opening = "(" if text[end - 2] == "(" else " "
        if text[end] == "#":
            ends += [end] * (" #" in before)
        elif last.isdecimal() or (last.isalpha() and opening == " "):
            previous, following = (f"{opening}{chr(ord(last) + step)})" for step in (-1, 1))
            head = f"{before})".partition(f"{opening}{'1' if last.isdecimal() else 'a'})")[0].lower().split()[-1:]
            if (previous in before or following in after) and not LED_INTO.issuperset(head or [""]):
                ends.append(end + 1)
    return np.array(ends, np.int64)


def _beside(points: Codes, places: Places) -> Codes:
    """The characters at the places; beyond the text's end its last."""
    characters: Codes = points[np.minimum(places, len(points) - 1)]
    return characters


def wrapped(text: str, start: int, end: int) -> bool:
    """Whether a name may stretch over the line ends in ``text[start:end]``: its lines go on in small letters."""
    return WRAPPED.fullmatch(text, start, end) is not None


@cache
def _tables() -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Two tables: by code point, whether it can end a sentence; by two letters' codes, whether they are a title."""
    stops, titles = np.zeros(0x10000, dtype=bool), np.zeros(0x10000, dtype=bool)
    stops[[ord(mark) for mark in ".;!?"]] = True
    for title in TITLES:
        for spelling in (title, title.capitalize(), title.upper()):
            titles[ord(spelling[0]) << 8 | ord(spelling[1])] = True
    return stops, titles


def _line_ends(text: str, points: Codes) -> Places:
    """The places after the line ends that end a sentence."""
    newlines = np.flatnonzero(points == ord("\n"))
    if not len(newlines):
        return newlines
    last, first = _ends_of_lines(points, newlines)
    kinds = _kinds()[points[first]]
    hard = (kinds == ITEMS) | (points[first] == ord("\n"))
    second = points[np.minimum(first + 1, len(points) - 1)]
    bracket = (points[first] == ord("[")) | (points[first] == ord("("))
    for n in np.flatnonzero((kinds == DIGITS) & (bracket | NUMBERING[np.minimum(second, 128)])).tolist():
        hard[n] = ITEM.match(text, first[n]) is not None
    label = _labels(points, first, kinds, hard)
    carried = np.isin(points[last], CARRIES) | ((points[last] == ord("-")) & (points[np.maximum(last - 1, 0)] > SPACE))
    small = (kinds == SMALL) | (points[first] == ord("("))
    full, prose = _paragraphs(points, newlines, hard | label, last, first, small)
    ends = hard.copy()
    ends |= np.isin(points[last], ENDED)
    following = _pair(points, np.minimum(first + 1, len(points) - 1))
    ends |= ~carried & (label | ~full)
    unsure = ends & ~hard & (small | _pairs()[_pair(points, last)] | np.isin(following, CAPITALS))
    unsure &= ~np.isin(points[last], ENDED)
    for n in np.flatnonzero(unsure).tolist():
        ends[n] = not _goes_on(text, int(newlines[n]), bool(label[n]), bool(small[n] and prose[n]))
    places: Places = newlines[ends] + 1
    return places


def _labels(points: Codes, first: Places, kinds: NDArray[np.uint8], hard: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether a label in small letters follows each line end; adds those in capitals to ``hard``.

    A label ends with the first colon. In capitals it holds letters, blanks and slashes; in small letters a digit after the colon
    makes it a time or a ratio.
    """
    label = np.zeros(len(first), dtype=bool)
    colons = np.append(np.flatnonzero(points == ord(":")), len(points) + 2 * LONGEST_LABEL)
    lengths = colons[np.searchsorted(colons, first)] - first
    near = np.flatnonzero((lengths <= LONGEST_LABEL) & ((kinds == SMALL) | (kinds == CAPITAL)))
    begins, lengths = first[near], lengths[near]
    held = np.zeros(0, np.uint8)
    if len(near):  # no label is empty, as it begins with a letter
        ends = np.cumsum(lengths)
        within = np.arange(ends[-1]) + np.repeat(begins - ends + lengths, lengths)
        held = np.bitwise_and.reduceat(_label_characters()[points[within]], ends - lengths)
    letter, after = points[begins], points[np.minimum(begins + lengths + 1, len(points) - 1)]
    number = _decimals()[after] & (begins + lengths + 1 < len(points))
    hard[near] |= (letter <= ord("Z")) & (held & IN_CAPITALS > 0)
    small = (letter >= ord("a")) & (letter <= ord("z"))
    label[near] = small & (held & IN_SMALL > 0) & (lengths <= LONGEST_SMALL_LABEL) & ~number
    return label


def _rows(points: Codes, begins: Places, length: int) -> Codes:
    """``[M, length]``: the characters from each place on; after the text's end they are blanks."""
    padded = np.append(points, np.full(length, SPACE, points.dtype))
    rows: Codes = np.lib.stride_tricks.sliding_window_view(padded, length)[begins]
    return rows


IN_CAPITALS, IN_SMALL = 1, 2


@cache
def _label_characters() -> NDArray[np.uint8]:
    """By code point, in which labels it may stand: those that begin with a capital, and those in small letters."""
    table = np.zeros(0x10000, dtype=np.uint8)
    for code in range(128):
        if chr(code).isalnum() or chr(code) in " /&()'-":
            table[code] = IN_SMALL | (IN_CAPITALS if chr(code).isalpha() or chr(code) in " /" else 0)
    return table


@cache
def _decimals() -> NDArray[np.bool_]:
    """By code point, whether it is a digit of any script."""
    return np.array([chr(code).isdecimal() for code in range(0x10000)])


NUMBERING = np.array(
    [chr(code) in "0123456789.)" for code in range(128)] + [True]
)  # may stand after an item's first digit
ITEMS, DIGITS, SMALL, CAPITAL = 1, 2, 3, 4


@cache
def _kinds() -> NDArray[np.uint8]:
    """By code point, what a line is that begins with it."""
    table = np.zeros(0x10000, dtype=np.uint8)
    table[list(BULLETS)] = ITEMS
    table[[ord(mark) for mark in "0123456789[("]] = DIGITS
    for code in range(ord("A"), 0x250):
        if chr(code).isalpha():
            table[code] = SMALL if chr(code).islower() else CAPITAL
    return table


CAPITALS = np.array([ord(word[0]) << 8 | ord(word[1]) for word in ("AND", "OR", "NOR", "WITH", "OF")])
CARRIES = np.array([ord(mark) for mark in ",/(&"])


def _ends_of_lines(points: Codes, newlines: Places) -> tuple[Places, Places]:
    """Where the last character before each line end and the first after it stand, blanks left out."""
    last, first = newlines - 1, np.minimum(newlines + 1, len(points) - 1)
    for _ in range(INDENT):
        blank = (points[last] <= SPACE) & (points[last] != ord("\n")) & (last > 0)
        indent = (points[first] <= SPACE) & (points[first] != ord("\n")) & (first < len(points) - 1)
        if not (blank.any() or indent.any()):
            break
        last, first = last - blank, first + indent
    return np.maximum(last, 0), first


def _paragraphs(
    points: Codes,
    newlines: Places,
    parts: NDArray[np.bool_],
    last: Places,
    first: Places,
    starts_small: NDArray[np.bool_],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """For each line end, whether a full line was wrapped there, and whether it is in a narrow paragraph that ends in a stop.

    A line is full if the first word of the next does not fit into the longest line of the paragraph. The longest item of a list
    is that too, so most lines must be full, and the paragraph end with a full stop; before small letters it is enough that the
    paragraph begins with a capital. ``parts``: the line ends between paragraphs.
    """
    begun = np.append(0, newlines + 1)
    final = len(points) - 1
    while final > newlines[-1] and points[final] <= SPACE:
        final -= 1
    lasts = np.append(last, final)
    lengths = np.maximum(lasts + 1 - begun, 0)
    begins = np.append(0, np.flatnonzero(parts) + 1)
    paragraph = np.cumsum(np.append(0, parts))[:-1]
    widths = np.maximum.reduceat(np.where(lengths > WIDEST, 0, lengths), begins)
    fits = np.maximum(widths[paragraph], NARROWEST) - lengths[:-1]
    full = np.zeros(len(newlines), dtype=bool)
    filled_lines = np.flatnonzero((fits <= LONGEST_WORD) & (lengths[:-1] <= WIDEST) & ~parts)
    full[filled_lines] = 1 + _first_words(points, first[filled_lines]) > fits[filled_lines]
    inner = ~(parts | np.isin(points[last], ENDED))
    inside, filled = (
        np.add.reduceat(np.append(lines, False).astype(np.int64), begins) for lines in (inner, inner & full)
    )
    stopped = np.isin(points[lasts[np.append(begins[1:] - 1, len(newlines))]], STOPS)
    heads = np.append(_first_letter(points), first)[begins]
    small = _kinds()[points[heads]] == SMALL
    wrapped_small = full & ((2 * filled >= inside) & (stopped | ~small))[paragraph]
    wrapped_capital = full & ((2 * filled >= inside) & stopped)[paragraph]
    prose = (stopped & (widths <= NARROWEST))[paragraph]
    return np.where(starts_small, wrapped_small, wrapped_capital), prose


def _first_words(points: Codes, first: Places) -> Places:
    """The length of the word that begins at each place, at most ``LONGEST_WORD``."""
    letters = _rows(points, first, LONGEST_WORD)
    ended = (letters == SPACE) | (letters == ord("\n"))
    lengths = ended.argmax(axis=1)
    return np.where(ended[np.arange(len(first)), lengths], lengths, LONGEST_WORD)


def _first_letter(points: Codes) -> int:
    """Where the text begins, blanks left out."""
    at = 0
    while at < len(points) - 1 and points[at] <= SPACE and at < INDENT:
        at += 1
    return at


STOPS = np.array([ord(mark) for mark in ".?!"])
ENDED = np.array([ord(mark) for mark in ".?!;:"])


def _pair(points: Codes, at: Places) -> Places:
    """The two characters up to each place as one number."""
    return (points[np.maximum(at - 1, 0)].astype(np.int64) & 255) << 8 | points[at] & 255


@cache
def _pairs() -> NDArray[np.bool_]:
    """Whether a word of ``OPEN_ENDS`` or ``OPEN_ADJECTIVES`` may end with two characters."""
    table = np.zeros(0x10000, dtype=bool)
    for word in OPEN_ENDS | OPEN_ADJECTIVES:
        for spelling in (f" {word}", f" {word.upper()}", f"\n{word}", f"\n{word.upper()}"):
            table[ord(spelling[-2]) << 8 | ord(spelling[-1])] = True
    return table


def _goes_on(text: str, newline: int, label: bool, prose: bool) -> bool:
    """Whether the words on both sides of the line end say that the sentence goes on.

    ``label``: the next line begins with a label; ``prose``: the sentence goes on if no word says so.
    """
    before = text[max(newline - 40, text.rfind("\n", 0, newline) + 1) : newline].split()
    last = before[-1].lower() if before else ""
    if last in OPEN_ENDS or (last in OPEN_ADJECTIVES and len(before) > 1 and before[-2][-1] not in ",:-"):
        return True
    if label:
        return False
    after = text[newline + 1 : newline + 60].lstrip()
    first = after.partition(" ")[0].partition("\n")[0].rstrip(",\r").lower()
    if prose or first in CONTINUATIONS or (" or " in after and ALTERNATIVE.match(after)):
        return True
    return (
        " and" in after
        and LIST_CLOSES.match(after) is not None
        and "," in text[text.rfind("\n", 0, newline) + 1 : newline]
    )
