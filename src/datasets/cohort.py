"""Who is in the cohort: exclusions in order, each counted in stays and persons."""

from dataclasses import dataclass

import polars as pl

from src.config import Cohort


@dataclass(frozen=True)
class Step:
    """One line of the cohort flow: what is left after ``reason`` took ``dropped_*`` away."""

    reason: str
    dropped_stays: int
    dropped_patients: int
    stays: int
    patients: int


def with_windows(stays: pl.DataFrame, rule: Cohort) -> pl.DataFrame:
    """Adds ``patient_id`` and the observation window: from ICU admission for ``window_hours``, cut at ICU discharge."""
    end = pl.min_horizontal(pl.col("intime") + pl.duration(hours=rule.window_hours), pl.col("outtime"))
    return stays.with_columns(
        pl.col("stay_id").alias("patient_id"), pl.col("intime").alias("window_start"), end.alias("window_end")
    )


def select(stays: pl.DataFrame, rule: Cohort) -> tuple[pl.DataFrame, list[Step]]:
    """The stays that satisfy ``rule``, and the flow that led there.

    A death within the window is excluded: the outcome would be known at prediction time.
    """
    hours = (pl.col("outtime") - pl.col("intime")).dt.total_seconds() / 3600
    exclusions = {
        "no ICU admission or discharge time": pl.col("intime").is_null() | pl.col("outtime").is_null(),
        f"younger than {rule.min_age} years, or age unknown": (pl.col("age") < rule.min_age).fill_null(value=True),
        f"ICU stay shorter than {rule.min_stay_hours:g} h": hours < rule.min_stay_hours,
        "died before the end of the observation window": (pl.col("deathtime") < pl.col("window_end")).fill_null(
            value=False
        ),
        "outcome unknown": pl.col("died").is_null() | ~pl.col("died").is_in([0, 1]),
    }
    left = with_windows(stays, rule)
    steps = [Step("ICU stays in the source", 0, 0, left.height, left["subject_id"].n_unique())]
    for reason, condition in exclusions.items():
        left, step = exclude(left, condition, reason)
        steps.append(step)
    return left.sort("patient_id"), steps


def exclude(stays: pl.DataFrame, condition: pl.Expr, reason: str) -> tuple[pl.DataFrame, Step]:
    """Drops the stays where ``condition`` holds, and says how many."""
    kept = stays.filter(~condition)
    patients = kept["subject_id"].n_unique()
    return kept, Step(
        reason, stays.height - kept.height, stays["subject_id"].n_unique() - patients, kept.height, patients
    )
