"""SOCKET Task: what is predicted. A task labels the cohort's samples and says when each outcome was known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import polars as pl

from emerge_ehr.datasets.sources import Source
from emerge_ehr.datasets.timing import Timing


@dataclass(frozen=True)
class Labels:
    """``table``: ``patient_id, label_time, label_code, label_value`` of the outcomes that are defined.

    ``undefined``: the reason why samples have no label at all -> their ids; ``warnings``: what the user must know. ``every``: all
    outcomes that the source has, also those of samples outside the cohort and those that are not predicted, which may tell when
    a person died; None where these are those of ``table``.
    """

    table: pl.DataFrame
    undefined: Mapping[str, list[str]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    every: pl.DataFrame | None = None


@dataclass(frozen=True)
class Outcome:
    """Words for an outcome: ``title`` as in "the risk of in-hospital death", and those for patients without and with it."""

    title: str
    absent: str = "no"
    present: str = "yes"


@dataclass(frozen=True)
class SampleWords:
    """What a sample is called: ``word`` in general, ``short`` where the kind of stay matters, ``kind`` in full in the report.

    All three form their plural with s.
    """

    word: str
    short: str
    kind: str


class Task(Protocol):
    """A prediction task.

    ``from_codes``: whether labels are made from billing codes, as surrogate notes are. ``sample``: what a sample is called; None
    for a stay or an admission, depending on the cohort's anchor.
    """

    from_codes: ClassVar[bool]
    sample: ClassVar[SampleWords | None]

    @property
    def question(self) -> str:
        """What is predicted, in words for summaries: ``death in this hospital admission``."""

    @property
    def codes(self) -> tuple[str, ...] | None:
        """The label codes in the model's order; None for those in ``label.csv``, sorted."""

    @property
    def timing(self) -> Timing | None:
        """How labels follow from the time at which a stay ends, if they do; ``labels`` then gives these times."""

    def outcomes(self, codes: Sequence[str]) -> tuple[Outcome, ...]:
        """Words for the outcomes with these label codes, in the same order."""

    def labels(self, cohort: pl.DataFrame, source: Source) -> Labels:
        """Label the cohort, which has the columns of ``Source.stays`` and ``patient_id, window_start, window_end``.

        Raises:
            UserError: the source lacks what the task needs.
        """
