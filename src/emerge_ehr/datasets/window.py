"""The observation window: ``convert`` keeps the measurements and notes of a source that lie in it."""

from dataclasses import replace
from datetime import timedelta

import polars as pl

from emerge_ehr.datasets.sources import Notes
from emerge_ehr.fields import plural
from emerge_ehr.storage.times import day_end

NO_TEXT = "notes without text"
LATE_NOTES = "notes after the window excluded"
EARLY_NOTES = "notes before the admission excluded"
TWICE = "notes that stand twice, the second left out"
TRANSFER = timedelta(
    hours=24
)  # an admission that begins up to that long before the discharge is the record of a transfer
BEFORE = timedelta(hours=24)  # notes of the emergency department and of arrival precede the hospital admission
DOUBTFUL = {
    EARLY_NOTES: "they are dated more than 24 h before the admission (are their times and ids right?)",
    TWICE: "they stand twice (is a file doubled, or named twice?)",
}
SMALL = 0.01  # the share of the notes up to which a loss is counted without a warning


def stay_end(closed: str) -> pl.Expr:
    """When the stay or admission that ends at ``closed`` was over for the patient.

    Recorded times differ: a person may die, or leave the hospital, hours before the recorded end of the stay. A discharge that
    is a date without a time was on that day.
    """
    return pl.min_horizontal(closed, day_end(pl.col("dischtime")), "deathtime")


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


def early(note_time: str = "note_time") -> pl.Expr:
    """Whether a note was written more than ``BEFORE`` before its ``admittime`` and ``window_start``; false where it has no time.

    In some hospitals a patient is in the unit before being admitted to the hospital.
    """
    return (pl.col(note_time) < pl.min_horizontal("admittime", "window_start") - BEFORE).fill_null(value=False)


def has_text(text: str = "text") -> pl.Expr:
    """Whether a note has a text, not blanks alone.

    >>> pl.DataFrame({"text": ["a", " ", "", None]}).filter(has_text()).height
    1
    """
    return (pl.col(text).str.strip_chars() != "").fill_null(value=False)


def textless(name: str, blank: int, read: int) -> list[str]:
    """A warning where none of the notes that were ``read`` has a text; [] otherwise. ``name``: of the column, with its file.

    >>> textless("notes.csv: text", 0, 2), textless("notes.csv: text", 2, 2)
    ([], ['notes.csv: text is empty in all 2 notes, which are left out; is it the right column?'])
    """
    return [f"{name} is empty in all {plural(read, 'note')}, which are left out; is it the right column?"] * (
        0 < read == blank
    )


def notes(given: Notes, cohort: pl.DataFrame) -> Notes:
    """Leave out and count the notes that were written long before the admission of their sample or after its window, and those
    that stand twice. Notes after the window stay where the source keeps them.
    """
    times = cohort.select("patient_id", "window_start", "window_end", "admittime")
    table = given.table.join(times, on="patient_id", how="left", maintain_order="left")
    counts = {EARLY_NOTES: table.filter(early()).height}
    table = table.filter(~early())
    if not given.after_window:
        counts[LATE_NOTES] = table.filter(late()).height
        table = table.filter(~late())
    once = table.unique(maintain_order=True)
    counts[TWICE] = table.height - once.height
    warnings = [
        f"{counts[reason]} of {given.table.height} notes are left out: {why}"
        for reason, why in DOUBTFUL.items()
        if counts[reason] > SMALL * given.table.height
    ]
    counts = {reason: given.counts.get(reason, 0) + count for reason, count in counts.items()}
    counts = {reason: count for reason, count in counts.items() if count or (given.counts and reason == LATE_NOTES)}
    return replace(
        given,
        table=once.drop("window_start", "window_end", "admittime"),
        counts={**given.counts, **counts},
        warnings=(*given.warnings, *warnings),
    )
