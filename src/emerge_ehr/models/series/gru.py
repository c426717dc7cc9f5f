"""A one-layer GRU over the hours, the published encoder (Zhu et al. 2024, section 5; Cho et al. 2014)."""

from dataclasses import dataclass

from torch import nn

from emerge_ehr.models.recurrent import Recurrent


@dataclass(frozen=True)
class Options:
    """None."""


def build(options: Options, *, input_size: int, hidden_size: int, heads: int, dropout: float) -> Recurrent:
    """A GRU from ``input_size`` values an hour to ``hidden_size``."""
    return Recurrent(nn.GRU(input_size, hidden_size, batch_first=True))
