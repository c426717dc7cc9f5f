"""Outcomes in time: how and when each hospital stay ended, and the labels that follow from it at a sample's prediction time.

``label.csv`` then has one row per sample, ``DEATH``: 1 at the time of death in hospital, or 0 at that of the discharge alive. The
labels are made of it when it is read, as they depend on the hour from which one looks ahead, the end of the observation window;
with landmarks, that is another one for each sample of a stay.

A time of 23:59:59 is that of a date without a time of day (``storage.times.day_end``). It may have been at any time of that day
after the window, so that a label is undefined where this decides.
"""

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emerge_ehr.datasets.sources import Source
from emerge_ehr.fields import UserError

DEATH = "death"  # the label_code in label.csv
DATED = datetime.time(23, 59, 59)
UNKNOWN = "outcome unknown"
UNDECIDED = "time of death known by date only, which decides no label"
LabelArrays = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class Timing:
    """What a task asks of the time after the observation window. ``bounds``: B times after its end, in order.

    ``codes``: the code of death in hospital by each of them. ``intervals``: whether a model learns the hazards of death, and of
    discharge alive, in the B intervals that end at the bounds, from which the risk by each bound follows; else it learns the
    latter. ``given``: the label of the source's own ``label.csv`` that says who died; empty where the source knows by itself.
    """

    bounds: tuple[timedelta, ...]
    codes: tuple[str, ...]
    intervals: bool
    given: str = ""

    def labels(self, cohort: pl.DataFrame) -> LabelArrays:
        """The labels [N,K] of samples with the columns of ``with_ends``, 0 where undefined, and 1 where they are defined [N,K].

        K is B, or 2 B with ``intervals``: death in each interval, then discharge alive in each. A label of an interval is defined
        for those who are still in hospital when it begins, that of a discharge only if they do not die in it. So the sum of the
        binary cross-entropies of a sample is its negative log-likelihood, with the discharge alive as a competing event
        (Tutz & Schmid 2016, doi 10.1007/978-3-319-28158-2, chapter 8, in its sequential form).
        """
        start = cohort["window_end"].to_numpy()
        since, until = (_hours(cohort[name].to_numpy() - start) for name in ("end_from", "end"))
        died = cohort["died"].fill_null(-1).to_numpy()
        bounds = np.array([bound / timedelta(hours=1) for bound in self.bounds])
        before, after = (
            until[:, None] <= bounds,
            since[:, None] > bounds,
        )  # ended by the bound for sure, or not for sure
        dead, alive = (died == 1)[:, None], (died == 0)[:, None]
        if not self.intervals:
            return _arrays(dead & before, alive | (dead & after))
        in_hospital = np.column_stack([np.ones(len(start), dtype=bool), after[:, :-1]])
        death = _arrays(in_hospital & dead & before, in_hospital & (alive | (dead & after)))
        discharge = _arrays(in_hospital & alive & before, in_hospital & (alive | dead) & after)
        return np.hstack([death[0], discharge[0]]), np.hstack([death[1], discharge[1]])


