"""Task readmission: predicts a new hospital admission within 30 days of discharge, among patients discharged alive."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import polars as pl

from emerge_ehr.datasets.sources import Source
from emerge_ehr.datasets.tasks import Labels, Outcome, SampleWords, Task
from emerge_ehr.datasets.timing import Timing
from emerge_ehr.datasets.window import TRANSFER
from emerge_ehr.fields import Positive

OVERLAPS = "another admission of the person overlaps by more than 24 h"


@dataclass(frozen=True)
class Options:
    """``days`` after discharge. ``planned``: whether a planned admission (by its type) counts."""

    days: Positive = 30
    planned: Literal["count", "ignore"] = "count"


@final
@dataclass(frozen=True)
class Readmission:
    """The outcome is known at the new admission, or when the days are over without one."""

    from_codes: ClassVar[bool] = False
    sample: ClassVar[SampleWords | None] = None
    timing: ClassVar[Timing | None] = None
    options: Options

    @property
    def question(self) -> str:
        """What is predicted, in words for summaries."""
        return f"a new admission within {self.options.days} days of discharge"

    @property
    def codes(self) -> tuple[str, ...]:
        """The task's only label code."""
        return ("readmission",)

    def outcomes(self, codes: Sequence[str]) -> tuple[Outcome, ...]:
        """Words for a new admission."""
        return tuple(Outcome("readmission", "not readmitted", "readmitted") for _ in codes)

    def labels(self, cohort: pl.DataFrame, source: Source) -> Labels:
        """Compare the discharge with the person's next admission to the hospital, with or without intensive care.

        An admission that begins up to 24 h before the discharge is the record of a transfer, and counts as the next one as well.
        If it overlaps by more, it is unknown when the person left, and so is the outcome.
        """
        everyone = source.records("admissions")
        overlapping = pl.col("patient_id").is_in(_overlapping(cohort, everyone).to_list())
        alive = pl.col("died") == 0
        reasons = {
            "died in hospital": pl.col("died") == 1,
            "outcome or discharge time unknown": ~pl.col("died").is_in([0, 1]).fill_null(value=False)
            | (alive & pl.col("dischtime").is_null()),
            OVERLAPS: alive & overlapping,
        }
        undefined = {reason: cohort.filter(condition)["patient_id"].to_list() for reason, condition in reasons.items()}
        discharged = cohort.filter(alive & pl.col("dischtime").is_not_null() & ~overlapping)
        later = everyone.filter(~pl.col("planned")) if self.options.planned == "ignore" else everyone
        later = later.select("subject_id", pl.col("hadm_id").alias("next_hadm_id"), pl.col("admittime").alias("next"))
        follows = (pl.col("next") >= pl.col("dischtime") - TRANSFER) & (pl.col("next") > pl.col("admittime"))
        following = discharged.select("patient_id", "subject_id", "hadm_id", "admittime", "dischtime").join(
            later, on="subject_id"
        )
        following = following.filter(follows & (pl.col("next_hadm_id") != pl.col("hadm_id")))
        first = following.group_by("patient_id").agg(pl.col("next").min())
        window = pl.duration(days=self.options.days)
        joined = discharged.join(first, on="patient_id", how="left")
        readmitted = (pl.col("next") <= pl.col("dischtime") + window).fill_null(value=False)
        known = pl.when(readmitted).then(pl.max_horizontal("next", "dischtime")).otherwise(pl.col("dischtime") + window)
        table = joined.select(
            "patient_id",
            known.alias("label_time"),
            pl.lit("readmission").alias("label_code"),
            readmitted.cast(pl.Int64).alias("label_value"),
        )
        count = len(undefined[OVERLAPS])
        told = (f"{count} of {cohort.height} readmissions are unknown: {OVERLAPS}; are the times and ids right?",)
        return Labels(table, undefined, told if count else ())


def _overlapping(cohort: pl.DataFrame, admissions: pl.DataFrame) -> pl.Series:
    """The ``patient_id`` of stays in an admission that overlaps another one of the person by more than a transfer."""
    others = admissions.select(
        "subject_id", *(pl.col(name).alias(f"other_{name}") for name in ("hadm_id", "admittime", "dischtime"))
    )
    pairs = cohort.select("patient_id", "subject_id", "hadm_id", "admittime", "dischtime").join(others, on="subject_id")
    pairs = pairs.filter(pl.col("hadm_id") != pl.col("other_hadm_id"))
    # of an earlier admission the end must be known; a later one lasts at least until it begins
    end = pl.min_horizontal("dischtime", "other_dischtime")
    began = pl.max_horizontal("admittime", "other_admittime")
    both = pl.col("other_dischtime").is_not_null() | (pl.col("other_admittime") > pl.col("admittime"))
    return pairs.filter(both & (end - began > TRANSFER))["patient_id"].unique(maintain_order=True)


def build(options: Options) -> Task:
    """Build the task."""
    return Readmission(options)
