"""How far probabilities are from what happens, for all resamples at once: Brier score, ECE, logistic recalibration.

Dimensions: R resamples, N patients, B bins.
"""

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.evaluation.metrics import Array

BINS = 10
NEAREST = 1e-12  # probabilities are taken to be at least so far from 0 and 1, whose logits are infinite


def equal_count_bins(probability: Array, bins: int = BINS) -> NDArray[np.int64]:
    """The bin of each patient [N], 0..B-1, cut at quantiles of the probabilities; ties stay together, so bins may be empty.

    >>> equal_count_bins(np.array([0.1, 0.2, 0.2, 0.9]), bins=2).tolist()
    [0, 0, 0, 1]
    """
    edges = np.percentile(probability, 100 * np.linspace(0, 1, bins + 1)[1:-1])
    return np.searchsorted(edges, probability)


class Calibration:
    """Measures of label and probability [N] under counts [R,N]; the bins are those of all patients."""

    def __init__(self, label: Array, probability: Array) -> None:
        self._label = label
        self._squared = (probability - label) ** 2
        self._excess = (probability - label)[:, None] * (equal_count_bins(probability)[:, None] == np.arange(BINS))
        inside = np.clip(probability, NEAREST, 1 - NEAREST)
        self._logit = np.log(inside) - np.log1p(-inside)
        self._start: dict[bool, Array] = {}

    def brier(self, counts: Array) -> Array:
        """Mean squared distance of probability and outcome [R]."""
        value: Array = counts @ self._squared / counts.sum(axis=1)
        return value

    def ece(self, counts: Array) -> Array:
        """Expected calibration error [R]: |mean probability - observed share| over equal-count bins, weighted by patients."""
        value: Array = np.abs(counts @ self._excess).sum(axis=1) / counts.sum(axis=1)
        return value

    def overprediction(self, counts: Array) -> Array:
        """Mean probability minus observed share [R]: in whole groups, above 0 where risks are too high."""
        value: Array = counts @ (self._excess.sum(axis=1)) / counts.sum(axis=1)
        return value

    def intercept(self, counts: Array) -> Array:
        """Calibration in the large [R]: a of logit P(y) = a + logit(p); 0 is ideal, below 0 the risks are too high.

        NaN where there is one class only.
        """
        rows = (counts @ self._label > 0) & (counts @ (1 - self._label) > 0)
        return self._fit(counts, rows, sloped=False)

    def slope(self, counts: Array) -> Array:
        """b of logit P(y) = a + b logit(p) [R] by maximum likelihood (Cox 1958); 1 is ideal, below 1 the risks are too extreme.

        NaN where no maximum exists: one class only, or probabilities that separate the classes, ties at the border included
        (Albert & Anderson 1984, doi 10.1093/biomet/71.1.1).
        """
        drawn = counts > 0
        low, high = {}, {}
        for outcome in (0, 1):
            own = drawn & (self._label == outcome)
            low[outcome] = np.where(own, self._logit, np.inf).min(axis=1)
            high[outcome] = np.where(own, self._logit, -np.inf).max(axis=1)
        return self._fit(counts, (low[1] < high[0]) & (low[0] < high[1]), sloped=True)

    def _fit(self, counts: Array, rows: NDArray[np.bool_], *, sloped: bool) -> Array:
        """The slope or, not ``sloped``, the intercept of the ``rows`` [R]; NaN of the others."""
        value = np.full(len(counts), np.nan)
        if not rows.any():
            return value
        # On standardised logits the equations are well conditioned; all rows start from one fit, which is near.
        mean, std = self._logit.mean(), self._logit.std()
        given = (self._logit - mean) / std if sloped else self._logit
        if sloped not in self._start:
            from_zero = np.array([[0.0, 0.0 if sloped else 1.0]])
            self._start[sloped] = _recalibrate(given, self._label, counts[rows][:1], from_zero, sloped=sloped)
        start = np.repeat(self._start[sloped], rows.sum(), axis=0)
        found = _recalibrate(given, self._label, counts[rows], start, sloped=sloped)
        value[rows] = found[:, 1] / std if sloped else found[:, 0]
        return value


def _recalibrate(given: Array, label: Array, counts: Array, start: Array, *, sloped: bool) -> Array:
    """Intercept and slope [R,2] of the logistic regression of label on ``given`` [N], by Newton's method.

    Steps that would move a linear predictor by more than 1 are shortened so that they move it by 1: p(1 - p) then changes at most
    e-fold, and the likelihood rises with every step. Not ``sloped``: the slope stays. NaN where 1,000 steps do not reach it.
    """
    found = start.copy()
    running = np.arange(len(counts))
    ends = np.array([given.min(), given.max()])
    for _ in range(1000):
        step = _newton_step(given, label, counts[running], found[running], sloped=sloped)
        reach = np.abs(step[:, :1] + step[:, 1:] * ends).max(axis=1, initial=0)
        found[running] += step / np.maximum(1, reach)[:, None]
        running = running[reach > 1e-7]  # the error falls quadratically: it is now of the order of rounding
        if not len(running):
            return found
    found[running] = np.nan
    return found


def _newton_step(given: Array, label: Array, counts: Array, at: Array, *, sloped: bool) -> Array:
    """[R,2]"""
    same = (at == at[0]).all()  # one line of probabilities for all rows: the sums are matrix products
    expected = _expit(at[:1, :1] + at[:1, 1:] * given) if same else _expit(at[:, :1] + at[:, 1:] * given)
    error, weight = label - expected, expected * (1 - expected)

    def total(of_patient: Array, power: int) -> Array:
        moved = given**power
        summed: Array = counts @ (of_patient[0] * moved) if same else (counts * of_patient) @ moved
        return summed

    gradient, h0 = total(error, 0), total(weight, 0)
    if not sloped:
        return np.stack([gradient / h0, np.zeros_like(h0)], axis=1)
    tilt, h1, h2 = total(error, 1), total(weight, 1), total(weight, 2)
    steps = np.stack([h2 * gradient - h1 * tilt, h0 * tilt - h1 * gradient], axis=1)
    return steps / (h0 * h2 - h1 * h1)[:, None]


def _expit(value: Array) -> Array:
    from scipy.special import expit

    result: Array = expit(value)
    return result
