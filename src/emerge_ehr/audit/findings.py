"""The finding of one check of the audit."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["passed", "warning", "failed", "skipped"]
MOST_TOLD = 5  # labels, words or pairs that a finding names


@dataclass(frozen=True)
class Finding:
    """The verdict of one check. ``failed``: information leaks, or the results are not what they are said to be; ``warning``: that
    may be, and a person has to look; ``skipped``: it was not looked at, and ``detail`` says why."""

    check: str
    verdict: Verdict
    detail: str


def judged(check: str, wrong: str | None, right: str) -> Finding:
    """A failed finding with the detail ``wrong`` or, if that is None, a passed one with the detail ``right``."""
    return Finding(check, "passed", right) if wrong is None else Finding(check, "failed", wrong)


def of_labels(check: str, parts: Iterable[tuple[str, str, Verdict]], skipped: str) -> Finding:
    """One finding of what was found for each label: its name, a sentence, and the verdict. Only the worst are told.

    ``skipped``: what is said where there is no label to judge.

    >>> of_labels("x", [("death", "0.5", "passed"), ("stay", "0.9", "failed")], "").detail
    'stay: 0.9'
    """
    found = list(parts)
    if not found:
        return Finding(check, "skipped", skipped)
    order: tuple[Verdict, ...] = ("failed", "warning", "passed", "skipped")
    verdict = min((part[2] for part in found), key=order.index)
    worst = [f"{name}: {sentence}" for name, sentence, own in found if own == verdict]
    return Finding(check, verdict, told(worst, "; "))


def told(items: list[str], between: str = ", ") -> str:
    """The first of the items, and how many more there are.

    >>> told(["a", "b", "c", "d", "e", "f", "g"])
    'a, b, c, d, e and 2 more'
    """
    more = f" and {len(items) - MOST_TOLD} more" if len(items) > MOST_TOLD else ""
    return between.join(items[:MOST_TOLD]) + more
