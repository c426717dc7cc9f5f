"""A copy of the real demo of MIMIC-IV for tests that change its records."""

import dataclasses
import gzip
import shutil
from pathlib import Path

import polars as pl
import pytest

from emerge_ehr.config import Config


@pytest.fixture
def demo(demo_raw: Path, demo_config: Config, tmp_path: Path) -> Config:
    """Reads a copy of the demo with a hundredth of its chart rows, and writes below ``tmp_path``."""
    raw = tmp_path / "raw"
    shutil.copytree(demo_raw, raw)
    charted = raw / "icu/chartevents.csv.gz"
    rows = pl.read_csv(charted, infer_schema=False).filter(pl.col("itemid").is_in(["220045", "220179", "220050"]))
    charted.write_bytes(gzip.compress(rows.write_csv().encode(), 1))
    paths = dataclasses.replace(demo_config.paths, raw_dir=raw, table_dir=tmp_path / "tables")
    return dataclasses.replace(demo_config, paths=paths)
