"""Socket: encoders of the hourly series; ``build(options, *, input_size, hidden_size, heads, dropout)`` makes a ``Series``."""

from typing import Protocol

from torch import Tensor


class Series(Protocol):
    """Reads the hours in order; an hour at or after ``length`` must not change anything, nor a later hour an earlier state."""

    def __call__(self, values: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Values [N,T,I], length [N] -> state after each hour [N,T,H] (zero as of ``length``), last one [N,H]."""
        ...
