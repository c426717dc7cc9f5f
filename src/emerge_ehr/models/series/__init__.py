"""Socket: encoders of the hourly series; ``build(options, *, input_size, hidden_size, heads, dropout)`` makes a ``Series``.

An encoder is a ``torch.nn.Module``. Every one is a baseline too: ``baselines/_of_series.py`` classifies its last state.
"""

from typing import Protocol

from torch import Tensor


class Series(Protocol):
    """Reads the hours in order; an hour at or after ``length`` must not change anything, nor a later hour an earlier state."""

    def forward(self, values: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Values [N,T,I], length [N] -> state after each hour [N,T,H] (zero as of ``length``), last one [N,H]."""
        ...

    def __call__(self, values: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """``forward``, as modules of torch are called."""
        ...
