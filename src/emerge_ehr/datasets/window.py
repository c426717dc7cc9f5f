"""The observation window: ``convert`` keeps the measurements and notes of a source that lie in it."""

from dataclasses import replace

import polars as pl

from emerge_ehr.datasets.sources import Notes

LATE_NOTES = "notes after the window excluded"


def inside() -> pl.Expr:
    """Whether ``event_time`` lies in the window, whose end is excluded. A row without a time passes: it is counted later.

    >>> rows = pl.DataFrame({"event_time": [1, 2, 5, None], "window_start": 2, "window_end": 5})
    >>> rows.filter(inside())["event_time"].to_list()
    [2, None]
    """
    between = pl.col("event_time").is_between("window_start", "window_end", closed="left")
    return between | pl.col("event_time").is_null()


def measurements(events: pl.LazyFrame, cohort: pl.DataFrame) -> pl.LazyFrame:
    """The rows of ``events`` (``n, event_time, ...``) that lie in the window of their sample ``n``."""
    windows = cohort.lazy().select("n", "window_start", "window_end")
    return events.join(windows, on="n").filter(inside()).drop("window_start", "window_end")


def late(window_end: str = "window_end") -> pl.Expr:
    """Whether a note was written at the end of the window or later; false for a note without a time."""
    return (pl.col("note_time") >= pl.col(window_end)).fill_null(value=False)


def notes(given: Notes, cohort: pl.DataFrame) -> Notes:
    """Leave out and count the notes that were written after the window of their sample, unless the source keeps them."""
    if given.after_window:
        return given
    ends = cohort.select("patient_id", "window_end")
    table = given.table.join(ends, on="patient_id", how="left", maintain_order="left").filter(~late())
    count = given.counts.get(LATE_NOTES, 0) + given.table.height - table.height
    counted = {LATE_NOTES: count} if count or given.counts else {}
    return replace(given, table=table.drop("window_end"), counts={**given.counts, **counted})
