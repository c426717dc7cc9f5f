"""What lasts for a while, such as an infusion: its value at the start of every hour of the window, and where it begins.

An hour in which nothing runs has the value 0, if the file tells of the sample at all before the end of its window.

A row may be written hours after what it tells of. ``told`` keeps that time, so that no landmark sees it before (``convert``).
"""

import polars as pl


def hourly(periods: pl.LazyFrame, cohort: pl.DataFrame, charted: pl.LazyFrame) -> pl.LazyFrame:
    """Rows ``n, event_time, code, value, told`` inside the windows; of several periods at one time the highest value counts.

    ``periods``: ``n, code, start, end, value, told``, the end excluded. ``charted``: ``n, code, told``, a row for each signal of
    the samples whose hours without a period count as 0. ``told``: when the file told of it first.

    >>> from datetime import datetime
    >>> window = {"window_start": [datetime(2150, 1, 1)], "window_end": [datetime(2150, 1, 1, 3)]}
    >>> cohort = pl.DataFrame({"n": [0], **window}, schema_overrides={"n": pl.UInt32})
    >>> times = {"start": [datetime(2150, 1, 1, 0, 30)], "end": [datetime(2150, 1, 1, 2)]}
    >>> times["told"] = times["start"]
    >>> periods = pl.LazyFrame({"n": [0], "code": ["norepinephrine"], "value": [0.1], **times}, schema_overrides={"n": pl.UInt32})
    >>> rows = hourly(periods, cohort, periods.select("n", "code", "told")).sort("event_time").collect()
    >>> [(time.strftime("%H:%M"), value) for time, value in rows.select("event_time", "value").rows()]
    [('00:00', 0.0), ('00:30', 0.1), ('01:00', 0.1), ('02:00', 0.0)]
    """
    windows = cohort.lazy().select("n", "window_start", "window_end")
    running = periods.join(windows, on="n").filter(
        pl.col("value").is_not_null()
        & (pl.col("start") < pl.col("window_end"))
        & (pl.col("end") > pl.col("window_start"))
    )
    first = pl.max_horizontal("start", "window_start")
    last = pl.min_horizontal("end", "window_end")
    running = running.with_columns(first.alias("first"), last.alias("last")).filter(pl.col("first") < pl.col("last"))
    whole = _hours(running, _since(pl.col("first")), _since(pl.col("last")))
    begun = running.select("n", pl.col("first").alias("event_time"), "code", "value", "told")
    zeros = charted.unique().join(windows, on="n").with_columns(pl.lit(0.0).alias("value"))
    idle = _hours(zeros, pl.lit(0, pl.Int64), _since(pl.col("window_end")))
    highest = pl.col("told").filter(pl.col("value") == pl.col("value").max())
    rows = pl.concat([begun, whole, idle]).group_by("n", "event_time", "code")
    return rows.agg(pl.col("value").max(), highest.min().alias("told"))


def _since(time: pl.Expr) -> pl.Expr:
    """Whole hours since the window's start, rounded up."""
    return ((time - pl.col("window_start")).dt.total_microseconds() / 3_600_000_000).ceil().cast(pl.Int64)


def _hours(rows: pl.LazyFrame, first: pl.Expr, end: pl.Expr) -> pl.LazyFrame:
    """A row for each whole hour of the window from ``first`` to before ``end``."""
    each = (
        rows.with_columns(pl.int_ranges(first, end).alias("hour"))
        .explode("hour", empty_as_null=True)
        .drop_nulls("hour")
    )
    time = pl.col("window_start") + pl.duration(hours=pl.col("hour"))
    return each.select("n", time.alias("event_time"), "code", "value", "told")
