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


def has(batch: Batch, modalities: Sequence[str]) -> Tensor:
    """Which of M ``modalities`` each of N patients has [N,M], bool: a measurement within the window, a text."""
    masks = [getattr(batch, MASKS[name][0]) for name in modalities]
    return torch.stack([mask.reshape(len(mask), -1).any(dim=1) for mask in masks], dim=1)


def without(batch: Batch, modalities: Sequence[str], whom: Tensor | None = None) -> Batch:
    """The patients as if they had never had the ``modalities``. ``whom`` [N,M], bool: who lacks which; without it all do."""
    if not modalities:
        return batch
    lacking = torch.ones(len(batch), len(modalities), dtype=torch.bool) if whom is None else whom
    fields: dict[str, Tensor] = {}
    for column, name in enumerate(modalities):
        for field in MASKS[name]:
            mask = getattr(batch, field)
            kept = ~lacking[:, column].to(mask.device)
            fields[field] = mask * kept.reshape(-1, *[1] * (mask.ndim - 1))
    return dataclasses.replace(batch, **fields)


def drop(batch: Batch, modalities: Sequence[str], share: float) -> Batch:
    """Patients N who lack each of the ``modalities`` with probability ``share``, as if they had never had it.

    Nobody is left without any: who would be keeps all.
    """
    there = has(batch, modalities)
    dropped = torch.rand(there.shape, device=there.device) < share
    return without(batch, modalities, dropped & (there & ~dropped).any(dim=1, keepdim=True))
