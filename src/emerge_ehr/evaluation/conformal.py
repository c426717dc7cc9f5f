"""Conformal sets: which outcomes a patient's risk leaves possible, so that the true one is among them as often as promised.

Mondrian split conformal prediction (Vovk, Gammerman & Shafer 2005, doi 10.1007/b106715), by outcome and by group. The score of an
outcome is the probability that the risk gives to the other one. An outcome is left out of a patient's set if its score is higher
than nearly all scores of the calibration patients who had this outcome. So of the new patients with an outcome, a share of at
least ``coverage`` has it in the set, whatever the model is worth, if they and the calibration patients are exchangeable.
Dimensions: N patients.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.evaluation.metrics import Array
from emerge_ehr.evaluation.subgroups import UNKNOWN

Possible = NDArray[np.bool_]  # [N,2]: whether the set holds the outcome 0, and whether it holds 1
Groups = NDArray[np.str_]  # [N]
ALL = "all"  # the group of everybody, without groups
WRITTEN = {(True, False): "{0}", (False, True): "{1}", (True, True): "{0 1}", (False, False): "{}"}
READ = {text: possible for possible, text in WRITTEN.items()}
WORDS = {"{0}": "no", "{1}": "yes", "{0 1}": "does not know", "{}": "unlike both"}


@dataclass(frozen=True)
class Limit:
    """Up to which ``score`` an outcome stays possible, and how many calibration patients had it; 1 where these were too few."""

    patients: int
    score: float


@dataclass(frozen=True)
class Sets:
    """What decides the sets of a label: group -> the limits of the outcomes 0 and 1."""

    coverage: float
    limits: Mapping[str, tuple[Limit, Limit]]

    def of(self, probability: Array, groups: Groups) -> Possible:
        """The outcomes that are possible [N,2] at these risks [N]: both for patients of a group that was not seen.

        >>> sets = Sets(0.9, {ALL: (Limit(50, 0.4), Limit(20, 0.8))})
        >>> sets.of(np.array([0.1, 0.3, 0.5]), np.array([ALL] * 3)).tolist()
        [[True, False], [True, True], [False, True]]
        """
        nobody = (Limit(0, 1.0), Limit(0, 1.0))
        names, which = np.unique(groups, return_inverse=True)
        scores = np.array([[limit.score for limit in self.limits.get(name, nobody)] for name in names.tolist()])
        return scored(probability) <= scores.reshape(-1, 2)[which]


def crossed(attributes: Mapping[str, Groups], wanted: Sequence[str], patients: int) -> Groups:
    """The group of each of the ``patients`` by the ``wanted`` attributes together, which are as ``subgroups.groups`` gives them.

    >>> crossed({"sex": np.array(["female", "male"])}, ["sex", "age"], 2).tolist()
    ['female, unknown', 'male, unknown']
    """
    unknown = np.full(patients, UNKNOWN)
    rows = zip(*(attributes.get(name, unknown).tolist() for name in wanted), strict=True)
    return np.array([", ".join(row) for row in rows] if wanted else [ALL] * patients, dtype=np.str_)


def scored(probability: Array) -> Array:
    """The scores [N,2] of the outcomes 0 and 1 at risks [N]."""
    return np.column_stack([probability, 1 - probability])


def needed(coverage: float) -> int:
    """How many calibration patients with an outcome it takes to leave it out of any set.

    >>> needed(0.9), needed(0.95)
    (10, 19)
    """
    return math.floor(1 / (1 - coverage))


def fit(label: Array, probability: Array, groups: Groups, coverage: float) -> Sets:
    """The limits that calibration patients give, with label [N], risk [N] and group [N].

    In a group with too few patients of either outcome, both outcomes stay possible at any risk: to leave out the other one alone
    would answer "yes", or "no", by chance.
    """
    scores, limits = scored(probability), {}
    for group in sorted(set(groups.tolist())):
        own = [scores[(groups == group) & (label == outcome), outcome] for outcome in (0, 1)]
        enough = min(map(len, own)) >= needed(coverage)
        zero, one = (Limit(len(of), _limit(of, coverage) if enough else 1.0) for of in own)
        limits[group] = zero, one
    return Sets(coverage, limits)


def _limit(scores: Array, coverage: float) -> float:
    """The highest score [n] of the calibration patients with an outcome that is not yet unusual among them."""
    from crepes import ConformalClassifier

    distinct = np.unique(scores)
    share = ConformalClassifier().fit(scores).predict_p(distinct, smoothing=False)
    return float(distinct[share >= 1 - coverage].max())


def written(possible: Possible) -> list[str]:
    """The sets [N] as text.

    >>> written(np.array([[True, False], [True, True]]))
    ['{0}', '{0 1}']
    """
    return [WRITTEN[zero, one] for zero, one in possible.tolist()]


def read(texts: list[str]) -> Possible:
    """The sets [N,2] from their texts.

    Raises:
        ValueError: a text is no set.
    """
    if strange := [text for text in texts if text not in READ]:
        raise ValueError(f"{strange[0]!r} is no set; it must be one of {', '.join(READ)}")
    return np.array([READ[text] for text in texts], dtype=np.bool_).reshape(-1, 2)


def covered(label: Array, possible: Possible) -> NDArray[np.bool_]:
    """Whether each set [N] holds the outcome."""
    return np.where(label > 0, possible[:, 1], possible[:, 0])


def answered(possible: Possible) -> NDArray[np.bool_]:
    """Whether each set [N] holds a single outcome, so that the model gives an answer."""
    single: NDArray[np.bool_] = possible.sum(axis=1) == 1
    return single
