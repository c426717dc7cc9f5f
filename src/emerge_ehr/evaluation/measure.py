"""Metrics by their keys: what gives them for all resamples at once, and why one of them may be undefined."""

from collections.abc import Callable, Sequence

import numpy as np

from emerge_ehr.evaluation import metrics
from emerge_ehr.evaluation.calibration import Calibration
from emerge_ehr.evaluation.catalogue import ONE_CLASS, metric
from emerge_ehr.evaluation.metrics import Array

NOBODY = "the outcome is defined for no patient"


def measure(
    label: Array, probability: Array, names: Sequence[str], threshold: float | None = None
) -> Callable[[Array], dict[str, Array]]:
    """What gives, of counts [R,N], the metrics ``names``, each [R], NaN where undefined.

    Those that call patients do so at ``probability >= threshold``, which must come from other patients.
    """
    chosen = [metric(name) for name in names]
    called = {one.key: one.called for one in chosen if one.called}
    ranked = {one.key: one.ranked for one in chosen if one.ranked}
    calibrated = {one.key: one.calibrated for one in chosen if one.calibrated}
    if called and threshold is None:
        raise ValueError(f"{next(iter(called))} needs a threshold")
    ranking = metrics.Ranking(label, probability) if ranked else None
    at = metrics.confusion(label, probability, threshold) if threshold is not None and called else None
    calibration = Calibration(label, probability) if calibrated else None

    def of(counts: Array) -> dict[str, Array]:
        values: dict[str, Array] = {}
        with np.errstate(invalid="ignore", divide="ignore"):
            if ranking:
                curve = ranking.curve(counts)
                one_class = (curve.positives == 0) | (curve.negatives == 0)
                values |= {key: np.where(one_class, np.nan, function(curve)) for key, function in ranked.items()}
            if at:
                confusion = at(counts)
                values |= {key: function(confusion) for key, function in called.items()}
            if calibration:
                values |= {key: function(calibration, counts) for key, function in calibrated.items()}
        return {name: values[name] for name in names}

    return of


def why_undefined(name: str, label: Array) -> str:
    """The reason why the metric has no value for these labels [N]."""
    if not len(label):
        return NOBODY
    chosen = metric(name)
    return ONE_CLASS if len(np.unique(label)) < 2 and not chosen.one_class else chosen.undefined
