"""The plain method on the same inputs, fitted beside EMERGE: what it reaches too is no gain of the method."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import torch

from emerge_ehr.config import Training
from emerge_ehr.evaluation.resampling import Sampling
from emerge_ehr.evaluation.significance import paired_bootstrap
from emerge_ehr.models import by_landmark, linear_classifier
from emerge_ehr.models.batch import MODALITIES
from emerge_ehr.models.linear_classifier import STRENGTHS, LinearClassifier
from emerge_ehr.training import results
from emerge_ehr.training.members import Member
from emerge_ehr.training.patients import Patients, table
from emerge_ehr.training.reported import Reported
from emerge_ehr.training.results import Predictions

NAME = "logistic regression with an L1 penalty"
METRICS = ("auroc", "auprc")


def fit(
    train: Patients,
    validation: Patients,
    modalities: Sequence[str],
    settings: Training,
    seed: int,
    steps: Sequence[int] = (),
) -> list[LinearClassifier]:
    """Fit the regression of each label on ``train``; its penalty has the lowest loss on ``validation``.

    With landmarks, at these ``steps``, there is one for each, on its samples; else a single one.
    """
    tables = [table(each, modalities, settings.batch_size, steps) for each in (train, validation)]
    return [
        linear_classifier.fit(own, own.table, held, held.table, STRENGTHS["l1"], "l1", seed)
        for own, held in by_landmark.to_fit(train, tables[0], validation, tables[1], len(steps))
    ]


def predict(
    reads: Sequence[str],
    team: Sequence[Member],
    test: Patients,
    predictions: Predictions,
    settings: Training,
    reported: Reported,
    steps: Sequence[int] = (),
) -> Predictions:
    """The plain method's predictions of ``test`` from the modalities ``reads``, in place of EMERGE's ``predictions``.

    It has the same members, which are put together in the same way. ``steps``: as for ``fit``.
    """
    modalities = _ordered(reads)
    judged = list(by_landmark.parts(test, table(test, modalities, settings.batch_size, steps), len(steps)))
    logits = np.empty((len(team), *test.label.shape))
    for member, own in zip(team, logits, strict=True):
        fitted = fit(member.train, member.validation, modalities, settings, member.seed, steps)
        for part, regression in zip(judged, fitted, strict=True):
            own[part.rows] = regression.logits(part.table)
    return dataclasses.replace(predictions, probability=reported.together(torch.from_numpy(logits)))


def _ordered(reads: Sequence[str]) -> list[str]:
    return [name for name in MODALITIES if name in reads]


def named(reads: Sequence[str]) -> dict[str, Any]:
    """What the plain method is, and what it ``reads``, as ``metrics.json`` says it."""
    return {"name": NAME, "modalities": _ordered(reads)}


def differences(
    first: Predictions, second: Predictions, patients: pl.DataFrame | None, sampling: Sampling
) -> dict[str, dict[str, Any]]:
    """Label -> metric -> ``Difference`` of two predictions of the same patients, paired by person."""
    found = {}
    for column, name in enumerate(first.label_names):
        label, probability = first.known(column)
        persons = results.persons_of(first, column, patients)
        tested = paired_bootstrap(label, probability, second.known(column)[1], METRICS, sampling, persons)
        found[name] = {metric: dataclasses.asdict(difference) for metric, difference in tested.items()}
    return found
