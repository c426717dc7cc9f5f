"""A causal Transformer over the hours (Vaswani et al. 2017), with sinusoids for their positions.

    x_t = W value_t + b + sinusoid(t);  layers in which hour t attends to hours 1..t;  norm

It is causal so that a state holds what was known after its hour. Padding at the end then needs no mask, and attention over the
states, in the fusion, means the same as with a recurrent encoder.
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from emerge_ehr.fields import Positive, UserError
from emerge_ehr.models.recurrent import until
from emerge_ehr.models.series import Series
from emerge_ehr.models.transformer import Block, positions


@dataclass(frozen=True)
class Options:
    """The number of Transformer layers."""

    layers: Positive = 2


def build(options: Options, *, input_size: int, hidden_size: int, heads: int, dropout: float) -> Series:
    """A Transformer from ``input_size`` values per hour to ``hidden_size``.

    Raises:
        UserError: ``hidden_size`` is not a multiple of ``heads``.
    """
    if hidden_size % heads:
        raise UserError(f"the encoder 'transformer': hidden_size = {hidden_size} must be a multiple of heads = {heads}")
    return Transformer(input_size, hidden_size, heads, dropout, options.layers)


@final
class Transformer(nn.Module):
    """The network; its state after an hour depends on that hour and earlier ones only."""

    def __init__(self, input_size: int, hidden_size: int, heads: int, dropout: float, layers: int) -> None:
        super().__init__()
        self.projection = nn.Linear(input_size, hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList([Block(hidden_size, heads, dropout) for _ in range(layers)])
        self.norm = nn.LayerNorm(hidden_size)

    def forward(self, values: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Values [N,T,I], length [N] -> states [N,T,H], last state [N,H]; a patient of no hours has zeros."""
        hours = values.shape[1]
        projected = self.projection(values)
        states = self.dropout(projected + positions(hours, projected))
        earlier = torch.ones(hours, hours, dtype=torch.bool, device=values.device).tril()
        for block in self.blocks:
            states = block(states, earlier)
        return until(self.norm(states), length)
