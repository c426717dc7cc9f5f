"""A memory of vectors of training patients, which a model looks up later for patients it has not seen.

The vectors are part of the model's weights: a checkpoint of a model with a memory holds data derived from single patients.
"""

from typing import final

import torch
from torch import Tensor, nn


@final
class PatientMemory(nn.Module):
    """The latest vectors handed to ``remember``, at most ``patients`` of them [M,W]."""

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
        """Replace the oldest vectors by these [N,W]; if they are more than the memory holds, the last ones are kept."""
        size = len(self.vectors)
        kept = vectors.detach()[-size:].to(self.vectors.dtype)
        slots = (self.position + torch.arange(len(kept), device=kept.device)) % size
        self.vectors[slots] = kept
        self.filled[slots] = True
        self.position.copy_((self.position + len(kept)) % size)
