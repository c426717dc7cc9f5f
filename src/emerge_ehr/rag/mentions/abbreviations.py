"""Abbreviations that a text defines itself, "long form (LF)", by the algorithm of Schwartz and Hearst (2003).

A. S. Schwartz, M. A. Hearst: A simple algorithm for identifying abbreviation definitions in biomedical text, Pacific Symposium
on Biocomputing 8:451-462. The short form in parentheses has 2 to 10 characters; the long form is the shortest text before it in
which the short form's characters occur in order, the first at the start of a word, of at most ``min(n + 5, 2 n)`` words.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

SHORT = re.compile(r"\(\s*([A-Za-z0-9][A-Za-z0-9/.\-]{1,9})\s*[;,)]")
WINDOW = 200  # characters before the parenthesis


@dataclass(frozen=True, slots=True)
class Definition:
    """``text[start:end]`` is the long form of ``short``."""

    short: str
    start: int
    end: int


def definitions(text: str, matters: Callable[[str, int], bool]) -> Iterator[Definition]:
    """The definitions in order of position, of those for which ``matters(short, end of the long form)`` is true.

    >>> [(item.short, item.start) for item in definitions("known acute kidney injury (AKI)", lambda *_: True)]
    [('AKI', 6)]
    """
    for match in SHORT.finditer(text):
        short, end = match[1], match.start()
        while end and text[end - 1].isspace():
            end -= 1
        if matters(short, end) and any(letter.isupper() for letter in short):
            start = _long_form(short, text, end)
            start = _initials(short, text, end) if start is None else start
            if start is not None:
                yield Definition(short, start, end)


def _long_form(short: str, text: str, end: int) -> int | None:
    """Where the long form that ends at ``end`` begins, found by matching the short form's characters from last to first.

    None if there is no long form.
    """
    lowest = max(end - WINDOW, 0)
    before = text[lowest:end]
    at = len(before)
    for place in range(len(short) - 1, -1, -1):
        if short[place].isalnum():
            at = _last(before, short[place], at)
            while place == 0 and at > 0 and before[at - 1].isalnum():
                at = _last(before, short[place], at)
            if at < 0:
                return None
    long = before[at:]
    words = len(re.split(r"[\s\-]+", long))
    letters = sum(letter.isalnum() for letter in short)
    fits = words <= min(letters + 5, 2 * letters) and len(long) > len(short) and not re.search(r"[.;:(]\s", long)
    return lowest + at if fits else None


def _last(text: str, letter: str, before: int) -> int:
    """The last position of the letter, in either case, before the position ``before``; -1 if there is none."""
    return max(text.rfind(letter.lower(), 0, before), text.rfind(letter.upper(), 0, before))


def _initials(short: str, text: str, end: int) -> int | None:
    """Where a long form begins whose initials stand in another order, as in "myotonic dystrophy (DM)"; None if there is none.

    This goes beyond the published algorithm.
    """
    words = list(re.finditer(r"[A-Za-z]+", text[max(end - WINDOW, 0) : end]))[-len(short) :]
    if (
        not short.isalpha()
        or len(words) < len(short)
        or sorted(word[0][0].lower() for word in words) != sorted(short.lower())
    ):
        return None
    return max(end - WINDOW, 0) + words[0].start()
