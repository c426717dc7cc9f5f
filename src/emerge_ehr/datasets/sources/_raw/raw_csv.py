"""Reads a source's raw CSV files, plain or gzipped, lazily, and reports a fault in them in one clear line."""

import csv
import errno
import gzip
import os
import zlib
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from emerge_ehr.fields import UserError
from emerge_ehr.storage.artefacts import first_line
from emerge_ehr.storage.times import parse_time

Schema = Mapping[str, pl.DataType | type[pl.DataType]]
# Bytes of the largest archive whose last line is checked, which takes a second. Larger ones have only their own checksum.
LOOKED_THROUGH = 1 << 26


def find(folder: Path, name: str) -> Path:
    """The path of ``name.csv.gz`` or ``name.csv`` in ``folder``, in upper or lower case.

    Raises:
        UserError: neither file is there.
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
    """As ``find``, but None where the file is missing."""
    wanted = (f"{name}.csv.gz".lower(), f"{name}.csv".lower())
    present = {path.name.lower(): path for path in folder.iterdir() if path.is_file()} if folder.is_dir() else {}
    return next((present[file] for file in wanted if file in present), None)


def header(path: Path) -> list[str]:
    """Read the column names of a CSV as they are written, and check that the file is not cut off.

    Raises:
        UserError: the file is empty, not text, or a damaged gzip.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            line = file.readline(1 << 16)
        names = line.decode("utf-8-sig").strip()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable CSV: {first_line(error)}; get the file again") from None
    if not names:
        raise UserError(f"{path}: empty; a header line was expected")
    columns = [name.strip('"') for name in names.split(",")]
    twice = [name for name in columns if columns.count(name) > 1]
    if twice:
        raise UserError(
            f"{path}: two columns are named '{twice[0]}'; its first line must be a header, each name in it once"
        )
    _refuse_cut_off(path, len(columns))
    return columns


def refuse_without_rows(path: Path) -> None:
    """Check that the file has rows.

    Raises:
        UserError: it has only a header.
    """
    header(path)
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        file.readline()
        if not file.read(64).strip():
            raise UserError(f"{path}: has a header and no rows; get the file again")


def _refuse_cut_off(path: Path, columns: int) -> None:
    """Refuse a file whose last line has no line end and too few fields, since Polars would fill these with nulls.

    A last line with an odd number of quotes began inside a quoted text; Polars itself refuses a text that does not end.
    """
    last = _last_line(path).decode("utf-8", "replace")
    if last.strip() and last.count('"') % 2 == 0 and len(next(csv.reader([last]))) < columns:
        raise UserError(
            f"{path}: cut off: its last line has no end and fewer than {columns} fields; get the file again"
        )


def _last_line(path: Path) -> bytes:
    """The bytes after the last line end, looked for in the last block of the file; none for a large archive."""
    if path.suffix == ".gz":
        return _unzipped_end(path).rpartition(b"\n")[2] if path.stat().st_size <= LOOKED_THROUGH else b""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - (1 << 16), 0))
        return file.read().rpartition(b"\n")[2]


def _unzipped_end(path: Path) -> bytes:
    """The last block of the text in an archive; nothing where the archive is damaged, which Polars reports itself."""
    before = end = b""
    try:
        with gzip.open(path, "rb") as file:
            while block := file.read(1 << 20):
                before, end = end, block
    except (OSError, EOFError, zlib.error):
        return b""
    return before[-(1 << 16) :] + end


def scan(path: Path, columns: Schema) -> pl.LazyFrame:
    """The named columns as a lazy frame, whatever the case of their names. ``Datetime`` columns are parsed.

    Raises:
        UserError: a column is missing.
    """
    present = header(path)
    written = {name.lower(): name for name in present}
    missing = [name for name in columns if name.lower() not in written]
    if missing:
        hint = "; fields must be separated by commas" if len(present) == 1 else ""
        raise UserError(f"{path}: no column '{missing[0]}'; it has: {', '.join(present)}{hint}")
    plain = {written[name.lower()]: (pl.String if kind == pl.Datetime else kind) for name, kind in columns.items()}
    frame = pl.scan_csv(path, schema_overrides=plain, infer_schema=False, glob=False)
    frame = frame.select(pl.col(written[name.lower()]).alias(name) for name in columns)
    return frame.with_columns(parse_time(name) for name, kind in columns.items() if kind == pl.Datetime)


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
    return UserError(f"{path}: cannot be read: {first_line(error)}; get the file again or mend that row")


def read(path: Path, columns: Schema, key: tuple[str, ...] = ()) -> pl.DataFrame:
    """Read the named columns of a small file into memory; no two rows may agree in all ``key`` columns.

    Raises:
        UserError: as ``scan``; a time cannot be read; a file with ``key`` has no rows; a key is empty or occurs twice.
    """
    times = [name for name, kind in columns.items() if kind == pl.Datetime]
    table = collect(scan(path, {**columns, **dict.fromkeys(times, pl.String)}), path, every_column=True)
    blank = pl.all_horizontal(pl.all().is_null())
    if key and table.filter(~blank).is_empty():
        raise UserError(f"{path}: has a header and no rows; get the file again")
    for name in times:
        parsed = table.select(parse_time(name)).to_series()
        bad = parsed.is_null() & (table[name].str.strip_chars() != "")
        if bad.any():
            row = bad.arg_true()[0]
            raise UserError(
                f"{path} row {row + 2}: {name} {table[name][row]!r} is not a time (YYYY-MM-DD HH:MM:SS); {bad.sum()} such rows"
            )
        table = table.with_columns(parsed)
    for name in key:
        empty = table.select(pl.col(name).is_null() & ~blank).to_series()
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
