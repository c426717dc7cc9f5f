"""From the hazards of intervals to the risk of death by the end of each, with the discharge alive as a competing event.

Of stays that last at the beginning of interval b, one ends in death in it with probability ``sigmoid(death_b)``; if not, in a
discharge alive with probability ``sigmoid(discharge_b)``; else it lasts on. Dimensions: N samples, B intervals.
"""

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.evaluation.metrics import Array


def incidence(logits: Array) -> tuple[Array, Array]:
    """The cumulative incidence [...,B] of death, and of discharge alive, of logits [...,2 B]: of death first, then of discharge.

    The two and the share who are still in hospital add up to 1 (Aalen & Johansen 1978, in discrete time).

    >>> death, discharge = incidence(np.array([0.0, 0.0, 0.0, 0.0]))
    >>> death.tolist(), discharge.tolist()
    ([0.5, 0.625], [0.25, 0.3125])
    """
    from scipy.special import expit

    death, discharge = np.split(expit(logits), 2, axis=-1)
    lasting = (1 - death) * (1 - discharge)
    here = np.cumprod(np.concatenate([np.ones_like(lasting[..., :1]), lasting[..., :-1]], axis=-1), axis=-1)
    return np.cumsum(here * death, axis=-1), np.cumsum(here * (1 - death) * discharge, axis=-1)


def outcomes(label: Array, defined: NDArray[np.bool_]) -> tuple[Array, NDArray[np.bool_]]:
    """Labels of intervals [N,2 B] -> who had died by the end of each [N,B], and for whom that is known [N,B].

    It is known of those who died, of those who left alive, and of those who stayed on through all intervals so far.

    >>> label, defined = np.array([[0.0, 1.0, 0.0, 0.0]]), np.array([[True, True, True, False]])
    >>> [part.tolist() for part in outcomes(label, defined)]
    [[[0.0, 1.0]], [[True, True]]]
    """
    death, discharge = np.split((label > 0) & defined, 2, axis=1)
    stayed = np.all(
        [part & ~event for part, event in zip(np.split(defined, 2, axis=1), (death, discharge), strict=True)], axis=0
    )
    died, left = np.logical_or.accumulate(death, axis=1), np.logical_or.accumulate(discharge, axis=1)
    return died.astype(np.float64), died | left | np.logical_and.accumulate(stayed, axis=1)
