from functools import partial

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    precision_recall_curve,
    roc_auc_score,
)

from src.evaluation import metrics

EXACT = partial(pytest.approx, rel=0, abs=1e-12)
NAMES = ["auroc", "auprc", "min_precision_sensitivity", "f1", "accuracy"]


def by_scikit_learn(label: np.ndarray, score: np.ndarray, threshold: float) -> dict[str, float]:
    precision, recall, _ = precision_recall_curve(label, score)
    called = score >= threshold
    return {
        "auroc": roc_auc_score(label, score),
        "auprc": average_precision_score(label, score),
        "min_precision_sensitivity": np.minimum(precision, recall).max(),
        "f1": f1_score(label, called, zero_division=0),
        "accuracy": accuracy_score(label, called),
    }


def random_case(seed: int) -> tuple[np.ndarray, np.ndarray, float]:
    """2 to 60 patients of both classes; scores distinct, with some ties, with many, or all the same."""
    generator = np.random.default_rng(seed)
    patients = int(generator.integers(2, 60))
    label = (generator.random(patients) < generator.uniform(0.1, 0.9)).astype(np.float64)
    label[:2] = 0, 1
    score = generator.random(patients)
    score = (score, score.round(2), score.round(1), np.full(patients, 0.5))[seed % 4]
    return label, score, float(generator.choice([*score, 0.5, 2.0]))


@pytest.mark.parametrize("seed", range(60))
def test_the_point_estimates_are_those_of_scikit_learn(seed: int) -> None:
    label, score, threshold = random_case(seed)
    found = metrics.evaluate(label, score, threshold, resamples=1, seed=0).metrics
    expected = by_scikit_learn(label, score, threshold)
    assert {name: metric.value for name, metric in found.items()} == {n: EXACT(v) for n, v in expected.items()}


@pytest.mark.parametrize("seed", range(8))
def test_the_intervals_are_those_of_a_loop_over_the_same_resamples(seed: int) -> None:
    label, score, threshold = random_case(seed)
    found = metrics.evaluate(label, score, threshold, resamples=50, seed=seed)
    drawn = np.random.default_rng(seed).integers(0, len(label), (50, len(label)))
    kept = [index for index in drawn if 0 < label[index].sum() < len(label)]
    loop = [by_scikit_learn(label[index], score[index], threshold) for index in kept]
    assert found.dropped_resamples == 50 - len(kept)
    for name in NAMES:
        low, high = np.percentile([row[name] for row in loop], [2.5, 97.5])
        assert (found.metrics[name].low, found.metrics[name].high) == (EXACT(low), EXACT(high))


def test_the_size_of_the_blocks_does_not_change_the_resamples() -> None:
    whole = np.concatenate(list(metrics.draws(7, 20, seed=3)))
    split = np.concatenate(list(metrics.draws(7, 20, seed=3, block=21)))
    assert np.array_equal(whole, split)
    assert whole.shape == (20, 7)
    assert (whole.sum(axis=1) == 7).all()


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_one_class_gives_null_and_a_reason_instead_of_a_number(value: float) -> None:
    found = metrics.evaluate(np.full(5, value), np.linspace(0, 1, 5), 0.5, resamples=10, seed=0)
    assert found.dropped_resamples == 10
    for name in NAMES[:4]:
        metric = found.metrics[name]
        assert (metric.value, metric.low, metric.high) == (None, None, None)
        assert metric.reason == "undefined: all patients have the same label"
    accuracy = found.metrics["accuracy"]
    assert accuracy.value == EXACT(0.6 if value else 0.4)
    assert (accuracy.low, accuracy.reason) == (None, "no interval: no resample has both classes")
    assert metrics.point(metrics.auroc, np.full(5, value), np.linspace(0, 1, 5)) is None
    assert metrics.best_threshold(np.full(5, value), np.linspace(0, 1, 5)) is None


@pytest.mark.parametrize("seed", range(20))
def test_the_threshold_has_the_highest_f1_of_all(seed: int) -> None:
    label, score, _ = random_case(seed)
    chosen = metrics.best_threshold(label, score)
    assert chosen is not None
    best = max(f1_score(label, score >= threshold) for threshold in score)
    assert f1_score(label, score >= chosen) == EXACT(best)
    assert chosen == max(t for t in score if f1_score(label, score >= t) == EXACT(best))


def test_the_order_of_the_patients_does_not_change_a_point_estimate() -> None:
    label, score, threshold = random_case(1)
    order = np.random.default_rng(0).permutation(len(label))
    first = metrics.evaluate(label, score, threshold, 1, 0).metrics
    second = metrics.evaluate(label[order], score[order], threshold, 1, 0).metrics
    assert [first[name].value for name in NAMES] == [second[name].value for name in NAMES]


def test_an_outcome_defined_for_nobody_has_no_metrics_and_says_why() -> None:
    found = metrics.evaluate(np.empty(0), np.empty(0), 0.5, 10, 0)
    assert found.patients == 0
    assert {metric.reason for metric in found.metrics.values()} == {"the outcome is defined for no patient"}
