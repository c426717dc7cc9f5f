"""When a stay's values are charted: every hour, every few hours, in bursts with gaps between them, or where it matters most."""

from dataclasses import dataclass

import numpy as np

from emerge_ehr.datasets.sources.synthetic.arrays import Bools, Floats
from emerge_ehr.datasets.sources.synthetic.hospital import Hospital

HOURS = 96  # rounds of a stay at most: one for each hour of the window and of two days after it
WINDOW = 48  # hours

# The logit of a round's being made: its mean, and its rise with a patient's apparent severity, which has spread 1
USUAL_SHARE, SHARE_SLOPE = 0.2, 1.2
# The logarithm of the time from one round to the next: its spread, and its correlation with the one before
GAP_SPREAD, GAP_MEMORY = 1.5, 0.75


@dataclass(frozen=True)
class Rounds:
    """``clock [N, HOURS]``: hours from ICU admission to each round; ``made [N, HOURS]``: whether anything was measured then.

    ``within``: the minutes after the clock's time among which the round falls.
    """

    clock: Floats
    made: Bools
    within: int = 60


def hourly(stays: int) -> Rounds:
    """A round in every hour."""
    shape = (stays, HOURS)
    return Rounds(np.broadcast_to(np.arange(HOURS, dtype=np.float64), shape), np.ones(shape, dtype=bool))


def irregular(stays: int, rng: np.random.Generator) -> Rounds:
    """As many rounds as ``hourly``, of which many follow each other within minutes, and others after hours.

    The window still has 48, so that no stay is measured more often than another.
    """
    steps = np.empty((stays, HOURS))
    shocks = rng.standard_normal((stays, HOURS))
    steps[:, 0] = shocks[:, 0]
    for index in range(1, HOURS):
        steps[:, index] = GAP_MEMORY * steps[:, index - 1] + np.sqrt(1 - GAP_MEMORY**2) * shocks[:, index]
    gaps = np.exp(GAP_SPREAD * steps)
    for part in (slice(0, WINDOW), slice(WINDOW, HOURS)):
        gaps[:, part] *= WINDOW / gaps[:, part].sum(axis=1, keepdims=True)
    clock = np.cumsum(gaps, axis=1) - gaps
    return Rounds(clock, np.ones((stays, HOURS), dtype=bool), within=1)


def made_where_it_matters(hospital: Hospital, informative: float, rng: np.random.Generator) -> Bools:
    """Whether each round [N, HOURS] is made: the oftener the sicker a patient appears.

    How sick one appears has the correlation ``informative`` with the log-odds of death.
    """
    log_odds = hospital.log_odds
    standard = (log_odds - log_odds.mean()) / log_odds.std()
    noise = rng.standard_normal(len(hospital))
    apparent = informative * standard + np.sqrt(1 - informative**2) * noise
    share = 1 / (1 + np.exp(-(USUAL_SHARE + SHARE_SLOPE * apparent)))
    made: Bools = rng.random((len(hospital), HOURS)) < share[:, None]
    return made
