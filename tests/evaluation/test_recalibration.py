"""Recalibration against scikit-learn, and what it does to risks that are too extreme and too low."""

import json

import numpy as np
import pytest
from scipy.special import logit
from scipy.stats import chi2
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from emerge_ehr.evaluation import recalibration
from emerge_ehr.evaluation.calibration import Calibration
from emerge_ehr.evaluation.recalibration import Logistic
from tests.evaluation.test_calibration import case, fitted_by_scikit_learn, in_the_large


@pytest.mark.parametrize("seed", range(4))
def test_slope_and_intercept_are_those_of_an_unpenalised_logistic_regression(seed: int) -> None:
    label, probability = case(seed)
    model = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000, solver="newton-cholesky")
    model.fit(logit(probability)[:, None], label)
    found = recalibration.fit("logistic", label, probability)
    assert found is not None
    assert found.described() == {
        "intercept": pytest.approx(model.intercept_[0], abs=1e-7),
        "slope": pytest.approx(fitted_by_scikit_learn(label, probability), abs=1e-7),
    }
    np.testing.assert_allclose(
        found.apply(probability), model.predict_proba(logit(probability)[:, None])[:, 1], atol=1e-8
    )
    again = Calibration(label, found.apply(probability))
    assert again.slope(np.ones((1, len(label))))[0] == pytest.approx(1, abs=1e-6)


def test_the_intercept_alone_is_calibration_in_the_large_and_isotonic_that_of_scikit_learn() -> None:
    label, probability = case(7)
    alone = recalibration.fit("intercept", label, probability)
    assert alone is not None
    assert alone.described() == {"intercept": pytest.approx(in_the_large(label, probability), abs=1e-8), "slope": 1.0}
    steps = recalibration.fit("isotonic", label, probability)
    expected = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(probability, label)
    new = np.concatenate([probability, [0.0, 0.001, 0.5, 0.999, 1.0]])
    assert steps is not None
    np.testing.assert_allclose(steps.apply(new), expected.predict(new), atol=1e-12)
    assert steps.described()["levels"] == len(np.unique(expected.predict(probability)))


@pytest.mark.parametrize("seed", range(8))
def test_the_closed_test_takes_the_simplest_change_that_likelihood_ratios_do_not_reject(seed: int) -> None:
    label, probability = case(seed, patients=60 if seed % 2 else 300)
    most, shifted = (recalibration.fit(method, label, probability) for method in ("logistic", "intercept"))
    assert most is not None and shifted is not None

    def unlike(risk: np.ndarray, freedom: int) -> bool:
        lost = log_loss(label, risk, normalize=False) - log_loss(label, most.apply(probability), normalize=False)
        return bool(chi2.sf(2 * lost, freedom) <= 0.05)

    expected = most
    if not unlike(probability, 2):
        expected = Logistic(0.0, 1.0)
    elif not unlike(shifted.apply(probability), 1):
        expected = shifted
    assert recalibration.fit("closed_test", label, probability) == expected


def test_what_cannot_be_fitted_is_none() -> None:
    risk, one_class = np.array([0.1, 0.2, 0.3, 0.4]), np.zeros(4)
    separated, alike = np.array([0.0, 0.0, 1.0, 1.0]), np.full(4, 0.3)
    methods: tuple[recalibration.Method, ...] = ("logistic", "intercept", "closed_test", "isotonic", "venn_abers")
    slopeless = [True, False, True, False, False]
    assert [recalibration.fit(method, one_class, risk) for method in methods] == [None] * 5
    assert [recalibration.fit(method, separated, risk) is None for method in methods] == slopeless
    assert [recalibration.fit(method, separated, alike) is None for method in methods] == slopeless


def venn_abers_by_hand(label: np.ndarray, probability: np.ndarray, new: float) -> float:
    """An isotonic regression with the new patient among those that it is fitted on, once without the outcome and once with it."""
    absent, present = (
        IsotonicRegression(y_min=0, y_max=1)
        .fit(np.append(probability, new), np.append(label, outcome))
        .predict([new])[0]
        for outcome in (0.0, 1.0)
    )
    return float(present / (1 - absent + present))


@pytest.mark.parametrize("digits", [0, 1, 12])
def test_venn_abers_is_two_isotonic_regressions_with_the_new_patient_in_them(digits: int) -> None:
    label, probability = case(3, patients=150)
    probability = np.round(probability, digits)
    found = recalibration.fit("venn_abers", label, probability)
    assert found is not None
    new = np.concatenate([np.round(np.linspace(0, 1, 21), 2), probability[:20]])
    expected = [venn_abers_by_hand(label, probability, risk) for risk in new]
    np.testing.assert_allclose(found.apply(new), expected, atol=1e-12)
    assert found.apply(new).min() > 0 and found.apply(new).max() < 1
    assert np.geterr() == {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}


@pytest.mark.parametrize("method", ["logistic", "isotonic", "venn_abers"])
def test_what_was_fitted_is_the_same_after_it_was_written_and_read(method: recalibration.Method) -> None:
    label, probability = case(5)
    found = recalibration.fit(method, label, probability)
    assert found is not None
    record = json.loads(json.dumps(recalibration.recorded(found)))
    new = np.linspace(0, 1, 101)
    assert recalibration.restored(record).apply(new).tolist() == found.apply(new).tolist()
    damaged = [{**record, "kind": "other"}, {**record, "more": 1}, {"kind": method}, [], None]
    damaged += [{**record, name: [float("nan")]} for name in record if name != "kind"]
    for wrong in damaged:
        with pytest.raises(ValueError, match="recalibrate"):
            recalibration.restored(wrong)
