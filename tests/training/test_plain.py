"""The plain method that training fits beside EMERGE."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from emerge_ehr.config import Config
from emerge_ehr.fields import Component
from emerge_ehr.training import train

Prepare = Callable[..., Config]
PLAIN = Component("logistic_regression", {"penalty": "l1", "modalities": ("ehr", "note", "summary")})


def metrics(config: Config) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((config.run_dir / "metrics.json").read_text())
    return found


def test_it_is_the_baseline_of_all_inputs_and_the_difference_is_that_of_the_predictions(
    prepared: Prepare, capsys: pytest.CaptureFixture[str]
) -> None:
    config = prepared(patients=200, max_epochs=4)
    train.run(config)
    printed, found = capsys.readouterr().out, metrics(config)
    own = pl.read_csv(config.run_dir / "predictions.csv").filter(pl.col("split") == "test")
    train.run(dataclasses.replace(config, run_name="plain", baseline=PLAIN))
    baseline = dataclasses.replace(config, run_name="plain")
    other = pl.read_csv(baseline.run_dir / "predictions.csv").filter(pl.col("split") == "test")
    differences = found["plain_method"]["splits"]["test"]["mortality"]
    for name, score in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
        expected = [score(run["y_true"], run["y_prob"]) for run in (own, other)]
        said = differences[name]
        assert [said["first"], said["second"]] == pytest.approx(expected, abs=1e-6)
        assert said["difference"] == pytest.approx(expected[0] - expected[1], abs=1e-6)
        assert said["low"] <= said["difference"] <= said["high"]
        assert f"{said['first']:.3f}" in printed and f"{said['difference']:+.3f}" in printed
    assert "the plain method on the same inputs is logistic regression with an L1 penalty" in printed
    assert "plain_method" not in metrics(baseline)


def test_it_reads_what_the_model_reads(prepared: Prepare) -> None:
    config = prepared(patients=100, max_epochs=1)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, modalities=("summary", "ehr")))
    train.run(config)
    assert metrics(config)["plain_method"]["modalities"] == ["ehr", "summary"]


def test_a_test_split_of_one_class_has_no_difference(prepared: Prepare, capsys: pytest.CaptureFixture[str]) -> None:
    config = prepared(label=np.zeros((40, 1), np.float32))
    train.run(config)
    said = metrics(config)["plain_method"]["splits"]["test"]["mortality"]["auroc"]
    assert said["difference"] is None and said["reason"]
    assert "undefined  undefined" in capsys.readouterr().out
