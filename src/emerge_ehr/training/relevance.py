"""Fits the scaling of a model's inputs on the training patients, before the first epoch."""

import logging
from collections.abc import Sequence

import torch

from emerge_ehr.config import Training
from emerge_ehr.models.emerge import Emerge
from emerge_ehr.training import plain
from emerge_ehr.training.patients import Patients

logger = logging.getLogger(__name__)


def fit(
    model: Emerge,
    train: Patients,
    validation: Patients,
    settings: Training,
    seed: int,
    steps: Sequence[int] = (),
) -> None:
    """Scale the columns of each modality by the plain method's regression on ``train``, at each landmark at these ``steps``.

    Nothing happens where the model scales none.
    """
    scalings = model.relevances()
    if not scalings:
        return
    fitted = plain.fit(train, validation, tuple(scalings), settings, seed, steps)
    for landmark, found in enumerate(fitted):
        start, kept = 0, []
        for name, scaling in scalings.items():
            columns = slice(start, start + scaling.centre.shape[1])
            chosen = found.coefficients[:, columns]
            values = found.mean[columns], found.scale[columns], chosen
            scaling.fit(landmark, *(torch.from_numpy(value) for value in values))
            kept.append(f"{int(chosen.any(axis=0).sum())} of {chosen.shape[1]} of {name}")
            # behind the components of a text, a column says whether there is one
            start = columns.stop + (name != "ehr")
        at = f" in windows of {steps[landmark]} steps" if steps else ""
        logger.info("columns that tell something of the outcome%s: %s", at, ", ".join(kept))
