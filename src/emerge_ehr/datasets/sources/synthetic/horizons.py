"""When the patients who die in hospital do so: with ``death_times = "risk"``, the sooner the higher their risk."""

import numpy as np

from emerge_ehr.datasets.sources.synthetic.arrays import Floats
from emerge_ehr.datasets.sources.synthetic.risk import probability

HORIZONS = (24, 48, 168)  # hours after the window
MEAN_HOURS = 72.0  # from the window to the death of a patient whose log-odds are 0
STEEPNESS = 0.35  # of the logarithm of the hazard, per unit of the log-odds
SHORTEST, LONGEST = 12.0, 400.0  # of the mean hours of any patient
ONE_MINUTE = 1 / 60


def mean_hours(log_odds: Floats) -> Floats:
    """The mean time from the window's end to death [stays], among patients with these log-odds who die in hospital."""
    hours: Floats = (MEAN_HOURS * np.exp(-STEEPNESS * log_odds)).clip(SHORTEST, LONGEST)
    return hours


def hours_to_death(log_odds: Floats, rng: np.random.Generator) -> Floats:
    """The hours from the window's end to death [stays]: exponential, so that the hazard is constant for each patient."""
    hours: Floats = ONE_MINUTE + mean_hours(log_odds) * rng.exponential(1, len(log_odds))
    return hours


def risk_within(log_odds: Floats, hours: float) -> Floats:
    """The probability [stays] of death in hospital within so many ``hours`` after the window."""
    gone = 1 - np.exp(-max(hours - ONE_MINUTE, 0) / mean_hours(log_odds))
    within: Floats = probability(log_odds) * gone
    return within
