"""What a model reads: patients as tensors whose shapes are checked.

In this package, a patient is one sample: a row of the tables. Dimensions: N patients, T hours, F features, S static features,
D1 and D2 embedding widths of note and summary, C1 and C2 pieces of them, K labels.
"""

import dataclasses
from dataclasses import dataclass
from typing import Self
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

SHAPES = {
    "ehr": "N T F",
    "ehr_mask": "N T F",
    "ehr_length": "N",
    "static": "N S",
    "note_embedding": "N D1",
    "note_mask": "N",
    "summary_embedding": "N D2",
    "summary_mask": "N",
    "note_tokens": "N C1 D1",
    "note_tokens_mask": "N C1",
    "summary_tokens": "N C2 D2",
    "summary_tokens_mask": "N C2",
    "label": "N K",
    "label_mask": "N K",
}

# The fields that belong to each modality.
MODALITIES = {
    "ehr": ("ehr", "ehr_mask", "ehr_length"),
    "note": ("note_embedding", "note_mask", "note_tokens", "note_tokens_mask"),
    "summary": ("summary_embedding", "summary_mask", "summary_tokens", "summary_tokens_mask"),
}

# Statistics that are known of a batch, for as long as it is in use.
STATISTICS: "WeakKeyDictionary[Batch, dict[torch.dtype, Tensor]]" = WeakKeyDictionary()


@dataclass(frozen=True)
class Batch:
    """Patients, in the same order in every tensor.

    A ``*_mask`` is 1 where a feature was measured (ehr), a patient has this text or piece, or the outcome is defined (label).

    Raises:
        ValueError: a shape is not the one in ``SHAPES``, or a type is wrong.
    """

    ehr: Tensor
    ehr_mask: Tensor
    ehr_length: Tensor
    static: Tensor
    note_embedding: Tensor
    note_mask: Tensor
    summary_embedding: Tensor
    summary_mask: Tensor
    note_tokens: Tensor
    note_tokens_mask: Tensor
    summary_tokens: Tensor
    summary_tokens_mask: Tensor
    label: Tensor
    label_mask: Tensor

    def __post_init__(self) -> None:
        sizes: dict[str, int] = {}
        for name, dimensions in SHAPES.items():
            tensor: Tensor = getattr(self, name)
            expected = [sizes.get(dimension, "any") for dimension in dimensions.split()]
            if tensor.ndim != len(expected):
                raise ValueError(f"Batch.{name}: expected [{dimensions}], got {list(tensor.shape)}")
            for dimension, size in zip(dimensions.split(), tensor.shape, strict=True):
                if sizes.setdefault(dimension, size) != size:
                    raise ValueError(f"Batch.{name}: expected [{dimensions}] = {expected}, got {list(tensor.shape)}")
            dtype = torch.int64 if name == "ehr_length" else torch.float32
            if tensor.dtype != dtype:
                raise ValueError(f"Batch.{name}: expected {dtype}, got {tensor.dtype}")

    def __len__(self) -> int:
        return len(self.ehr)

    @property
    def statistics(self) -> dict[torch.dtype, Tensor]:
        """The statistics of the window [N,8F] in each precision in which they were asked for (``window_statistics.of_batch``)."""
        return STATISTICS.setdefault(self, {})

    def select(self, index: Tensor) -> Self:
        """The patients at ``index`` [n], in that order."""
        selected = dataclasses.replace(self, **{name: getattr(self, name)[index] for name in SHAPES})
        selected.statistics.update({dtype: known[index] for dtype, known in self.statistics.items()})
        return selected

    def lent(self, index: Tensor, modality: str, others: "Batch", lenders: Tensor) -> "Batch":
        """The patients at ``index`` [n] with a modality of the ``others`` at ``lenders`` [n] in place of their own."""
        fields = {
            name: getattr(others, name)[lenders] if name in MODALITIES[modality] else getattr(self, name)[index]
            for name in SHAPES
        }
        whole, rows = (others, lenders) if modality == "ehr" else (self, index)
        made = Batch(**fields)
        made.statistics.update({dtype: known[rows] for dtype, known in whole.statistics.items()})
        return made

    def to(self, device: torch.device) -> Self:
        """The same patients on ``device``."""
        return dataclasses.replace(self, **{name: getattr(self, name).to(device) for name in SHAPES})
