"""Calibration measures against scikit-learn, scipy and loops."""

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from emerge_ehr.evaluation.calibration import Calibration, equal_count_bins
from emerge_ehr.evaluation.evaluate import evaluate
from emerge_ehr.evaluation.resampling import Sampling
from tests.evaluation.cases import random_case


def case(seed: int, patients: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Risks too extreme and shifted, from which outcomes are drawn."""
    generator = np.random.default_rng(seed)
    risk = generator.normal(-1.5, 1.5, patients)
    label = (generator.random(patients) < expit(0.6 * risk + 0.4)).astype(np.float64)
    return label, expit(risk)


def fitted_by_scikit_learn(label: np.ndarray, probability: np.ndarray, weight: np.ndarray | None = None) -> float:
    model = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000, solver="newton-cholesky")
    return float(model.fit(logit(probability)[:, None], label, sample_weight=weight).coef_[0, 0])


def in_the_large(label: np.ndarray, probability: np.ndarray) -> float:
    return float(brentq(lambda a: expit(logit(probability) + a).sum() - label.sum(), -60, 60, xtol=1e-13))


@pytest.mark.parametrize("seed", range(6))
def test_slope_and_intercept_are_those_of_an_unpenalised_logistic_regression(seed: int) -> None:
    label, probability = case(seed)
    found = evaluate(label, probability, 0.5, Sampling(1, 0)).metrics
    assert found["calibration_slope"].value == pytest.approx(fitted_by_scikit_learn(label, probability), abs=1e-8)
    assert found["calibration_intercept"].value == pytest.approx(in_the_large(label, probability), abs=1e-9)


def test_the_slope_of_every_resample_is_fitted_by_its_counts() -> None:
    label, probability = case(1, patients=80)
    counts = np.random.default_rng(2).multinomial(80, np.full(80, 1 / 80), 20).astype(np.float64)
    calibration = Calibration(label, probability)
    drawn = [np.repeat(np.arange(80), row.astype(int)) for row in counts]
    expected = [fitted_by_scikit_learn(label[index], probability[index]) for index in drawn]
    assert calibration.slope(counts) == pytest.approx(expected, abs=1e-7)
    expected = [in_the_large(label[index], probability[index]) for index in drawn]
    assert calibration.intercept(counts) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_where_a_slope_is_given_the_likelihood_is_flat_there_also_on_few_extreme_or_tied_probabilities(
    seed: int,
) -> None:
    label, probability, _ = random_case(seed)
    probability = probability if seed % 2 else expit(60 * (probability - 0.5))
    calibration = Calibration(label, probability)
    slope = calibration.slope(np.ones((1, len(label))))[0]
    given = logit(np.clip(probability, 1e-12, 1 - 1e-12))
    overlap = given[label > 0].min() < given[label == 0].max() and given[label == 0].min() < given[label > 0].max()
    assert overlap == np.isfinite(slope)
    if overlap:
        intercept = brentq(lambda a: expit(slope * given + a).sum() - label.sum(), -200, 200, xtol=1e-14)
        score = given @ (label - expit(slope * given + intercept))
        assert score == pytest.approx(0, abs=1e-5 * np.abs(given).max())


@pytest.mark.parametrize(
    ("label", "probability"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]),
        ([0, 0, 1, 1], [0.1, 0.5, 0.5, 0.9]),  # they touch
        ([1, 1, 0, 0], [0.1, 0.2, 0.8, 0.9]),
        ([0, 1, 0, 1], [0.4, 0.4, 0.4, 0.4]),
    ],
)
def test_separated_classes_have_no_slope_and_the_reason_is_given(label: list[int], probability: list[float]) -> None:
    found = evaluate(np.array(label, float), np.array(probability), 0.5, Sampling(30, 0)).metrics
    assert found["calibration_slope"].value is None
    assert "separate the classes" in str(found["calibration_slope"].reason)
    assert found["calibration_intercept"].value is not None


def test_probabilities_of_0_and_1_do_not_break_calibration() -> None:
    label, probability = np.array([0.0, 1, 0, 1, 1, 0]), np.array([0.0, 1, 0.6, 0.4, 0, 1])
    found = evaluate(label, probability, 0.5, Sampling(50, 0)).metrics
    assert all(np.isfinite(found[name].value or 0) for name in found)
    assert found["calibration_slope"].value is not None


def test_ece_is_the_weighted_gap_of_ten_bins_of_equal_counts_and_weighs_resamples_by_their_counts() -> None:
    label, probability = case(3, patients=97)
    counts = np.random.default_rng(0).integers(0, 4, (5, 97)).astype(np.float64)
    bins = equal_count_bins(probability)
    assert np.bincount(bins).tolist() == [10] * 4 + [9] + [10] * 4 + [8] or np.bincount(bins).min() >= 8
    for row, found in zip(counts, Calibration(label, probability).ece(counts), strict=True):
        expected = 0.0
        for number in range(10):
            own = bins == number
            weight = row[own].sum()
            gap = np.average(probability[own], weights=row[own]) - np.average(label[own], weights=row[own])
            expected += weight / row.sum() * abs(gap)
        assert found == pytest.approx(expected, rel=0, abs=1e-12)


def test_well_calibrated_risks_have_slope_1_and_intercept_0() -> None:
    generator = np.random.default_rng(5)
    probability = expit(generator.normal(-1, 1, 20_000))
    label = (generator.random(20_000) < probability).astype(np.float64)
    found = evaluate(label, probability, 0.5, Sampling(20, 0)).metrics
    for name, ideal in (("calibration_slope", 1), ("calibration_intercept", 0)):
        assert found[name].value == pytest.approx(ideal, abs=0.06)
    assert found["ece"].value == pytest.approx(0, abs=0.02)
