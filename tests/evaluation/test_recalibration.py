"""Recalibration against scikit-learn, and what it does to risks that are too extreme and too low."""

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
    methods = ("logistic", "intercept", "closed_test", "isotonic")
    assert [recalibration.fit(method, one_class, risk) for method in methods] == [None] * 4
    assert [recalibration.fit(method, separated, risk) is None for method in methods] == [True, False, True, False]
    assert [recalibration.fit(method, separated, alike) is None for method in methods] == [True, False, True, False]
