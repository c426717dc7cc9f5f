"""Metrics of a binary label, computed for all resamples at once.

A resample is a row of counts, which say how often each sample was drawn. The scores are sorted once, with ties together; every
ranking metric is then a cumulative sum along that row, and the point estimate is that of a row of ones. Dimensions: R resamples,
N samples (called patients here, as in printed tables), C cells of the ranking.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Counts of positives and negatives from the highest score down to each cell [R,C]; the last column holds the totals."""

    true_positives: Array
    false_positives: Array

    @property
    def positives(self) -> Array:
        """The number of patients with the outcome [R]."""
        return self.true_positives[:, -1]

    @property
    def negatives(self) -> Array:
        """The number of patients without the outcome [R]."""
        return self.false_positives[:, -1]


@dataclass(frozen=True)
class Confusion:
    """The confusion matrix of each resample at one threshold, as counts [R]."""

    true_positives: Array
    false_positives: Array
    positives: Array
    negatives: Array


class Ranking:
    """Patients by falling score, in cells: a cell is one score, or a run of neighbouring scores that no positive has.

    No ranking metric depends on how the negatives between two positives are ordered, so they can share a cell. With few positives
    there are few cells.
    """

    def __init__(self, label: Array, probability: Array) -> None:
        self._order = np.argsort(-probability, kind="stable")
        label, score = label[self._order], probability[self._order]
        scores = np.flatnonzero(np.diff(score, prepend=np.inf))
        positive = np.add.reduceat(label, scores) > 0
        self._starts = scores[positive | np.append(True, positive[:-1])]
        self.score = score[self._starts]
        cell = np.searchsorted(self._starts, np.flatnonzero(label), side="right") - 1
        self._positive = self._order[label > 0]
        self._positive_cells, self._positive_starts = np.unique(cell, return_index=True)

    def curve(self, counts: Array) -> Curve:
        """Counts [R,N], in the order of the labels -> curve [R,C]."""
        drawn = np.add.reduceat(counts[:, self._order], self._starts, axis=1)
        positive = np.zeros_like(drawn)
        if len(self._positive):
            positive[:, self._positive_cells] = np.add.reduceat(
                counts[:, self._positive], self._positive_starts, axis=1
            )
        return Curve(positive.cumsum(axis=1), (drawn - positive).cumsum(axis=1))


def auroc(curve: Curve) -> Array:
    """Area under the ROC curve by trapezoids [R]: the probability that a positive outranks a negative; a tie counts half."""
    gained = np.diff(curve.false_positives, axis=1, prepend=0)
    before = curve.true_positives - np.diff(curve.true_positives, axis=1, prepend=0)
    area = (gained * (before + curve.true_positives)).sum(axis=1) / 2
    share: Array = area / (curve.positives * curve.negatives)
    return share


def auprc(curve: Curve) -> Array:
    """Average precision [R]: the precision at each score, weighted by the recall that it adds, as in scikit-learn."""
    gained = np.diff(curve.true_positives, axis=1, prepend=0)
    total: Array = (gained * _precision(curve)).sum(axis=1)
    return total / curve.positives


def min_precision_sensitivity(curve: Curve) -> Array:
    """min(+P, Se) [R]: the lower one of precision and sensitivity, at the threshold where it is highest."""
    best: Array = np.minimum(_precision(curve), curve.true_positives / curve.positives[:, None]).max(axis=1)
    return best


def f1(at: Confusion) -> Array:
    """Harmonic mean of precision and sensitivity [R]; undefined where there is one class only."""
    value = 2 * at.true_positives / (at.true_positives + at.false_positives + at.positives)
    return np.where((at.positives == 0) | (at.negatives == 0), np.nan, value)


def accuracy(at: Confusion) -> Array:
    """Share of patients who are called correctly [R]."""
    return (at.true_positives + at.negatives - at.false_positives) / (at.positives + at.negatives)


def sensitivity(at: Confusion) -> Array:
    """Share of positives who are called positive [R]."""
    return at.true_positives / at.positives


def specificity(at: Confusion) -> Array:
    """Share of negatives who are called negative [R]."""
    return (at.negatives - at.false_positives) / at.negatives


def ppv(at: Confusion) -> Array:
    """Positive predictive value, or precision [R]: share of positives among those called positive."""
    return at.true_positives / (at.true_positives + at.false_positives)


def npv(at: Confusion) -> Array:
    """Negative predictive value [R]: share of negatives among those called negative."""
    cleared = at.negatives - at.false_positives
    return cleared / (cleared + at.positives - at.true_positives)


def alert_rate(at: Confusion) -> Array:
    """Share of patients called positive [R]."""
    return (at.true_positives + at.false_positives) / (at.positives + at.negatives)


def point(metric: Callable[[Curve], Array], label: Array, probability: Array) -> float | None:
    """One ranking metric of label [N] (0/1) and probability [N]; None where there is one class only.

    >>> point(auroc, np.array([0.0, 1.0, 1.0]), np.array([0.2, 0.2, 0.9]))
    0.75
    """
    if len(np.unique(label)) < 2:
        return None
    return float(metric(Ranking(label, probability).curve(np.ones((1, len(label)))))[0])


def best_threshold(label: Array, probability: Array) -> float | None:
    """The score at or above which calling patients positive gives the highest F1; among equals, the highest such score.

    None where there is one class only.

    >>> best_threshold(np.array([0.0, 1.0, 1.0]), np.array([0.1, 0.3, 0.9]))
    0.3
    """
    if len(np.unique(label)) < 2:
        return None
    ranking = Ranking(label, probability)
    curve = ranking.curve(np.ones((1, len(label))))
    scores = 2 * curve.true_positives / (curve.true_positives + curve.false_positives + curve.positives[:, None])
    return float(ranking.score[scores[0].argmax()])


def threshold_reaching(target: float, label: Array, probability: Array) -> float | None:
    """The highest score at or above which calling positive finds at least ``target`` of the positives; None if there are none.

    >>> threshold_reaching(0.5, np.array([0.0, 1.0, 1.0]), np.array([0.1, 0.3, 0.9]))
    0.9
    """
    if not label.any():
        return None
    ranking = Ranking(label, probability)
    reached = ranking.curve(np.ones((1, len(label)))).true_positives[0] / label.sum()
    return float(ranking.score[np.argmax(reached >= target)])


def confusion(label: Array, probability: Array, threshold: float | Array) -> Callable[[Array], Confusion]:
    """A function from counts [R,N] to the confusion matrices of calling patients positive at ``probability >= threshold``.

    ``threshold``: one for all patients, or each patient's own [N].
    """
    called = (probability >= threshold).astype(np.float64)
    columns = np.stack([called * label, called * (1 - label), label, 1 - label], axis=1)
    return lambda counts: Confusion(*(counts @ columns).T)


def _precision(curve: Curve) -> Array:
    """Share of positives from the highest score down to each cell [R,C]; 0 where a resample has nobody there."""
    called = curve.true_positives + curve.false_positives
    return np.divide(curve.true_positives, called, out=np.zeros_like(called), where=called > 0)
