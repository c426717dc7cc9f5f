"""Samples of a MEDS dataset at prediction times that the task brings, in place of ICU stays."""

from collections.abc import Sequence

import polars as pl

from emerge_ehr.datasets.predictions import PredictionTimes
from emerge_ehr.datasets.sources import Extract
from emerge_ehr.datasets.sources._raw.raw_csv import collect
from emerge_ehr.datasets.sources.meds import stays as meds_stays
from emerge_ehr.datasets.sources.meds.files import Shards
from emerge_ehr.fields import UserError
from emerge_ehr.storage.times import day_end

KINDS = ("death", "birth", "gender", "ethnicity")  # of events that are needed
TIME = pl.Datetime("us")


def stays(
    shards: Shards, events: pl.DataFrame, hospital: pl.DataFrame, given: PredictionTimes, births: Sequence[str]
) -> Extract:
    """A row per prediction time, with the columns of ``Source.stays``: from the person's first record to the prediction time.

    ``hospital``: the hospital stays; the admission that a prediction time lies in is its ``hadm_id``. ``births``: the codes of
    births, which no record begins with. How the admission ends is after the prediction time, and left out.

    Raises:
        UserError: no prediction time has a record before it.
    """
    records = _first_records(shards, births)
    rows = given.table.join(records, on="subject_id", how="left", maintain_order="left")
    deaths = meds_stays.of_kind(events, "death").group_by("subject_id").agg(pl.col("time").min().alias("death"))
    rows = rows.join(deaths.with_columns(day_end(pl.col("death"))), on="subject_id", how="left", maintain_order="left")
    reasons = {
        "prediction times of persons who are not in the dataset": pl.col("intime").is_null(),
        "prediction times without a record before them": pl.col("intime") >= pl.col("prediction_time"),
        "prediction times after the person's death": pl.col("death") <= pl.col("prediction_time"),
    }
    counts: dict[str, int] = {}
    left = rows
    for reason, test in reasons.items():
        kept = left.filter(~test.fill_null(value=False))
        counts[reason], left = left.height - kept.height, kept
    lost = [f"{reason}: {count}" for reason, count in counts.items() if count]
    if not left.height:
        raise UserError(
            f"{shards.raw_dir}: none of {rows.height} prediction times is left ({', '.join(lost)}); are the labels of this "
            "dataset?"
        )
    told = (
        [f"{rows.height - left.height} of {rows.height} prediction times are left out: {', '.join(lost)}"]
        if lost
        else []
    )
    return Extract(_table(left, events, hospital), {**given.counts, **counts}, (*given.warnings, *told))


def labels(given: PredictionTimes, code: str) -> pl.DataFrame:
    """``patient_id, label_time, label_code, label_value``; the prediction time stands for when an outcome was known."""
    return given.table.select(
        "patient_id",
        pl.col("prediction_time").alias("label_time"),
        pl.lit(code).alias("label_code"),
        pl.col("boolean_value").cast(pl.Float64).alias("label_value"),
    )


def _first_records(shards: Shards, births: Sequence[str]) -> pl.DataFrame:
    """``subject_id, intime`` of all persons: the time of their first event that is not the birth; null where there is none."""
    codes = shards.matching(tuple(births))["code"].to_list()
    time = pl.when(~pl.col("code").is_in(codes)).then("time")
    firsts = [
        collect(rows.group_by("subject_id").agg(time.min().alias("intime")), path)
        for path, rows in shards.frames.items()
    ]
    return pl.concat(firsts).group_by("subject_id").agg(pl.col("intime").min())


def _table(rows: pl.DataFrame, events: pl.DataFrame, hospital: pl.DataFrame) -> pl.DataFrame:
    around = rows.select("patient_id", "subject_id", "prediction_time").join(
        hospital.select("subject_id", "hadm_id", "admittime", "dischtime"), on="subject_id"
    )
    during = (pl.col("dischtime") >= pl.col("prediction_time")).fill_null(value=True)
    around = around.filter((pl.col("admittime") <= pl.col("prediction_time")) & during).sort("admittime", "hadm_id")
    around = around.unique("patient_id", keep="last", maintain_order=True).select("patient_id", "hadm_id", "admittime")
    table = rows.join(around, on="patient_id", how="left", maintain_order="left").with_columns(
        pl.col("patient_id").alias("stay_id"),
        pl.coalesce("hadm_id", pl.format("none-{}", "patient_id")).alias("hadm_id"),
        pl.coalesce("admittime", "intime").alias("admittime"),
    )
    table = meds_stays.with_person(table, events, "prediction_time")
    end = pl.col("prediction_time")
    return table.select(
        "subject_id",
        "hadm_id",
        "stay_id",
        "admittime",
        "intime",
        end.alias("outtime"),
        end.alias("dischtime"),
        pl.lit(None, TIME).alias("deathtime"),
        "death",
        "age",
        "sex",
        "ethnicity",
        pl.lit(None, pl.String).alias("icu_type"),
        pl.lit(None, pl.Int64).alias("died"),
    )
