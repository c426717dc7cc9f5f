"""Task los: predicts whether the ICU stay lasts longer than each of several thresholds, by default 3 and 7 days."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import polars as pl

from emerge_ehr.datasets.sources import Source
from emerge_ehr.datasets.tasks import Labels, Outcome, SampleWords, Task
from emerge_ehr.datasets.timing import Timing
from emerge_ehr.datasets.window import stay_end
from emerge_ehr.fields import Positive, UserError, refuse_repeated


@dataclass(frozen=True)
class Options:
    """``days``: the thresholds, each of which gives one label."""

    days: tuple[Positive, ...] = (3, 7)


@final
@dataclass(frozen=True)
class LengthOfStay:
    """The outcome is known when the threshold is passed, or when the stay ends."""

    from_codes: ClassVar[bool] = False
    sample: ClassVar[SampleWords | None] = None
    timing: ClassVar[Timing | None] = None
    options: Options

    @property
    def question(self) -> str:
        """What is predicted, in words for summaries."""
        return f"whether the ICU stay lasts more than {' and '.join(map(str, self.options.days))} days"

    @property
    def codes(self) -> tuple[str, ...]:
        """One code per threshold, such as ``los_3`` and ``los_7``."""
        return tuple(f"los_{days}" for days in self.options.days)

    def outcomes(self, codes: Sequence[str]) -> tuple[Outcome, ...]:
        """Words for each outcome, with its threshold."""
        return tuple(Outcome(f"a stay longer than {code.removeprefix('los_')} days") for code in codes)

    def labels(self, cohort: pl.DataFrame, source: Source) -> Labels:
        """Compare ICU admission with discharge; death and leaving the hospital end a stay as well.

        A stay that ended by the end of the window has no label, because the length of its record would show the outcome.

        Raises:
            UserError: a threshold lies inside the observation window, which would show the outcome.
        """
        tables = []
        end = stay_end("outtime")
        unknown, ended = pl.col("outtime").is_null(), end <= pl.col("window_end")
        undefined = {"ICU discharge time unknown": unknown, "left the ICU by the end of the observation window": ended}
        staying = cohort.filter(~unknown & ~ended)
        for days, code in zip(self.options.days, self.codes, strict=True):
            passed = pl.col("intime") + pl.duration(days=days)
            seen = cohort.filter(passed <= pl.col("window_end"))
            if seen.height:
                raise UserError(
                    f"[task] los: {days} days after ICU admission lie inside the observation window of {seen.height} stays, "
                    "which would show the outcome; take a shorter cohort.window ('first') or ask for more days"
                )
            tables.append(
                staying.select(
                    "patient_id",
                    pl.min_horizontal(passed, end).alias("label_time"),
                    pl.lit(code).alias("label_code"),
                    (end > passed).cast(pl.Int64).alias("label_value"),
                )
            )
        return Labels(
            pl.concat(tables),
            {reason: cohort.filter(left_out)["patient_id"].to_list() for reason, left_out in undefined.items()},
        )


def build(options: Options) -> Task:
    """Build the task."""
    refuse_repeated(options.days, "[task] days")
    return LengthOfStay(options)
