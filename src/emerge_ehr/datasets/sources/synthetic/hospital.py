"""Draws the made-up hospital: persons, their stays, the three planted parts of the risk, and the outcome."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.datasets.sources.synthetic.arrays import Bools, Floats, Ints
from emerge_ehr.datasets.sources.synthetic.horizons import hours_to_death
from emerge_ehr.datasets.sources.synthetic.knowledge_graph import GeneratedGraph
from emerge_ehr.datasets.sources.synthetic.risk import Risk, probability

WORDING_DOMAINS = 12  # see Phrases.wording
WORDING_SLOPE = 2.5  # the effect of the latent frailty of a stay on each of the domains

WINDOW_HOURS = 48.0
ADDED_UP = Risk()  # the default
MINUTES_A_DAY = 24 * 60
FIRST_DAY, LAST_DAY = np.datetime64("2111-01-01T00:00:00", "s"), np.datetime64("2188-01-01T00:00:00", "s")


@dataclass(frozen=True)
class GeneratedPatients:
    """Arrays over candidate stays: the person, the number of the stay among the person's (0, 1, ...), and the person's traits."""

    patient: Ints
    order: Ints
    age: Ints
    female: Bools
    first_intime: NDArray[np.datetime64]


@dataclass(frozen=True)
class Hospital:
    """Arrays over N stays, sorted by person and time. Times are ``datetime64[s]``, durations in hours."""

    subject_id: Ints
    hadm_id: Ints
    stay_id: Ints
    anchor_age: Ints  # years, the same for every stay of a person
    anchor_year: Ints
    female: Bools
    admittime: NDArray[np.datetime64]
    intime: NDArray[np.datetime64]
    outtime: NDArray[np.datetime64]
    dischtime: NDArray[np.datetime64]
    los_hours: Floats
    series: Floats  # S, standardised
    wording: Ints  # [N, domains], +1 frail, -1 robust; the note part of the risk is their standardised sum
    asserted: Bools  # [N, diseases]; the graph part of the risk is the standardised count of those that carry risk
    distractors: Ints  # [N, diseases], 0 none, 1 negated, 2 family history, 3 hypothetical
    log_odds: Floats  # of death, of a stay that lasts as long as the window
    true_risk: Floats  # the same as a probability; 0 for shorter stays
    died: Bools

    def __len__(self) -> int:
        return len(self.stay_id)


def sample_hospital(
    graph: GeneratedGraph,
    stays: int,
    rng: np.random.Generator,
    risk: Risk = ADDED_UP,
    times_of_death: np.random.Generator | None = None,
) -> Hospital:
    """A hospital of so many ``stays``; a person has a further stay only if the earlier ones did not end in death.

    ``times_of_death`` draws them by the risk; without it a death ends a stay when it would have ended anyway.
    """
    candidates = 2 * stays + 20
    patients = _patients(candidates, rng)
    order = patients.order
    los_hours = np.where(
        rng.random(candidates) < 0.04,
        rng.uniform(14, 47, candidates),
        49 + rng.exponential(50, candidates).clip(0, 500),
    )
    intime = patients.first_intime + (
        order * 90 * MINUTES_A_DAY * 60 + rng.integers(0, 30 * MINUTES_A_DAY * 60, candidates)
    ).astype("timedelta64[s]")
    series = rng.standard_normal(candidates)
    frailty = rng.standard_normal((candidates, 1))
    frail = rng.random((candidates, WORDING_DOMAINS)) < 1 / (1 + np.exp(-WORDING_SLOPE * frailty))
    wording = np.where(frail, 1, -1).astype(np.int64)
    asserted, distractors = _diseases(graph, candidates, rng)
    log_odds = risk.log_odds(series, wording, asserted, graph)
    true_risk = np.where(
        los_hours >= WINDOW_HOURS, probability(log_odds), 0.0
    )  # nobody dies before the window has closed
    died = rng.random(candidates) < true_risk
    if times_of_death is not None:
        los_hours = np.where(died, WINDOW_HOURS + hours_to_death(log_odds, times_of_death), los_hours)
    kept = np.flatnonzero(~_died_before(died, order))[:stays]
    outtime = intime + (los_hours * 3600).astype("timedelta64[s]")
    on_ward = rng.integers(1, 7 * MINUTES_A_DAY, candidates) * 60 * ~died
    before = rng.integers(30, 12 * 60, candidates) * 60
    renumber = rng.permutation(10 * candidates)
    return Hospital(
        subject_id=10_000_000 + patients.patient[kept],
        hadm_id=20_000_000 + renumber[:candidates][kept],
        stay_id=30_000_000 + renumber[candidates : 2 * candidates][kept],
        anchor_age=patients.age[kept],
        anchor_year=patients.first_intime[kept].astype("datetime64[Y]").astype(np.int64) + 1970,
        female=patients.female[kept],
        admittime=_whole_minute(intime - before.astype("timedelta64[s]"))[kept],
        intime=intime[kept],
        outtime=outtime[kept],
        dischtime=np.where(died, outtime, _whole_minute(outtime + on_ward.astype("timedelta64[s]")))[kept],
        los_hours=los_hours[kept],
        series=series[kept],
        wording=wording[kept],
        asserted=asserted[kept],
        distractors=distractors[kept],
        log_odds=log_odds[kept],
        true_risk=true_risk[kept],
        died=died[kept],
    )


def _patients(candidates: int, rng: np.random.Generator) -> GeneratedPatients:
    stays_each = rng.choice([1, 2, 3, 4], size=candidates, p=[0.80, 0.13, 0.05, 0.02])
    patient = np.repeat(np.arange(candidates), stays_each)[:candidates]
    first = np.searchsorted(patient, patient)
    age = rng.normal(64, 16, candidates).clip(18, 91).astype(np.int64)
    age = np.where(rng.random(candidates) < 0.02, rng.integers(14, 17, candidates), age)
    span = int((LAST_DAY - FIRST_DAY).astype(np.int64))
    first_intime = FIRST_DAY + rng.integers(0, span, candidates).astype("timedelta64[s]")
    female = rng.random(candidates) < 0.45
    order = np.arange(candidates) - first
    return GeneratedPatients(patient, order, age[patient], female[patient], first_intime[patient])


def _diseases(graph: GeneratedGraph, stays: int, rng: np.random.Generator) -> tuple[Bools, Ints]:
    """Asserted diseases and distractors, [stays, diseases] each; distractors do not depend on the risk."""
    carries_risk = np.array([disease.carries_risk for disease in graph.diseases])
    shape = (stays, len(graph.diseases))
    rank = rng.random(shape).argsort(axis=1).argsort(axis=1)
    mentioned_only = rank < rng.integers(5, 9, (stays, 1))
    distractors = np.where(mentioned_only, rng.choice([1, 2, 3], size=shape, p=[0.5, 0.3, 0.2]), 0).astype(np.int64)
    count = rng.integers(3, 6, stays)
    with_risk = rng.binomial(count, rng.beta(1.2, 2.4, stays))[:, None]
    key = np.where(mentioned_only, 2.0, rng.random(shape))
    rank_with = np.where(carries_risk, key, 3.0).argsort(axis=1).argsort(axis=1)
    rank_without = np.where(carries_risk, 3.0, key).argsort(axis=1).argsort(axis=1)
    return (rank_with < with_risk) | (rank_without < count[:, None] - with_risk), distractors


def _died_before(died: Bools, order: Ints) -> Bools:
    """Whether an earlier stay of the same person ended in death; stays are sorted by person and time."""
    deaths_before: Ints = np.cumsum(died) - died
    first = np.arange(len(order)) - order
    earlier: Bools = deaths_before > deaths_before[first]
    return earlier


def _whole_minute(times: NDArray[np.datetime64]) -> NDArray[np.datetime64]:
    return times.astype("datetime64[m]").astype("datetime64[s]")
