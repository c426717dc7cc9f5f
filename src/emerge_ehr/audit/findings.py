"""The finding of one check of the audit."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """The verdict of one check. ``failed``: information leaks; ``warning``: it may leak, and a person has to look."""

    check: str
    verdict: Literal["passed", "warning", "failed"]
    detail: str


def judged(check: str, wrong: str | None, right: str) -> Finding:
    """A failed finding with the detail ``wrong`` or, if that is None, a passed one with the detail ``right``."""
    return Finding(check, "passed", right) if wrong is None else Finding(check, "failed", wrong)
