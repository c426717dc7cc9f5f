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
from emerge_ehr.models import linear_classifier
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
    train: Patients, validation: Patients, modalities: Sequence[str], settings: Training, seed: int
) -> LinearClassifier:
    """Fit the regression of each label on ``train``; its penalty has the lowest loss on ``validation``."""
    tables = [table(each, modalities, settings.batch_size) for each in (train, validation)]
    return linear_classifier.fit(train, tables[0], validation, tables[1], STRENGTHS["l1"], "l1", seed)


def predict(
    reads: Sequence[str],
    team: Sequence[Member],
    test: Patients,
    predictions: Predictions,
    settings: Training,
    reported: Reported,
) -> Predictions:
    """The plain method's predictions of ``test`` from the modalities ``reads``, in place of EMERGE's ``predictions``.

    It has the same members, which are put together in the same way.
    """
    modalities = _ordered(reads)
    columns = table(test, modalities, settings.batch_size)
    fitted = [fit(member.train, member.validation, modalities, settings, member.seed) for member in team]
    logits = torch.from_numpy(np.stack([member.logits(columns) for member in fitted]))
    return dataclasses.replace(predictions, probability=reported.together(logits))


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
