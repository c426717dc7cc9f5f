"""A memory of training patients' vectors that a model looks up later, for patients it has not seen.

The vectors are part of the model's weights file: a checkpoint of a model that has a memory holds data derived from patients.
"""

from typing import final

import torch
from torch import Tensor, nn


@final
class PatientMemory(nn.Module):
    """The latest ``patients`` vectors [M,W] handed to ``remember``; of equal age none is preferred."""

    vectors: Tensor
    filled: Tensor
    position: Tensor

    def __init__(self, patients: int, width: int) -> None:
        super().__init__()
        self.register_buffer("vectors", torch.zeros(patients, width))
        self.register_buffer("filled", torch.zeros(patients, dtype=torch.bool))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def remember(self, vectors: Tensor) -> None:
        """Vectors [N,W] replace the oldest ones; of more than fit, the last are kept."""
        size = len(self.vectors)
        kept = vectors.detach()[-size:].to(self.vectors.dtype)
        slots = (self.position + torch.arange(len(kept), device=kept.device)) % size
        self.vectors[slots] = kept
        self.filled[slots] = True
        self.position.copy_((self.position + len(kept)) % size)
