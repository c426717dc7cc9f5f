"""Finds many names in short texts: whole words only, and of overlapping names the longest."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9-]{1,7}|p[A-Z]\w?")  # a gene, an abbreviation or pH: found only in these letters
Span = tuple[int, int, str]  # start, end, name


@dataclass(frozen=True)
class NamesInText:
    """``automaton`` finds the lower-case forms; ``forms``: the name behind each, and whether it is a symbol, found only as
    written."""

    automaton: Any
    forms: Sequence[tuple[str, bool]]

    def __reduce__(self) -> tuple[Any, tuple[Sequence[tuple[str, bool]]]]:
        """Pickle the names only: an automaton cannot be pickled, so another process builds its own."""
        return _over, (self.forms,)

    def find(self, text: str) -> list[Span]:
        """``(start, end, name)`` in order of position, without overlap; names are in lower case except symbols."""
        spans = []
        lower = text.lower()
        if len(lower) != len(text):  # a letter whose lower case is longer would shift positions
            lower = text
        for number, start, end in self.automaton.find_matches_as_indexes(lower, overlapping=True):
            name, exact = self.forms[number]
            if whole_words(text, start, end) and (not exact or text[start:end] == name):
                spans.append((start, end, name))
        return longest(spans)


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


def whole_words(text: str, start: int, end: int) -> bool:
    """Whether ``text[start:end]`` consists of whole words."""
    return not (text[start - 1 : start].isalnum() and start) and not text[end : end + 1].isalnum()


def longest(spans: Iterable[Span]) -> list[Span]:
    """The spans without those that overlap one further left, or a longer one with the same start."""
    chosen: list[Span] = []
    for span in sorted(set(spans), key=lambda span: (span[0], -span[1], span[2])):
        if not chosen or span[0] >= chosen[-1][1]:
            chosen.append(span)
    return chosen


def literal(text: str, names: Iterable[str]) -> list[Span]:
    """Where the names, given in lower case, stand in a text as whole words; spans may overlap."""
    spans, lower = [], text.lower()
    for name in names:
        start = lower.find(name)
        while start >= 0:
            if whole_words(lower, start, start + len(name)):
                spans.append((start, start + len(name), name))
            start = lower.find(name, start + 1)
    return spans


def blanked(text: str, start: int, end: int) -> str:
    """The text with blanks from ``start`` to ``end``."""
    return text[:start] + " " * (end - start) + text[end:]
