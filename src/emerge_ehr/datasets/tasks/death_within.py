"""Task death_within: predicts death in hospital within so many hours after the end of the observation window."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, final

import polars as pl

from emerge_ehr.datasets import timing
from emerge_ehr.datasets.sources import Source
from emerge_ehr.datasets.tasks import Labels, Outcome, SampleWords, Task
from emerge_ehr.datasets.timing import Timing
from emerge_ehr.fields import Positive, listed


@dataclass(frozen=True)
class Options:
    """``hours``: the horizons, each of which gives one label. ``given``: for source ``tables``, the label of its own
    ``label.csv`` that is 1 at the time of death, and 0 at that of the discharge alive."""

    hours: tuple[Positive, ...] = (24, 48, 168)
    given: str = ""


@final
@dataclass(frozen=True)
class DeathWithin:
    """Who leaves hospital alive before a horizon has not died within it; deaths after the discharge do not count."""

    from_codes: ClassVar[bool] = False
    sample: ClassVar[SampleWords | None] = None
    options: Options

    @property
    def question(self) -> str:
        """What is predicted, in words for summaries."""
        return f"death in hospital within the next {listed([str(hours) for hours in self.options.hours])} hours"

    @property
    def codes(self) -> tuple[str, ...]:
        """One code per horizon, such as ``death_24h``."""
        return tuple(f"death_{hours}h" for hours in self.options.hours)

    @property
    def timing(self) -> Timing:
        """The horizons."""
        bounds = tuple(timedelta(hours=hours) for hours in self.options.hours)
        return Timing(bounds, self.codes, intervals=False, given=self.options.given)

    def outcomes(self, codes: Sequence[str]) -> tuple[Outcome, ...]:
        """Words for each outcome, with its horizon."""
        hours = [code.removeprefix("death_").removesuffix("h") for code in codes]
        return tuple(
            Outcome(f"in-hospital death within {of} hours", f"not within {of} h", f"within {of} h") for of in hours
        )

    def labels(self, cohort: pl.DataFrame, source: Source) -> Labels:
        """How and when each stay in hospital ended (``datasets/timing.py``)."""
        table, undefined, warnings = timing.recorded(cohort, source, self.timing)
        return Labels(table, undefined, tuple(warnings))


def build(options: Options) -> Task:
    """Build the task."""
    timing.refuse_unordered(options.hours, "[task] hours")
    return DeathWithin(options)
