"""The scaling of inputs, against scikit-learn's standardisation and sparse regression."""

import dataclasses
import logging

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from emerge_ehr.config import Model, Training
from emerge_ehr.models import input_table
from emerge_ehr.models.emerge import Emerge, build
from emerge_ehr.models.linear_classifier import STRENGTHS
from emerge_ehr.models.relevance import BOUND, FLOOR, GAIN
from emerge_ehr.training import relevance
from tests.models.baselines.conftest import FEATURES, NOTE, SUMMARY, planted

SETTINGS = Training(batch_size=50)
TRAIN, VALIDATION = planted(240, seed=0), planted(80, seed=1)


ALONE = torch.zeros(1, dtype=torch.int64)  # the number of the only landmark


def model(labels: int = 2, steps: tuple[int, ...] = (), **settings: object) -> Emerge:
    chosen = Model(hidden_size=8, heads=2, relevance=True, **settings)  # type: ignore[arg-type]
    widths = {"note": NOTE, "summary": SUMMARY}
    return build(chosen, features=FEATURES, statics=2, text_widths=widths, labels=labels, steps=steps)


def test_columns_are_standardised_and_scaled_by_the_coefficients(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    fitted = model()
    relevance.fit(fitted, TRAIN, VALIDATION, SETTINGS, seed=0)
    table, unseen = (input_table.of_batch(patients, ("ehr", "note", "summary")) for patients in (TRAIN, VALIDATION))
    mean, deviation = np.nanmean(table, axis=0), np.nanstd(table, axis=0)
    deviation = np.where(deviation > 1e-8, deviation, 1)
    squares = np.zeros(table.shape[1])
    for label in range(2):
        known = TRAIN.label_mask[:, label].numpy() > 0, VALIDATION.label_mask[:, label].numpy() > 0
        x, held_out = (np.nan_to_num((part - mean) / deviation) for part in (table, unseen))
        truth = VALIDATION.label[known[1], label].numpy()
        losses = {}
        for strength in STRENGTHS["l1"]:
            regression = LogisticRegression(C=strength, l1_ratio=1, solver="liblinear", intercept_scaling=10)
            regression.fit(x[known[0]], TRAIN.label[known[0], label].numpy())
            logit = regression.decision_function(held_out[known[1]])
            losses[float(np.mean(np.logaddexp(0, logit) - truth * logit))] = regression.coef_[0]
        squares += losses[min(losses)] ** 2
    factor = (GAIN * np.sqrt(squares / 2) + FLOOR) / deviation
    columns = {"ehr": slice(0, 24), "note": slice(24, 29), "summary": slice(30, 34)}
    for name, scaling in fitted.relevances().items():
        np.testing.assert_allclose(scaling.factor[0].numpy(), factor[columns[name]], atol=0.02, rtol=0.02)
        np.testing.assert_allclose(scaling.centre[0].numpy(), mean[columns[name]], atol=1e-5)
    assert "columns that tell something of the outcome: " in caplog.text and "of 24 of ehr" in caplog.text


def test_a_missing_value_is_the_mean_and_a_column_of_one_value_is_finite() -> None:
    fitted = model()
    relevance.fit(fitted, TRAIN, VALIDATION, SETTINGS, seed=0)
    scaling = fitted.relevances()["ehr"]
    columns = torch.cat([torch.full_like(scaling.centre, torch.nan), scaling.centre])
    assert torch.equal(scaling(columns, ALONE.expand(2)), torch.zeros(2, 24))
    constant = dataclasses.replace(TRAIN, note_embedding=TRAIN.note_embedding * torch.tensor([1.0, 0, 1, 1, 1]))
    relevance.fit(fitted, constant, VALIDATION, SETTINGS, seed=0)
    assert all(scaling.factor.isfinite().all() for scaling in fitted.relevances().values())


def test_a_value_that_training_never_came_near_counts_as_one_at_the_bound() -> None:
    fitted = model()
    relevance.fit(fitted, TRAIN, VALIDATION, SETTINGS, seed=0)
    scaling = fitted.relevances()["note"]
    deviation = np.nanstd(input_table.of_batch(TRAIN, ["note"])[:, :NOTE], axis=0)
    away = torch.tensor(deviation, dtype=torch.float32)
    near, bound, far = (scaling(scaling.centre + sign * away, ALONE) for sign in (19.0, BOUND, 1000.0))
    torch.testing.assert_close(far, bound)
    torch.testing.assert_close(near, bound * 19 / BOUND)
    torch.testing.assert_close(scaling(scaling.centre - 1000 * away, ALONE), -bound)


def test_each_landmark_is_scaled_by_its_own_samples() -> None:
    steps = (5, 7)
    fitted = model(steps=steps)
    relevance.fit(fitted, TRAIN, VALIDATION, SETTINGS, 0, steps)
    for landmark, lengths in enumerate([(5, 6), (7, 8)]):
        alone = model()
        train, held = (
            patients.select(torch.nonzero(torch.isin(patients.ehr_length, torch.tensor(lengths)))[:, 0])
            for patients in (TRAIN, VALIDATION)
        )
        relevance.fit(alone, train, held, SETTINGS, seed=0)
        for name, scaling in alone.relevances().items():
            found = fitted.relevances()[name]
            values = slice(0, 21) if name == "ehr" else slice(None)  # counts are shares of windows of different lengths
            torch.testing.assert_close(found.centre[landmark, values], scaling.centre[0, values])
            torch.testing.assert_close(found.factor[landmark, values], scaling.factor[0, values], rtol=0.05, atol=0.05)
    judged = fitted.relevances()["ehr"](torch.zeros(4, 24), torch.tensor([0.0, 1.0, 1.0, 0.25]))
    assert torch.equal(judged[1], judged[2]) and not torch.allclose(judged[0], judged[1])
    torch.testing.assert_close(judged[3], 0.75 * judged[0] + 0.25 * judged[1])


def test_nothing_is_fitted_on_validation_patients_but_the_penalty() -> None:
    once, again = model(), model()
    relevance.fit(once, TRAIN, VALIDATION, SETTINGS, seed=0)
    relevance.fit(
        again, TRAIN, dataclasses.replace(VALIDATION, note_embedding=VALIDATION.note_embedding + 50), SETTINGS, 0
    )
    for name, scaling in once.relevances().items():
        assert torch.equal(scaling.centre, again.relevances()[name].centre)


def test_the_modalities_that_are_read_are_those_that_are_scaled() -> None:
    assert set(model(modalities=("ehr", "summary")).relevances()) == {"ehr", "summary"}
    assert not build(
        Model(hidden_size=8, heads=2, relevance=False),
        features=FEATURES,
        statics=2,
        text_widths={"note": NOTE, "summary": SUMMARY},
        labels=1,
    ).relevances()
