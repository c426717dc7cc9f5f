"""Checks summaries by their words: each disease, value and relation that is stated must be in the patient's evidence."""

from dataclasses import dataclass


@dataclass(frozen=True)
class UnsupportedClaim:
    """A claim that the evidence does not hold: the number of its statement, from 0, its words, and why not."""

    statement: int
    claim: str
    why: str


@dataclass(frozen=True)
class Faithfulness:
    """The audit of one summary. ``supported``: the share of statements that say something checkable and nothing unsupported, None
    without statements; ``unchecked``: how many say nothing that can be checked."""

    supported: float | None
    statements: int
    unchecked: int
    unsupported: tuple[UnsupportedClaim, ...]
