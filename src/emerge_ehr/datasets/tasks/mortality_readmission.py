"""Task mortality_readmission: predicts both outcomes with one model, as in the paper's multitask setting."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import polars as pl

from emerge_ehr.datasets.sources import Source
from emerge_ehr.datasets.tasks import Labels, Outcome, SampleWords, Task, mortality, readmission
from emerge_ehr.datasets.timing import Timing

Options = readmission.Options


@final
@dataclass(frozen=True)
class MortalityReadmission:
    """Patients who died in hospital have a mortality label and no readmission label."""

    from_codes: ClassVar[bool] = False
    sample: ClassVar[SampleWords | None] = None
    timing: ClassVar[Timing | None] = None
    options: Options

    @property
    def question(self) -> str:
        """What is predicted, in words for summaries."""
        return f"death in this hospital admission, or a new admission within {self.options.days} days of discharge"

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of the two labels."""
        return ("mortality", "readmission")

    def outcomes(self, codes: Sequence[str]) -> tuple[Outcome, ...]:
        """The words that the two tasks use."""
        worded = {
            "mortality": mortality.build(mortality.Options()).outcomes,
            "readmission": readmission.build(self.options).outcomes,
        }
        return tuple(outcome for code in codes for outcome in worded[code]([code]))

    def labels(self, cohort: pl.DataFrame, source: Source) -> Labels:
        """The labels of both tasks; a sample is left out only where its mortality is unknown."""
        death = mortality.build(mortality.Options()).labels(cohort, source)
        readmitted = readmission.build(self.options).labels(cohort, source)
        return Labels(pl.concat([death.table, readmitted.table]), death.undefined, readmitted.warnings)


def build(options: Options) -> Task:
    """Build the task."""
    return MortalityReadmission(options)
