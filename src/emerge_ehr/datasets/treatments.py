"""Treatments that a source states: what was begun inside a sample's observation window is kept, all else is counted.

A treatment that was ordered later than it began is known from its order on. An end after the window is taken away.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from emerge_ehr.storage import schema
from emerge_ehr.storage.nothing import may_say_nothing
from emerge_ehr.storage.table_files import collect_table
from emerge_ehr.storage.times import day_end, has_no_time_of_day, parse_time, unread_time

# The columns of the rows that a source gives to ``of_windows``, all of them texts
RAW = ("patient_id", "start_time", "end_time", "ordered", "drug", "route", "dose", "kind")
MUCH = 0.01  # the share of the rows from which on a loss is warned of
DAMAGED = ("without a start", "with a start that is not a time", "without the name of a drug")
CUT = "with an end after the window, which is left empty"
UNREAD_END = "with an end that is not a time, which is left empty"
FROM_ORDER = "ordered after their start, counted from the order on"
AT_DAY_END = "with a date and no time of day, taken at the end of the day"


@dataclass(frozen=True)
class Treatments:
    """``table`` has the columns of ``schema.TREATMENTS``; ``counts``: what became of the rows; ``warnings`` are for the user."""

    table: pl.DataFrame
    counts: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def of_windows(rows: pl.DataFrame, cohort: pl.DataFrame, path: Path, *, dates: bool = False) -> Treatments:
    """The treatments of the samples in ``cohort`` (``patient_id, window_start, window_end``) among ``rows`` (``RAW``).

    ``path``: the file that the rows are of. ``dates``: the source has no times of day, so that midnight stands for a whole day.

    Raises:
        UserError: some times of a column state a zone and others do not.
    """
    windows = cohort.select("patient_id", "window_start", "window_end")
    texts = [_filled(name) for name in ("drug", "route", "dose")]
    times = [column for name in ("start_time", "end_time", "ordered") for column in _parsed(name)]
    table = collect_table(rows.join(windows, on="patient_id").lazy().with_columns(*texts, *times), path)
    whole_day = pl.col("start_time bare") | (pl.lit(dates) & (day_end(pl.col("start_time")) != pl.col("start_time")))
    table = table.with_columns(whole_day.fill_null(value=False).alias("by day"))
    start = pl.when("by day").then(day_end(pl.col("start_time"))).otherwise("start_time")
    end = pl.when(pl.lit(dates) | pl.col("end_time bare")).then(day_end(pl.col("end_time"))).otherwise("end_time")
    table = table.with_columns(start.alias("start_time"), end.alias("end_time"))
    counts = {"rows of the cohort's stays": table.height}
    for reason, wrong in _reasons().items():
        counts[reason] = table.select(wrong.fill_null(value=False).sum()).item()
        table = table.filter(~wrong.fill_null(value=False))
    late = (pl.col("ordered") > pl.col("start_time")).fill_null(value=False)
    counts[FROM_ORDER] = table.select(late.sum()).item()
    table = table.with_columns(pl.max_horizontal("start_time", "ordered").alias("start_time"))
    cut = (pl.col("end_time") >= pl.col("window_end")).fill_null(value=False)
    counts[CUT] = table.select(cut.sum()).item()
    counts[UNREAD_END] = table.select(pl.col("end_time unread").sum()).item()
    counts[AT_DAY_END] = table.select(pl.col("by day").sum()).item()
    over = pl.col("end_time") < pl.col("start_time")  # before it was ordered
    table = table.with_columns(pl.when(~cut & ~over).then("end_time").alias("end_time"))
    table = table.select(schema.TREATMENTS.names)
    once = table.unique().sort(schema.TREATMENTS.names, nulls_last=True)
    counts["that stand twice, the second left out"] = table.height - once.height
    return Treatments(once, {reason: count for reason, count in counts.items() if count}, tuple(_warnings(counts)))


def together(parts: Sequence[Treatments]) -> Treatments:
    """The treatments of several files."""
    counts: dict[str, int] = {}
    for part in parts:
        counts = {key: counts.get(key, 0) + part.counts.get(key, 0) for key in {**counts, **part.counts}}
    table = pl.concat([part.table for part in parts]).sort(schema.TREATMENTS.names, nulls_last=True)
    return Treatments(table, counts, tuple(dict.fromkeys(warning for part in parts for warning in part.warnings)))


def _parsed(name: str) -> list[pl.Expr]:
    """The text column as times; ``<name> bare``: whether the text is a date only; ``<name> unread``: whether it is no time."""
    nothing = may_say_nothing(pl.col(name).str.strip_chars())
    return [
        parse_time(name).dt.truncate("1s"),
        has_no_time_of_day(pl.col(name)).alias(f"{name} bare"),
        (unread_time(name) & ~nothing).alias(f"{name} unread"),
    ]


def _filled(name: str) -> pl.Expr:
    text = pl.col(name).str.strip_chars()
    return pl.when(~may_say_nothing(text)).then(text).alias(name)


def _reasons() -> dict[str, pl.Expr]:
    """Why a row is left out, the first that holds."""
    start, end = pl.col("start_time"), pl.col("end_time")
    return {
        "with a start that is not a time": pl.col("start_time unread"),
        "without a start": start.is_null(),
        "without the name of a drug": pl.col("drug").is_null(),
        "begun before the window": start < pl.col("window_start"),
        "begun after the window": start >= pl.col("window_end"),
        "ordered after the window, though begun inside it by their start": pl.col("ordered") >= pl.col("window_end"),
        "that ended before they began, as orders that were cancelled": end < start,
    }


def _warnings(counts: Mapping[str, int]) -> list[str]:
    whole = counts["rows of the cohort's stays"]
    return [
        f"treatments: {counts[reason]} of {whole} rows are {reason}, and left out"
        for reason in DAMAGED
        if counts[reason] > MUCH * whole
    ]
