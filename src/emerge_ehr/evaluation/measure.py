"""Metrics by their keys: how to compute them for all resamples at once, and why one of them may be undefined."""

from collections.abc import Callable, Sequence

import numpy as np

from emerge_ehr.evaluation import metrics, resampling
from emerge_ehr.evaluation.calibration import Calibration
from emerge_ehr.evaluation.catalogue import ONE_CLASS, metric
from emerge_ehr.evaluation.metrics import Array
from emerge_ehr.evaluation.resampling import Persons

NOBODY = "the outcome is defined for no patient"


def measure(
    label: Array, probability: Array, names: Sequence[str], threshold: float | Array | None = None
) -> Callable[[Array], dict[str, Array]]:
    """A function from counts [R,N] to the metrics ``names``, each [R] and NaN where it is undefined.

    Metrics that call patients positive do so at ``probability >= threshold``, which must come from other patients; it may be
    each patient's own [N].

    Raises:
        ValueError: a metric needs a threshold, and there is none.
    """
    chosen = [metric(name) for name in names]
    called = {entry.key: entry.called for entry in chosen if entry.called}
    ranked = {entry.key: entry.ranked for entry in chosen if entry.ranked}
    calibrated = {entry.key: entry.calibrated for entry in chosen if entry.calibrated}
    if called and threshold is None:
        raise ValueError(f"{next(iter(called))} needs a threshold")
    ranking = metrics.Ranking(label, probability) if ranked else None
    confusions = metrics.confusion(label, probability, threshold) if threshold is not None and called else None
    calibration = Calibration(label, probability) if calibrated else None

    def values_of(counts: Array) -> dict[str, Array]:
        values: dict[str, Array] = {}
        with np.errstate(invalid="ignore", divide="ignore"):
            if ranking:
                curve = ranking.curve(counts)
                one_class = (curve.positives == 0) | (curve.negatives == 0)
                values |= {key: np.where(one_class, np.nan, function(curve)) for key, function in ranked.items()}
            if confusions:
                confusion = confusions(counts)
                values |= {key: function(confusion) for key, function in called.items()}
            if calibration:
                values |= {key: function(calibration, counts) for key, function in calibrated.items()}
        return {name: values[name] for name in names}

    return values_of


def why_no_interval(name: str, label: Array, persons: Persons) -> str | None:
    """The reason for which the metric ``name`` has no interval for these labels [N] of these persons [N]; None if it may have."""
    return resampling.why_no_interval(label, persons, one_class=metric(name).one_class)


def why_undefined(name: str, label: Array) -> str:
    """The reason for which the metric ``name`` has no value for these labels [N]."""
    if not len(label):
        return NOBODY
    chosen = metric(name)
    return ONE_CLASS if len(np.unique(label)) < 2 and not chosen.one_class else chosen.undefined
