"""Stays that stand in the data twice under two ids: series that are the same but for rounding.

Dimensions: N samples, C cells (an hour of a signal).
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.audit.deep.examined import Examined
from emerge_ehr.audit.findings import Finding, told

CLOSE = 0.2  # root mean square difference, in standard deviations of each signal; two persons differ by about 1
LEAST_CELLS = 20  # hours of signals that both have
LEAST_SHARED = 0.5  # of the cells that either has
LEAST_VALUES = 20  # different values among them: a series of zeros is like any other
YEARS = 1.0  # by which the ages may differ
LARGEST = 20_000  # samples up to which training samples are compared with each other too
BLOCK = 512


class Pair(NamedTuple):
    """Two samples, by their rows, and how far their series lie apart."""

    first: int
    second: int
    distance: float


def pairs(ehr: NDArray[np.float32], mask: NDArray[np.float32], rows: NDArray[np.int64]) -> Iterator[Pair]:
    """The pairs of one of ``rows`` and another sample whose series [N,T,F] are the same, each pair once.

    >>> rng = np.random.default_rng(0)
    >>> series = rng.normal(size=(5, 48, 2)).astype(np.float32)
    >>> series[4] = series[1] + 0.05
    >>> [pair[:2] for pair in pairs(series, np.ones_like(series), np.arange(5))]
    [(1, 4)]
    """
    known = (mask > 0).reshape(len(mask), -1).astype(np.float32)
    value = np.where(known > 0, ehr.reshape(len(ehr), -1), 0.0).astype(np.float32)
    square, cells, looked_at = value**2, known.sum(axis=1), np.zeros(len(ehr), dtype=bool)
    looked_at[rows] = True
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        joint = known[block] @ known.T
        apart = square[block] @ known.T + known[block] @ square.T - 2 * (value[block] @ value.T)
        either = cells[block][:, None] + cells[None, :] - joint
        alike = (joint >= LEAST_CELLS) & (joint >= LEAST_SHARED * either) & (apart <= CLOSE**2 * joint)
        for place, other in zip(*np.nonzero(alike), strict=True):
            row = int(block[place])
            if row == other or (looked_at[other] and other < row):  # itself, or told from the other side
                continue
            both = (known[row] > 0) & (known[other] > 0)
            if len(np.unique(value[row, both].round(3))) >= LEAST_VALUES:
                yield Pair(row, int(other), float(np.sqrt(max(apart[place, other], 0) / joint[place, other])))


def check(examined: Examined) -> Iterator[Finding]:
    """The findings on pairs between splits, and on pairs within one."""
    part, dataset = examined.part, examined.dataset
    everyone = len(part) <= LARGEST
    rows = np.flatnonzero(part != "" if everyone else np.isin(part, ["val", "test"]))
    found = [pair for pair in pairs(dataset.ehr, dataset.ehr_mask, rows) if part[pair.first] and part[pair.second]]
    strangers = [pair for pair in found if examined.persons[pair.first] != examined.persons[pair.second]]
    between = [pair for pair in strangers if part[pair.first] != part[pair.second]]
    yield _between(examined, between)
    within = [pair for pair in found if part[pair.first] == part[pair.second] and _twice(examined, pair)]
    check = "no stay twice within a split"
    if within:
        yield Finding(check, "warning", f"{_named(examined, within)} have the same series")
    else:
        yield Finding(check, "passed", "all splits" if everyone else "validation and test")


def _between(examined: Examined, between: list[Pair]) -> Finding:
    check = "no stay in two splits under two ids"
    if not between:
        return Finding(check, "passed", f"no two series differ by less than {CLOSE} standard deviations")
    same = [pair for pair in between if _alike(examined, pair)]
    if same:
        return Finding(check, "failed", f"{_named(examined, same)} have the same series, age and sex in two splits")
    return Finding(check, "warning", f"{_named(examined, between)} have the same series in two splits")


def _twice(examined: Examined, pair: Pair) -> bool:
    """Whether the samples are of two persons, or of one person and window; other windows of a person may overlap."""
    cohort = examined.tables.cohort
    if examined.persons[pair.first] != examined.persons[pair.second]:
        return True
    return all(cohort[name][pair.first] == cohort[name][pair.second] for name in ("window_start", "window_end"))


def _alike(examined: Examined, pair: Pair) -> bool:
    """Whether the two are of the same sex and age, as far as these are known."""
    (age, sex), (other_age, other_sex) = (_of(examined, row) for row in pair[:2])
    ages = age is None or other_age is None or abs(age - other_age) <= YEARS
    return ages and (sex is None or other_sex is None or sex == other_sex)


def _of(examined: Examined, row: int) -> tuple[float | None, str | None]:
    cohort = examined.tables.cohort
    return cohort["age"][row], cohort["sex"][row]


def _named(examined: Examined, found: list[Pair]) -> str:
    """How many pairs there are, and the first of them."""
    ids, part = examined.dataset.patient_id, examined.part
    names = [
        f"'{ids[pair.first]}' ({part[pair.first]}) and '{ids[pair.second]}' ({part[pair.second]})" for pair in found[:3]
    ]
    return f"{len(found)} pairs of samples, such as {told(names, '; ')},"
