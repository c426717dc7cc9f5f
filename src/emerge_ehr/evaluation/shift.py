"""How far two populations lie apart in one quantity, and how far apart two samples of one population would lie by chance.

- Means: the standardised difference (m1 - m0) / sqrt((s0² + s1²) / 2) (Austin 2009, doi 10.1002/sim.3697).
- Shares: Cohen's h = 2 asin sqrt(p1) - 2 asin sqrt(p0) (Cohen 1988), on the same scale, and defined for shares of 0 and 1 too.
- Shares of several groups: the total variation, half the sum of the absolute differences; 0 to 1.
- Standard deviations: the logarithm of their ratio.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.evaluation.metrics import Array

ALARM = 0.001  # share of quantities without a shift that differ by more than ``by_chance``
SIMULATED = 5000


def standardised_difference(first: Array, second: Array) -> float | None:
    """The difference of the means in pooled standard deviations; None where both are constant, and different.

    >>> standardised_difference(np.array([1.0, 3.0]), np.array([3.0, 5.0]))
    2.0
    """
    difference = float(second.mean() - first.mean())
    pooled = math.sqrt((float(first.var()) + float(second.var())) / 2)
    if difference == 0:
        return 0.0
    return difference / pooled if pooled > 0 else None


def cohens_h(first: float, second: float) -> float:
    """The difference of two shares, from -pi to pi.

    >>> round(cohens_h(0.0, 1.0), 4), cohens_h(0.3, 0.3)
    (3.1416, 0.0)
    """
    return 2 * (math.asin(math.sqrt(second)) - math.asin(math.sqrt(first)))


def spread_ratio(first: Array, second: Array) -> float | None:
    """The logarithm of the ratio of the standard deviations; None where one of them is 0 and the other is not."""
    stds = float(first.std()), float(second.std())
    if stds[0] == stds[1]:
        return 0.0
    return math.log(stds[1] / stds[0]) if min(stds) > 0 else None


def total_variation(first: Sequence[float], second: Sequence[float]) -> float:
    """Half the sum of the absolute differences of the shares of the same groups.

    >>> total_variation([50, 50], [10, 30])
    0.25
    """
    one, other = (np.asarray(counts, dtype=np.float64) / sum(counts) for counts in (first, second))
    return float(np.abs(one - other).sum() / 2)


def by_chance(first: int, second: int, *, tests: int = 1) -> float:
    """The size that a standardised difference or Cohen's h of samples of ``first`` and ``second`` persons stays below, but for a
    share ``ALARM`` of quantities without any shift: 3.29 · sqrt(1/n0 + 1/n1), by the normal approximation.

    ``tests``: of how many quantities the largest is looked for (Bonferroni).
    """
    return NormalDist().inv_cdf(1 - ALARM / (2 * max(tests, 1))) * math.sqrt(1 / first + 1 / second)


def spread_by_chance(first: Array, second: Array) -> float:
    """As ``by_chance``, of ``spread_ratio``: the variance of a log standard deviation is (kurtosis - 1) / 4n."""
    variance = sum((_kurtosis(values) - 1) / (4 * len(values)) for values in (first, second))
    return NormalDist().inv_cdf(1 - ALARM / 2) * math.sqrt(variance)


def variation_by_chance(first: Sequence[float], second: Sequence[float], persons: tuple[int, int], seed: int) -> float:
    """As ``by_chance``, of ``total_variation``: from simulated samples of so many persons of the pooled population."""
    pooled = np.asarray(first, dtype=np.float64) + np.asarray(second, dtype=np.float64)
    generator = np.random.default_rng(seed)
    one, other = (generator.multinomial(count, pooled / pooled.sum(), SIMULATED) / count for count in persons)
    sizes: NDArray[np.float64] = np.abs(one - other).sum(axis=1) / 2
    return float(np.quantile(sizes, 1 - ALARM))


def _kurtosis(values: Array) -> float:
    centred = values - values.mean()
    square = float((centred**2).mean())
    return float((centred**4).mean()) / square**2 if square > 0 else 1.0
