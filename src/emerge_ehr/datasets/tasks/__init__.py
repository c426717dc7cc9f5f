"""SOCKET Task: what is predicted. A task labels the cohort's samples and says when each outcome was known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import polars as pl

from emerge_ehr.datasets.sources import Source


@dataclass(frozen=True)
class Labels:
    """``table``: ``patient_id, label_time, label_code, label_value`` of the outcomes that are defined.

    ``undefined``: why samples have no label at all -> their ids; ``warnings``: what the user must be told.
    """

    table: pl.DataFrame
    undefined: Mapping[str, list[str]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """How an outcome is worded: ``title`` as in "the risk of in-hospital death", and what became of who lacks it or has it."""

    title: str
    absent: str = "no"
    present: str = "yes"


@dataclass(frozen=True)
class Sample:
    """What a sample is called: ``word``, ``short`` where it is told which kind, and ``kind`` for the report's reader.

    All three take an s where there are several.
    """

    word: str
    short: str
    kind: str


class Task(Protocol):
    """One prediction task."""

    @property
    def question(self) -> str:
        """What is asked, for summaries: ``death in this hospital admission``."""

    @property
    def codes(self) -> tuple[str, ...] | None:
        """The label codes in the model's order; None: those in ``label.csv``, sorted."""

    @property
    def from_codes(self) -> bool:
        """Whether labels are made of billing codes, as surrogate notes are."""

    @property
    def sample(self) -> Sample | None:
        """What a sample is called; None: a stay or an admission, as the cohort's anchor says."""

    def outcomes(self, codes: Sequence[str]) -> tuple[Outcome, ...]:
        """How the outcomes of a run are worded whose label codes these are, in their order."""

    def labels(self, cohort: pl.DataFrame, source: Source) -> Labels:
        """Labels of the cohort: the columns of ``Source.stays`` with ``patient_id, window_start, window_end``.

        Raises:
            UserError: the source lacks what the task needs.
        """
