"""How sure a curve is: pointwise 95 % intervals of ROC, precision and net benefit, by bootstrap over persons.

Each point of a curve gets the 2.5th and 97.5th percentiles of the resamples at the same place of the x axis (for ROC: vertical
averaging, Fawcett 2006, doi 10.1016/j.patrec.2005.10.010). Pointwise: the whole curve lies within its band less often.
Dimensions: R resamples, N samples, G distinct scores, P places.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from emerge_ehr.evaluation import resampling
from emerge_ehr.evaluation.metrics import Array
from emerge_ehr.evaluation.resampling import Persons, Sampling

PLACES = np.linspace(0, 1, 51)


@dataclass(frozen=True)
class Band:
    """The interval of a curve at the places ``at`` [P] of its x axis: NaN where more than half of the resamples have no value."""

    at: Array
    low: Array
    high: Array


def roc(label: Array, probability: Array, persons: Persons, sampling: Sampling) -> Band | None:
    """The band of sensitivity [P] over the false positive rate; None where the persons [N] are too few for an interval."""
    scores = _Scores(label, probability)

    def sensitivity(counts: Array) -> Array:
        true, false = scores.cumulative(counts)
        rows = [_interpolated(PLACES, x, y) for x, y in zip(false / false[:, -1:], true / true[:, -1:], strict=True)]
        return np.array(rows)

    return _band(sensitivity, PLACES, label, persons, sampling)


def precision_recall(label: Array, probability: Array, persons: Persons, sampling: Sampling) -> Band | None:
    """The band of precision [P] over recall: that at the highest threshold which reaches the recall."""
    scores = _Scores(label, probability)

    def precision(counts: Array) -> Array:
        true, false = scores.cumulative(counts)
        rows = []
        for positives, negatives in zip(true, false, strict=True):
            reached = np.searchsorted(positives / positives[-1], PLACES[1:] - 1e-12)
            reached = np.minimum(reached, len(positives) - 1)
            rows.append(positives[reached] / (positives[reached] + negatives[reached]))
        return np.array(rows)

    return _band(precision, PLACES[1:], label, persons, sampling)


def net_benefit(
    label: Array, probability: Array, thresholds: Array, persons: Persons, sampling: Sampling
) -> Band | None:
    """The band of the net benefit [P] at ``thresholds`` [P], all between 0 and 1; see ``curves.decision_curve``."""
    treated = probability[:, None] >= thresholds
    gain = np.where(treated, np.where(label[:, None] > 0, 1.0, -thresholds / (1 - thresholds)), 0.0)

    def benefit(counts: Array) -> Array:
        found: Array = counts @ gain / counts.sum(axis=1, keepdims=True)
        return found

    return _band(benefit, thresholds, label, persons, sampling)


class _Scores:
    """The samples by falling score; samples with the same score count together."""

    def __init__(self, label: Array, probability: Array) -> None:
        self.order = np.argsort(-probability, kind="stable")
        self.label = label[self.order]
        self.last = np.flatnonzero(np.diff(probability[self.order], append=-np.inf))

    def cumulative(self, counts: Array) -> tuple[Array, Array]:
        """The positives and the negatives at or above each score [R,G] of resamples [R,N]."""
        drawn = counts[:, self.order]
        true, every = np.cumsum(drawn * self.label, axis=1), np.cumsum(drawn, axis=1)
        return true[:, self.last], (every - true)[:, self.last]


def _interpolated(places: Array, x: Array, y: Array) -> Array:
    """The curve from (0, 0) through rising ``x`` and ``y`` [G]; at a place with several points, the highest."""
    x, y = np.append(0.0, x), np.append(0.0, y)
    before = np.searchsorted(x, places, side="right") - 1
    after = np.minimum(before + 1, len(x) - 1)
    width = x[after] - x[before]
    share = np.divide(places - x[before], width, out=np.zeros_like(places), where=width > 0)
    values: Array = y[before] + share * (y[after] - y[before])
    return values


def _band(
    curve: Callable[[Array], Array], at: Array, label: Array, persons: Persons, sampling: Sampling
) -> Band | None:
    if not len(label) or resampling.why_no_interval(label, persons):
        return None

    units = int(persons.max()) + 1
    blocks = resampling.draws(
        units, sampling.resamples, sampling.seed, max(units, resampling.BLOCK * units // len(label))
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = np.concatenate([curve(counts[:, persons]) for counts in blocks])
    enough = np.isnan(drawn).mean(axis=0) <= 0.5
    low, high = np.full((2, len(at)), np.nan)
    low[enough], high[enough] = np.nanpercentile(drawn[:, enough], [2.5, 97.5], axis=0)
    return Band(at, low, high)
