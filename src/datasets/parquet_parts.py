"""A table as a folder of parquet parts: what lies in it, and its columns typed as those of a CSV are.

Text may be stored as text, categories or whole numbers, a number as any number, a time as a time without a zone, a date, or text.
"""

from pathlib import Path

import polars as pl

from src.datasets.artefacts import first_line
from src.datasets.schema import LARGEST, Column, Table
from src.datasets.times import parse_time
from src.fields import UserError

MAGIC = b"PAR1"  # the first bytes and the last
# a footer that points outside the file is met by Polars as a bug of its own
DAMAGED = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
EXPECTED = {"text": "text", "number": "a number", "time": "a time without a zone, a date, or text"}


def listed(folder: Path) -> list[Path]:
    """The parts in ``folder`` in order of their names. What begins with a dot or an underscore, as other programs leave there,
    is none.

    Raises:
        UserError: there is no part, or something else.
    """
    try:
        found = sorted(path for path in folder.iterdir() if path.name[0] not in "._")
    except OSError as error:
        raise UserError(f"{folder}: cannot be read: {error.strerror}; mend its permissions") from None
    for path in found:
        if path.suffix != ".parquet" or not path.is_file():
            raise UserError(f"{path}: not a *.parquet file, of which this table is made; move it elsewhere")
    if not found:
        raise UserError(f"{folder}: holds no *.parquet file; put the table's parts there, or remove the folder")
    return found


def scan(part: Path, table: Table) -> pl.LazyFrame:
    """The table's columns in one part, lazily, as they are stored.

    Raises:
        UserError: the part is damaged, lacks a column, or has one of another type.
    """
    try:
        with part.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise UserError(
                    f"{part}: not a readable parquet file: it does not begin as one; mend it, or make it anew"
                )
        stored = pl.read_parquet_schema(part)
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
    return pl.scan_parquet(part).select(column.name for column in table.columns)


def _fits(stored: pl.DataType, column: Column) -> bool:
    if column.kind == "number":
        return stored.is_numeric()
    if column.kind == "time":
        return stored in (pl.String, pl.Date) or (isinstance(stored, pl.Datetime) and stored.time_zone is None)
    return stored.is_integer() or stored in (pl.String, pl.Categorical, pl.Enum)


def typed(frame: pl.LazyFrame, table: Table) -> list[pl.Expr]:
    """The columns of ``frame`` as a CSV gives them: an empty text is null, and so is what is no number."""
    stored = frame.collect_schema()
    return [_as_of_csv(column, stored[column.name]) for column in table.columns]


def _as_of_csv(column: Column, stored: pl.DataType) -> pl.Expr:
    value = pl.col(column.name)
    if column.kind == "number":
        number = value.cast(pl.Float64)
        return pl.when(number.abs() <= LARGEST).then(number).alias(column.name)
    if column.kind == "time":
        return parse_time(column.name) if stored == pl.String else value.cast(pl.Datetime("us"))
    text = value.cast(pl.String)
    return pl.when(text != "").then(text).alias(column.name)


def unreadable(path: Path, error: BaseException) -> UserError:
    """What to tell of a part that cannot be read, or of the one in the folder ``path`` that cannot."""
    for part in listed(path) if path.is_dir() else ():
        try:
            pl.scan_parquet(part).collect(engine="streaming")
        except DAMAGED as found:
            return unreadable(part, found)
    return UserError(f"{path}: not a readable parquet file: {first_line(error)}; mend it, or make it anew")
