"""What stands for a modality that a patient lacks, and patients who are made to lack one in training.

Where nearly every training patient has all modalities, a model never sees what it must do for one who lacks a text or the
measurements (Neverova et al. 2016, doi 10.1109/TPAMI.2015.2461544).
"""

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from emerge_ehr.models.batch import Batch

# the field of each modality that says whether a patient has it, and the others that say so of its parts
MASKS = {
    "ehr": ("ehr_mask",),
    "note": ("note_mask", "note_tokens_mask"),
    "summary": ("summary_mask", "summary_tokens_mask"),
}


def vector(hidden_size: int) -> nn.Parameter:
    """A learned vector [H], which starts near zero: before any patient has taught it something, it tells nothing.

    It is not zero, because a norm has no slope there.
    """
    return nn.Parameter(0.02 * torch.randn(hidden_size))


def drop(batch: Batch, modalities: Sequence[str], share: float) -> Batch:
    """Patients N who lack each of the ``modalities`` with probability ``share``, as if they had never had it.

    Nobody is left without any: who would be keeps all.
    """
    masks = [getattr(batch, MASKS[name][0]) for name in modalities]
    has = torch.stack([mask.reshape(len(mask), -1).any(dim=1) for mask in masks], dim=1)
    dropped = torch.rand(has.shape, device=has.device) < share
    dropped = dropped & (has & ~dropped).any(dim=1, keepdim=True)
    fields: dict[str, Tensor] = {}
    for column, name in enumerate(modalities):
        kept = ~dropped[:, column]
        for field in MASKS[name]:
            mask = getattr(batch, field)
            fields[field] = mask * kept.reshape(-1, *[1] * (mask.ndim - 1))
    return dataclasses.replace(batch, **fields)
