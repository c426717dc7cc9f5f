"""Curves against scikit-learn and against loops over patients."""

import warnings
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from emerge_ehr.evaluation import curves
from emerge_ehr.evaluation.metrics import auprc, auroc, point

close = partial(np.testing.assert_allclose, rtol=0, atol=1e-12)
# few distinct scores, so that there are ties; of one class now and then
patients = st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=1, max_size=30).map(
    lambda rows: (np.array([float(row[0]) for row in rows]), np.array([row[1] / 8 for row in rows]))
)


@settings(max_examples=150, deadline=None)
@given(patients)
def test_roc_and_precision_recall_and_their_areas_are_those_of_scikit_learn(
    case: tuple[np.ndarray, np.ndarray],
) -> None:
    label, score = case
    roc, found = curves.roc(label, score), curves.precision_recall(label, score)
    if len(np.unique(label)) < 2:
        assert roc is None and found is None
        assert point(auroc, label, score) is None and point(auprc, label, score) is None
        return
    assert roc is not None and found is not None
    false, true, threshold = roc_curve(label, score, drop_intermediate=False)
    close(roc.false_positive_rate, false)
    close(roc.sensitivity, true)
    close(roc.threshold, threshold)
    precision, recall, threshold = precision_recall_curve(label, score)
    close(found.precision[::-1], precision[:-1])  # scikit-learn ends in a point of no threshold
    close(found.recall[::-1], recall[:-1])
    close(found.threshold[::-1], threshold)
    close(point(auroc, label, score), roc_auc_score(label, score))
    close(point(auprc, label, score), average_precision_score(label, score))


@settings(max_examples=150, deadline=None)
@given(patients, st.integers(1, 12))
def test_reliability_is_scikit_learns_calibration_curve_by_quantiles(
    case: tuple[np.ndarray, np.ndarray], bins: int
) -> None:
    label, score = case
    found = curves.reliability(label, score, bins)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        observed, predicted = calibration_curve(label, score, n_bins=bins, strategy="quantile", pos_label=1)
    close(found.observed, observed)
    close(found.predicted, predicted)
    assert found.patients.sum() == len(label)


@pytest.mark.parametrize(("positives", "count"), [(0, 7), (7, 7), (3, 20), (199, 400)])
def test_the_interval_of_an_observed_share_is_wilsons(positives: int, count: int) -> None:
    low, high = curves.wilson(np.array([float(positives)]), np.array([float(count)]))
    expected = binomtest(positives, count).proportion_ci(method="wilson")
    close([low[0], high[0]], [expected.low, expected.high])


@settings(max_examples=100, deadline=None)
@given(patients)
def test_net_benefit_counts_true_positives_and_weighs_false_ones(case: tuple[np.ndarray, np.ndarray]) -> None:
    label, score = case
    thresholds = np.array([0.05, 0.125, 0.3, 0.5, 0.75, 0.99])  # some are scores themselves
    found = curves.decision_curve(label, score, thresholds)
    assert found is not None
    for place, threshold in enumerate(thresholds):
        odds = threshold / (1 - threshold)
        benefit = sum((1 if y else -odds) for y, s in zip(label, score, strict=True) if s >= threshold) / len(label)
        everybody = sum((1 if y else -odds) for y in label) / len(label)
        close(found.model[place], benefit)
        close(found.treat_all[place], everybody)


def test_a_threshold_of_1_has_no_net_benefit() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        curves.decision_curve(np.array([1.0]), np.array([0.5]), np.array([0.5, 1.0]))


def test_nobody_gives_empty_bins_and_no_curves() -> None:
    nobody = np.empty(0)
    assert len(curves.reliability(nobody, nobody).observed) == 0
    assert curves.roc(nobody, nobody) is None
    assert curves.precision_recall(nobody, nobody) is None
    assert curves.decision_curve(nobody, nobody, np.array([0.5])) is None
