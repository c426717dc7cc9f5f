"""The entry for MEDS-DEV: its commands are formatted as MEDS-DEV does, and train and predict on a small dataset."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from meds_evaluation.schema import PredictionSchema
from omegaconf import OmegaConf

from tests.places import ROOT
from tests.test_prediction_times import COLUMNS, PARTS, dataset

FOLDER = ROOT / "meds_dev" / "emerge"


def commands() -> dict[str, str]:
    entry: Any = OmegaConf.to_object(OmegaConf.load(FOLDER / "model.yaml"))
    assert entry["metadata"]["description"] and entry["metadata"]["contacts"][0]["name"]
    assert all(link.startswith("https://") for link in entry["metadata"]["links"])
    assert entry["commands"]["unsupervised"] is None
    supervised: dict[str, str] = entry["commands"]["supervised"]
    return supervised


def test_the_requirements_are_this_version() -> None:
    version = next(line for line in (ROOT / "pyproject.toml").read_text().splitlines() if line.startswith("version"))
    assert (FOLDER / "requirements.txt").read_text() == f"emerge-ehr=={version.split(chr(34))[1]}\n"


@pytest.mark.slow
def test_its_commands_train_and_predict_every_label_of_the_held_out_split(tmp_path: Path) -> None:
    dataset(tmp_path / "a dataset", range(60), 3)
    labels = pl.read_parquet(tmp_path / "a dataset" / "labels" / "0.parquet")
    unseen = labels.head(1).with_columns(
        subject_id=pl.lit(4, pl.Int64), prediction_time=pl.lit("1990-01-01").str.to_datetime("%Y-%m-%d", time_unit="us")
    )
    pl.concat([labels, unseen]).write_parquet(tmp_path / "a dataset" / "labels" / "0.parquet")
    given = {
        "dataset_dir": tmp_path / "a dataset",
        "labels_dir": tmp_path / "a dataset" / "labels",
        "model_dir": FOLDER,
    }
    train = commands()["train"].format(**given, output_dir=tmp_path / "train")
    places = {"output_dir": tmp_path / "predict", "model_initialization_dir": tmp_path / "train", "split": "held_out"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / "src")}
    for command in (train, commands()["predict"].format(**given, **places)):
        done = subprocess.run(["bash", "-ec", command], capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
    found = pl.read_parquet(tmp_path / "predict" / "predictions.parquet")
    PredictionSchema.align(found.cast({COLUMNS[-1]: pl.Float32}).to_arrow())
    held_out = pl.concat([labels, unseen]).filter(pl.col("subject_id") % len(PARTS) == len(PARTS) - 1)
    assert found.select(COLUMNS[:3]).sort(COLUMNS[:2]).equals(held_out.sort(COLUMNS[:2]))
    assert found.null_count().sum_horizontal().item() == 0 and "1 of " in done.stdout
