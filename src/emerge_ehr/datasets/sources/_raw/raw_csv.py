"""Reads a source's raw CSV files, plain or gzipped, lazily, and reports a fault in them in one clear line."""

import errno
import os
import re
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl

from emerge_ehr.datasets.sources._raw.number_fields import decimal, unread_decimal
from emerge_ehr.fields import UserError, plural
from emerge_ehr.signals.numbers import is_bound
from emerge_ehr.storage import zones
from emerge_ehr.storage.artefacts import first_line
from emerge_ehr.storage.csv_rows import AGAIN, AS_UTF8, refuse_bare_returns, refuse_ragged, where_not_utf8
from emerge_ehr.storage.ids import unread_number, whole_number
from emerge_ehr.storage.times import NOT_A_TIME, has_no_time_of_day, parse_time, unread_time
from emerge_ehr.storage.twins import opened, refuse_differing

NOT_A_NUMBER = "is not a number (numbers are read as 7.35, with a point)"
Schema = Mapping[str, pl.DataType | type[pl.DataType]]
READERS: Mapping[object, Callable[[str], pl.Expr]] = {
    pl.Datetime: parse_time,
    pl.Int64: whole_number,
    pl.Float64: decimal,
}
# Polars's error for a field that ``strict_time``, ``whole_number`` or ``decimal`` cannot read
FAILED = re.compile(r"conversion from `str` to `(datetime|i64|f64)[^`]*` failed in column '([^']*)'")


def find(folder: Path, name: str) -> Path:
    """The path of ``name.csv.gz`` or ``name.csv`` in ``folder``, in upper or lower case.

    Raises:
        UserError: neither file is there, or several are that differ.
    """
    file = look(folder, name)
    if file is None:
        files = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) if folder.is_dir() else "no such folder"
        raise UserError(
            f"{folder / name}.csv.gz: missing (nor is {name}.csv there; found: {files or 'nothing'}); "
            "check paths.raw_dir, or run --stage download"
        )
    return file


def look(folder: Path, name: str) -> Path | None:
    """As ``find``, but None where the file is missing.

    Raises:
        UserError: several such files are there, and their contents differ.
    """
    wanted = (f"{name}.csv.gz".lower(), f"{name}.csv".lower())
    present = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    files = [path for file in wanted for path in present if path.name.lower() == file]
    if files:
        refuse_differing(*files)
    return files[0] if files else None


def header(path: Path) -> list[str]:
    """Read the column names of a CSV as they are written.

    Raises:
        UserError: the file is empty, not text, or a damaged gzip, or its lines end with a carriage return alone.
    """
    try:
        with opened(path) as file:
            line = file.readline(1 << 16)
        names = line.decode("utf-8-sig").strip()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        where = where_not_utf8(path, error)
        remedy = AS_UTF8 if where else "get the file again"
        raise UserError(f"{path}: not a readable CSV: {first_line(error)}{where}; {remedy}") from None
    refuse_bare_returns(path)  # of what is text at all
    if not names:
        raise UserError(f"{path}: empty; a header line was expected")
    columns = [name.strip('"') for name in names.split(",")]
    twice = [name for name in columns if columns.count(name) > 1]
    if twice:
        raise UserError(
            f"{path}: two columns are named '{twice[0]}'; its first line must be a header, each name in it once"
        )
    return columns


def refuse_without_rows(path: Path) -> None:
    """Check that the file has rows.

    Raises:
        UserError: it has only a header.
    """
    header(path)
    with opened(path) as file:
        file.readline()
        if not file.read(64).strip():
            raise UserError(f"{path}: has a header and no rows; get the file again")


def scan(path: Path, columns: Schema) -> pl.LazyFrame:
    """The named columns as a lazy frame, whatever the case of their names.

    ``Datetime`` columns are parsed. Whole numbers, as ids are, may have blanks around them, leading zeros or ``.0`` at the end.
    Fields of numbers may be empty, or hold a word for that, such as ``NaN``.

    Raises:
        UserError: a column is missing, or a row has too few or too many fields, as the last one of a file that is cut off.
    """
    present = header(path)
    written = {name.lower(): name for name in present}
    missing = [name for name in columns if name.lower() not in written]
    if missing:
        hint = "; fields must be separated by commas" if len(present) == 1 else ""
        raise UserError(f"{path}: no column '{missing[0]}'; it has: {', '.join(present)}{hint}")
    refuse_ragged(path)
    readers = {name: READERS[kind](name) for name, kind in columns.items() if kind in READERS}
    plain = {written[name.lower()]: (pl.String if name in readers else kind) for name, kind in columns.items()}
    frame = pl.scan_csv(path, schema_overrides=plain, infer_schema=False, glob=False)
    frame = frame.select(pl.col(written[name.lower()]).alias(name) for name in columns)
    return frame.with_columns(readers.values())