def with_ends(cohort: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """``cohort`` with ``died`` (1, 0), ``end``, and ``end_from``, the earliest time at which that may have been.

    ``rows``: those of label.csv. All three are null for a sample without a row.

    >>> day, noon = datetime.datetime(2150, 1, 1), datetime.datetime(2150, 1, 1, 12)
    >>> rows = pl.DataFrame({"patient_id": ["a"], "label_time": [day.replace(hour=23, minute=59, second=59)]})
    >>> rows = rows.with_columns(label_code=pl.lit("death"), label_value=pl.lit(1.0))
    >>> with_ends(pl.DataFrame({"patient_id": ["a"], "window_end": [noon]}), rows)["end_from"].item() == noon
    True
    """
    told = rows.filter(pl.col("label_code") == DEATH).select(
        "patient_id", pl.col("label_value").cast(pl.Int64).alias("died"), pl.col("label_time").alias("end")
    )
    others = cohort.drop("died", "end", strict=False)  # a source's own ``died`` has no time
    return ended(others.join(told, on="patient_id", how="left", maintain_order="left"))


def followed(cohort: pl.DataFrame) -> pl.DataFrame:
    """``cohort`` with ``hours_to_end``, from the end of its window to the end of the stay in hospital."""
    span = pl.col("end") - pl.col("window_end")
    return cohort.with_columns((span.dt.total_seconds() / 3600).alias("hours_to_end"))


def ended(cohort: pl.DataFrame) -> pl.DataFrame:
    """``cohort`` with ``end_from`` for its own ``window_end`` and ``end``."""
    dated = pl.col("end").dt.time() == DATED
    since = pl.when(dated).then(pl.max_horizontal(pl.col("end").dt.truncate("1d"), "window_end")).otherwise("end")
    return cohort.with_columns(since.alias("end_from"))


def recorded(
    cohort: pl.DataFrame, source: Source, timing: Timing
) -> tuple[pl.DataFrame, dict[str, list[str]], list[str]]:
    """The rows of label.csv, the reason why samples have none -> their ids, and warnings.

    A death in hospital without a time counts on the day of the discharge. Deaths after the discharge are known by date at best,
    in some sources not at all, and count in none: whoever leaves hospital alive has survived, for this outcome.

    Raises:
        UserError: the source has no outcomes of its own, of which ``timing.given`` should be one.
    """
    rows = _of_source(cohort, source, timing.given) if timing.given else _of_stays(cohort)
    ends = with_ends(cohort, rows)
    decided = pl.Series(timing.labels(ends)[1].any(axis=1))
    unknown = pl.col("died").is_null()
    undefined = {UNKNOWN: ends.filter(unknown), UNDECIDED: ends.filter(~unknown & ~decided)}
    lost = {reason: samples["patient_id"].to_list() for reason, samples in undefined.items()}
    kept = [name for samples in lost.values() for name in samples]
    return rows.filter(~pl.col("patient_id").is_in(kept)), lost, list(_told(ends.filter(decided), timing))


def refuse_unordered(values: Sequence[float], key: str) -> None:
    """Check that the config's list ``key`` of times is not empty, and that each is later than the one before.

    Raises:
        UserError: it is not so.
    """
    if not values or list(values) != sorted(set(values)):
        raise UserError(f"{key} = {list(values)}: must be one or more times, each later than the one before")


def _of_stays(cohort: pl.DataFrame) -> pl.DataFrame:
    discharge = pl.coalesce("dischtime", "outtime")
    that_day = discharge.dt.truncate("1d").dt.combine(DATED)
    time = pl.when(pl.col("died") == 1).then(pl.coalesce("deathtime", that_day)).otherwise(discharge)
    known = cohort.filter(pl.col("died").is_in([0, 1])).select("patient_id", "died", time.alias("label_time"))
    return _rows(known.drop_nulls())


def _of_source(cohort: pl.DataFrame, source: Source, given: str) -> pl.DataFrame:
    named = source.records("labels").filter((pl.col("label_code") == given) & pl.col("label_value").is_in([0.0, 1.0]))
    of_cohort = named.join(cohort, on="patient_id", how="semi")
    return _rows(of_cohort.select("patient_id", pl.col("label_value").alias("died"), "label_time").drop_nulls())


def _rows(ends: pl.DataFrame) -> pl.DataFrame:
    value = pl.col("died").cast(pl.Int64).alias("label_value")
    return ends.select("patient_id", "label_time", pl.lit(DEATH).alias("label_code"), value)


def _told(ends: pl.DataFrame, timing: Timing) -> Iterator[str]:
    """A warning of the ends that are known by date only, where one of a sample's labels depends on the time of day."""
    bounds = [pl.col("window_end") + bound for bound in timing.bounds]
    unsure = pl.any_horizontal((pl.col("end_from") <= bound) & (bound < pl.col("end")) for bound in bounds)
    matters = pl.lit(value=timing.intervals) | (pl.col("died") == 1)
    if count := ends.filter(unsure & matters).height:
        yield (
            f"{count} of {ends.height} stays ended at a time of which only the date is known, on which a label depends: it is "
            "undefined"
        )


def _hours(spans: NDArray[np.timedelta64]) -> NDArray[np.float64]:
    """Hours, NaN where there is no time."""
    found: NDArray[np.float64] = spans / np.timedelta64(1, "h")
    return found


def _arrays(yes: NDArray[np.bool_], no: NDArray[np.bool_]) -> LabelArrays:
    """The labels where they are known to be 1 and to be 0, and where either is known."""
    return yes.astype(np.float32), (yes | no).astype(np.float32)
