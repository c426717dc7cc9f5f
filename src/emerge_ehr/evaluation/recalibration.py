"""Recalibration: maps a model's risks to risks that agree with the outcomes of persons whom it had not been trained on."""

import dataclasses
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from emerge_ehr.evaluation.calibration import NEAREST, Calibration, logit
from emerge_ehr.evaluation.metrics import Array

Method = Literal["logistic", "intercept", "closed_test", "isotonic", "venn_abers"]
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


@dataclass(frozen=True)
class VennAbers:
    """A Venn-Abers predictor (Vovk, Petej & Fedorova 2015, arXiv 1511.00213).

    A new patient's outcome is supposed to be 0, and then 1; an isotonic regression with this patient in it gives a risk for each.
    The two are joined as p1 / (1 - p0 + p1), which has the smallest greatest log loss. ``risk`` [B]: the risks that were fitted,
    each once, rising; ``if_absent`` and ``if_present`` [B + 1]: p0 and p1 below the first of them, from each on, and up to it.
    """

    risk: Array
    if_absent: Array
    if_present: Array

    def apply(self, probability: Array) -> Array:
        """The recalibrated risks [N], never 0 or 1."""
        absent = self.if_absent[np.searchsorted(self.risk, probability, side="right")]
        present = self.if_present[np.searchsorted(self.risk, probability, side="left")]
        value: Array = present / (1 - absent + present)
        return value

    def described(self) -> dict[str, float | int]:
        """The number of different risks that it was fitted on."""
        return {"risks": len(self.risk)}


KINDS = {"logistic": Logistic, "isotonic": Isotonic, "venn_abers": VennAbers}


def recorded(of: Recalibration) -> dict[str, Any]:
    """What ``restored`` reads, as values for JSON.

    >>> recorded(Logistic(0.5, 2.0))
    {'kind': 'logistic', 'intercept': 0.5, 'slope': 2.0}
    """
    kind = next(name for name, shape in KINDS.items() if isinstance(of, shape))
    values = {field: getattr(of, field) for field in _fields(kind)}
    return {
        "kind": kind,
        **{name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in values.items()},
    }


def restored(record: Mapping[str, Any]) -> Recalibration:
    """What ``recorded`` wrote.

    Raises:
        ValueError: the record is damaged: names no kind, lacks a number, or holds something else, or another count of numbers.
    """
    kind = record.get("kind") if isinstance(record, Mapping) else None
    if kind not in KINDS or {*record} != {"kind", *_fields(kind)}:
        raise ValueError("does not hold what recalibrates risks")
    values = {name: np.asarray(record[name], dtype=np.float64) for name in _fields(kind)}
    sizes = [value.shape for value in values.values()]
    more = 1 if kind == "venn_abers" else 0
    expected = [()] * 2 if kind == "logistic" else [sizes[0], *[(len(values["risk"]) + more,)] * (len(sizes) - 1)]
    if sizes != expected or not all(np.isfinite(value).all() for value in values.values()):
        raise ValueError("holds numbers that recalibrate no risk")
    shape: Any = KINDS[kind]
    return shape(**{name: value if value.ndim else float(value) for name, value in values.items()})  # type: ignore[no-any-return]


def _fields(kind: str) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(KINDS[kind]))


def fit(method: Method, label: Array, probability: Array) -> Recalibration | None:
    """Fit to label [N] and probability [N]; None where no best fit exists (one class only, or classes that risks separate)."""
    if method in ("isotonic", "venn_abers") and len(np.unique(label)) < 2:
        return None
    if method == "venn_abers":
        return _venn_abers(label, probability)
    if method == "isotonic":
        from sklearn.isotonic import IsotonicRegression

        fitted = IsotonicRegression(y_min=0.0, y_max=1.0).fit(probability, label)
        return Isotonic(np.asarray(fitted.X_thresholds_), np.asarray(fitted.y_thresholds_))
    if method == "closed_test":
        return _closed_test(label, probability)
    found = Calibration(label, probability).recalibration(sloped=method == "logistic")
    return None if found is None else Logistic(*found)


def _venn_abers(label: Array, probability: Array) -> VennAbers:
    with np.errstate():  # importing the library changes how NumPy tells of divisions by 0
        from venn_abers import venn_abers

    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of slopes that it finds to be undefined, and passes over
        absent, present, risk = venn_abers.calc_p0p1(np.column_stack([1 - probability, probability]), label)
    return VennAbers(risk, absent[:, 1], present[:, 1])


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
