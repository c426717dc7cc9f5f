"""The generated hospital, which has the layout of MIMIC-IV, as tables of the OMOP common data model."""

import tempfile
from datetime import timedelta
from pathlib import Path

import polars as pl

from emerge_ehr.datasets.sources.synthetic import Options
from emerge_ehr.datasets.sources.synthetic.generate import generate
from tests import omop_of_mimic4
from tests.examples import edit

FORM = "%Y-%m-%d %H:%M:%S"
OPTIONS = omop_of_mimic4.OPTIONS


def raw_files(raw_dir: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder), Options(stays=60), 3)
        omop_of_mimic4.write(Path(folder), raw_dir)


def change_after_window(raw_dir: Path) -> None:
    started = pl.read_csv(raw_dir / "visit_detail.csv.gz", infer_schema=False)
    started = started.select("visit_detail_id", "visit_detail_start_datetime")

    def change(rows: pl.DataFrame) -> pl.DataFrame:
        joined = rows.join(started, on="visit_detail_id", how="left", maintain_order="left")
        start = joined["visit_detail_start_datetime"].str.to_datetime(FORM)
        late = pl.col("measurement_datetime").str.to_datetime(FORM) >= start + timedelta(hours=48)
        return rows.with_columns(pl.when(late).then(pl.lit("71")).otherwise("value_as_number").alias("value_as_number"))

    edit(raw_dir / "measurement.csv.gz", change)
