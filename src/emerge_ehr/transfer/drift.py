"""The drift table: how far the samples that a run is evaluated on differ from those that it learned from, quantity by quantity.

The measures, and the size that they have by chance, are those of ``evaluation.shift``; every one counts persons, not stays. A
quantity has shifted where it differs by more than ``SMALL`` and by more than chance.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.evaluation import shift
from emerge_ehr.evaluation.metrics import Array
from emerge_ehr.evaluation.resampling import Persons
from emerge_ehr.evaluation.subgroups import UNKNOWN
from emerge_ehr.transfer.profile import Profile

T = TypeVar("T")
Pair = tuple[T, T]  # of the training split, and of the samples that are evaluated
Aspect = Literal["population", "missingness", "signal", "words", "diseases"]
SMALL = 0.1  # a difference that is usually taken as negligible (Austin 2009), of any of the measures
LISTED = 20  # words, and diseases, that have shifted most
FREQUENT = 0.05  # share of the samples of either population from which a group is shown by itself
DIFFERENCE, SHARE, VARIATION, SPREAD = (
    "standardised difference",
    "Cohen's h",
    "total variation",
    "log ratio of standard deviations",
)


@dataclass(frozen=True)
class Shift:
    """A row of drift.csv. ``training`` and ``here``: the quantity in both populations, None for a total variation. ``value``: the
    measure, here minus training, None where it is undefined; ``chance``: the size it stays below without a shift, but for one
    quantity in a thousand. ``shifted``: 1 or 0."""

    aspect: Aspect
    name: str
    quantity: str
    training: float | None
    here: float | None
    measure: str
    value: float | None
    chance: float | None
    shifted: int


COLUMNS = tuple(field.name for field in fields(Shift))


@dataclass(frozen=True)
class Scale:
    """What turns z-scores into values [F]: names, units and the training hours' mean and standard deviation."""

    names: Sequence[str]
    units: Sequence[str]
    mean: Array
    std: Array


def table(training: Profile, here: Profile, labels: Sequence[str], scale: Scale, seed: int) -> list[Shift]:
    """The rows of drift.csv; K ``labels`` and F signals of ``scale``. ``seed``: of the simulation that says what chance does."""
    pair = training, here
    return [
        *_population(pair, labels, seed),
        *_missingness(pair, scale),
        *_signals(pair, scale),
        *_words(pair),
        *_diseases(pair),
    ]


def _both(pair: Pair[Profile], of: Callable[[Profile], T]) -> Pair[T]:
    return of(pair[0]), of(pair[1])


def _row(aspect: Aspect, name: str, quantity: str, values: Pair[float], size: tuple[str, float | None, float]) -> Shift:
    """``size``: the measure, its value and chance. An undefined value is a shift: all are alike, and all others are so there."""
    measure, value, chance = size
    shifted = value is None or abs(value) > max(SMALL, chance)
    return Shift(aspect, name, quantity, *values, measure, value, chance, int(shifted))


def _mean(aspect: Aspect, name: str, quantity: str, of: Pair[Array], persons: Pair[Persons]) -> Iterator[Shift]:
    """A row on the means of the known values; none where one of the populations has no value."""
    known = ~np.isnan(of[0]), ~np.isnan(of[1])
    if not known[0].any() or not known[1].any():
        return
    first, second = of[0][known[0]], of[1][known[1]]
    chance = shift.by_chance(_persons(persons[0], known[0]), _persons(persons[1], known[1]))
    size = (DIFFERENCE, shift.standardised_difference(first, second), chance)
    yield _row(aspect, name, quantity, (float(first.mean()), float(second.mean())), size)


def _share(aspect: Aspect, name: str, quantity: str, shares: Pair[float], counts: Pair[int], tests: int = 1) -> Shift:
    size = (SHARE, shift.cohens_h(*shares), shift.by_chance(*counts, tests=tests))
    return _row(aspect, name, quantity, shares, size)


def _persons(persons: Persons, rows: NDArray[np.bool_] | None = None) -> int:
    """The number of persons, of all samples or of some."""
    return len(np.unique(persons if rows is None else persons[rows]))


def _population(pair: Pair[Profile], labels: Sequence[str], seed: int) -> Iterator[Shift]:
    """Outcomes, age, hours observed, and the groups of sex, ethnicity and unit."""
    persons = _both(pair, lambda of: of.persons)
    for k, name in enumerate(labels):
        known = _both(pair, lambda of, k=k: of.defined[:, k])  # type: ignore[misc]
        if known[0].any() and known[1].any():
            shares = _both(pair, lambda of, k=k: float(of.label[of.defined[:, k], k].mean()))  # type: ignore[misc]
            counts = _persons(persons[0], known[0]), _persons(persons[1], known[1])
            yield _share("population", name, "share with the outcome", shares, counts)
    yield from _mean("population", "age", "mean, years", _both(pair, lambda of: of.age), persons)
    yield from _mean("population", "observed", "mean steps", _both(pair, lambda of: of.series.hours), persons)
    for name in dict.fromkeys([*pair[0].groups, *pair[1].groups]):
        if name != "age":
            yield from _groups(name, pair, seed)


