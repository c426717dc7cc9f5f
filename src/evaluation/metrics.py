"""Metrics of a binary label with bootstrap intervals, computed for all resamples at once.

A resample is a row of counts: how often each patient was drawn. On scores sorted once, with ties grouped, every metric
is a cumulative sum along that row; the point estimate is the row of ones. Dimensions: R resamples, N patients,
G distinct scores.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

BLOCK = 4_000_000  # counts held at once: 32 MB


@dataclass(frozen=True)
class Interval:
    """A point estimate and its 95 % percentile interval; ``reason`` says why a number is missing."""

    value: float | None
    low: float | None
    high: float | None
    reason: str | None = None


@dataclass(frozen=True)
class Evaluation:
    """One label on one split; ``dropped_resamples`` had patients of one class only."""

    patients: int
    positives: int
    resamples: int
    dropped_resamples: int
    metrics: dict[str, Interval]


@dataclass(frozen=True)
class Curve:
    """Counts of the patients at or above each distinct score, scores falling [R,G]; they end in the totals [R]."""

    true_positives: Array
    false_positives: Array

    @property
    def positives(self) -> Array:
        """How many patients have the label [R]."""
        return self.true_positives[:, -1]

    @property
    def negatives(self) -> Array:
        """How many have not [R]."""
        return self.false_positives[:, -1]


def auroc(curve: Curve) -> Array:
    """Area under the ROC curve by trapezoids [R]: the chance that a positive outranks a negative, ties half."""
    gained = np.diff(curve.false_positives, axis=1, prepend=0)
    before = curve.true_positives - np.diff(curve.true_positives, axis=1, prepend=0)
    area = (gained * (before + curve.true_positives)).sum(axis=1) / 2
    share: Array = area / (curve.positives * curve.negatives)
    return share


def auprc(curve: Curve) -> Array:
    """Average precision [R]: precision at each score weighted by the recall it adds, as scikit-learn."""
    gained = np.diff(curve.true_positives, axis=1, prepend=0)
    total: Array = (gained * _precision(curve)).sum(axis=1)
    return total / curve.positives


def min_precision_sensitivity(curve: Curve) -> Array:
    """min(+P, Se) [R]: the highest, over thresholds, of the lower of precision and sensitivity."""
    best: Array = np.minimum(_precision(curve), curve.true_positives / curve.positives[:, None]).max(axis=1)
    return best


def f1(curve: Curve) -> Array:
    """F1 at every score as threshold [R,G]."""
    return 2 * curve.true_positives / (curve.true_positives + curve.false_positives + curve.positives[:, None])


RANKING: dict[str, Callable[[Curve], Array]] = {
    "auroc": auroc,
    "auprc": auprc,
    "min_precision_sensitivity": min_precision_sensitivity,
}
THRESHOLDED = ("f1", "accuracy")


def point(metric: Callable[[Curve], Array], label: Array, probability: Array) -> float | None:
    """One ranking metric of all patients [N], [N]; None where there is one class only.

    >>> point(auroc, np.array([0.0, 1.0, 1.0]), np.array([0.2, 0.2, 0.9]))
    0.75
    """
    if len(np.unique(label)) < 2:
        return None
    return float(metric(_Sorted(label, probability).curve(np.ones((1, len(label)))))[0])


def best_threshold(label: Array, probability: Array) -> float | None:
    """The score [N] at or above which calling positive gives the highest F1 (of equals, the highest score).

    None where there is one class only.

    >>> best_threshold(np.array([0.0, 1.0, 1.0]), np.array([0.1, 0.3, 0.9]))
    0.3
    """
    if len(np.unique(label)) < 2:
        return None
    ordered = _Sorted(label, probability)
    scores: Array = f1(ordered.curve(np.ones((1, len(label)))))[0]
    return float(probability[ordered.order][ordered.starts[scores.argmax()]])


def evaluate(label: Array, probability: Array, threshold: float, resamples: int, seed: int) -> Evaluation:
    """Every metric of label [N] (0/1) and probability [N], with intervals from resampled patients.

    F1 and accuracy call a patient positive at ``probability >= threshold``, which must come from other patients.
    """
    if not len(label):
        undefined = Interval(None, None, None, "the outcome is defined for no patient")
        return Evaluation(0, 0, 0, 0, dict.fromkeys((*RANKING, *THRESHOLDED), undefined))
    ordered = _Sorted(label, probability)
    whole = _measure(ordered, np.ones((1, len(label))), threshold)
    drawn = [_measure(ordered, counts, threshold) for counts in draws(len(label), resamples, seed)]
    values = {name: np.concatenate([block[name] for block in drawn]) for name in whole}
    two_classes = ~np.isnan(values["auroc"])
    return Evaluation(
        patients=len(label),
        positives=int(label.sum()),
        resamples=resamples,
        dropped_resamples=int((~two_classes).sum()),
        metrics={name: _interval(whole[name][0], values[name][two_classes]) for name in whole},
    )


def draws(patients: int, resamples: int, seed: int, block: int = BLOCK) -> Iterator[Array]:
    """Resamples with replacement as counts [r,N], in blocks of at most ``block`` numbers.

    Row r counts ``np.random.default_rng(seed).integers(0, N, (R, N))[r]``, however the blocks fall.
    """
    generator = np.random.default_rng(seed)
    rows = max(1, block // patients)
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        drawn = generator.integers(0, patients, (size, patients)) + patients * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * patients).reshape(size, patients).astype(np.float64)


class _Sorted:
    """Labels by falling score, with the places where a new score starts."""

    def __init__(self, label: Array, probability: Array) -> None:
        self.order = np.argsort(-probability, kind="stable")
        self.label = label[self.order]
        self.probability = probability[self.order]
        self.starts = np.flatnonzero(np.diff(self.probability, prepend=np.inf))

    def curve(self, counts: Array) -> Curve:
        """Counts [R,N], patients in the order given -> curve [R,G]."""
        sorted_counts = counts[:, self.order]
        positive = np.add.reduceat(sorted_counts * self.label, self.starts, axis=1)
        negative = np.add.reduceat(sorted_counts * (1 - self.label), self.starts, axis=1)
        return Curve(positive.cumsum(axis=1), negative.cumsum(axis=1))


def _measure(ordered: _Sorted, counts: Array, threshold: float) -> dict[str, Array]:
    """Every metric of every resample: counts [R,N] -> [R] each; NaN where it is undefined."""
    curve = ordered.curve(counts)
    one_class = (curve.positives == 0) | (curve.negatives == 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = {name: np.where(one_class, np.nan, metric(curve)) for name, metric in RANKING.items()}
        called = int((ordered.probability[ordered.starts] >= threshold).sum())  # scores at or above the threshold
        true = curve.true_positives[:, called - 1] if called else np.zeros(len(counts))
        false = curve.false_positives[:, called - 1] if called else np.zeros(len(counts))
        values["f1"] = np.where(one_class, np.nan, 2 * true / (true + false + curve.positives))
        values["accuracy"] = (true + curve.negatives - false) / (curve.positives + curve.negatives)
    return values


def _interval(value: np.float64, drawn: Array) -> Interval:
    if np.isnan(value):
        return Interval(None, None, None, "undefined: all patients have the same label")
    if not len(drawn):
        return Interval(float(value), None, None, "no interval: no resample has both classes")
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(float(value), float(low), float(high))


def _precision(curve: Curve) -> Array:
    """Share of positives among those at or above each score [R,G]; 0 where a resample has nobody there."""
    called = curve.true_positives + curve.false_positives
    return np.divide(curve.true_positives, called, out=np.zeros_like(called), where=called > 0)
