"""A one-layer LSTM over the hours (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000)."""

from dataclasses import dataclass

from torch import nn

from emerge_ehr.models.recurrent import Recurrent


@dataclass(frozen=True)
class Options:
    """None."""


def build(options: Options, *, input_size: int, hidden_size: int, heads: int, dropout: float) -> Recurrent:
    """An LSTM from ``input_size`` values an hour to ``hidden_size``."""
    return Recurrent(nn.LSTM(input_size, hidden_size, batch_first=True))
