"""A one-layer GRU over the hours, the published encoder (Zhu et al. 2024, section 5; Cho et al. 2014)."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Options:
    """None."""


def build(options: Options, *, input_size: int, hidden_size: int) -> "Gru":
    """A GRU from ``input_size`` values an hour to ``hidden_size``."""
    return Gru(input_size, hidden_size)


@final
class Gru(nn.Module):
    """The state after an hour depends on that hour and earlier ones only, so padding at the end needs no packing."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.gru = nn.GRU(input_size, hidden_size, batch_first=True)

    def forward(self, values: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Values [N,T,I], length [N] -> states [N,T,H], last state [N,H]; a patient of no hours has zeros."""
        states, _ = self.gru(values)
        hours = torch.arange(values.shape[1], device=values.device)
        inside = (hours < length[:, None])[..., None]  # [N,T,1]
        states = torch.where(inside, states, 0)
        patients = torch.arange(len(values), device=values.device)
        return states, states[patients, (length - 1).clamp(min=0)]
