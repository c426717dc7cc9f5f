"""Decides who is in the cohort: exclusions in a fixed order, each counted in stays and persons."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from emerge_ehr.config import Cohort
from emerge_ehr.datasets.tasks import SampleWords


@dataclass(frozen=True)
class Step:
    """One line of the cohort flow: how many were excluded for ``reason``, and how many are left."""

    reason: str
    dropped_stays: int
    dropped_patients: int
    stays: int
    patients: int


def with_windows(stays: pl.DataFrame, rule: Cohort) -> pl.DataFrame:
    """Add ``patient_id`` (of the stay or the admission) and the observation window, which lies within the stay or admission."""
    opened, closed = ("intime", "outtime") if rule.anchor == "icu" else ("admittime", "dischtime")
    hours = timedelta(hours=rule.window_hours)
    # recorded times differ: a person may die, or leave the hospital, minutes before the recorded end of the stay
    stays = stays.with_columns(pl.min_horizontal(closed, "dischtime", "deathtime").alias("until"))
    start = {"last": pl.max_horizontal(opened, pl.col("until") - hours)}.get(rule.window, pl.col(opened))
    end = {"first": pl.min_horizontal(pl.col(opened) + hours, closed)}.get(rule.window, pl.col("until"))
    sample = "stay_id" if rule.anchor == "icu" else "hadm_id"
    stays = stays.with_columns(pl.col(sample).alias("patient_id"), start.alias("window_start"), end.alias("window_end"))
    return stays.drop("until")


def select(stays: pl.DataFrame, rule: Cohort, sample: SampleWords | None = None) -> tuple[pl.DataFrame, list[Step]]:
    """The stays that satisfy ``rule``, in order of ``patient_id``, and the cohort flow.

    ``sample`` says what the task calls a sample, if it has its own word.
    """
    opened, closed = ("intime", "outtime") if rule.anchor == "icu" else ("admittime", "dischtime")
    place = "ICU" if rule.anchor == "icu" else "hospital"
    if sample is None:
        all_of, period, bounds = "ICU stays", f"{place} stay", f"{place} admission or discharge"
        reversed_ = f"{place} discharge before admission"
    else:
        all_of, period, bounds = f"{sample.word}s", sample.word, "start or end"
        reversed_ = f"{sample.word} ends before it starts"
    hours = (pl.col(closed) - pl.col(opened)).dt.total_seconds() / 3600
    later = pl.int_range(pl.len()).over("hadm_id", order_by="intime") > 0
    exclusions = {
        f"no {bounds} time": pl.col(opened).is_null() | pl.col(closed).is_null(),
        reversed_: hours < 0,
        **({"later ICU stay of the same admission": later} if rule.anchor == "hospital" else {}),
        f"younger than {rule.min_age} years, or age unknown": (pl.col("age") < rule.min_age).fill_null(
            value=rule.min_age > 0
        ),
        f"{period} shorter than {rule.min_stay_hours:g} h": hours < rule.min_stay_hours,
    }
    remaining = with_windows(stays, rule)
    steps = [Step(f"{all_of} in the source", 0, 0, remaining.height, remaining["subject_id"].n_unique())]
    for reason, condition in exclusions.items():
        remaining, step = exclude(remaining, condition, reason)
        steps.append(step)
    return remaining.sort("patient_id"), steps


def exclude(stays: pl.DataFrame, condition: pl.Expr, reason: str) -> tuple[pl.DataFrame, Step]:
    """Drop the stays where ``condition`` holds, and count them."""
    kept = stays.filter(~condition)
    patients = kept["subject_id"].n_unique()
    return kept, Step(
        reason, stays.height - kept.height, stays["subject_id"].n_unique() - patients, kept.height, patients
    )


def exclude_undefined(stays: pl.DataFrame, undefined: Mapping[str, list[str]]) -> tuple[pl.DataFrame, list[Step]]:
    """Drop the samples whose ids are listed under each reason, and count them."""
    steps = []
    for reason, patients in undefined.items():
        stays, step = exclude(stays, pl.col("patient_id").is_in(patients), reason)
        steps.append(step)
    return stays, steps


def known_in_window(labels: pl.DataFrame, stays: pl.DataFrame) -> pl.DataFrame:
    """Rows of ``labels`` whose outcome was known before the end of the sample's observation window: they would leak."""
    timed = labels.join(stays.select("patient_id", "window_end"), on="patient_id")
    return timed.filter(pl.col("label_time") < pl.col("window_end")).drop("window_end")
