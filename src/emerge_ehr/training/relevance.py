"""Fits the scaling of a model's inputs on the training patients, before the first epoch."""

import logging

import torch

from emerge_ehr.config import Training
from emerge_ehr.models.emerge import Emerge
from emerge_ehr.training import plain
from emerge_ehr.training.patients import Patients

logger = logging.getLogger(__name__)


def fit(model: Emerge, train: Patients, validation: Patients, settings: Training, seed: int) -> None:
    """Scale the columns of each modality by the plain method's regression on ``train``.

    Nothing happens where the model scales none.
    """
    scalings = model.relevances()
    if not scalings:
        return
    found = plain.fit(train, validation, tuple(scalings), settings, seed)
    start, kept = 0, []
    for name, scaling in scalings.items():
        columns = slice(start, start + len(scaling.centre))
        chosen = found.coefficients[:, columns]
        scaling.fit(*(torch.from_numpy(values) for values in (found.mean[columns], found.scale[columns], chosen)))
        kept.append(f"{int(chosen.any(axis=0).sum())} of {chosen.shape[1]} of {name}")
        start = columns.stop + (name != "ehr")  # behind the components of a text, a column says whether there is one
    logger.info("columns that tell something of the outcome: %s", ", ".join(kept))
