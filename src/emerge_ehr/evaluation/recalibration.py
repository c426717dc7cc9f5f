"""Recalibration: maps a model's risks to risks that agree with the outcomes of other persons, fitted on a few of them."""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from emerge_ehr.evaluation.calibration import NEAREST, Calibration, logit
from emerge_ehr.evaluation.metrics import Array

Method = Literal["logistic", "intercept", "closed_test", "isotonic"]
SIGNIFICANT = 0.05  # of the closed test


class Recalibration(Protocol):
    """A map of risks, which never puts a lower risk above a higher one unless its slope is negative."""

    def apply(self, probability: Array) -> Array:
        """The recalibrated risks [N] of these risks [N]."""

    def described(self) -> dict[str, float | int]:
        """What was fitted, as values for JSON."""


@dataclass(frozen=True)
class Logistic:
    """logit of the new risk = ``intercept`` + ``slope`` · logit of the risk (Cox 1958)."""

    intercept: float
    slope: float

    def apply(self, probability: Array) -> Array:
        """The recalibrated risks [N].

        >>> Logistic(0.0, 1.0).apply(np.array([0.2, 0.7])).round(6).tolist()
        [0.2, 0.7]
        """
        from scipy.special import expit

        risk: Array = expit(self.intercept + self.slope * logit(probability))
        return risk

    def described(self) -> dict[str, float | int]:
        """Intercept and slope."""
        return {"intercept": self.intercept, "slope": self.slope}


@dataclass(frozen=True)
class Isotonic:
    """A rising function (Zadrozny & Elkan 2002), linear between the ``risk`` [B] at which it takes the values ``new`` [B]."""

    risk: Array
    new: Array

    def apply(self, probability: Array) -> Array:
        """The recalibrated risks [N]; beyond the risks that were fitted, those at their ends."""
        value: Array = np.interp(probability, self.risk, self.new)
        return value

    def described(self) -> dict[str, float | int]:
        """The number of different values."""
        return {"levels": len(np.unique(self.new))}


def fit(method: Method, label: Array, probability: Array) -> Recalibration | None:
    """Fit to label [N] and probability [N]; None where no best fit exists (one class only, or classes that risks separate)."""
    if method == "isotonic":
        from sklearn.isotonic import IsotonicRegression

        if len(np.unique(label)) < 2:
            return None
        fitted = IsotonicRegression(y_min=0.0, y_max=1.0).fit(probability, label)
        return Isotonic(np.asarray(fitted.X_thresholds_), np.asarray(fitted.y_thresholds_))
    if method == "closed_test":
        return _closed_test(label, probability)
    found = Calibration(label, probability).recalibration(sloped=method == "logistic")
    return None if found is None else Logistic(*found)


def _closed_test(label: Array, probability: Array) -> Logistic | None:
    """The simplest of no change, an intercept, and intercept and slope that likelihood-ratio tests do not reject against the last
    (Vergouwe et al. 2017, doi 10.1002/sim.7179, without their step of re-estimating the model)."""
    from scipy.stats import chi2

    calibration = Calibration(label, probability)
    sloped, shifted = (calibration.recalibration(sloped=sloped) for sloped in (True, False))
    if sloped is None or shifted is None:
        return None
    chosen = Logistic(*sloped)
    most = _log_likelihood(chosen, label, probability)
    for simpler, fewer in ((Logistic(0.0, 1.0), 2), (Logistic(*shifted), 1)):
        if chi2.sf(2 * (most - _log_likelihood(simpler, label, probability)), fewer) > SIGNIFICANT:
            return simpler
    return chosen


def _log_likelihood(of: Logistic, label: Array, probability: Array) -> float:
    risk = np.clip(of.apply(probability), NEAREST, 1 - NEAREST)
    return float((label * np.log(risk) + (1 - label) * np.log1p(-risk)).sum())
