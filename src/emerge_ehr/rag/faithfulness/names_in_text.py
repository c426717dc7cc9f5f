"""Finds many names in short texts: whole words, the longest of overlapping ones."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9-]{1,7}|p[A-Z]\w?")  # a gene, an abbreviation, pH: only as it is written
Span = tuple[int, int, str]


@dataclass(frozen=True)
class NamesInText:
    """``automaton`` over lower-case forms; ``forms``: the names behind each, as written where they are symbols."""

    automaton: Any
    forms: Sequence[tuple[str, bool]]

    def __reduce__(self) -> tuple[Any, tuple[Sequence[tuple[str, bool]]]]:
        """An automaton cannot be pickled: another process builds its own."""
        return _over, (self.forms,)

    def find(self, text: str) -> list[Span]:
        """``(start, end, name)`` in order of position, without overlap; the name in lower case but for symbols."""
        found = []
        lower = text.lower()
        if len(lower) != len(text):  # a letter whose lower case is longer would shift positions
            lower = text
        for number, start, end in self.automaton.find_matches_as_indexes(lower, overlapping=True):
            name, exact = self.forms[number]
            if whole(text, start, end) and (not exact or text[start:end] == name):
                found.append((start, end, name))
        return longest(found)


def build(names: Iterable[str]) -> NamesInText:
    """The finder of ``names``.

    >>> build(["CAT", "heart failure", "failure"]).find("A cat with heart failure: gene CAT.")
    [(11, 24, 'heart failure'), (31, 34, 'CAT')]
    """
    forms = sorted({(name, True) if SYMBOL.fullmatch(name) else (name.lower(), False) for name in names if name})
    return _over(forms)


def _over(forms: Sequence[tuple[str, bool]]) -> NamesInText:
    from ahocorasick_rs import AhoCorasick, MatchKind

    return NamesInText(AhoCorasick([name.lower() for name, _ in forms], matchkind=MatchKind.Standard), forms)


def whole(text: str, start: int, end: int) -> bool:
    """Whether no word is cut at either end."""
    return not (text[start - 1 : start].isalnum() and start) and not text[end : end + 1].isalnum()


def longest(spans: Iterable[Span]) -> list[Span]:
    """Leftmost, then longest; no two overlap."""
    chosen: list[Span] = []
    for span in sorted(set(spans), key=lambda span: (span[0], -span[1], span[2])):
        if not chosen or span[0] >= chosen[-1][1]:
            chosen.append(span)
    return chosen


def literal(text: str, names: Iterable[str]) -> list[Span]:
    """Where lower-case names stand in a text, whole words."""
    found, lower = [], text.lower()
    for name in names:
        start = lower.find(name)
        while start >= 0:
            if whole(lower, start, start + len(name)):
                found.append((start, start + len(name), name))
            start = lower.find(name, start + 1)
    return found
