"""Hazards of intervals: the loss is the likelihood of how stays end, and the incidence is what they add up to."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import torch
from scipy.special import expit

from emerge_ehr.datasets import timing
from emerge_ehr.datasets.timing import DEATH, Timing
from emerge_ehr.evaluation import hazards
from emerge_ehr.training import objective
from emerge_ehr.training.reported import Reported

END = datetime(2150, 1, 3)
DAYS = (1, 2, 5)
TIMING = Timing(tuple(timedelta(days=days) for days in DAYS), ("death_1d", "death_2d", "death_5d"), intervals=True)
LOGITS = np.random.default_rng(1).normal(-1, 1, (200, 6))


def stays() -> tuple[list[tuple[float, bool]], pl.DataFrame]:
    """How many days after the window each stay ended, and whether by a death."""
    rng = np.random.default_rng(0)
    ends = [(float(rng.exponential(3)), bool(rng.integers(2))) for _ in range(len(LOGITS))]
    names = [f"p{n}" for n in range(len(ends))]
    rows = [
        (name, END + timedelta(days=days), DEATH, float(died)) for name, (days, died) in zip(names, ends, strict=True)
    ]
    columns = ["patient_id", "label_time", "label_code", "label_value"]
    cohort = pl.DataFrame({"patient_id": names, "window_end": [END] * len(ends)})
    return ends, timing.with_ends(cohort, pl.DataFrame(rows, schema=columns, orient="row"))


def test_the_masked_loss_is_the_likelihood_of_how_each_stay_ended() -> None:
    """Multinomial in each interval: death, discharge, or neither."""
    ends, cohort = stays()
    total = 0.0
    for (days, died), logits in zip(ends, LOGITS, strict=True):
        likelihood, first = 1.0, 0.0
        for number, last in enumerate(DAYS):
            death = expit(logits[number])
            discharge = (1 - death) * expit(logits[3 + number])
            if first < days <= last:
                likelihood *= death if died else discharge
                break
            likelihood *= 1 - death - discharge
            first = last
        total -= np.log(likelihood)
    label, mask = (torch.from_numpy(array).double() for array in TIMING.labels(cohort))
    assert np.isclose(float(objective.summed_loss(torch.from_numpy(LOGITS), label, mask, None)), total)


def test_incidence_is_that_of_a_walk_through_the_intervals_and_adds_up_with_those_who_stay() -> None:
    death, discharge = hazards.incidence(LOGITS)
    staying = np.prod((1 - expit(LOGITS[:, :3])) * (1 - expit(LOGITS[:, 3:])), axis=1)
    np.testing.assert_allclose(death[:, -1] + discharge[:, -1] + staying, 1)
    assert (np.diff(death, axis=1) > 0).all() and (np.diff(discharge, axis=1) > 0).all()
    rng = np.random.default_rng(2)
    dead = np.zeros(3)
    for _ in range(20000):  # the first patient's stay, again and again
        for number in range(3):
            if rng.random() < expit(LOGITS[0, number]):
                dead[number:] += 1
                break
            if rng.random() < expit(LOGITS[0, 3 + number]):
                break
    np.testing.assert_allclose(death[0], dead / 20000, atol=0.015)


def test_members_who_predict_hazards_are_put_together_by_their_risks() -> None:
    logits = torch.from_numpy(np.random.default_rng(3).normal(0, 3, (4, 50, 6)))
    hazard, plain = Reported(["a", "b", "c"], intervals=True), Reported(list("abcdef"))
    together, each = hazard.together(logits), hazard.risks(logits)
    assert (each.min(axis=0) <= together).all() and (together <= each.max(axis=0)).all()
    assert (np.diff(together, axis=1) >= 0).all()
    odds = [np.log(own / (1 - own)) for own in (hazards.incidence(one)[0] for one in logits.numpy())]
    np.testing.assert_allclose(together, expit(np.mean(odds, axis=0)), atol=1e-9)
    np.testing.assert_allclose(hazard.together(logits[:1]), each[0], atol=1e-9)
    np.testing.assert_allclose(plain.together(logits), expit(logits.numpy().mean(axis=0)))


def test_outcomes_by_each_horizon_follow_from_the_labels_of_intervals() -> None:
    _, cohort = stays()
    label, mask = TIMING.labels(cohort)
    outcome, defined = hazards.outcomes(label.astype(np.float64), mask > 0)
    within = Timing(TIMING.bounds, TIMING.codes, intervals=False)
    np.testing.assert_array_equal(outcome, within.labels(cohort)[0])
    assert defined.all()


def test_an_outcome_of_which_the_day_alone_is_known_stays_undefined_until_that_day_is_over() -> None:
    rows = [("a", datetime(2150, 1, 4, 23, 59, 59), DEATH, 1.0), ("b", datetime(2150, 1, 4, 23, 59, 59), DEATH, 0.0)]
    ends = pl.DataFrame(rows, schema=["patient_id", "label_time", "label_code", "label_value"], orient="row")
    start = pl.DataFrame({"patient_id": ["a", "b"], "window_end": [END + timedelta(hours=8)] * 2})
    label, mask = TIMING.labels(timing.with_ends(start, ends))
    outcome, defined = hazards.outcomes(label.astype(np.float64), mask > 0)
    assert defined.tolist() == [[False, False, False], [False, False, False]]
    assert not outcome.any()
