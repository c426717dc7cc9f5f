"""Landmarks that hardly any training sample reaches."""

import dataclasses
from collections.abc import Callable

import numpy as np

from emerge_ehr.config import Cohort, Config
from emerge_ehr.storage.dataset import load_dataset
from emerge_ehr.training import inputs


def test_a_landmark_that_few_training_samples_reached_is_warned_of(prepared: Callable[..., Config]) -> None:
    dataset = load_dataset(prepared(patients=100).processed_dir)
    rows = inputs.rows_of(dataset, "train")
    label, length = np.zeros_like(dataset.label), np.full_like(dataset.ehr_length, 6)
    label[rows[:25]] = 1
    length[rows[20:30]] = 24
    rule = Cohort(min_stay_hours=6, landmarks=(6, 24))
    made = dataclasses.replace(dataset, label=label, label_mask=np.ones_like(label), ehr_length=length)
    told = [text for text in inputs.label_warnings(made, rule) if "landmark" in text]
    assert len(told) == 1 and "at hour 24 (mortality 5 of 10); what is fitted" in told[0]
    assert not [text for text in inputs.label_warnings(made, Cohort()) if "landmark" in text]
