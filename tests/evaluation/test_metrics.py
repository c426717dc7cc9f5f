from functools import partial

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    brier_score_loss,
    f1_score,
    precision_recall_curve,
    precision_score,
    recall_score,
    roc_auc_score,
)

from emerge_ehr.evaluation import metrics
from emerge_ehr.evaluation.catalogue import keys
from emerge_ehr.evaluation.evaluate import evaluate
from emerge_ehr.evaluation.resampling import Sampling, draws
from tests.evaluation.cases import random_case

EXACT = partial(pytest.approx, rel=0, abs=1e-12)
# whose oracle is ``by_scikit_learn``; those of calibration are in test_calibration.py
NAMES = ("auroc", "auprc", "min_precision_sensitivity", "f1", "accuracy", "brier")
UNDEFINED_FOR_ONE_CLASS = (
    "auroc",
    "auprc",
    "min_precision_sensitivity",
    "f1",
    "calibration_slope",
    "calibration_intercept",
)


def by_scikit_learn(label: np.ndarray, score: np.ndarray, threshold: float) -> dict[str, float]:
    called = score >= threshold
    always = {"accuracy": accuracy_score(label, called), "brier": brier_score_loss(label, score)}
    if len(np.unique(label)) < 2:
        return always
    precision, recall, _ = precision_recall_curve(label, score)
    return {
        "auroc": roc_auc_score(label, score),
        "auprc": average_precision_score(label, score),
        "min_precision_sensitivity": np.minimum(precision, recall).max(),
        "f1": f1_score(label, called, zero_division=0),
        **always,
    }


@pytest.mark.parametrize("seed", range(60))
def test_the_point_estimates_are_those_of_scikit_learn(seed: int) -> None:
    label, score, threshold = random_case(seed)
    found = evaluate(label, score, threshold, Sampling(1, 0)).metrics
    expected = by_scikit_learn(label, score, threshold)
    assert {name: found[name].value for name in NAMES} == {n: EXACT(v) for n, v in expected.items()}


@pytest.mark.parametrize("seed", range(8))
def test_the_intervals_are_those_of_a_loop_over_the_same_resamples(seed: int) -> None:
    label, score, threshold = random_case(seed)
    found = evaluate(label, score, threshold, Sampling(50, seed))
    drawn = np.random.default_rng(seed).integers(0, len(label), (50, len(label)))
    loop = [by_scikit_learn(label[index], score[index], threshold) for index in drawn]
    assert found.dropped_resamples == sum("auroc" not in row for row in loop)
    for name in NAMES:
        defined = [row[name] for row in loop if name in row]
        low, high = np.percentile(defined, [2.5, 97.5])
        assert (found.metrics[name].low, found.metrics[name].high) == (EXACT(low), EXACT(high))
        assert (found.metrics[name].reason is None) == (len(defined) == 50)


@pytest.mark.parametrize("seed", range(12))
def test_an_operating_point_is_what_calling_positive_there_gives(seed: int) -> None:
    label, score, threshold = random_case(seed)
    called = score >= threshold
    found = evaluate(label, score, 0.5, Sampling(1, 0), points={"0.8": threshold}).operating_points["0.8"]
    assert found.threshold == threshold
    expected = {
        "sensitivity": recall_score(label, called),
        "specificity": recall_score(1 - label, ~called),
        "ppv": precision_score(label, called) if called.any() else None,
        "npv": precision_score(1 - label, ~called) if not called.all() else None,
        "alert_rate": called.mean(),
    }
    assert {name: found.metrics[name].value for name in expected} == {
        name: value if value is None else EXACT(value) for name, value in expected.items()
    }
    if not called.any():
        assert found.metrics["ppv"].reason == "undefined: nobody is called positive"
    if called.all():
        assert found.metrics["npv"].reason == "undefined: everybody is called positive"


@pytest.mark.parametrize("target", [0.01, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("seed", range(8))
def test_the_threshold_of_a_sensitivity_is_the_highest_that_reaches_it(seed: int, target: float) -> None:
    label, score, _ = random_case(seed)
    chosen = metrics.threshold_reaching(target, label, score)
    assert chosen == max(t for t in score if recall_score(label, score >= t) >= target)


def test_without_a_positive_in_validation_there_is_no_threshold_and_no_operating_point() -> None:
    assert metrics.threshold_reaching(0.8, np.zeros(4), np.linspace(0, 1, 4)) is None
    found = evaluate(np.array([0.0, 1.0]), np.array([0.2, 0.3]), 0.5, Sampling(5, 0), points={"0.8": None})
    assert {metric.reason for metric in found.operating_points["0.8"].metrics.values()} == {
        "no threshold: validation, or that of a fold, has no patient with the outcome"
    }


def test_the_size_of_the_blocks_does_not_change_the_resamples() -> None:
    whole = np.concatenate(list(draws(7, 20, seed=3)))
    split = np.concatenate(list(draws(7, 20, seed=3, block=21)))
    assert np.array_equal(whole, split)
    assert whole.shape == (20, 7)
    assert (whole.sum(axis=1) == 7).all()


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_one_class_gives_null_and_a_reason_instead_of_a_number(value: float) -> None:
    score = np.linspace(0, 1, 5)
    found = evaluate(np.full(5, value), score, 0.5, Sampling(10, 0))
    assert found.dropped_resamples == 10
    for name in UNDEFINED_FOR_ONE_CLASS:
        metric = found.metrics[name]
        assert (metric.value, metric.low, metric.high) == (None, None, None)
        assert metric.reason == "undefined: all patients have the same label"
    assert found.metrics["accuracy"].value == EXACT(0.6 if value else 0.4)
    assert found.metrics["brier"].value == EXACT(((score - value) ** 2).mean())
    assert found.metrics["accuracy"].low is not None and found.metrics["accuracy"].reason is None
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
    first = evaluate(label, score, threshold, Sampling(1, 0)).metrics
    second = evaluate(label[order], score[order], threshold, Sampling(1, 0)).metrics
    assert [first[key].value for key in keys("splits")] == [EXACT(second[key].value) for key in keys("splits")]


def test_an_outcome_defined_for_nobody_has_no_metrics_and_says_why() -> None:
    found = evaluate(np.empty(0), np.empty(0), 0.5, Sampling(10, 0))
    assert found.patients == 0
    assert {metric.reason for metric in found.metrics.values()} == {"the outcome is defined for no patient"}
