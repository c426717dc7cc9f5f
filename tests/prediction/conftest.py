import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from emerge_ehr.config import Calibration, Config, load
from emerge_ehr.datasets import download
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.export import export
from emerge_ehr.fields import Component
from emerge_ehr.prediction import predict
from emerge_ehr.preprocess import run as preprocess
from emerge_ehr.training import train
from emerge_ehr.training.trained import Trained
from emerge_ehr.training.trained import load as load_run
from tests.places import ROOT

METHODS: dict[str, dict[str, Any]] = {
    "emerge": {"experts": ("gradient_boosting", "logistic_regression")},
    "token_level": {"fusion": Component("token_level")},
    "gru_d": {"baseline": Component("gru_d")},
    "gradient_boosting": {"baseline": Component("gradient_boosting")},
    "calibrated": {
        "baseline": Component("logistic_regression", {"modalities": ["ehr", "note", "summary"], "penalty": "l1"}),
        "calibration": Calibration(method="platt", coverage=0.7, groups=("sex",)),
        "members": 2,
    },
}


@pytest.fixture(scope="session")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """120 stays, two labels, texts in pieces, through preprocess."""
    out = tmp_path_factory.mktemp("hospital")
    config = load(ROOT / "configs" / "synthetic.toml")
    names = ("raw_dir", "kg_dir", "table_dir", "processed_dir", "run_dir", "cache_dir")
    config = dataclasses.replace(
        config,
        paths=dataclasses.replace(config.paths, **{name: out / name for name in names}),
        source=Component("synthetic", {"stays": 120}),
        task=Component("mortality_readmission"),
        token_level=dataclasses.replace(config.token_level, note_chunks=4, summary_chunks=4),
        model=dataclasses.replace(config.model, hidden_size=16, static=True, experts=()),
        training=dataclasses.replace(
            config.training, members=1, max_epochs=2, bootstrap_resamples=20, accelerator="cpu"
        ),
    )
    for stage in (download, convert, preprocess):
        stage.run(config)
    return config


@pytest.fixture(scope="session")
def run_of(hospital: Config) -> Iterator[Callable[[str], Path]]:
    """Trains one of ``METHODS`` when it is first asked for; gives its run folder."""
    done: dict[str, Path] = {}

    def run_dir(method: str) -> Path:
        if method not in done:
            chosen = METHODS[method]
            others = {"baseline", "calibration", "members"}
            model = {name: value for name, value in chosen.items() if name not in others}
            done[method] = hospital.run_dir.parent / method
            config = dataclasses.replace(
                hospital,
                baseline=chosen.get("baseline"),
                calibration=chosen.get("calibration", Calibration()),
                training=dataclasses.replace(hospital.training, members=chosen.get("members", 1)),
                model=dataclasses.replace(hospital.model, **model),
                paths=dataclasses.replace(hospital.paths, run_dir=done[method]),
            )
            train.run(config)
        return done[method]

    yield run_dir


@pytest.fixture(scope="session")
def emerge(run_of: Callable[[str], Path]) -> Trained:
    return load_run(run_of("emerge"))


@pytest.fixture(scope="session")
def exported(emerge: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run as a model folder that was moved after it was written."""
    folder = tmp_path_factory.mktemp("model")
    export.run(emerge.run_dir, folder / "written", with_patients=False)
    shutil.move(folder / "written", folder / "model")
    return folder / "model"


@pytest.fixture(scope="session")
def patients(hospital: Config) -> list[dict[str, Any]]:
    """Six of the hospital's patients, as requests name them."""
    folder = hospital.table_dir
    tables = {
        name: pl.read_csv(folder / f"{name}.csv", infer_schema=False)
        for name in ("cohort", "static", "dynamic", "notes")
    }
    persons = tables["cohort"].join(tables["static"], on="patient_id").head(6)
    of = {name: tables[name].partition_by("patient_id", as_dict=True) for name in ("dynamic", "notes")}
    return [
        {
            "patient_id": row["patient_id"],
            "age": float(row["age"]),
            "sex": row["sex"],
            "window_start": row["window_start"],
            "window_end": row["window_end"],
            "measurements": [
                {"time": one["event_time"], "code": one["code"], "value": float(one["value"])}
                for one in of["dynamic"][row["patient_id"],].iter_rows(named=True)
            ],
            "notes": [
                {"time": one["note_time"], "type": one["note_type"], "text": one["text"]}
                for one in of["notes"][row["patient_id"],].iter_rows(named=True)
            ],
        }
        for row in persons.iter_rows(named=True)
    ]


@pytest.fixture(scope="session")
def explained(emerge: Trained, hospital: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``risks.csv`` of that run, of the hospital's own tables, with its evidence beside it. Read it only."""
    output = tmp_path_factory.mktemp("explained") / "risks.csv"
    predict.run(emerge.run_dir, hospital.table_dir, output, offline=True)
    return output
