"""Finds codes that are spelt almost alike: each is a feature of its own, which is seldom meant."""

import difflib
import re
from collections.abc import Iterator, Sequence

from emerge_ehr.signals.signals import SIGNALS


def folded(code: str) -> str:
    """The code without regard to case, and with an underscore for blanks and hyphens between its words.

    >>> folded(" Heart Rate"), folded("heart-rate"), folded("culture=+")
    ('heart_rate', 'heart_rate', 'culture=+')
    """
    return re.sub(r"[\s_]+|(?<=\w)-(?=\w)", "_", code.strip().lower())


def alike(codes: Sequence[str]) -> Iterator[str]:
    """Warnings of codes that differ from a signal of the benchmark, or from each other, by case, blanks or hyphens alone.

    >>> list(alike(["Heart_Rate", "lactate"]))
    ["code 'Heart_Rate' is a feature of its own, since it is not spelt 'heart_rate'; rename it if it is that signal"]
    """
    known = {signal.name for signal in SIGNALS}
    first: dict[str, str] = {}
    for code in codes:
        if code not in known and folded(code) in known:
            yield f"code '{code}' is a feature of its own, since it is not spelt '{folded(code)}'; rename it if it is that signal"
        elif folded(code) in first:
            other = first[folded(code)]
            yield f"codes '{other}' and '{code}' are two features with almost the same name; rename one if they are the same"
        first.setdefault(folded(code), code)


def outcomes(codes: Sequence[str]) -> Iterator[str]:
    """Warnings of outcomes whose codes differ by case, blanks or hyphens alone.

    >>> list(outcomes(["Death", "death", "relapse"]))
    ["label.csv: label_code 'Death' and 'death' are two outcomes with almost the same name; write them one way if they are one"]
    """
    first: dict[str, str] = {}
    for code in codes:
        if (other := first.setdefault(folded(code), code)) != code:
            yield (
                f"label.csv: label_code '{other}' and '{code}' are two outcomes with almost the same name; write them one way if "
                "they are one"
            )


def close(codes: Sequence[str]) -> Iterator[str]:
    """As ``alike``, and of codes that look like a misspelt signal of the benchmark."""
    known = [signal.name for signal in SIGNALS]
    yield from alike(codes)
    for code in codes:
        matches = difflib.get_close_matches(code, known, n=1, cutoff=0.85)
        if matches and folded(code) not in known:
            yield f"code '{code}' is a feature of its own; did you mean '{matches[0]}'?"
