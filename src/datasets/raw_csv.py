"""Reads a source's raw CSV files, plain or gzipped, lazily, and turns their faults into one clear line."""

import gzip
import zlib
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from src.config import UserError
from src.datasets.artefacts import first_line, parse_time

Schema = Mapping[str, pl.DataType | type[pl.DataType]]


def find(folder: Path, name: str) -> Path:
    """``name.csv.gz`` or ``name.csv`` in ``folder``.

    Raises:
        UserError: neither is there.
    """
    for suffix in (".csv.gz", ".csv"):
        path = folder / f"{name}{suffix}"
        if path.is_file():
            return path
    raise UserError(
        f"{folder / name}.csv.gz: missing (nor is {name}.csv there); check paths.raw_dir, or run --stage download"
    )


def header(path: Path) -> list[str]:
    """Column names of a CSV.

    Raises:
        UserError: the file is empty, not text, or a damaged gzip.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            line = file.readline(1 << 16)
        names = line.decode("utf-8-sig").strip()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a readable CSV: {first_line(error)}") from None
    if not names:
        raise UserError(f"{path}: empty; a header line was expected")
    return [name.strip('"') for name in names.split(",")]


def scan(path: Path, columns: Schema) -> pl.LazyFrame:
    """The named columns, lazily. ``Datetime`` columns are parsed; ids asked for as ``Int64`` stay numbers.

    Raises:
        UserError: a column is missing.
    """
    present = header(path)
    missing = [name for name in columns if name not in present]
    if missing:
        raise UserError(f"{path}: no column '{missing[0]}'; it has: {', '.join(present)}")
    times = [name for name, kind in columns.items() if kind == pl.Datetime]
    plain = {name: (pl.String if name in times else kind) for name, kind in columns.items()}
    frame = pl.scan_csv(path, schema_overrides=plain, infer_schema=False).select(list(columns))
    return frame.with_columns(parse_time(name) for name in times)


def collect(frame: pl.LazyFrame, path: Path) -> pl.DataFrame:
    """Run a scan in streaming mode.

    Raises:
        UserError: the file is damaged or a field is not of its type.
    """
    try:
        return frame.collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path}: cannot be read: {first_line(error)}; get the file again or mend that row") from None


def read(path: Path, columns: Schema) -> pl.DataFrame:
    """The named columns of a small file, in memory."""
    return collect(scan(path, columns), path)
