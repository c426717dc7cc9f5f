"""What a check of the audit found."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """``failed``: information crosses from where it must not; ``warning``: it may, look yourself."""

    check: str
    verdict: Literal["passed", "warning", "failed"]
    detail: str


def judged(check: str, wrong: str | None, right: str) -> Finding:
    """Failed with ``wrong``, where there is something, else passed with ``right``."""
    return Finding(check, "passed", right) if wrong is None else Finding(check, "failed", wrong)
