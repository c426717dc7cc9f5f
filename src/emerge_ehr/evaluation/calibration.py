"""How well probabilities agree with outcomes, for all resamples at once: Brier score, ECE, logistic recalibration.

Dimensions: R resamples, N samples, B bins.
"""

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.evaluation.metrics import Array

BINS = 10
NEAREST = 1e-12  # probabilities are kept at least this far from 0 and 1, whose logits are infinite


def equal_count_bins(probability: Array, bins: int = BINS) -> NDArray[np.int64]:
    """The bin of each sample [N], 0..B-1, cut at quantiles of the probabilities; ties stay together, so bins may be empty.

    >>> equal_count_bins(np.array([0.1, 0.2, 0.2, 0.9]), bins=2).tolist()
    [0, 0, 0, 1]
    """
    edges = np.percentile(probability, 100 * np.linspace(0, 1, bins + 1)[1:-1])
    return np.searchsorted(edges, probability)


def logit(probability: Array) -> Array:
    """The log odds, of probabilities that are kept ``NEAREST`` away from 0 and 1."""
    inside = np.clip(probability, NEAREST, 1 - NEAREST)
    odds: Array = np.log(inside) - np.log1p(-inside)
    return odds


class Calibration:
    """Measures of label and probability [N] under counts [R,N]; the bins are those of all samples."""

    def __init__(self, label: Array, probability: Array) -> None:
        self._label = label
        self._squared = (probability - label) ** 2
        self._excess = (probability - label)[:, None] * (equal_count_bins(probability)[:, None] == np.arange(BINS))
        self._logit = logit(probability)
        self._start: dict[bool, Array] = {}

    def brier(self, counts: Array) -> Array:
        """Mean squared difference between probability and outcome [R]."""
        value: Array = counts @ self._squared / counts.sum(axis=1)
        return value

    def ece(self, counts: Array) -> Array:
        """Expected calibration error [R]: |mean probability - observed share| over equal-count bins, weighted by size."""
        value: Array = np.abs(counts @ self._excess).sum(axis=1) / counts.sum(axis=1)
        return value

    def overprediction(self, counts: Array) -> Array:
        """Mean probability minus observed share [R]; above 0 where the risks of a group are too high on average."""
        value: Array = counts @ (self._excess.sum(axis=1)) / counts.sum(axis=1)
        return value

    def intercept(self, counts: Array) -> Array:
        """Calibration in the large [R]: a of logit P(y) = a + logit(p); 0 is ideal, and below 0 the risks are too high.

        NaN where there is one class only.
        """
        rows = (counts @ self._label > 0) & (counts @ (1 - self._label) > 0)
        return self._fit(counts, rows, sloped=False)

    def slope(self, counts: Array) -> Array:
        """b of logit P(y) = a + b logit(p) [R] by maximum likelihood (Cox 1958); 1 is ideal, below 1 risks are too extreme.

        NaN where no maximum exists: with one class only, and where the probabilities separate the classes, even with ties at
        the border (Albert & Anderson 1984, doi 10.1093/biomet/71.1.1).
        """
        drawn = counts > 0
        low, high = {}, {}
        for outcome in (0, 1):
            members = drawn & (self._label == outcome)
            low[outcome] = np.where(members, self._logit, np.inf).min(axis=1)
            high[outcome] = np.where(members, self._logit, -np.inf).max(axis=1)
        return self._fit(counts, (low[1] < high[0]) & (low[0] < high[1]), sloped=True)

    def recalibration(self, *, sloped: bool) -> tuple[float, float] | None:
        """Intercept and slope (a, b) of logit P(y) = a + b logit(p) by maximum likelihood; without ``sloped``, b is 1.

        None where no maximum exists: as for ``slope``, or with one class only.
        """
        everyone = np.ones((1, len(self._label)))
        if (slope := float(self.slope(everyone)[0]) if sloped else 1.0) != slope or len(np.unique(self._label)) < 2:
            return None
        start = np.array([[0.0, slope]])  # at its slope, the intercept of the best fit is the best intercept
        intercept = _recalibrate(self._logit, self._label, everyone, start, sloped=False)[0, 0]
        return (float(intercept), slope) if np.isfinite(intercept) else None

    def _fit(self, counts: Array, rows: NDArray[np.bool_], *, sloped: bool) -> Array:
        """The slope, or without ``sloped`` the intercept, of the resamples that ``rows`` [R] marks; NaN for the others."""
        value = np.full(len(counts), np.nan)
        if not rows.any():
            return value
        # Standardised logits make the equations well conditioned; all resamples start from the fit of the first, which is near.
        mean, std = self._logit.mean(), self._logit.std()
        predictor = (self._logit - mean) / std if sloped else self._logit
        if sloped not in self._start:
            from_zero = np.array([[0.0, 0.0 if sloped else 1.0]])
            self._start[sloped] = _recalibrate(predictor, self._label, counts[rows][:1], from_zero, sloped=sloped)
        start = np.repeat(self._start[sloped], rows.sum(), axis=0)
        coefficients = _recalibrate(predictor, self._label, counts[rows], start, sloped=sloped)
        value[rows] = coefficients[:, 1] / std if sloped else coefficients[:, 0]
        return value


def _recalibrate(predictor: Array, label: Array, counts: Array, start: Array, *, sloped: bool) -> Array:
    """Intercept and slope [R,2] of the logistic regression of ``label`` on ``predictor`` [N], by Newton's method.

    A step that would move a logit by more than 1 is shortened so that it moves the logit by 1: p(1 - p) then changes at most
    e-fold, and the likelihood rises with every step. Without ``sloped`` the slope stays as it is. NaN where 1,000 steps do not
    converge.
    """
    coefficients = start.copy()
    running = np.arange(len(counts))
    ends = np.array([predictor.min(), predictor.max()])
    for _ in range(1000):
        step = _newton_step(predictor, label, counts[running], coefficients[running], sloped=sloped)
        reach = np.abs(step[:, :1] + step[:, 1:] * ends).max(axis=1, initial=0)
        coefficients[running] += step / np.maximum(1, reach)[:, None]
        running = running[reach > 1e-7]  # the error falls quadratically: it is now of the order of rounding
        if not len(running):
            return coefficients
    coefficients[running] = np.nan
    return coefficients


def _newton_step(predictor: Array, label: Array, counts: Array, at: Array, *, sloped: bool) -> Array:
    """The change of intercept and slope [R,2] that a full Newton step makes from ``at`` [R,2]."""
    same = (at == at[0]).all()  # all resamples share the probabilities, so that the sums are matrix products
    expected = _expit(at[:1, :1] + at[:1, 1:] * predictor) if same else _expit(at[:, :1] + at[:, 1:] * predictor)
    error, weight = label - expected, expected * (1 - expected)

    def total(term: Array, power: int) -> Array:
        factor = predictor**power
        summed: Array = counts @ (term[0] * factor) if same else (counts * term) @ factor
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
