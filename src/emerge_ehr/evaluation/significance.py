"""Whether two runs' predictions for the same patients differ: DeLong's test of AUROC, a paired bootstrap of any metric."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.evaluation import resampling
from emerge_ehr.evaluation.curves import Z95
from emerge_ehr.evaluation.measure import NOBODY, measure, why_undefined
from emerge_ehr.evaluation.metrics import Array
from emerge_ehr.evaluation.resampling import ROUNDING, Persons, Sample, Sampling

FEW = "undefined: DeLong's variance needs two patients of each class"


@dataclass(frozen=True)
class DeLong:
    """AUROC of two runs; ``difference`` is first minus second, with its standard error, z, two-sided p and 95 % interval."""

    first: float | None = None
    second: float | None = None
    difference: float | None = None
    standard_error: float | None = None
    z: float | None = None
    p: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Difference:
    """One metric of two runs; ``difference`` is first minus second, with its 95 % interval and two-sided bootstrap p."""

    first: float | None = None
    second: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    reason: str | None = None


def delong(label: Array, first: Array, second: Array) -> DeLong:
    """Of label [N] (0/1) and two runs' probabilities [N], patients taken as independent.

    DeLong et al. 1988 (doi 10.2307/2531595) by midranks in O(N log N) (Sun & Xu 2014, doi 10.1109/LSP.2014.2337313). Where the
    two rank alike, p is 1; where they differ with no variance, there is none.
    """
    from scipy.special import ndtr

    positive = label > 0
    if min(positive.sum(), (~positive).sum()) < 2:
        return DeLong(reason=FEW if len(label) else NOBODY)
    left, right = _placements(positive, first), _placements(positive, second)
    difference = left.area - right.area
    # of differences, not of each: where both rank alike the variance is exactly 0
    of_positives, of_negatives = left.below - right.below, left.above - right.above
    variance = of_positives.var(ddof=1) / len(of_positives) + of_negatives.var(ddof=1) / len(of_negatives)
    error = float(np.sqrt(variance))
    if error < ROUNDING < abs(difference):
        reason = "no p: the two differ alike for every patient, so that the variance is 0"
        return DeLong(left.area, right.area, difference, 0.0, reason=reason)
    z = difference / error if error >= ROUNDING else 0.0
    p = float(2 * ndtr(-abs(z)))
    return DeLong(left.area, right.area, difference, error, z, p, difference - Z95 * error, difference + Z95 * error)


def paired_bootstrap(
    label: Array,
    first: Array,
    second: Array,
    metrics: Sequence[str],
    sampling: Sampling,
    persons: Persons | None = None,
    thresholds: tuple[float, float] | None = None,
) -> dict[str, Difference]:
    """Metrics by name (``measure.py``) of label [N] and two runs' probabilities [N]; both are measured on the same resamples.

    ``persons`` [N]: whose patients are drawn together; by default each patient alone. ``thresholds``: at which each run calls a
    patient positive. p is twice the smaller share of resamples with a difference on one side of 0 or none, counting the
    data as one more (Davison & Hinkley 1997, 4.2); it is never below 2 / (resamples + 1).
    """
    if not len(label):
        return {name: Difference(reason=NOBODY) for name in metrics}
    cuts = thresholds or (None, None)
    runs = [measure(label, one, metrics, cut) for one, cut in zip((first, second), cuts, strict=True)]

    def both(counts: Array) -> dict[str, Array]:
        left, right = (run(counts) for run in runs)
        gaps = {f"{name} difference": left[name] - right[name] for name in metrics}
        return {
            **{f"{name} first": left[name] for name in metrics},
            **{f"{name} second": right[name] for name in metrics},
            **gaps,
        }

    found = resampling.sample(both, resampling.each_alone(len(label)) if persons is None else persons, sampling)
    return {
        name: _difference(
            found[f"{name} first"], found[f"{name} second"], found[f"{name} difference"], why_undefined(name, label)
        )
        for name in metrics
    }


def _difference(first: Sample, second: Sample, difference: Sample, undefined: str) -> Difference:
    interval = difference.interval(undefined)
    values = [None if np.isnan(one.value) else one.value for one in (first, second)]
    drawn = difference.drawn[~np.isnan(difference.drawn)]
    p = None
    if interval.low is not None:
        tail = min(int((drawn <= ROUNDING).sum()), int((drawn >= -ROUNDING).sum()))
        p = min(1.0, 2 * (1 + tail) / (1 + len(drawn)))
    return Difference(values[0], values[1], interval.value, interval.low, interval.high, p, interval.reason)


@dataclass(frozen=True)
class _Placements:
    """AUROC; for each positive the share of negatives below it, for each negative the share of positives above, ties half."""

    area: float
    below: Array
    above: Array


def _placements(positive: NDArray[np.bool_], score: Array) -> _Placements:
    from scipy.stats import rankdata

    among_all, own = rankdata(score), np.empty(len(score))
    for side in (positive, ~positive):
        own[side] = rankdata(score[side])
    others = among_all - own  # how many of the other class lie below, ties half
    below = others[positive] / (~positive).sum()
    return _Placements(float(below.mean()), below, 1 - others[~positive] / positive.sum())
