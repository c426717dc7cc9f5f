"""Task time_to_death: when a patient dies in hospital, day by day, with the discharge alive as a competing event."""

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

NO_TIME = "time of discharge unknown"


@dataclass(frozen=True)
class Options:
    """``days``: the ends of the intervals, counted from the end of the observation window. ``given``: as for ``death_within``."""

    days: tuple[Positive, ...] = (1, 2, 4, 7, 14)
    given: str = ""


@final
@dataclass(frozen=True)
class TimeToDeath:
    """A model learns the hazards of each interval; the risk of death by the end of each follows from them."""

    from_codes: ClassVar[bool] = False
    sample: ClassVar[SampleWords | None] = None
    options: Options

    @property
    def question(self) -> str:
        """What is predicted, in words for summaries."""
        return f"death in hospital within the next {listed([str(days) for days in self.options.days])} days"

    @property
    def codes(self) -> tuple[str, ...]:
        """What the model learns: death in each interval, such as ``death_in_1_2d``, then discharge alive in each."""
        spans = list(zip((0, *self.options.days), self.options.days, strict=False))
        return tuple(f"{event}_in_{first}_{last}d" for event in ("death", "discharge") for first, last in spans)

    @property
    def timing(self) -> Timing:
        """The intervals; what is predicted is death by the end of each, such as ``death_2d``."""
        bounds = tuple(timedelta(days=days) for days in self.options.days)
        return Timing(bounds, tuple(f"death_{days}d" for days in self.options.days), True, self.options.given)

    def outcomes(self, codes: Sequence[str]) -> tuple[Outcome, ...]:
        """Words for death by the end of an interval, and for what happens in one."""
        return tuple(_outcome(code) for code in codes)

    def labels(self, cohort: pl.DataFrame, source: Source) -> Labels:
        """How and when each stay in hospital ended (``datasets/timing.py``); the time of discharge must be known too."""
        timed = cohort if self.options.given else cohort.filter(~_untimed())
        table, undefined, warnings = timing.recorded(timed, source, self.timing)
        lost = [] if self.options.given else cohort.filter(_untimed())["patient_id"].to_list()
        return Labels(table, {**undefined, NO_TIME: lost}, tuple(warnings))


def _untimed() -> pl.Expr:
    return (pl.col("died") == 0).fill_null(value=False) & pl.col("dischtime").is_null()


def _outcome(code: str) -> Outcome:
    event, _, span = code.partition("_")
    if not span.startswith("in_"):
        days = span.removesuffix("d")
        length = "1 day" if days == "1" else f"{days} days"
        return Outcome(f"in-hospital death within {length}", f"not within {days} d", f"within {days} d")
    first, last = span.removeprefix("in_").removesuffix("d").split("_")
    words = {"death": "in-hospital death", "discharge": "discharge alive"}[event]
    return Outcome(f"{words} between day {first} and day {last}")


def build(options: Options) -> Task:
    """Build the task."""
    timing.refuse_unordered(options.days, "[task] days")
    return TimeToDeath(options)
