"""Task mortality: predicts death in the hospital admission."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import polars as pl

from emerge_ehr.datasets.sources import Source
from emerge_ehr.datasets.tasks import Labels, Outcome, SampleWords, Task
from emerge_ehr.datasets.timing import Timing


@dataclass(frozen=True)
class Options:
    """The task has no options."""


@final
@dataclass(frozen=True)
class Mortality:
    """The outcome is known at death, or at discharge."""

    from_codes: ClassVar[bool] = False
    sample: ClassVar[SampleWords | None] = None
    timing: ClassVar[Timing | None] = None

    @property
    def question(self) -> str:
        """What is predicted, in words for summaries."""
        return "death in this hospital admission"

    @property
    def codes(self) -> tuple[str, ...]:
        """The task's only label code."""
        return ("mortality",)

    def outcomes(self, codes: Sequence[str]) -> tuple[Outcome, ...]:
        """Words for death in this admission."""
        return tuple(Outcome("in-hospital death", "survived", "died") for _ in codes)

    def labels(self, cohort: pl.DataFrame, source: Source) -> Labels:
        """Take ``died`` of the stays as the label; a stay whose outcome is unknown has none."""
        known = cohort.filter(pl.col("died").is_in([0, 1]))
        unknown = cohort.join(known, on="patient_id", how="anti")
        # A survivor's outcome is known at discharge, even if the data give a later death.
        discharge = pl.coalesce("dischtime", "outtime")
        time = pl.when(pl.col("died") == 1).then(pl.coalesce("deathtime", discharge)).otherwise(discharge)
        table = known.select(
            "patient_id",
            time.alias("label_time"),
            pl.lit("mortality").alias("label_code"),
            pl.col("died").cast(pl.Int64).alias("label_value"),
        )
        return Labels(table, {"outcome unknown": unknown["patient_id"].to_list()})


def build(options: Options) -> Task:
    """Build the task."""
    return Mortality()
