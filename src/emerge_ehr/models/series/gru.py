"""A GRU over the hours, the published encoder (Zhu et al. 2024, section 5; Cho et al. 2014)."""

from dataclasses import dataclass

from torch import nn

from emerge_ehr.fields import Positive
from emerge_ehr.models.recurrent import Recurrent
from emerge_ehr.models.series import Series


@dataclass(frozen=True)
class Options:
    """The number of layers, each of which reads the states of the one before."""

    layers: Positive = 1


def build(options: Options, *, input_size: int, hidden_size: int, heads: int, dropout: float) -> Series:
    """A GRU from ``input_size`` values per hour to ``hidden_size``."""
    return Recurrent(nn.GRU(input_size, hidden_size, options.layers, batch_first=True))
