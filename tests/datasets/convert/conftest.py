"""A copy of the real demo of MIMIC-IV for tests that change its records."""

import dataclasses
import gzip
import shutil
from pathlib import Path

import polars as pl
import pytest

from emerge_ehr.config import Config
from tests.mimic_items import LAB

# what convert reads of the demo; of the large ones fewer rows: heart rates and systolic pressures, the laboratory's
# measurements of signals, and titles of codes that somebody has
READ = ("patients", "admissions", "diagnoses_icd", "procedures_icd", "icustays", "d_items", "d_labitems")
CHARTED = ["220045", "220179", "220050"]


@pytest.fixture(scope="session")
def excerpt(demo_raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo with those files and rows alone. Read it only."""
    folder = tmp_path_factory.mktemp("excerpt")
    for part in ("hosp", "icu"):
        (folder / part).mkdir()
        for path in (demo_raw / part).iterdir():
            if path.name.removesuffix(".csv.gz") in READ:
                shutil.copyfile(path, folder / part / path.name)
    coded = [
        pl.read_csv(folder / f"hosp/{name}_icd.csv.gz", infer_schema=False) for name in ("diagnoses", "procedures")
    ]
    chosen = {
        "icu/chartevents": pl.col("itemid").is_in(CHARTED),
        "hosp/labevents": pl.col("itemid").is_in([str(item) for item in LAB]),
        "hosp/d_icd_diagnoses": pl.col("icd_code").is_in(coded[0]["icd_code"].unique().to_list()),
        "hosp/d_icd_procedures": pl.col("icd_code").is_in(coded[1]["icd_code"].unique().to_list()),
    }
    for name, rows in chosen.items():
        kept = pl.read_csv(demo_raw / f"{name}.csv.gz", infer_schema=False).filter(rows)
        (folder / f"{name}.csv.gz").write_bytes(gzip.compress(kept.write_csv().encode(), compresslevel=1))
    return folder


@pytest.fixture
def demo(excerpt: Path, demo_config: Config, tmp_path: Path) -> Config:
    """Reads a copy of that excerpt, and writes below ``tmp_path``."""
    raw = tmp_path / "raw"
    shutil.copytree(excerpt, raw)
    paths = dataclasses.replace(demo_config.paths, raw_dir=raw, table_dir=tmp_path / "tables")
    return dataclasses.replace(demo_config, paths=paths)
