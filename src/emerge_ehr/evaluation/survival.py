"""How well risks by several horizons say who dies, and when: concordance and integrated Brier score, with intervals.

Whoever leaves hospital alive has not died by any horizon, and every stay is followed to its end. So nothing is censored: the
discharge is a competing event rather than a loss, weights for censoring are all 1, and the cumulative incidence of death by Aalen
& Johansen is the share of those who have died. Both measures are those of scikit-survival where a stay that ended alive counts
as one that never ends (Wolbers et al. 2009, doi 10.1097/EDE.0b013e3181a39056; Schoop et al. 2011, doi 10.1002/bimj.201000073).
Dimensions: R resamples, N samples, H horizons.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.evaluation import resampling
from emerge_ehr.evaluation.metrics import Array
from emerge_ehr.evaluation.resampling import Interval, Persons, Sampling

BLOCK = 4_000_000  # pairs of samples that are held in memory at once
NO_PAIR = "undefined: nobody died by the last horizon, or before everybody else"
ONE_HORIZON = "undefined: it takes two horizons"
THIRDS = 3
UNDEFINED = {"concordance": NO_PAIR, "integrated_brier": ONE_HORIZON}  # why each measure may have no value


@dataclass(frozen=True)
class Survival:
    """Measures of a split. ``reference``: the integrated Brier score of the same risk for everyone, that of training patients.

    ``deaths``: by the last horizon. ``left_out``: how many samples ended at a time that is not known exactly enough.
    """

    patients: int
    persons: int
    deaths: int
    left_out: int
    concordance: Interval
    integrated_brier: Interval
    reference: Interval
    difference: Interval


def evaluate(
    hours: Array,
    died: NDArray[np.bool_],
    risk: Array,
    horizons: Array,
    constant: Array,
    persons: Persons,
    sampling: Sampling,
    left_out: int = 0,
) -> Survival:
    """The measures of ``risk`` [N,H] of death by the ``horizons`` [H] (hours), of stays that ended after so many ``hours`` [N].

    ``constant`` [H]: the risk of everyone, without covariates.
    """
    death = died & (hours <= horizons[-1])
    if not len(hours):
        nothing = Interval(None, None, None, "there is nobody")
        return Survival(0, 0, 0, left_out, nothing, nothing, nothing, nothing)
    of_risk = measured(hours, died, risk, horizons)
    of_everyone = _squared(hours, died, constant[None, :], horizons)

    def measure(counts: Array) -> dict[str, Array]:
        own, reference = of_risk(counts), counts @ of_everyone / counts.sum(axis=1)
        return {**own, "reference": reference, "difference": own["integrated_brier"] - reference}

    drawn = resampling.sample(measure, persons, sampling)
    too_few = resampling.why_no_interval(death.astype(np.float64), persons)
    return Survival(
        patients=len(hours),
        persons=int(persons.max()) + 1,
        deaths=int(death.sum()),
        left_out=left_out,
        concordance=drawn["concordance"].interval(NO_PAIR, too_few, constant=bool(np.ptp(risk[:, -1]) == 0)),
        integrated_brier=drawn["integrated_brier"].interval(ONE_HORIZON, too_few),
        reference=drawn["reference"].interval(ONE_HORIZON, too_few),
        difference=drawn["difference"].interval(ONE_HORIZON, too_few),
    )


def measured(
    hours: Array, died: NDArray[np.bool_], risk: Array, horizons: Array
) -> Callable[[Array], dict[str, Array]]:
    """What computes the measures of ``UNDEFINED`` on resamples [R,N], as [R]; the rest is as for ``evaluate``."""
    pairs = Concordance(hours, died & (hours <= horizons[-1]), risk[:, -1])
    squared = _squared(hours, died, risk, horizons)
    return lambda counts: {
        "concordance": pairs.of(counts),
        "integrated_brier": counts @ squared / counts.sum(axis=1),
    }


def _squared(hours: Array, died: NDArray[np.bool_], risk: Array, horizons: Array) -> Array:
    """The Brier score of each sample [N], averaged over the horizons; ``risk`` [N,H] or [1,H]."""
    outcome = died[:, None] & (hours[:, None] <= horizons)
    found: Array = (risk - outcome) ** 2 @ weights(horizons)
    return found


class Concordance:
    """Harrell's concordance of a risk [N]: of pairs of which one died (``death`` [N]) before the other did or without the other
    dying at all, the share in which its risk is the higher one; equal risks count half (Harrell et al. 1996)."""

    def __init__(self, hours: Array, death: NDArray[np.bool_], risk: Array) -> None:
        self._ends, self._death, self._risk = np.where(death, hours, np.inf), np.flatnonzero(death), risk

    def of(self, counts: Array) -> Array:
        """The concordance of resamples [R,N], as [R]; NaN where there is no pair."""
        right, every = np.zeros(len(counts)), np.zeros(len(counts))
        for block in np.array_split(self._death, max(1, len(self._death) * len(self._ends) // BLOCK)):
            later = self._ends > self._ends[block, None]
            apart = self._risk[block, None] - self._risk
            higher = later * (0.5 * (np.sign(apart) + 1))
            right += ((counts[:, block] @ higher) * counts).sum(axis=1)
            every += ((counts[:, block] @ later.astype(np.float64)) * counts).sum(axis=1)
        found: Array = np.divide(right, every, out=np.full(len(counts), np.nan), where=every > 0)
        return found


def weights(horizons: Array) -> Array:
    """The weight [H] of each horizon's Brier score in the integrated one: trapezoids from the first horizon to the last.

    >>> weights(np.array([24.0, 48.0, 96.0])).round(3).tolist()
    [0.167, 0.5, 0.333]
    """
    if len(horizons) < 2:
        return np.full(len(horizons), np.nan)
    steps = np.diff(horizons)
    each: Array = (np.append(steps, 0) + np.append(0, steps)) / 2
    shares: Array = each / steps.sum()
    return shares


@dataclass(frozen=True)
class Third:
    """Those of a third of the risk by the last horizon: their number, their mean risk by each horizon [H], and the share of them
    who have died by it [H]."""

    patients: int
    predicted: Array
    observed: Array


def thirds(label: Array, risk: Array) -> list[Third]:
    """The thirds of samples by their risk [N,H] by the last horizon, the lowest first, with the outcomes ``label`` [N,H].

    Fewer samples than thirds give none.
    """
    if len(risk) < THIRDS:
        return []
    order = np.argsort(risk[:, -1], kind="stable")
    return [
        Third(len(part), risk[part].mean(axis=0), label[part].mean(axis=0)) for part in np.array_split(order, THIRDS)
    ]
