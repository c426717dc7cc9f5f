"""Task mortality: death in the hospital admission."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import polars as pl

from emerge_ehr.datasets.sources import Source
from emerge_ehr.datasets.tasks import Labels, Outcome, Task


@dataclass(frozen=True)
class Options:
    """None."""


@final
@dataclass(frozen=True)
class Mortality:
    """Known at death, or at discharge."""

    @property
    def question(self) -> str:
        """For summaries."""
        return "death in this hospital admission"

    @property
    def codes(self) -> tuple[str, ...]:
        """One label."""
        return ("mortality",)

    @property
    def from_codes(self) -> bool:
        """No."""
        return False

    @property
    def sample(self) -> None:
        """As the cohort's anchor says."""
        return None

    def outcomes(self, codes: Sequence[str]) -> tuple[Outcome, ...]:
        """Death in this admission."""
        return tuple(Outcome("in-hospital death", "survived", "died") for _ in codes)

    def labels(self, cohort: pl.DataFrame, source: Source) -> Labels:
        """``died`` of the stays; a stay of unknown outcome has no label."""
        known = cohort.filter(pl.col("died").is_in([0, 1]))
        unknown = cohort.join(known, on="patient_id", how="anti")
        left = pl.coalesce("dischtime", "outtime")  # a survivor's death, known later, is not this outcome's time
        time = pl.when(pl.col("died") == 1).then(pl.coalesce("deathtime", left)).otherwise(left)
        table = known.select(
            "patient_id",
            time.alias("label_time"),
            pl.lit("mortality").alias("label_code"),
            pl.col("died").cast(pl.Int64).alias("label_value"),
        )
        return Labels(table, {"outcome unknown": unknown["patient_id"].to_list()})


def build(options: Options) -> Task:
    """The task."""
    return Mortality()
