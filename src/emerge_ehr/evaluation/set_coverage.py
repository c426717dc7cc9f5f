"""How well conformal sets keep what they promise, and what answering only some patients is worth: for one label on one split.

Dimensions: R resamples, N patients, W ways to choose some of the patients.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.evaluation import conformal, resampling
from emerge_ehr.evaluation.abstention import Surest
from emerge_ehr.evaluation.conformal import ALL, Possible
from emerge_ehr.evaluation.measure import NOBODY
from emerge_ehr.evaluation.metrics import Array
from emerge_ehr.evaluation.resampling import Interval, Persons, Sampling

OUTCOMES = (ALL, "0", "1")


@dataclass(frozen=True)
class Coverage:
    """A row of coverage.csv: the share of a group's patients with an outcome (or with either, ``all``) who have it in their set,
    with its interval, and the share who get an answer, which is a set of one outcome. None where there are no such patients."""

    split: str
    label_code: str
    attribute: str
    group: str
    outcome: str
    patients: int
    covered: float | None
    low: float | None
    high: float | None
    answered: float | None


def coverage(
    where: tuple[str, str],
    label: Array,
    possible: Possible,
    attributes: Mapping[str, NDArray[np.str_]],
    persons: Persons,
    sampling: Sampling,
) -> list[Coverage]:
    """The rows of one label [N] and its sets [N,2] on one split; ``where`` names split and label. Everybody comes first, and then
    the groups of each of the ``attributes``."""
    everybody = {(ALL, ALL): np.ones(len(label), dtype=np.bool_)}
    inside = everybody | {
        (attribute, group): column == group
        for attribute, column in attributes.items()
        for group in sorted(set(column.tolist()))
    }
    having = {ALL: everybody[ALL, ALL], "0": label == 0, "1": label > 0}
    chosen = {(*key, outcome): rows & having[outcome] for key, rows in inside.items() for outcome in OUTCOMES}
    held, sure = conformal.covered(label, possible), conformal.answered(possible)
    intervals = _shares(np.array(list(chosen.values())), held, persons, sampling)
    rows = []
    for ((attribute, group, outcome), having_it), found in zip(chosen.items(), intervals, strict=True):
        answered = float(sure[having_it].mean()) if having_it.any() else None
        share = found.value, found.low, found.high
        rows.append(Coverage(*where, attribute, group, outcome, int(having_it.sum()), *share, answered))
    return rows


def _shares(chosen: NDArray[np.bool_], of: NDArray[np.bool_], persons: Persons, sampling: Sampling) -> list[Interval]:
    """The share of each of W choices [W,N] of whom ``of`` [N] is true, with intervals from resampled persons."""
    if not chosen.shape[1]:
        return [Interval(None, None, None, NOBODY)] * len(chosen)
    both = np.concatenate([chosen & of, chosen]).astype(np.float64)

    def shares(counts: Array) -> dict[str, Array]:
        hit, every = np.split(counts @ both.T, 2, axis=1)
        return {str(way): hit[:, way] / every[:, way] for way in range(len(chosen))}

    samples = resampling.sample(shares, persons, sampling)
    return [
        samples[str(way)].interval(NOBODY, resampling.why_no_interval(of[rows], persons[rows], one_class=True))
        for way, rows in enumerate(chosen)
    ]


def told(label: Array, probability: Array, possible: Possible, persons: Persons, sampling: Sampling) -> dict[str, Any]:
    """What metrics.json has of one label [N], its risks [N] and sets [N,2]: how often each set is given, wrong answers, and the
    curve and area of ``Surest``."""
    sure = conformal.answered(possible)
    wrong = ~conformal.covered(label, possible)
    texts = conformal.written(possible)
    found = {
        "patients": len(label),
        "sets": {text: texts.count(text) for text in conformal.READ},
        "answered": float(sure.mean()) if len(label) else None,
        "wrong_answers": float(wrong[sure].mean()) if sure.any() else None,
        "aurc": dataclasses.asdict(Interval(None, None, None, NOBODY)),
        "curve": [],
    }
    if len(label):
        surest = Surest(label, probability)
        sample = resampling.sample(lambda counts: {"aurc": surest.aurc(counts)}, persons, sampling)["aurc"]
        too_few = resampling.why_no_interval(label, persons, one_class=True)
        found["aurc"] = dataclasses.asdict(sample.interval(NOBODY, too_few))
        found["curve"] = [dataclasses.asdict(point) for point in surest.curve()]
    return found
