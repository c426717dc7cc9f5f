"""``notes.csv``: what was written of each patient, and when."""

from dataclasses import replace
from pathlib import Path

import polars as pl

from emerge_ehr.datasets.sources import Notes
from emerge_ehr.datasets.sources._raw.raw_csv import header
from emerge_ehr.datasets.window import NO_TEXT, has_text, textless
from emerge_ehr.fields import plural
from emerge_ehr.storage import schema
from emerge_ehr.storage.ids import id_text
from emerge_ehr.storage.table_files import read_table
from emerge_ehr.storage.times import day_end


def read(folder: Path, cohort: pl.DataFrame) -> Notes:
    """The notes of the cohort, if the file is there. A date without a time counts as the end of that day.

    Rows without a text are left out and counted, with a warning where there are no others.

    A note without a time is kept with a warning, whether its field is empty or the file has no such column: of both nobody
    knows whether they are late.
    """
    if not (folder / schema.NOTES.file).is_file():
        times = {"note_time": pl.Datetime("us")}
        columns = {column.name: times.get(column.name, pl.String()) for column in schema.NOTES.columns}
        return Notes(pl.DataFrame(schema=columns))
    rows = _rows(folder)
    notes = rows.filter(has_text())
    blank = rows.height - notes.height
    notes = notes.with_columns(day_end(pl.col("note_time")).alias("note_time"), id_text(pl.col("patient_id")))
    of_cohort = notes.join(cohort, on="patient_id", how="semi").select(column.name for column in schema.NOTES.columns)
    counts = {
        "notes read": rows.height,
        **({NO_TEXT: blank} if blank else {}),
        "notes of the cohort": of_cohort.height,
    }
    untimed = of_cohort["note_time"].null_count()
    warning = (
        f"notes.csv: {plural(untimed, 'note carries', 'notes carry')} no time, and may have been written after the "
        "observation window"
    )
    table = of_cohort.sort("patient_id", "note_time", "note_type", "text")
    empty = textless(f"{schema.NOTES.file}: text", blank, rows.height)
    return Notes(table, counts, (*empty, *([warning] if untimed else [])))


def _rows(folder: Path) -> pl.DataFrame:
    """All rows; without the column ``note_time``, no note has a time."""
    if "note_time" in header(folder / schema.NOTES.file):
        return read_table(folder, schema.NOTES)
    columns = tuple(column for column in schema.NOTES.columns if column.name != "note_time")
    notes = read_table(folder, replace(schema.NOTES, columns=columns))
    return notes.with_columns(pl.lit(None, pl.Datetime("us")).alias("note_time")).select(schema.NOTES.names)
