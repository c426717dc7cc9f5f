"""Reads a table that is stored as a folder of parquet parts, with columns of the same types as those read from a CSV.

A text column may be stored as text, categories or whole numbers; a number column as any number; a time column as a time without
a zone or in UTC, a date, or text.
"""

import datetime
from pathlib import Path

import polars as pl

from emerge_ehr.fields import UserError
from emerge_ehr.storage.artefacts import first_line
from emerge_ehr.storage.ids import id_text
from emerge_ehr.storage.schema import LARGEST, Column, Table
from emerge_ehr.storage.sexes import known_sex
from emerge_ehr.storage.times import parse_time

UNITS = {"ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
FIRST_DAY, LAST_DAY = ((date - datetime.date(1970, 1, 1)).days for date in (datetime.date.min, datetime.date.max))
MAGIC = b"PAR1"  # a parquet file begins and ends with these bytes
# Polars panics at a footer that points outside the file
DAMAGED = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
EXPECTED = {
    "text": "text",
    "id": "text",
    "sex": "text",
    "number": "a number",
    "time": "a time without a zone or in UTC, a date, or text",
}


def listed(folder: Path) -> list[Path]:
    """The parts in ``folder`` in order of their names; files whose names begin with a dot or an underscore are skipped, since
    other programs leave such files there.

    Raises:
        UserError: there is no part, or there is something other than parts.
    """
    try:
        parts = sorted(path for path in folder.iterdir() if path.name[0] not in "._")
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror}; mend its permissions") from None
    for path in parts:
        if path.suffix != ".parquet" or not path.is_file():
            raise UserError(f"{path}: not a *.parquet file, of which this table is made; move it elsewhere")
    if not parts:
        raise UserError(f"{folder}: holds no *.parquet file; put the table's parts there, or remove the folder")
    return parts


def scan(part: Path, table: Table) -> pl.LazyFrame:
    """The table's columns in one part, as a lazy frame, with the types they are stored in.

    Raises:
        UserError: the part is damaged, lacks a column, or stores one as another type.
    """
    try:
        with part.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise UserError(
                    f"{part}: not a readable parquet file: it does not begin as one; mend it, or make it again"
                )
        stored = pl.scan_parquet(part, glob=False).collect_schema()
    except DAMAGED as error:
        raise unreadable(part, error) from None
    missing = [column.name for column in table.columns if column.name not in stored]
    if missing:
        raise UserError(f"{part}: no column '{missing[0]}'; it has: {', '.join(stored)}")
    for column in table.columns:
        if not _fits(stored[column.name], column):
            raise UserError(
                f"{part}: {column.name} is stored as {stored[column.name]}; it must be {EXPECTED[column.kind]} ({column.meaning})"
            )
    return pl.scan_parquet(part, glob=False).select(column.name for column in table.columns)


def _fits(stored: pl.DataType, column: Column) -> bool:
    if stored == pl.Null:  # written by other programs where every value is missing, or there are no rows
        return True
    if column.kind == "number":
        return stored.is_numeric()
    if column.kind == "time":
        return stored in (pl.String, pl.Date) or (isinstance(stored, pl.Datetime) and stored.time_zone in (None, "UTC"))
    return stored.is_integer() or stored in (pl.String, pl.Categorical, pl.Enum)


def typed(frame: pl.LazyFrame, table: Table) -> list[pl.Expr]:
    """The columns of ``frame`` with the types that a CSV would give: an empty text is null, and so is anything but a number in a
    number column."""
    stored = frame.collect_schema()
    return [_as_of_csv(column, stored[column.name]) for column in table.columns]


def _as_of_csv(column: Column, stored: pl.DataType) -> pl.Expr:
    value = pl.col(column.name)
    if column.kind == "number":
        number = value.cast(pl.Float64)
        return pl.when(number.abs() <= LARGEST).then(number).alias(column.name)
    if column.kind == "time":
        if stored == pl.String:
            return parse_time(column.name)
        possible = _possible(value, stored)
        possible = possible.dt.replace_time_zone(None) if isinstance(stored, pl.Datetime) else possible
        return possible.cast(pl.Datetime("us"))
    text = value.cast(pl.String)
    if column.kind in ("id", "sex"):
        return (id_text(text) if column.kind == "id" else known_sex(text)).alias(column.name)
    return pl.when(text != "").then(text).alias(column.name)


def told(frame: pl.LazyFrame, table: Table) -> list[pl.Expr]:
    """The columns of ``frame`` as text, to be quoted in messages."""
    stored = frame.collect_schema()
    return [_as_text(pl.col(column.name), stored[column.name]) for column in table.columns]


def _as_text(value: pl.Expr, stored: pl.DataType) -> pl.Expr:
    if not stored.is_temporal():
        return value.cast(pl.String)
    return _possible(value, stored).cast(pl.String).fill_null(value.to_physical().cast(pl.String))


def _possible(value: pl.Expr, stored: pl.DataType) -> pl.Expr:
    """The time, or null outside the years 1 to 9999: Polars panics when it converts some of these."""
    day = 86_400 * UNITS[stored.time_unit] if isinstance(stored, pl.Datetime) else 1
    return pl.when(value.to_physical().is_between(FIRST_DAY * day, LAST_DAY * day)).then(value)


def unreadable(path: Path, error: BaseException) -> UserError:
    """The error for a part that cannot be read; where ``path`` is a folder, for the first part in it that cannot be read."""
    for part in listed(path) if path.is_dir() else ():
        try:
            pl.scan_parquet(part, glob=False).collect(engine="streaming")
        except DAMAGED as part_error:
            return unreadable(part, part_error)
    return UserError(f"{path}: not a readable parquet file: {first_line(error)}; mend it, or make it again")
