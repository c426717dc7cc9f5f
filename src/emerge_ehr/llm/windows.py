"""Cuts a long text into overlapping windows at the ends of sentences."""

import re
from bisect import bisect_right

BOUNDARY = re.compile(r"(?<=[.;!?])\s+|\n+")


def windows(text: str, size: int, overlap: int) -> list[tuple[int, int]]:
    """``(start, end)`` of windows of at most ``size`` characters that cover the text; two neighbours share about ``overlap``.

    >>> text = "Fever. Cough. Rash. Pain."
    >>> [text[start:end] for start, end in windows(text, 16, 6)]
    ['Fever. Cough. ', 'Cough. Rash. ', 'Rash. Pain.']
    """
    ends = [match.end() for match in BOUNDARY.finditer(text)]
    cuts, start = [], 0
    while len(text) - start > size:
        limit = start + size
        end = _last(ends, start + size // 2, limit) or _blank(text, start + size // 2, limit) or limit
        cuts.append((start, end))
        again = end - overlap
        start = (
            _last(ends, max(start, again - overlap), again) or _blank(text, max(start, again - overlap), again) or again
        )
    return [*cuts, (start, len(text))] if text[start:].strip() else cuts


def _last(ends: list[int], low: int, high: int) -> int | None:
    """The last end of a sentence with ``low < end <= high``; None if there is none."""
    place = bisect_right(ends, high) - 1
    return ends[place] if place >= 0 and ends[place] > low else None


def _blank(text: str, low: int, high: int) -> int | None:
    """The position after the last blank between ``low`` and ``high``, for sentences longer than a window; None without one."""
    place = text.rfind(" ", low, high)
    return place + 1 if place >= low else None
