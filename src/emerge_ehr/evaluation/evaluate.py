"""Every number that a run reports of one label on one split."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from emerge_ehr.evaluation import resampling
from emerge_ehr.evaluation.measure import NOBODY, measure, why_undefined
from emerge_ehr.evaluation.metrics import RANKING, Array
from emerge_ehr.evaluation.resampling import Interval, Persons, Sampling

METRICS = (*RANKING, "f1", "accuracy", "brier", "ece", "calibration_slope", "calibration_intercept")
AT_SENSITIVITY = ("sensitivity", "specificity", "ppv", "npv", "alert_rate")
NO_THRESHOLD = "no threshold: validation has no patient with the outcome"


@dataclass(frozen=True)
class OperatingPoint:
    """What calling positive at or above ``threshold`` gives; on validation it reaches the target sensitivity."""

    threshold: float | None
    metrics: dict[str, Interval]


@dataclass(frozen=True)
class Evaluated:
    """One label on one split; ``persons`` were resampled, ``dropped_resamples`` had patients of one class only."""

    patients: int
    persons: int
    positives: int
    resamples: int
    dropped_resamples: int
    metrics: dict[str, Interval]
    operating_points: dict[str, OperatingPoint]


def evaluate(
    label: Array,
    probability: Array,
    threshold: float,
    sampling: Sampling,
    persons: Persons | None = None,
    points: Mapping[str, float | None] | None = None,
) -> Evaluated:
    """Every metric of label [N] (0/1) and probability [N], with intervals from resampled ``persons`` [N].

    F1 and accuracy call a patient positive at ``probability >= threshold``; ``points``: target sensitivity -> the threshold
    of its operating point, None where there is none. All thresholds must come from other patients.
    """
    points = points or {}
    if not len(label):
        undefined = Interval(None, None, None, NOBODY)
        nowhere = {
            target: OperatingPoint(cut, dict.fromkeys(AT_SENSITIVITY, undefined)) for target, cut in points.items()
        }
        return Evaluated(0, 0, 0, 0, 0, dict.fromkeys(METRICS, undefined), nowhere)
    persons = resampling.each_alone(len(label)) if persons is None else persons
    main = measure(label, probability, METRICS, threshold)
    at = {t: measure(label, probability, AT_SENSITIVITY, cut) for t, cut in points.items() if cut is not None}

    def everything(counts: Array) -> dict[str, Array]:
        own = {f"{target} {name}": value for target, of in at.items() for name, value in of(counts).items()}
        return {**main(counts), **own}

    found = resampling.sample(everything, persons, sampling)
    return Evaluated(
        patients=len(label),
        persons=int(persons.max()) + 1,
        positives=int(label.sum()),
        resamples=sampling.resamples,
        dropped_resamples=int(np.isnan(found["auroc"].drawn).sum()),
        metrics={name: found[name].interval(why_undefined(name, label)) for name in METRICS},
        operating_points={
            target: OperatingPoint(
                cut,
                {
                    name: Interval(None, None, None, NO_THRESHOLD)
                    if cut is None
                    else found[f"{target} {name}"].interval(why_undefined(name, label))
                    for name in AT_SENSITIVITY
                },
            )
            for target, cut in points.items()
        },
    )
