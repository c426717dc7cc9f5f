"""A one-layer simple recurrent network over the hours, h_t = tanh(W x_t + U h_(t-1) + b) (Elman 1990)."""

from dataclasses import dataclass

from torch import nn

from emerge_ehr.models.recurrent import Recurrent


@dataclass(frozen=True)
class Options:
    """None."""


def build(options: Options, *, input_size: int, hidden_size: int, heads: int, dropout: float) -> Recurrent:
    """An Elman network from ``input_size`` values an hour to ``hidden_size``."""
    return Recurrent(nn.RNN(input_size, hidden_size, batch_first=True))
