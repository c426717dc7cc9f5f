"""Bootstrap over persons: point estimates with percentile or BCa intervals, for anything that can be measured on counts.

All samples of a person are drawn together. Percentile: the 2.5th and 97.5th percentiles of the resamples. BCa: corrected for
bias and acceleration (Efron 1987, doi 10.1080/01621459.1987.10478410). The acceleration comes from leaving out one person at a
time or, with more than ``GROUPS`` persons, one group at a time (Efron & Narasimhan 2020, doi 10.1080/10618600.2020.1714633).
Dimensions: R resamples, N samples (called patients here, as in printed tables), U persons.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.evaluation.metrics import Array

Persons = NDArray[np.int64]  # [N] the number of the person to whom each sample belongs, 0..U-1
Measure = Callable[[Array], Mapping[str, Array]]  # counts [R,N] -> name -> [R], NaN where undefined

BLOCK = 500_000  # counts held in memory at once: 4 MB, which fit into a processor's cache
GROUPS = 1000
ROUNDING = 1e-12  # values that differ by less are equal: only the order of summation differs
LEAST_PERSONS = 5  # there are 126 different resamples of 5 persons, but only 35 of 4, whose percentiles say nothing
LEAST_OF_CLASS = 2  # as for DeLong's variance: resamples of a class's only person do not vary in that class
ALL_ALIKE = "no interval: nearly all resamples give the same value, which does not say how sure it is"


@dataclass(frozen=True)
class Sampling:
    """How intervals are made."""

    resamples: int = 1000
    seed: int = 42
    interval: Literal["percentile", "bca"] = "percentile"


@dataclass(frozen=True)
class Interval:
    """A point estimate and its 95 % interval.

    ``reason`` says why a number is missing, or that the interval rests on some of the resamples only.
    """

    value: float | None
    low: float | None
    high: float | None
    reason: str | None = None


@dataclass(frozen=True)
class Resampled:
    """One measured quantity: of all patients, of each resample [R] and, for BCa, without each person or group in turn."""

    value: float
    drawn: Array
    left_out: Array | None

    def interval(self, undefined: str, too_few: str | None = None, *, constant: bool = False) -> Interval:
        """The value with its interval; ``undefined`` is the reason that is reported where there is no value.

        ``too_few`` says why there can be no interval, as ``why_no_interval`` does. Resamples in which the quantity is undefined
        do not count. Where they are more than half, or all others give the same value, there is no interval either; unless the
        quantity is ``constant``: all patients have the same probability, so that no patients could give another value.
        """
        if np.isnan(self.value):
            return Interval(None, None, None, undefined)
        defined = self.drawn[~np.isnan(self.drawn)]
        missing = len(self.drawn) - len(defined)
        if too_few is None and (missing > len(defined) or not len(defined)):
            too_few = f"no interval: undefined in {missing} of {len(self.drawn)} resamples"
        shares = np.array([0.025, 0.975])
        if too_few is None and self.left_out is not None:
            shares = _bca(shares, self.value, defined, self.left_out)
            if np.isnan(shares).any():
                too_few = "no BCa interval: the estimate lies outside all resamples"
        if too_few is not None:
            return Interval(self.value, None, None, too_few)
        low, high = np.percentile(defined, 100 * shares)
        if high - low <= ROUNDING and not constant:
            return Interval(self.value, None, None, ALL_ALIKE)
        part = f"the interval rests on {len(defined)} of {len(self.drawn)} resamples; in the others it is undefined"
        return Interval(self.value, float(low), float(high), part if missing else None)


def each_alone(patients: int) -> Persons:
    """Persons for ``patients`` samples, each of which belongs to another person."""
    return np.arange(patients)


def persons(names: Sequence[str]) -> Persons:
    """Numbers of the persons ``names`` [N], by first appearance.

    >>> persons(["b", "a", "b"]).tolist()
    [0, 1, 0]
    """
    number: dict[str, int] = {}
    return np.array([number.setdefault(name, len(number)) for name in names], dtype=np.int64)


def why_no_interval(label: Array, persons: Persons, *, one_class: bool = False) -> str | None:
    """Why resamples of the ``persons`` [N], with these labels [N], give no interval; None if they do.

    ``one_class``: the quantity does not need both classes.

    >>> why_no_interval(np.array([1, 0, 1]), each_alone(3))
    'no interval: there are 3 persons, and it takes 5'
    >>> why_no_interval(np.array([1, 0, 0, 0, 0]), each_alone(5))
    'no interval: it takes 2 persons with the outcome and 2 without'
    """
    count = len(np.unique(persons))
    if count < LEAST_PERSONS:
        return f"no interval: there {'is 1 person' if count == 1 else f'are {count} persons'}, and it takes {LEAST_PERSONS}"
    of_class = min(len(np.unique(persons[label > 0])), len(np.unique(persons[label <= 0])))
    if of_class < LEAST_OF_CLASS and not one_class:
        return f"no interval: it takes {LEAST_OF_CLASS} persons with the outcome and {LEAST_OF_CLASS} without"
    return None


def sample(measure: Measure, persons: Persons, sampling: Sampling) -> dict[str, Resampled]:
    """Everything that ``measure`` gives, for all patients and for the resamples; the same seed draws the same persons."""
    patients, units = len(persons), int(persons.max()) + 1
    alone = np.array_equal(persons, each_alone(patients))

    def collect(rows: Iterator[Array]) -> dict[str, Array]:
        with np.errstate(invalid="ignore", divide="ignore"):
            blocks = [measure(counts if alone else counts[:, persons]) for counts in rows]
        return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}

    estimates = collect(iter([np.ones((1, units))]))
    size = max(1, BLOCK // patients)
    drawn = collect(draws(units, sampling.resamples, sampling.seed, size * units))
    left = collect(leaving_out(units, sampling.seed, size * units)) if sampling.interval == "bca" else {}
    return {name: Resampled(float(value[0]), drawn[name], left.get(name)) for name, value in estimates.items()}


def draws(units: int, resamples: int, seed: int, block: int = BLOCK) -> Iterator[Array]:
    """Resamples with replacement as counts [r,U], in blocks of at most ``block`` numbers.

    Row r counts ``np.random.default_rng(seed).integers(0, U, (R, U))[r]``, whatever the size of the blocks.
    """
    generator = np.random.default_rng(seed)
    rows = max(1, block // units)
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        drawn = generator.integers(0, units, (size, units))
        drawn += units * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * units).reshape(size, units).astype(np.float64)


def leaving_out(units: int, seed: int, block: int = BLOCK) -> Iterator[Array]:
    """Counts [r,U] of all but one person or, with more than ``GROUPS`` persons, of all but one group drawn at random."""
    group = np.arange(units)
    if units > GROUPS:
        group = np.random.default_rng(seed).permutation(units) % GROUPS
    rows = max(1, block // units)
    for start in range(0, min(units, GROUPS), rows):
        numbers = np.arange(start, min(start + rows, units, GROUPS))
        yield (group != numbers[:, None]).astype(np.float64)


def _bca(shares: Array, value: float, drawn: Array, left_out: Array) -> Array:
    """The shares of the resamples that bound the corrected interval; NaN where all lie on one side of ``value``."""
    from scipy.special import ndtr, ndtri

    bias = ndtri(((drawn < value - ROUNDING).mean() + (drawn <= value + ROUNDING).mean()) / 2)
    if not np.isfinite(bias):
        return np.full_like(shares, np.nan)
    influence = np.nanmean(left_out) - left_out[~np.isnan(left_out)] if not np.isnan(left_out).all() else np.zeros(1)
    spread = float((influence**2).sum())
    acceleration = float((influence**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0
    moved = bias + ndtri(shares)
    corrected: Array = ndtr(bias + moved / (1 - acceleration * moved))
    return corrected
