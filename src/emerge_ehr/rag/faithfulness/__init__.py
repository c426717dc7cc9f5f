"""Checks summaries by their words: each disease, value and relation that is stated must be in the patient's evidence."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """A part of a statement: its position, its words, and why the evidence does not support it (None: it does)."""

    start: int
    end: int
    text: str
    why: str | None


@dataclass(frozen=True)
class UnsupportedClaim:
    """A claim that the evidence does not hold: the number of its statement, from 0, its words, and why not."""

    statement: int
    claim: str
    why: str


@dataclass(frozen=True)
class Faithfulness:
    """The audit of one summary. ``supported``: the share of statements of which the evidence holds all; None if there is none."""

    supported: float | None
    statements: int
    unsupported: tuple[UnsupportedClaim, ...]


UNAUDITED = Faithfulness(None, 0, ())  # of a summary that only the model reads, and nobody else
