"""Recurrent networks over hourly series of different lengths: what the recurrent plugs of the socket ``series`` share."""

from typing import final

import torch
from torch import Tensor, nn


@final
class Recurrent(nn.Module):
    """One of PyTorch's recurrent layers, ``batch_first``.

    The state after an hour depends on that hour and earlier ones only, so padding at the end needs no packing.
    """

    def __init__(self, cells: nn.RNNBase) -> None:
        super().__init__()
        self.cells = cells

    def forward(self, values: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Values [N,T,I], length [N] -> states [N,T,H], last state [N,H]; a patient of no hours has zeros."""
        # Under mixed precision a CPU computes a GRU in float32; an LSTM in bfloat16 would fail on CPUs that lack AVX-512.
        with torch.autocast("cpu", enabled=False):
            states, _ = self.cells(values)
        return until(states, length)


def until(states: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
    """States [N,T,H] -> the same with zeros from hour ``length`` [N] on, and each patient's last state before it [N,H]."""
    hours = torch.arange(states.shape[1], device=states.device)
    inside = (hours < length[:, None])[..., None]  # [N,T,1]
    states = torch.where(inside, states, 0)
    patients = torch.arange(len(states), device=states.device)
    return states, states[patients, (length - 1).clamp(min=0)]