def collect(frame: pl.LazyFrame, path: Path, *, every_column: bool = False) -> pl.DataFrame:
    """Run a scan in streaming mode.

    With ``every_column``, columns that are not needed are read as well, so that a row with too many fields is noticed.

    Raises:
        UserError: the file is damaged, or a field does not have its column's type.
    """
    optimizations = pl.QueryOptFlags(projection_pushdown=not every_column)
    try:
        return frame.collect(engine="streaming", optimizations=optimizations)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: Exception) -> UserError | OSError:
    """The error for a file that Polars could not read to its end, or a full disk while it wrote the file's rows.

    ``artefacts.naming`` adds the path to the latter.
    """
    if "No space left" in str(error):
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if mixed := zones.mixed(path, error):
        return mixed
    if failed := FAILED.search(str(error)):
        return _unread_field(path, failed[1], failed[2])
    where = where_not_utf8(path, error)
    return UserError(f"{path}: cannot be read: {first_line(error)}{where}; {AS_UTF8 if where else AGAIN}")


def _unread_field(path: Path, kind: str, name: str) -> UserError:
    """The error for a column's first field that is not of its kind; its row is looked up, since Polars does not say it."""
    rule = {"datetime": NOT_A_TIME, "i64": "is not a whole number", "f64": NOT_A_NUMBER}[kind]
    if not path.name.lower().endswith((".csv", ".csv.gz")):
        return UserError(f"{path}: a field of column {name} {rule}; mend it")
    unread = {"datetime": unread_time, "i64": unread_number, "f64": unread_decimal}[kind]("field")
    wanted = [pl.col(column).alias("field") for column in header(path) if column.lower() == name.lower()]
    rows = pl.scan_csv(path, infer_schema=False, glob=False).select(wanted).with_row_index("row").filter(unread)
    rows = rows.sort(is_bound(pl.col("field")), maintain_order=True).head(
        1
    )  # some columns may hold bounds, and are read
    try:
        first = rows.collect(engine="streaming") if wanted else pl.DataFrame()
    except (pl.exceptions.PolarsError, OSError) as error:  # a damaged archive, whose wrong text comes before its end
        return UserError(f"{path}: cannot be read: {first_line(error)}; get the file again or mend that row")
    where, text = (f" row {first['row'][0] + 2}", repr(first["field"][0][:80])) if first.height else ("", "a field")
    return UserError(f"{path}{where}: {name} {text} {rule}; mend that row")


def read(path: Path, columns: Schema, key: tuple[str, ...] = (), dated: tuple[str, ...] = ()) -> pl.DataFrame:
    """Read the named columns of a small file into memory; no two rows may agree in all ``key`` columns.

    Of the columns ``dated``, ``<name> bare`` says whether the text of a time is a date only.

    Raises:
        UserError: as ``scan``; a time cannot be read; a file with ``key`` has no rows; a key is empty or occurs twice.
    """
    times = [name for name, kind in columns.items() if kind == pl.Datetime]
    table = collect(scan(path, {**columns, **dict.fromkeys(times, pl.String)}), path, every_column=True)
    blank = table.select(pl.all_horizontal(pl.all().is_null())).to_series()  # a line without fields
    if key and blank.all():
        raise UserError(f"{path}: has a header and no rows; get the file again")
    for name in times:
        parsed = collect(table.lazy().select(parse_time(name)), path).to_series()
        bad = parsed.is_null() & (table[name].str.strip_chars() != "")
        if bad.any():
            row = bad.arg_true()[0]
            raise UserError(
                f"{path} row {row + 2}: {name} {table[name][row]!r} {NOT_A_TIME}; mend {plural(int(bad.sum()), 'such row')}"
            )
        bare = [has_no_time_of_day(pl.col(name)).alias(f"{name} bare")] if name in dated else []
        table = table.with_columns(bare).with_columns(parsed)
    for name in key:
        empty = table[name].is_null() & ~blank
        if empty.any():
            raise UserError(
                f"{path} row {empty.arg_true()[0] + 2}: {name} is empty; get the file again or mend that row"
            )
    table = table.filter(~blank)
    if key and table.select(key).is_duplicated().any():
        row = table.select(key).is_duplicated().arg_true()[0]
        twice = ", ".join(str(value) for value in table.select(key).row(row))
        raise UserError(f"{path} row {row + 2}: {' and '.join(key)} {twice} stands twice; remove one of the rows")
    return table


def refuse_orphans(path: Path, rows: pl.DataFrame, other_path: Path, other: pl.DataFrame, keys: list[str]) -> None:
    """Check that every row has a row with the same ``keys`` in the other file.

    Raises:
        UserError: some do not, as happens when files of two versions are mixed.
    """
    orphans = rows.join(other, on=keys, how="anti")
    if orphans.height:
        first = ", ".join(f"{key} {orphans[key][0]}" for key in keys)
        raise UserError(
            f"{path}: {orphans.height} of {rows.height} rows are not in {other_path} (first: {first}); "
            "the files must be of one version of the data"
        )
