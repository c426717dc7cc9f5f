"""Curves to plot: ROC, precision and recall, reliability, decision.

Dimensions: N samples, G distinct scores, B bins.
"""

from dataclasses import dataclass

import numpy as np

from emerge_ehr.evaluation.calibration import BINS, equal_count_bins
from emerge_ehr.evaluation.metrics import Array

Z95 = 1.959963984540054  # 97.5 % quantile of the normal distribution


@dataclass(frozen=True)
class Roc:
    """A ROC curve [G+1]; the thresholds fall from infinity, at which nobody is called positive."""

    threshold: Array
    false_positive_rate: Array
    sensitivity: Array


@dataclass(frozen=True)
class PrecisionRecall:
    """A precision-recall curve [G]; a patient is called positive at or above each of the falling thresholds, down to recall 1."""

    threshold: Array
    precision: Array
    recall: Array


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram [B], from low to high risks. ``low`` and ``high`` are Wilson's 95 % interval (1927) of ``observed``.

    The interval takes samples as independent, also those of one person.
    """

    patients: Array
    predicted: Array
    observed: Array
    low: Array
    high: Array


@dataclass(frozen=True)
class DecisionCurve:
    """Net benefit per patient at each threshold probability, in true positives; treating nobody has a net benefit of 0."""

    threshold: Array
    model: Array
    treat_all: Array


@dataclass(frozen=True)
class Alerts:
    """What an alert at or above each threshold [B] comes to, per sample: ``alerts`` all, ``right`` those with the outcome,
    ``missed`` the samples with the outcome and no alert. ``share``: samples with the outcome."""

    threshold: Array
    alerts: Array
    right: Array
    missed: Array
    share: float


def alerts(label: Array, probability: Array, thresholds: Array) -> Alerts | None:
    """The alerts of label [N] (0/1) and probability [N] at ``thresholds`` [B]; None where there are no samples.

    >>> found = alerts(np.array([0.0, 1.0, 1.0, 0.0]), np.array([0.2, 0.9, 0.1, 0.4]), np.array([0.3]))
    >>> found.alerts.tolist(), found.right.tolist(), found.missed.tolist()
    ([0.5], [0.25], [0.25])
    """
    if not len(label):
        return None
    raised = probability[:, None] >= thresholds
    right = (raised * label[:, None]).mean(axis=0)
    return Alerts(thresholds, raised.mean(axis=0), right, label.mean() - right, float(label.mean()))


def roc(label: Array, probability: Array) -> Roc | None:
    """The ROC curve of label [N] (0/1) and probability [N]; None where there is one class only.

    >>> roc(np.array([0.0, 1.0]), np.array([0.2, 0.9])).sensitivity.tolist()
    [0.0, 1.0, 1.0]
    """
    if len(np.unique(label)) < 2:
        return None
    threshold, true, false = _cumulative(label, probability)
    return Roc(np.append(np.inf, threshold), np.append(0, false) / false[-1], np.append(0, true) / true[-1])


def precision_recall(label: Array, probability: Array) -> PrecisionRecall | None:
    """The precision-recall curve of label [N] (0/1) and probability [N]; None where there is one class only."""
    if len(np.unique(label)) < 2:
        return None
    threshold, true, false = _cumulative(label, probability)
    return PrecisionRecall(threshold, true / (true + false), true / true[-1])


def reliability(label: Array, probability: Array, bins: int = BINS) -> Reliability:
    """Observed share against mean predicted risk, in bins of about equal counts: the bins over which ECE is summed.

    The counts are equal because most risks are low: with bins of equal width nearly all patients would fall into one or two.
    Ties stay together and empty bins are left out, so that there may be fewer than ``bins``.
    """
    if not len(label):
        return Reliability(*[np.empty(0)] * 5)
    placed = equal_count_bins(probability, bins)
    patients, predicted, positives = (
        np.bincount(placed, weights, minlength=bins).astype(np.float64)
        for weights in (np.ones_like(label), probability, label)
    )
    filled = patients > 0
    count, positive = patients[filled], positives[filled]
    low, high = wilson(positive, count)
    return Reliability(count, predicted[filled] / count, positive / count, low, high)


def wilson(positives: Array, patients: Array) -> tuple[Array, Array]:
    """The 95 % score interval of the share ``positives / patients``, as its lower and its upper bound."""
    share, square = positives / patients, Z95**2
    centre = (share + square / (2 * patients)) / (1 + square / patients)
    half = Z95 / (1 + square / patients) * np.sqrt(share * (1 - share) / patients + square / (4 * patients**2))
    return np.clip(centre - half, 0, share), np.clip(centre + half, share, 1)


def decision_curve(label: Array, probability: Array, thresholds: Array) -> DecisionCurve | None:
    """Net benefit TP/N - FP/N t/(1-t) of treating at ``probability >= t`` (Vickers & Elkin 2006, doi 10.1177/0272989X06295361).

    None where there are no patients.
    Raises:
        ValueError: a threshold is not between 0 and 1.
    """
    if not ((thresholds > 0) & (thresholds < 1)).all():
        raise ValueError("thresholds of a decision curve lie between 0 and 1")
    if not len(label):
        return None
    odds = thresholds / (1 - thresholds)
    rising = np.argsort(probability, kind="stable")
    first = np.searchsorted(probability[rising], thresholds)  # the first patient who is treated
    true = np.append(np.cumsum(label[rising][::-1])[::-1], 0)[first]
    false = len(label) - first - true
    prevalence = label.mean()
    return DecisionCurve(thresholds, (true - false * odds) / len(label), prevalence - (1 - prevalence) * odds)


def _cumulative(label: Array, probability: Array) -> tuple[Array, Array, Array]:
    """The distinct scores in falling order, and the numbers of positives and negatives at or above each [G]."""
    order = np.argsort(-probability, kind="stable")
    last = np.flatnonzero(np.diff(probability[order], append=-np.inf))
    true = np.cumsum(label[order])[last]
    return probability[order][last], true, 1 + last - true
