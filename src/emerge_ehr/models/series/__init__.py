"""Socket: encoders of the hourly series.

A plug's ``build(options, *, input_size, hidden_size, heads, dropout)`` makes a ``Series``, a ``torch.nn.Module``. Every encoder
is a baseline too: ``baselines/_of_series.py`` classifies its last state.
"""

from typing import Protocol

from torch import Tensor


class Series(Protocol):
    """Reads the hours in order. A state must not depend on later hours, and nothing may depend on hours from ``length`` on."""

    def forward(self, values: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Values [N,T,I], length [N] -> the state after each hour [N,T,H] (zero from ``length`` on), and the last one [N,H]."""
        ...

    def __call__(self, values: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """``forward``, as modules of torch are called."""
        ...
