"""Plain methods averaged with the network: their weights, and that every later stage uses them."""

import dataclasses
import json
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from emerge_ehr.config import Config
from emerge_ehr.fields import UserError
from emerge_ehr.models.batch import Batch
from emerge_ehr.storage.dataset import load_dataset
from emerge_ehr.training import experts, inputs, loop, members, train, trained

Prepare = Callable[..., Config]


def with_experts(config: Config, *names: str, count: int = 3) -> Config:
    return dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, experts=names),
        training=dataclasses.replace(config.training, members=count),
    )


def test_the_weights_are_those_of_a_regression_on_out_of_fold_logits_and_none_is_negative() -> None:
    generator = np.random.default_rng(0)
    signal = generator.normal(size=800)
    label = (generator.random(800) < 1 / (1 + np.exp(-1.5 * signal))).astype(float)
    good, fair, wrong = signal + generator.normal(size=(3, 800)) * [[0.5], [1.0], [1.0]]
    logits = np.stack([good, fair], axis=1)
    found = experts._weights(logits, label)
    fitted = LogisticRegression(C=1e9).fit(logits, label)
    np.testing.assert_allclose(found, [*fitted.coef_[0], fitted.intercept_[0]], atol=0.05)
    found = experts._weights(np.stack([good, -wrong], axis=1), label)
    assert found[0] > 0.5 and found[1] == 0
    few = experts._weights(
        np.array([[3.0, 1.0], [-2.0, -1.0]]), np.array([1.0, 0.0])
    )  # which a weight of any size separates
    assert (few[:2] > 0.4).all() and (few[:2] < 0.8).all()


def test_the_risk_is_the_weighted_sum_and_a_loaded_run_gives_the_same(prepared: Prepare) -> None:
    config = with_experts(prepared(patients=100), "gradient_boosting", "logistic_regression")
    train.run(config)
    run, dataset = trained.load(config.run_dir), load_dataset(config.processed_dir)
    rows = pl.read_csv(config.run_dir / "predictions.csv")
    told = {name: rows.filter(pl.col("split") == name)["y_prob"].to_numpy() for name in ("val", "test")}
    batches = {name: inputs.mapped(dataset, name).whole() for name in ("train", "val", "test")}
    np.testing.assert_allclose(run.probability(batches["test"])[:, 0], told["test"], atol=1e-6)
    evaluated = json.loads((config.run_dir / "metrics.json").read_text())
    weights = evaluated["experts"]["mortality"]
    assert list(weights) == ["gradient_boosting", "intercept", "logistic_regression", "network"]

    def each(batch: Batch) -> np.ndarray:
        networks = [loop.predict(member, batch, 32) for member in run.members]  # type: ignore[arg-type]
        of_member = [
            weights["intercept"]
            + weights["network"] * network[:, 0].double()
            + sum(weights[name] * expert.logits(batch)[:, 0].double() for name, expert in own.fitted.items())
            for network, own in zip(networks, run.experts, strict=True)
        ]
        return torch.stack(of_member).numpy()

    np.testing.assert_allclose(1 / (1 + np.exp(-each(batches["test"]).mean(axis=0))), told["test"], atol=1e-5)
    # a validation patient is judged by the member, network and experts, that was not trained on that patient
    ids = [*dataset.split["train"], *dataset.split["val"]]
    label = torch.cat([batches["train"].label, batches["val"].label])[:, 0].numpy()
    fold = members.folds(ids, label, 3, config.seed)[len(dataset.split["train"]) :]
    own = each(batches["val"])[fold, np.arange(len(fold))]
    np.testing.assert_allclose(1 / (1 + np.exp(-own)), told["val"], atol=1e-5)
    alone = evaluated["network_alone"]["splits"]["test"]["mortality"]["auroc"]
    assert alone["first"] == evaluated["splits"]["test"]["mortality"]["metrics"]["auroc"]["value"]


def test_one_member_has_its_experts_beside_its_checkpoints_and_damage_is_told(prepared: Prepare) -> None:
    config = with_experts(prepared(patients=100), "gradient_boosting", count=1)
    train.run(config)
    run = trained.load(config.run_dir)
    batch = inputs.mapped(load_dataset(config.processed_dir), "test").whole()
    rows = pl.read_csv(config.run_dir / "predictions.csv").filter(pl.col("split") == "test")
    np.testing.assert_allclose(run.probability(batch)[:, 0], rows["y_prob"].to_numpy(), atol=1e-6)
    path = config.run_dir / "checkpoints" / "experts" / "weights.json"
    path.write_text('{"weights": [[1.0]], "intercept": [0.0]}')
    with pytest.raises(UserError):
        trained.load(config.run_dir)
    with pytest.raises(ValueError, match="does not hold a weight for network and experts"):
        experts.load(config, load_dataset(config.processed_dir), config.run_dir / "checkpoints")