def _groups(name: str, pair: Pair[Profile], seed: int) -> Iterator[Shift]:
    """A row on all groups of an attribute, and one on each group that is frequent in either population."""
    columns = _both(pair, lambda of: of.groups.get(name, np.full(len(of.persons), UNKNOWN)))
    groups = sorted({*columns[0].tolist(), *columns[1].tolist()})
    counts = tuple([int((column == group).sum()) for group in groups] for column in columns)
    persons = _both(pair, lambda of: _persons(of.persons))
    value = shift.total_variation(counts[0], counts[1])
    chance = shift.variation_by_chance(counts[0], counts[1], persons, seed)
    shifted = int(value > max(SMALL, chance))
    yield Shift("population", name, "all groups", None, None, VARIATION, value, chance, shifted)
    for n, group in enumerate(groups):
        shares = counts[0][n] / sum(counts[0]), counts[1][n] / sum(counts[1])
        if max(shares) >= FREQUENT:
            yield _share("population", f"{name} {group}", "share", shares, persons)


def _missingness(pair: Pair[Profile], scale: Scale) -> Iterator[Shift]:
    """For each signal, the share of samples with a measurement, and the mean share of a sample's hours with one."""
    counts = _both(pair, lambda of: _persons(of.persons))
    ever = _both(pair, lambda of: (of.series.measured > 0).mean(axis=0))
    often = _both(pair, lambda of: (of.series.measured / of.series.hours[:, None]).mean(axis=0))
    for f, name in enumerate(scale.names):
        for quantity, shares in (("share of stays measured", ever), ("share of hours measured", often)):
            yield _share("missingness", name, quantity, (float(shares[0][f]), float(shares[1][f])), counts)
    noted = _both(pair, lambda of: float(of.noted.mean()))
    yield _share("missingness", "notes", "share of stays with a note", noted, counts)


def _signals(pair: Pair[Profile], scale: Scale) -> Iterator[Shift]:
    """For each signal that both populations have: mean and standard deviation of the stays' means, and the share of measured
    hours outside the central range of the training hours."""
    values = _both(pair, lambda of: of.series.mean * scale.std + scale.mean)
    outside = _both(pair, lambda of: of.series.outside.sum(axis=0) / np.maximum(of.series.measured.sum(axis=0), 1))
    for f, name in enumerate(scale.names):
        seen = _both(pair, lambda of, f=f: of.series.measured[:, f] > 0)  # type: ignore[misc]
        if not seen[0].any() or not seen[1].any():
            continue
        unit = f", {scale.units[f]}" if scale.units[f] else ""
        first, second = values[0][seen[0], f], values[1][seen[1], f]
        persons = pair[0].persons[seen[0]], pair[1].persons[seen[1]]
        yield from _mean("signal", name, f"mean of stays{unit}", (first, second), persons)
        spread = SPREAD, shift.spread_ratio(first, second), shift.spread_by_chance(first, second)
        stds = float(first.std()), float(second.std())
        yield _row("signal", name, f"standard deviation of stays{unit}", stds, spread)
        shares = float(outside[0][f]), float(outside[1][f])
        counts = _persons(persons[0]), _persons(persons[1])
        yield _share("signal", name, "share of hours out of range", shares, counts)


def _words(pair: Pair[Profile]) -> Iterator[Shift]:
    """The notes' length, the share of words unknown, and the words that have shifted most; nothing without notes."""
    own, others = _both(pair, lambda of: of.words)
    persons = _both(pair, lambda of: of.persons)
    if own.length is not None and others.length is not None:
        yield from _mean("words", "length", "mean words of a stay's notes", (own.length, others.length), persons)
    if not own.share or not others.share:
        return
    counts = _both(pair, lambda of: _persons(of.persons, of.noted))
    if others.unknown is not None:
        unknown, quantity = float(np.nanmean(others.unknown)), "mean share of a note's words unknown"
        if own.unknown is not None:
            yield _share("words", "unknown", quantity, (float(np.nanmean(own.unknown)), unknown), counts)
        else:  # the training notes are gone: there is nothing to compare with
            yield Shift("words", "unknown", quantity, None, unknown, SHARE, None, None, 0)
    yield from _listed("words", "notes", (own.share, others.share), counts)


def _diseases(pair: Pair[Profile]) -> Iterator[Shift]:
    """The number of linked diseases, and the diseases that have shifted most."""
    persons = _both(pair, lambda of: of.persons)
    yield from _mean("diseases", "linked", "mean diseases of a stay", _both(pair, lambda of: of.diseases), persons)
    counts = _persons(persons[0]), _persons(persons[1])
    yield from _listed("diseases", "stays", _both(pair, lambda of: of.disease_share), counts)


def _listed(aspect: Aspect, of: str, shares: Pair[Mapping[str, float]], counts: Pair[int]) -> Iterator[Shift]:
    """The words or diseases that differ most, of those that differ by more than chance: new, gone, or with another share."""
    names = sorted(shares[0].keys() | shares[1].keys())
    rows = [
        _share(aspect, name, "", (shares[0].get(name, 0.0), shares[1].get(name, 0.0)), counts, len(names))
        for name in names
    ]
    for row in sorted((row for row in rows if row.shifted), key=lambda row: -abs(row.value or 0))[:LISTED]:
        kind = "new, share" if not row.training else "gone, share" if not row.here else "share"
        yield replace(row, quantity=f"{kind} of {of}")
