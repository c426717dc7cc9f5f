"""An estimator for each landmark, beside estimators that are fitted by hand on the samples of one landmark."""

from pathlib import Path

import numpy as np
import pytest
import torch

from emerge_ehr import components
from emerge_ehr.fields import Component
from emerge_ehr.models import by_landmark, input_table
from emerge_ehr.models.baselines import Estimator, Sizes
from emerge_ehr.models.batch import Batch
from tests.models.baselines.conftest import FEATURES, HOURS, NOTE, SUMMARY

READS = ("ehr", "note", "summary")
STEPS = (5, 7)
PLUGS = ["logistic_regression", "gradient_boosting"]


def make(name: str) -> Estimator:
    sizes = Sizes(hours=HOURS, features=FEATURES, note_width=NOTE, summary_width=SUMMARY, labels=2)
    chosen = Component(name, {"modalities": list(READS)})
    estimator: Estimator = components.build("baseline", chosen, sizes=sizes, seed=3)
    return estimator


def at(patients: Batch, landmark: int) -> Batch:
    late = patients.ehr_length >= STEPS[1]
    return patients.select(torch.nonzero(late == bool(landmark))[:, 0])


def table(patients: Batch) -> input_table.Array:
    return input_table.of_batch(patients, READS, STEPS)


@pytest.mark.parametrize("name", PLUGS)
def test_each_landmark_is_judged_by_what_its_own_samples_taught(
    name: str, train: Batch, validation: Batch, test_patients: Batch, tmp_path: Path
) -> None:
    joined = by_landmark.each(lambda: make(name), len(STEPS))
    joined.fit(train, table(train), validation, table(validation))
    found = joined.logits(table(test_patients))
    for landmark in (0, 1):
        own, held, judged = (at(patients, landmark) for patients in (train, validation, test_patients))
        alone = make(name)
        alone.fit(own, table(own)[:, 1:], held, table(held)[:, 1:])
        rows = test_patients.ehr_length == STEPS[landmark]
        assert 0 < rows.sum() < len(rows)
        here = judged.ehr_length == STEPS[landmark]
        assert torch.equal(found[rows], alone.logits(table(judged)[:, 1:])[here])
    joined.save(tmp_path)
    again = by_landmark.each(lambda: make(name), len(STEPS))
    again.load(tmp_path)
    assert torch.equal(again.logits(table(test_patients)), found)


@pytest.mark.parametrize("name", PLUGS)
def test_a_landmark_that_no_training_sample_reached_is_judged_by_the_one_before(
    name: str, train: Batch, validation: Batch, test_patients: Batch
) -> None:
    early, held = at(train, 0), at(validation, 0)
    joined = by_landmark.each(lambda: make(name), len(STEPS))
    joined.fit(early, table(early), held, table(held))
    alone = make(name)
    alone.fit(early, table(early)[:, 1:], held, table(held)[:, 1:])
    late = table(at(test_patients, 1))
    assert torch.equal(joined.logits(late), alone.logits(late[:, 1:]))


@pytest.mark.parametrize("name", PLUGS)
def test_between_two_landmarks_both_count_by_how_near_they_are(name: str, train: Batch, validation: Batch) -> None:
    joined = by_landmark.each(lambda: make(name), len(STEPS))
    joined.fit(train, table(train), validation, table(validation))
    columns = table(validation)[:, 1:]
    early, late = (joined.logits(np.insert(columns, 0, place, axis=1)) for place in (0.0, 1.0))
    between = joined.logits(np.insert(columns, 0, 0.25, axis=1))
    assert not torch.allclose(early, late)
    torch.testing.assert_close(between, 0.75 * early + 0.25 * late)


def test_without_landmarks_an_estimator_stays_alone() -> None:
    assert type(by_landmark.each(lambda: make("logistic_regression"), 0)) is type(make("logistic_regression"))
    network = torch.nn.Linear(1, 1)
    assert by_landmark.each(lambda: network, 4) is network


def test_counts_are_shares_of_the_window(train: Batch) -> None:
    whole, by_step = input_table.of_batch(train, ["ehr"]), table(train)
    length = train.ehr_length[:, None].numpy()
    counts = slice(7 * FEATURES, 8 * FEATURES)
    np.testing.assert_allclose(by_step[:, 1:][:, counts] * length, whole[:, counts])
    np.testing.assert_array_equal(by_step[:, 1 : 1 + 7 * FEATURES], whole[:, : 7 * FEATURES])
