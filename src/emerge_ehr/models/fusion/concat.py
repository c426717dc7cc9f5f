"""EHR and text concatenated, then one linear layer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from emerge_ehr.models.fusion import Fusion, Modality


@dataclass(frozen=True)
class Options:
    """This fusion has no options."""

    pieces: ClassVar[bool] = False


def build(options: Options, *, modalities: tuple[str, ...], hidden_size: int, heads: int, dropout: float) -> Fusion:
    """A linear layer from two vectors of ``hidden_size``."""
    return Concat(hidden_size)


@final
class Concat(nn.Module):
    """W [h_ehr; h_text] + b."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.projection = nn.Linear(2 * hidden_size, hidden_size)

    def forward(self, modalities: Mapping[str, Modality]) -> Tensor:
        """EHR, text -> [N,H]."""
        vectors = [modalities["ehr"].representation, modalities["text"].representation]
        fused: Tensor = self.projection(torch.cat(vectors, dim=1))
        return fused

    def attention(self, modalities: Mapping[str, Modality]) -> None:
        """None, since nothing attends."""
