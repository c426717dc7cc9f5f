"""Task mortality_readmission: both outcomes by one model, as in the paper's multitask setting."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import polars as pl

from emerge_ehr.datasets.sources import Source
from emerge_ehr.datasets.tasks import Labels, Outcome, Task, mortality, readmission

Options = readmission.Options


@final
@dataclass(frozen=True)
class MortalityReadmission:
    """Who died in hospital has a mortality label and no readmission label."""

    options: Options

    @property
    def question(self) -> str:
        """For summaries."""
        return f"death in this hospital admission, or a new admission within {self.options.days} days of discharge"

    @property
    def codes(self) -> tuple[str, ...]:
        """Two labels."""
        return ("mortality", "readmission")

    @property
    def from_codes(self) -> bool:
        """No."""
        return False

    @property
    def sample(self) -> None:
        """As the cohort's anchor says."""
        return None

    def outcomes(self, codes: Sequence[str]) -> tuple[Outcome, ...]:
        """As the two tasks word them."""
        worded = {
            "mortality": mortality.build(mortality.Options()).outcomes,
            "readmission": readmission.build(self.options).outcomes,
        }
        return tuple(outcome for code in codes for outcome in worded[code]([code]))

    def labels(self, cohort: pl.DataFrame, source: Source) -> Labels:
        """The labels of both tasks; a sample is out only where its mortality is unknown."""
        death = mortality.build(mortality.Options()).labels(cohort, source)
        again = readmission.build(self.options).labels(cohort, source)
        return Labels(pl.concat([death.table, again.table]), death.undefined)


def build(options: Options) -> Task:
    """The task."""
    return MortalityReadmission(options)
