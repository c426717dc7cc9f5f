"""Every number that a run reports for one label on one split."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from emerge_ehr.evaluation import resampling
from emerge_ehr.evaluation.catalogue import keys
from emerge_ehr.evaluation.measure import NOBODY, measure, why_no_interval, why_undefined
from emerge_ehr.evaluation.metrics import Array
from emerge_ehr.evaluation.resampling import Interval, Persons, Sampling

NO_THRESHOLD = "no threshold: validation, or that of a fold, has no patient with the outcome"


@dataclass(frozen=True)
class OperatingPoint:
    """The metrics of calling patients positive at ``threshold``, which reaches the target sensitivity on validation.

    Where patients have different thresholds, it is their mean.
    """

    threshold: float | None
    metrics: dict[str, Interval]


@dataclass(frozen=True)
class Evaluated:
    """The metrics of one label on one split. ``persons`` were resampled; ``dropped_resamples`` held one class only."""

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
    threshold: float | Array,
    sampling: Sampling,
    persons: Persons | None = None,
    points: Mapping[str, float | Array | None] | None = None,
) -> Evaluated:
    """Every metric of label [N] (0/1) and probability [N], with intervals from resampled ``persons`` [N].

    Metrics that call patients positive do so at ``probability >= threshold``. ``points``: target sensitivity -> the threshold of
    its operating point, or None where no threshold reaches it. All thresholds must come from other patients; each patient may
    have an own one [N].
    """
    points = points or {}
    if not len(label):
        return _of_nobody(points)
    persons = resampling.each_alone(len(label)) if persons is None else persons
    main = measure(label, probability, keys("splits"), threshold)
    at_points = {
        target: measure(label, probability, keys("operating_points"), cut)
        for target, cut in points.items()
        if cut is not None
    }

    def everything(counts: Array) -> dict[str, Array]:
        by_point = {
            f"{target} {key}": value
            for target, measured in at_points.items()
            for key, value in measured(counts).items()
        }
        return {**main(counts), **by_point}

    samples, constant = resampling.sample(everything, persons, sampling), bool(np.ptp(probability) == 0)

    def interval(name: str, key: str) -> Interval:
        reasons = why_undefined(key, label), why_no_interval(key, label, persons)
        return samples[name].interval(*reasons, constant=constant)

    return Evaluated(
        patients=len(label),
        persons=int(persons.max()) + 1,
        positives=int(label.sum()),
        resamples=sampling.resamples,
        dropped_resamples=int(np.isnan(samples["auroc"].drawn).sum()),
        metrics={key: interval(key, key) for key in keys("splits")},
        operating_points={target: _point(target, cut, interval) for target, cut in points.items()},
    )


def _of_nobody(points: Mapping[str, float | Array | None]) -> Evaluated:
    undefined = Interval(None, None, None, NOBODY)
    nowhere = {
        target: OperatingPoint(
            cut if isinstance(cut, float) else None, dict.fromkeys(keys("operating_points"), undefined)
        )
        for target, cut in points.items()
    }
    return Evaluated(0, 0, 0, 0, 0, dict.fromkeys(keys("splits"), undefined), nowhere)


def _point(target: str, cut: float | Array | None, interval: Callable[[str, str], Interval]) -> OperatingPoint:
    """``interval`` takes what was sampled, by its name and the metric's key."""
    if cut is None:
        return OperatingPoint(None, dict.fromkeys(keys("operating_points"), Interval(None, None, None, NO_THRESHOLD)))
    return OperatingPoint(
        float(np.mean(cut)), {key: interval(f"{target} {key}", key) for key in keys("operating_points")}
    )
