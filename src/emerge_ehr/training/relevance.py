"""Fits the scaling of a model's inputs on the training patients, before the first epoch."""

import logging

import numpy as np
import torch
from numpy.typing import NDArray

from emerge_ehr.models import input_table, linear_classifier
from emerge_ehr.models.emerge import Emerge
from emerge_ehr.models.linear_classifier import STRENGTHS
from emerge_ehr.training.patients import Patients, batches

logger = logging.getLogger(__name__)


def fit(model: Emerge, train: Patients, validation: Patients, batch_size: int, seed: int) -> None:
    """Scale the columns of each modality by a sparse regression on ``train``, whose penalty is the best on ``validation``.

    Nothing happens where the model scales none.
    """
    scalings = model.relevances()
    if not scalings:
        return
    tables = [_table(patients, tuple(scalings), batch_size) for patients in (train, validation)]
    found = linear_classifier.fit(train, tables[0], validation, tables[1], STRENGTHS["l1"], "l1", seed)
    start, kept = 0, []
    for name, scaling in scalings.items():
        columns = slice(start, start + len(scaling.centre))
        chosen = found.coefficients[:, columns]
        scaling.fit(*(torch.from_numpy(values) for values in (found.mean[columns], found.scale[columns], chosen)))
        kept.append(f"{int(chosen.any(axis=0).sum())} of {chosen.shape[1]} of {name}")
        start = columns.stop + (name != "ehr")  # behind the components of a text, a column says whether there is one
    logger.info("columns that tell something of the outcome: %s", ", ".join(kept))


def _table(patients: Patients, modalities: tuple[str, ...], batch_size: int) -> NDArray[np.float64]:
    parts = torch.split(torch.arange(len(patients)), batch_size)
    return np.concatenate([input_table.of_batch(batch, modalities) for batch in batches(patients, parts)])
