"""Turns chart and lab rows of MIMIC-III and IV into lazy frames of measurements in canonical units."""

from datetime import timedelta
from pathlib import Path

import polars as pl

from emerge_ehr.datasets.sources import Events, Match
from emerge_ehr.datasets.sources._mimic.items import Items, item_table, score_table
from emerge_ehr.storage.times import TIME_FORMAT

# Height and weight from the admission form carry a time shortly before the ICU admission.
EARLY_SIGNALS, EARLY = ("height", "weight"), timedelta(hours=24)


def chart(
    path: Path,
    rows: pl.LazyFrame,
    items: Items,
    cohort: pl.DataFrame,
    match: Match,
    in_error: pl.Expr | None = None,
) -> Events:
    """Measurements from chart rows; a score in words becomes its number.

    ``rows`` has ``stay_id`` or ``hadm_id, charttime`` (text), ``itemid, value, valuenum``. A row where ``in_error`` holds is
    counted and loses its value, so that ``convert`` drops it.
    """
    wrong = pl.lit(value=False) if in_error is None else in_error.fill_null(value=False)
    words = pl.col("value").str.strip_chars().str.to_lowercase().alias("text")
    events = _wanted(rows.with_columns(wrong.alias("repaired"), words), items).drop("value")
    events = events.join(score_table().lazy(), on=["code", "text"], how="left").drop("text")
    number = pl.when(~pl.col("repaired")).then(pl.coalesce("valuenum", "score"))
    samples = _samples(cohort, match, "window_start")
    events = with_early_at_start(events.with_columns(number.alias("number")).join(samples, on=match))
    return Events(path, _scaled(events), "chart rows marked as errors, left out (they count as no number too)")


def labs(path: Path, rows: pl.LazyFrame, items: Items, cohort: pl.DataFrame) -> Events:
    """Measurements from lab rows, matched by person and time.

    ``rows`` has ``subject_id, hadm_id, itemid, charttime`` (text), ``valuenum``. Rows of another admission are left out; rows
    without ``hadm_id`` (a tenth in MIMIC) are kept and counted.
    """
    unmatched = pl.col("hadm_id").is_null()
    events = _wanted(rows.with_columns(unmatched.alias("repaired")), items).rename({"valuenum": "number"})
    stays = _samples(cohort, "subject_id", pl.col("hadm_id").cast(pl.Int64).alias("stay_hadm_id"))
    events = events.join(stays, on="subject_id")
    events = events.filter(pl.col("repaired") | (pl.col("hadm_id") == pl.col("stay_hadm_id")))
    return Events(path, _scaled(events), "lab rows matched by person and time, having no hadm_id")


def _wanted(rows: pl.LazyFrame, items: Items) -> pl.LazyFrame:
    """The rows whose ``itemid`` is in ``items``, with ``event_time`` instead of ``charttime``, and ``code, scale, offset``.

    Times are parsed first, because a text column in a join or a sink keeps its whole block of the file in memory.
    """
    time = pl.col("charttime").str.to_datetime(TIME_FORMAT, time_unit="us").alias("event_time")
    selected = rows.filter(pl.col("itemid").is_in(list(items))).with_columns(time).drop("charttime")
    return selected.join(item_table(items).lazy(), on="itemid")


def with_early_at_start(events: pl.LazyFrame) -> pl.LazyFrame:
    """Move heights and weights from up to ``EARLY`` before the window to its start.

    ``events`` has ``code, event_time, window_start``.
    """
    early = pl.col("event_time").is_between(pl.col("window_start") - EARLY, pl.col("window_start"))
    moved = pl.when(early & pl.col("code").is_in(EARLY_SIGNALS)).then("window_start").otherwise("event_time")
    return events.with_columns(moved.alias("event_time"))


def _samples(cohort: pl.DataFrame, key: str, *more: str | pl.Expr) -> pl.LazyFrame:
    return cohort.lazy().select(pl.col(key).cast(pl.Int64), "n", *more)


def _scaled(events: pl.LazyFrame) -> pl.LazyFrame:
    value = pl.col("number") * pl.col("scale") + pl.col("offset")
    return events.select("n", "event_time", "code", value.alias("value"), "repaired")
