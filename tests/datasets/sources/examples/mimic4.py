"""The generated hospital has the layout of MIMIC-IV."""

from datetime import timedelta
from pathlib import Path

import polars as pl

from emerge_ehr.datasets.sources.synthetic import Options
from emerge_ehr.datasets.sources.synthetic.generate import generate
from tests.examples import edit

FORM = "%Y-%m-%d %H:%M:%S"


def change_after_window(raw_dir: Path) -> None:
    entered = pl.read_csv(raw_dir / "icu" / "icustays.csv.gz", infer_schema=False).select("stay_id", "intime")

    def change(chart: pl.DataFrame) -> pl.DataFrame:
        start = chart.join(entered, on="stay_id", how="left", maintain_order="left")["intime"].str.to_datetime(FORM)
        late = pl.col("charttime").str.to_datetime(FORM) >= start + timedelta(hours=48)
        return chart.with_columns(pl.when(late).then(pl.lit("71")).otherwise("valuenum").alias("valuenum"))

    edit(raw_dir / "icu" / "chartevents.csv.gz", change)


def raw_files(raw_dir: Path) -> None:
    generate(raw_dir, Options(stays=60), 3)
