"""Whether two runs' predictions for the same patients differ: DeLong's test of AUROC, and a paired bootstrap of any metric."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.evaluation import resampling, survival
from emerge_ehr.evaluation.curves import Z95
from emerge_ehr.evaluation.measure import NOBODY, measure, why_no_interval, why_undefined
from emerge_ehr.evaluation.metrics import Array
from emerge_ehr.evaluation.resampling import LEAST_OF_CLASS, ROUNDING, Interval, Persons, Resampled, Sampling

Measure = Callable[[Array], Mapping[str, Array]]  # resamples [R,N] -> each metric [R]
FEW = "undefined: DeLong's variance needs two persons of each class"


@dataclass(frozen=True)
class DeLong:
    """The AUROC of two runs. ``difference`` is first minus second, with its standard error, z, two-sided p and 95 % interval."""

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


def delong(label: Array, first: Array, second: Array, persons: Persons | None = None) -> DeLong:
    """DeLong's test for label [N] (0/1) and two runs' probabilities [N].

    ``persons`` [N]: whose samples these are, which may depend on each other; by default each sample is another person's.

    DeLong et al. 1988 (doi 10.2307/2531595) by midranks in O(N log N) (Sun & Xu 2014, doi 10.1109/LSP.2014.2337313), and for
    persons with several samples Obuchowski 1997 (doi 10.2307/2533957), which is the same where each has one. Where both runs
    rank patients alike, p is 1; where they differ but the difference has no variance, there is no p. Of too few persons there is
    neither interval nor p.
    """
    from scipy.special import ndtr

    positive = label > 0
    whose = resampling.each_alone(len(label)) if persons is None else persons
    if min(len(np.unique(whose[side])) for side in (positive, ~positive)) < LEAST_OF_CLASS:
        return DeLong(reason=FEW if len(label) else NOBODY)
    left, right = _placements(positive, first), _placements(positive, second)
    difference = left.area - right.area
    # The variance of the differences rather than of each run: where both rank alike it is exactly 0.
    variance = _variance(left.below - right.below, left.above - right.above, whose[positive], whose[~positive])
    error = float(np.sqrt(variance))
    if error < ROUNDING < abs(difference):
        reason = "no p: the two differ alike for every patient, so that the variance is 0"
        return DeLong(left.area, right.area, difference, 0.0, reason=reason)
    if too_few := resampling.why_no_interval(label, whose):
        return DeLong(left.area, right.area, difference, error, reason=too_few)
    z = difference / error if error >= ROUNDING else 0.0
    p = float(2 * ndtr(-abs(z)))
    return DeLong(left.area, right.area, difference, error, z, p, difference - Z95 * error, difference + Z95 * error)


def _variance(below: Array, above: Array, whose: Persons, others: Persons) -> float:
    """The variance of the mean of ``below`` [P], which is that of ``above`` [Q] too, where the samples of a person depend on each
    other: ``whose`` [P] and ``others`` [Q] are the persons of both."""
    _, number = np.unique(np.concatenate([whose, others]), return_inverse=True)
    sides = number[: len(whose)], number[len(whose) :]
    sums = [
        np.bincount(side, values - values.mean(), minlength=int(number.max()) + 1) / len(values)
        for side, values in zip(sides, (below, above), strict=True)
    ]
    own = [len(np.unique(side)) for side in sides]
    of_each = sum(
        count / (count - 1) * float((part**2).sum()) if count > 1 else 0.0
        for count, part in zip(own, sums, strict=True)
    )
    every = len(sums[0])
    return max(0.0, of_each + 2 * every / (every - 1) * float((sums[0] * sums[1]).sum()))


def paired_bootstrap(
    label: Array,
    first: Array,
    second: Array,
    metrics: Sequence[str],
    sampling: Sampling,
    persons: Persons | None = None,
    thresholds: tuple[float | Array, float | Array] | None = None,
) -> dict[str, Difference]:
    """The difference in each of ``metrics`` between two runs' probabilities [N] for label [N], on the same resamples.

    ``persons`` [N]: the persons whose samples are drawn together; by default every sample is drawn alone. ``thresholds``: the
    probability from which each run calls a patient positive, or each patient's own [N]. p is twice the smaller one of two shares
    of the resamples: those whose difference is at most 0, and those whose difference is at least 0. The data count as one more
    resample (Davison & Hinkley 1997, section 4.2), so that p is never below 2 / (resamples + 1).
    """
    if not len(label):
        return {name: Difference(reason=NOBODY) for name in metrics}
    cuts = thresholds or (None, None)
    runs = [measure(label, probability, metrics, cut) for probability, cut in zip((first, second), cuts, strict=True)]
    persons = resampling.each_alone(len(label)) if persons is None else persons
    alike = np.array_equal(first, second) and (thresholds is None or np.array_equal(*thresholds))
    why = {name: (why_undefined(name, label), why_no_interval(name, label, persons)) for name in metrics}
    return _paired((runs[0], runs[1]), why, persons, sampling, alike=alike)


def paired_in_time(
    hours: Array,
    died: NDArray[np.bool_],
    risks: tuple[Array, Array],
    horizons: Array,
    sampling: Sampling,
    persons: Persons,
) -> dict[str, Difference]:
    """As ``paired_bootstrap``, of the concordance and the integrated Brier score of two runs' ``risks`` [N,H] by the ``horizons``
    [H] (hours), of stays that ended after so many ``hours`` [N]."""
    if not len(hours):
        return {name: Difference(reason=NOBODY) for name in survival.UNDEFINED}
    first, second = (survival.measured(hours, died, risk, horizons) for risk in risks)
    death = (died & (hours <= horizons[-1])).astype(np.float64)
    too_few = resampling.why_no_interval(death, persons)
    why = {name: (undefined, too_few) for name, undefined in survival.UNDEFINED.items()}
    return _paired((first, second), why, persons, sampling, alike=np.array_equal(*risks))


def _paired(
    runs: tuple[Measure, Measure],
    why: Mapping[str, tuple[str, str | None]],
    persons: Persons,
    sampling: Sampling,
    *,
    alike: bool,
) -> dict[str, Difference]:
    """The difference in each metric of ``why``, which tells why it may be undefined, and why it has no interval."""

    def both(counts: Array) -> dict[str, Array]:
        left, right = (run(counts) for run in runs)
        return {
            **{f"{name} first": left[name] for name in why},
            **{f"{name} second": right[name] for name in why},
            **{f"{name} difference": left[name] - right[name] for name in why},
        }

    samples = resampling.sample(both, persons, sampling)
    return {
        name: _difference(
            samples[f"{name} first"],
            samples[f"{name} second"],
            samples[f"{name} difference"],
            undefined,
            None if alike else too_few,
            alike=alike,
        )
        for name, (undefined, too_few) in why.items()
    }


def _difference(
    first: Resampled, second: Resampled, difference: Resampled, undefined: str, too_few: str | None, *, alike: bool
) -> Difference:
    """``alike``: both runs predict the same for every patient, so that there is no difference, and no doubt about it."""
    interval = difference.interval(undefined, too_few)
    if alike and interval.value is not None:
        interval = Interval(0.0, 0.0, 0.0)
    values = [None if np.isnan(run.value) else run.value for run in (first, second)]
    drawn = difference.drawn[~np.isnan(difference.drawn)]
    p = None
    if interval.low is not None:
        tail = min(int((drawn <= ROUNDING).sum()), int((drawn >= -ROUNDING).sum()))
        p = min(1.0, 2 * (1 + tail) / (1 + len(drawn)))
    return Difference(values[0], values[1], interval.value, interval.low, interval.high, p, interval.reason)


@dataclass(frozen=True)
class _Placements:
    """AUROC, for each positive the share of negatives ranked below it, and for each negative the share of positives above it.

    A tie counts half.
    """

    area: float
    below: Array
    above: Array


def _placements(positive: NDArray[np.bool_], score: Array) -> _Placements:
    from scipy.stats import rankdata

    among_all, among_class = rankdata(score), np.empty(len(score))
    for side in (positive, ~positive):
        among_class[side] = rankdata(score[side])
    others = among_all - among_class  # the number of the other class that is ranked below; a tie counts half
    below = others[positive] / (~positive).sum()
    return _Placements(float(below.mean()), below, 1 - others[~positive] / positive.sum())
