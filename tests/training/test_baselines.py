"""Baselines under the stage that trains EMERGE: same artefacts, same files."""

import csv
import dataclasses
import json
from collections.abc import Callable

import pytest
import torch

from emerge_ehr import components
from emerge_ehr.config import Config
from emerge_ehr.fields import Component, UserError
from emerge_ehr.models.baselines import Estimator
from emerge_ehr.storage.dataset import load_dataset
from emerge_ehr.training import inputs, methods, patients, train

Prepare = Callable[..., Config]


@pytest.mark.parametrize("name", components.names("baseline"))
def test_every_baseline_trains_and_reports_like_emerge(prepared: Prepare, name: str) -> None:
    config = dataclasses.replace(prepared(max_epochs=2), baseline=Component(name))
    train.run(config)
    metrics = json.loads((config.run_dir / "metrics.json").read_text())
    assert 0 <= metrics["splits"]["test"]["mortality"]["metrics"]["auroc"]["value"] <= 1
    assert json.loads((config.run_dir / "config.json").read_text())["baseline"]["name"] == name
    assert any((config.run_dir / "checkpoints").iterdir())
    with (config.run_dir / "predictions.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 16


def test_a_saved_estimator_gives_the_predictions_of_its_run(prepared: Prepare) -> None:
    config = dataclasses.replace(prepared(patients=100), baseline=Component("gradient_boosting"))
    train.run(config)
    dataset = load_dataset(config.processed_dir)
    method = methods.build(config, dataset)
    assert not isinstance(method, torch.nn.Module)
    again: Estimator = method
    again.load(config.run_dir / "checkpoints")
    table = patients.table(inputs.mapped(dataset, "test"), again.reads, 7)
    expected = again.logits(table).double().sigmoid()[:, 0].tolist()
    with (config.run_dir / "predictions.csv").open() as file:
        found = [float(row["y_prob"]) for row in csv.DictReader(file) if row["split"] == "test"]
    assert found == expected


def test_an_unknown_baseline_lists_those_there_are(prepared: Prepare) -> None:
    with pytest.raises(UserError, match="gru_d"):
        train.run(dataclasses.replace(prepared(), baseline=Component("grud")))
