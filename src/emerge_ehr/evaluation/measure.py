"""Metrics by name: what gives them for all resamples at once, and why one of them may be undefined."""

from collections.abc import Callable, Sequence

import numpy as np

from emerge_ehr.evaluation import metrics
from emerge_ehr.evaluation.calibration import Calibration
from emerge_ehr.evaluation.metrics import RANKING, THRESHOLDED, Array

CALIBRATION: dict[str, Callable[[Calibration, Array], Array]] = {
    "brier": Calibration.brier,
    "ece": Calibration.ece,
    "overprediction": Calibration.overprediction,
    "calibration_slope": Calibration.slope,
    "calibration_intercept": Calibration.intercept,
}
ONE_CLASS = "undefined: all patients have the same label"
REASONS = {
    "calibration_slope": "undefined: the probabilities separate the classes or are all alike, so no one slope fits best",
    "ppv": "undefined: nobody is called positive",
    "npv": "undefined: everybody is called positive",
}
NOBODY = "the outcome is defined for no patient"


def measure(
    label: Array, probability: Array, names: Sequence[str], threshold: float | None = None
) -> Callable[[Array], dict[str, Array]]:
    """What gives, of counts [R,N], the metrics ``names``, each [R], NaN where undefined.

    Those of ``THRESHOLDED`` call a patient positive at ``probability >= threshold``, which must come from other patients.
    """
    ranked = [name for name in names if name in RANKING]
    cut = [name for name in names if name in THRESHOLDED]
    calibrated = [name for name in names if name in CALIBRATION]
    if unknown := set(names) - {*ranked, *cut, *calibrated}:
        raise ValueError(f"no such metric: {', '.join(sorted(unknown))}")
    if cut and threshold is None:
        raise ValueError(f"{cut[0]} needs a threshold")
    ranking = metrics.Ranking(label, probability) if ranked else None
    at = metrics.confusion(label, probability, threshold) if threshold is not None and cut else None
    calibration = Calibration(label, probability) if calibrated else None

    def of(counts: Array) -> dict[str, Array]:
        values: dict[str, Array] = {}
        with np.errstate(invalid="ignore", divide="ignore"):
            if ranking:
                curve = ranking.curve(counts)
                one_class = (curve.positives == 0) | (curve.negatives == 0)
                values |= {name: np.where(one_class, np.nan, RANKING[name](curve)) for name in ranked}
            if at:
                confusion = at(counts)
                values |= {name: THRESHOLDED[name](confusion) for name in cut}
            if calibration:
                values |= {name: CALIBRATION[name](calibration, counts) for name in calibrated}
        return {name: values[name] for name in names}

    return of


def why_undefined(name: str, label: Array) -> str:
    """The reason why the metric has no value for these labels [N]."""
    if not len(label):
        return NOBODY
    return (
        ONE_CLASS
        if name not in REASONS or (len(np.unique(label)) < 2 and name not in ("ppv", "npv"))
        else REASONS[name]
    )
