"""Turns eICU's minutes from unit admission into times, and its measurement tables into lazy frames of events in canonical units.

eICU holds no dates. Here every hospital admission begins at 2100-01-01 00:00:00: an event of a unit stay happened ``offset -
hospitaladmitoffset`` minutes later, so that all unit stays of one admission share one calendar. The times of
two admissions, even of one person, say nothing about their order.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import polars as pl

from emerge_ehr.datasets.sources import Events, Match
from emerge_ehr.datasets.sources._raw.raw_csv import scan
from emerge_ehr.datasets.sources.eicu.items import ADMISSION, LEADING_SCORE, cell_table, lab_table, score_table
from emerge_ehr.datasets.window import inside

HOSPITAL_ADMISSION = datetime(2100, 1, 1)
STAY = "patientunitstayid"


def on_calendar(offset: pl.Expr) -> pl.Expr:
    """Convert minutes from unit admission to a time, in a table that has the stay's ``hospitaladmitoffset``.

    >>> stays = pl.DataFrame({"hospitaladmitoffset": [-90], "unitdischargeoffset": [60]})
    >>> stays.select(on_calendar(pl.col("unitdischargeoffset"))).item()
    datetime.datetime(2100, 1, 1, 2, 30)
    """
    start = pl.lit(HOSPITAL_ADMISSION, dtype=pl.Datetime("us"))
    return start + pl.duration(minutes=offset - pl.col("hospitaladmitoffset"))


def windows(units: pl.DataFrame, cohort: pl.DataFrame, match: Match) -> pl.LazyFrame:
    """``patientunitstayid, hospitaladmitoffset, n, window_start, window_end``: the samples that each unit stay belongs to.

    ``units``: all unit stays, including those outside the cohort, with ``stay_id, hadm_id, hospitaladmitoffset``.
    """
    served = units.join(cohort.select(match, "n", "window_start", "window_end"), on=match)
    return served.select(STAY, "hospitaladmitoffset", "n", "window_start", "window_end").lazy()


def vitals(path: Path, codes: Mapping[str, str], served: pl.LazyFrame) -> Events:
    """The measurements of a table that has one column per signal, blank where it was not measured."""
    columns = {STAY: pl.Int64, "observationoffset": pl.Int64, **dict.fromkeys(codes, pl.Float64)}
    events = _in_window(scan(path, columns), "observationoffset", served).select("n", "event_time", *codes)
    events = events.rename(dict(codes)).unpivot(index=["n", "event_time"], variable_name="code", value_name="value")
    return Events(path, events.filter(pl.col("value").is_not_null()))


def labs(path: Path, served: pl.LazyFrame) -> Events:
    """Laboratory results at the time when the specimen was drawn; a revised result is a second value at that time."""
    rows = scan(path, {STAY: pl.Int64, "labresultoffset": pl.Int64, "labname": pl.String, "labresult": pl.Float64})
    events = _in_window(rows.join(lab_table().lazy(), on="labname"), "labresultoffset", served)
    return Events(path, events.select("n", "event_time", "code", pl.col("labresult").alias("value")))


def nurse_chart(path: Path, served: pl.LazyFrame) -> Events:
    """The nurses' charted values, which are text: a number, a score in words, or neither (null).

    A charted GCS total is kept beside the sum of its parts even where they differ, since either may be wrong.
    """
    cells = {"nursingchartcelltypevallabel": "label", "nursingchartcelltypevalname": "cell"}
    columns = {
        STAY: pl.Int64,
        "nursingchartoffset": pl.Int64,
        **dict.fromkeys([*cells, "nursingchartvalue"], pl.String),
    }
    rows = scan(path, columns).rename(cells).join(cell_table().lazy(), on=["label", "cell"])
    events = _in_window(rows, "nursingchartoffset", served)
    text = pl.col("nursingchartvalue").str.strip_chars().str.to_lowercase()
    events = events.with_columns(text.alias("text")).join(score_table().lazy(), on=["code", "text"], how="left")
    leading = pl.col("text").str.extract(LEADING_SCORE).cast(pl.Float64)
    number = pl.coalesce(pl.col("text").cast(pl.Float64, strict=False), leading, "score")
    value = number * pl.col("scale") + pl.col("offset")
    return Events(path, events.select("n", "event_time", "code", value.alias("value")))


def admission(path: Path, units: pl.DataFrame, served: pl.LazyFrame) -> Events:
    """Height and weight at unit admission. A value from before the window counts at its start; of several, the latest does."""
    measured = units.select(STAY, pl.lit(0).alias("unitadmitoffset"), *ADMISSION).rename(ADMISSION)
    long = measured.unpivot(index=[STAY, "unitadmitoffset"], variable_name="code", value_name="value")
    rows = served.collect().join(long.filter(pl.col("value").is_not_null()), on=STAY)
    rows = rows.with_columns(on_calendar(pl.col("unitadmitoffset")).alias("admitted"))
    rows = rows.drop_nulls("admitted").sort("n", "admitted", "value")
    rows = rows.with_columns(pl.max_horizontal("admitted", "window_start").alias("event_time"))
    latest = rows.unique(["n", "event_time", "code"], keep="last", maintain_order=True)
    return Events(path, latest.select("n", "event_time", "code", "value").lazy())


def _in_window(rows: pl.LazyFrame, offset: str, served: pl.LazyFrame) -> pl.LazyFrame:
    """Add ``n, event_time`` and drop the rows outside the window, which are most of a long stay, before other work is done."""
    events = rows.join(served, on=STAY).with_columns(on_calendar(pl.col(offset)).alias("event_time"))
    return events.filter(inside())
