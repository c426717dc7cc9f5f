"""Every plug of the model and every baseline, and what else [model] and [training] offer, on the small synthetic hospital."""

import dataclasses
import json
from typing import Any

import pytest

from emerge_ehr import components
from emerge_ehr.config import Config, load
from emerge_ehr.datasets import download
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.fields import Component
from emerge_ehr.preprocess import run as preprocess
from emerge_ehr.training import train
from tests.places import ROOT

VARIANTS: dict[str, dict[str, Any]] = {
    "experts": {"experts": ("gradient_boosting", "logistic_regression")},
    **{f"series {name}": {"series": Component(name)} for name in components.names("model.series")},
    **{f"text fusion {name}": {"text_fusion": Component(name)} for name in components.names("model.text_fusion")},
    **{f"fusion {name}": {"fusion": Component(name)} for name in components.names("model.fusion")},
    "separate heads": {"head": "separate"},
    "static features": {"static": True},
    "two modalities": {"modalities": ("ehr", "summary")},
    "one modality": {"modalities": ("note",)},
}
TRAINING: dict[str, dict[str, Any]] = {
    "two members": {"members": 2},
    "cosine": {"scheduler": "cosine"},
    "plateau": {"scheduler": "plateau"},
    "balanced": {"class_weights": "balanced"},
    "bf16": {"precision": "bf16-mixed"},
    "deterministic": {"deterministic": True},
}


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """200 stays, texts in pieces, through preprocess; deaths, but nobody was readmitted: a label of one class."""
    out = tmp_path_factory.mktemp("hospital")
    config = load(ROOT / "configs" / "synthetic.toml")
    paths = dataclasses.replace(
        config.paths,
        raw_dir=out / "raw",
        kg_dir=out / "kg",
        table_dir=out / "tables",
        processed_dir=out / "processed",
        run_dir=out / "run",
        cache_dir=out / "cache",
    )
    config = dataclasses.replace(
        config,
        paths=paths,
        source=Component("synthetic", {"stays": 200}),
        task=Component("mortality_readmission"),
        token_level=dataclasses.replace(config.token_level, note_chunks=4, summary_chunks=4),
        model=dataclasses.replace(config.model, hidden_size=16, experts=()),
        training=dataclasses.replace(
            config.training, members=1, max_epochs=2, bootstrap_resamples=20, accelerator="cpu"
        ),
    )
    for stage in (download, convert, preprocess):
        stage.run(config)
    return config


def trained(config: Config) -> None:
    train.run(config)
    splits = json.loads((config.run_dir / "metrics.json").read_text())["splits"]
    assert 0 <= splits["test"]["mortality"]["metrics"]["auroc"]["value"] <= 1
    assert "same label" in splits["test"]["readmission"]["metrics"]["auroc"]["reason"]


@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
def test_every_variant_of_the_model_trains(hospital: Config, settings: dict[str, Any]) -> None:
    trained(dataclasses.replace(hospital, model=dataclasses.replace(hospital.model, **settings)))


@pytest.mark.parametrize("settings", TRAINING.values(), ids=TRAINING)
def test_every_way_of_training_trains(hospital: Config, settings: dict[str, Any]) -> None:
    trained(dataclasses.replace(hospital, training=dataclasses.replace(hospital.training, **settings)))


@pytest.mark.parametrize("name", components.names("baseline"))
def test_every_baseline_trains(hospital: Config, name: str) -> None:
    trained(dataclasses.replace(hospital, baseline=Component(name)))
