"""Outer product of EHR and text, each with a 1 appended: tensor fusion (Zadeh et al. 2017, doi 10.18653/v1/D17-1115).

u = ReLU(W_u h_ehr + b_u),  v = ReLU(W_v h_text + b_v)       reduced to ``width``, as by the paper's network for each modality
fused = W vec([u; 1] [v; 1]^T) + b                           products of all pairs and, because of the 1s, u and v alone
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from emerge_ehr.fields import Positive
from emerge_ehr.models.fusion import Fusion, Modality


@dataclass(frozen=True)
class Options:
    """``width``: that of each modality before the product, which has (width + 1)^2 components."""

    pieces: ClassVar[bool] = False
    width: Positive = 32


def build(options: Options, *, modalities: tuple[str, ...], hidden_size: int, heads: int, dropout: float) -> Fusion:
    """A product of two vectors of ``hidden_size``, reduced to ``width`` each."""
    return TensorFusion(hidden_size, options.width)


@final
class TensorFusion(nn.Module):
    """W vec([u; 1] [v; 1]^T) + b."""

    def __init__(self, hidden_size: int, width: int) -> None:
        super().__init__()
        self.ehr = nn.Linear(hidden_size, width)
        self.text = nn.Linear(hidden_size, width)
        self.projection = nn.Linear((width + 1) ** 2, hidden_size)

    def forward(self, modalities: Mapping[str, Modality]) -> Tensor:
        """EHR, text -> [N,H]."""
        ehr = _with_one(self.ehr(modalities["ehr"].representation).relu())
        text = _with_one(self.text(modalities["text"].representation).relu())
        fused: Tensor = self.projection((ehr[:, :, None] * text[:, None]).flatten(1))
        return fused

    def attention(self, modalities: Mapping[str, Modality]) -> None:
        """None, since nothing attends."""


def _with_one(vector: Tensor) -> Tensor:
    """The vectors [N,W] with a 1 appended [N,W+1]."""
    return torch.cat([vector, torch.ones_like(vector[:, :1])], dim=1)
