"""Writes gzipped CSV files whose bytes depend on their content alone (no file name or time in the gzip header)."""

import gzip
import io
from pathlib import Path

import polars as pl

from emerge_ehr.storage.times import TIME_FORMAT


def write_gz(table: pl.DataFrame, path: Path) -> None:
    """Write ``table`` to ``path``; times as ``YYYY-MM-DD HH:MM:SS``, missing values blank, folders made as needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    table.write_csv(buffer, datetime_format=TIME_FORMAT, date_format="%Y-%m-%d")
    path.write_bytes(gzip.compress(buffer.getvalue(), compresslevel=3, mtime=0))
