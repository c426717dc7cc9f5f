"""Loss, class weights and learning-rate schedules against their formulas."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from emerge_ehr.config import Training
from emerge_ehr.models.batch import SHAPES, Batch
from emerge_ehr.training import objective


def batch(label: list[list[float]], mask: list[list[float]]) -> Batch:
    shapes = {name: torch.zeros([len(label)] + [1] * (len(dims.split()) - 1)) for name, dims in SHAPES.items()}
    shapes["ehr_length"] = torch.ones(len(label), dtype=torch.int64)
    return Batch(**{**shapes, "label": torch.tensor(label), "label_mask": torch.tensor(mask)})


def test_balanced_weights_are_negatives_over_positives_of_the_defined_labels() -> None:
    label = [[1.0, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 0], [1, 0, 0]]
    mask = [[1.0, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1], [0, 1, 1]]
    weight = objective.positive_weight(batch(label, mask), Training(class_weights="balanced"))
    assert weight is not None and weight.tolist() == [3.0, 1.0, pytest.approx(2 / 3)]
    assert objective.positive_weight(batch(label, mask), Training()) is None


def test_the_weighted_loss_is_scikit_learns() -> None:
    generator = np.random.default_rng(0)
    logits, label = generator.normal(size=50), generator.integers(0, 2, 50)
    found = objective.masked_loss(
        torch.tensor(logits)[:, None],
        torch.tensor(label)[:, None].double(),
        torch.ones(50, 1).double(),
        torch.tensor([3.0]),
    )
    weights = np.where(label == 1, 3.0, 1.0)
    expected = log_loss(label, 1 / (1 + np.exp(-logits)), sample_weight=weights) * weights.sum() / 50
    assert found.item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", ["constant", "cosine", "plateau"])
def test_the_learning_rate_follows_its_formula(name: Any) -> None:
    settings = dataclasses.replace(Training(), scheduler=name, max_epochs=10, learning_rate=0.1)
    optimizer = objective.optimiser(torch.nn.Linear(1, 1), settings)
    scheduler = objective.scheduler(optimizer, settings)
    rates = []
    for _ in range(10):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        objective.advance(scheduler, 1.0)  # a validation loss that never falls
    expected = {
        "constant": [0.1] * 10,
        "cosine": [0.05 * (1 + math.cos(math.pi * epoch / 10)) for epoch in range(10)],
        "plateau": [0.1] * 4 + [0.05] * 3 + [0.025] * 3,
    }
    assert rates == pytest.approx(expected[name])
