"""Bands of curves against one resample after another, with scikit-learn's curves."""

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, roc_curve

from emerge_ehr.evaluation import bands, curves, resampling
from emerge_ehr.evaluation.metrics import Array
from emerge_ehr.evaluation.resampling import Sampling

SAMPLING = Sampling(resamples=60, seed=3)


@pytest.fixture(scope="module")
def judged() -> tuple[Array, Array, resampling.Persons]:
    """80 samples of 50 persons, with ties."""
    draw = np.random.default_rng(1)
    label = (draw.random(80) < 0.3).astype(np.float64)
    probability = np.clip(0.3 * label + draw.random(80) * 0.7, 0.01, 0.99).round(2)
    return label, probability, resampling.persons([str(name) for name in draw.integers(0, 50, 80)])


def resamples(label: Array, probability: Array, persons: resampling.Persons) -> list[tuple[Array, Array]]:
    units = int(persons.max()) + 1
    drawn = np.concatenate(list(resampling.draws(units, SAMPLING.resamples, SAMPLING.seed)))
    repeated = [np.repeat(np.arange(len(label)), counts[persons].astype(int)) for counts in drawn]
    return [(label[rows], probability[rows]) for rows in repeated]


def test_the_band_of_a_roc_curve_is_that_of_the_resamples(judged: tuple[Array, Array, resampling.Persons]) -> None:
    expected = []
    for label, probability in resamples(*judged):
        x, y, _ = roc_curve(label, probability, drop_intermediate=False)
        # of points above each other the highest: interpolation goes on from there
        highest = [y[np.flatnonzero(x <= place)[-1]] for place in bands.PLACES]
        between = np.interp(bands.PLACES, x, y)
        expected.append(np.where(np.isin(bands.PLACES, x), highest, between))
    band = bands.roc(*judged, SAMPLING)
    assert band is not None
    low, high = np.percentile(expected, [2.5, 97.5], axis=0)
    np.testing.assert_allclose(band.low, low, atol=1e-12)
    np.testing.assert_allclose(band.high, high, atol=1e-12)
    curve = curves.roc(*judged[:2])
    assert curve is not None
    own = np.interp(bands.PLACES, curve.false_positive_rate, curve.sensitivity)
    assert ((band.low - 0.05 <= own) & (own <= band.high + 0.05)).all()


def test_the_band_of_precision_is_that_at_the_threshold_which_reaches_the_recall(
    judged: tuple[Array, Array, resampling.Persons],
) -> None:
    expected = []
    for label, probability in resamples(*judged):
        precision, recall, _ = precision_recall_curve(label, probability)
        reaching = [np.flatnonzero(recall >= place - 1e-12)[-1] for place in bands.PLACES[1:]]
        expected.append(precision[reaching])
    band = bands.precision_recall(*judged, SAMPLING)
    assert band is not None
    low, high = np.percentile(expected, [2.5, 97.5], axis=0)
    np.testing.assert_allclose(band.low, low, atol=1e-12)
    np.testing.assert_allclose(band.high, high, atol=1e-12)


def test_the_band_of_net_benefit_is_that_of_the_resamples_decision_curves(
    judged: tuple[Array, Array, resampling.Persons],
) -> None:
    thresholds = np.array([0.1, 0.35, 0.6])
    expected = []
    for label, probability in resamples(*judged):
        curve = curves.decision_curve(label, probability, thresholds)
        assert curve is not None
        expected.append(curve.model)
    band = bands.net_benefit(*judged[:2], thresholds, judged[2], SAMPLING)
    assert band is not None
    low, high = np.percentile(expected, [2.5, 97.5], axis=0)
    np.testing.assert_allclose(band.low, low, atol=1e-12)
    np.testing.assert_allclose(band.high, high, atol=1e-12)


def test_there_is_no_band_where_there_is_no_interval() -> None:
    label, probability = np.array([0.0, 1.0, 0.0]), np.array([0.1, 0.8, 0.3])
    assert bands.roc(label, probability, resampling.each_alone(3), SAMPLING) is None
    one_class = np.zeros(20)
    assert bands.precision_recall(one_class, np.linspace(0, 1, 20), resampling.each_alone(20), SAMPLING) is None
