"""Cuts a long text into overlapping windows at the ends of sentences."""

import re
from bisect import bisect_left, bisect_right

BOUNDARY = re.compile(r"(?<=[.;!?])\s+|\n+")


def windows(text: str, size: int, overlap: int) -> list[tuple[int, int]]:
    """``(start, end)`` of windows of at most ``size`` characters that cover the text; two neighbours share about ``overlap``.

    >>> text = "Fever. Cough. Rash. Pain."
    >>> [text[start:end] for start, end in windows(text, 16, 6)]
    ['Fever. Cough. ', 'Cough. Rash. ', 'Rash. Pain.']
    """
    ends = [match.end() for match in BOUNDARY.finditer(text)]
    found, start = [], 0
    while len(text) - start > size:
        place = bisect_right(ends, start + size) - 1
        end = ends[place] if place >= 0 and ends[place] > start + size // 2 else _blank(text, start, start + size)
        found.append((start, end))
        place = bisect_left(ends, end - overlap)
        again = ends[place] if place < len(ends) and ends[place] < end else end - overlap
        start = max(again, start + 1)
    return [*found, (start, len(text))] if text[start:].strip() else found


def _blank(text: str, start: int, end: int) -> int:
    """After the last blank of a sentence that is longer than a window; its very end if there is none."""
    found = text.rfind(" ", start + (end - start) // 2, end)
    return end if found < 0 else found + 1
