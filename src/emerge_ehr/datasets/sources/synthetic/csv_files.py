"""Writes gzipped CSV files whose bytes depend only on their content (the gzip header has no file name or time)."""

import gzip
import io
from pathlib import Path

import polars as pl

from emerge_ehr.storage.times import TIME_FORMAT


def write_gz(table: pl.DataFrame, path: Path) -> None:
    """Write ``table`` to ``path``, whose folder is made if missing; times as ``YYYY-MM-DD HH:MM:SS``, missing values blank."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    table.write_csv(buffer, datetime_format=TIME_FORMAT, date_format="%Y-%m-%d")
    path.write_bytes(gzip.compress(buffer.getvalue(), compresslevel=3, mtime=0))
