"""A temporal convolutional network over the hours (Bai, Kolter and Koltun 2018, arXiv 1803.01271, section 3).

Level l is a residual block of two causal convolutions with dilation 2^l, each with weight normalisation, ReLU and spatial
dropout; a convolution of width 1 matches widths on the residual path. With kernel k and L levels a state sees
1 + 2(k - 1)(2^L - 1) hours: 61 with the defaults, so the whole window of 48.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, final

from annotated_types import Ge
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils.parametrizations import weight_norm

from emerge_ehr.fields import Positive
from emerge_ehr.models.recurrent import until
from emerge_ehr.models.series import Series


@dataclass(frozen=True)
class Options:
    """The number of levels, and ``kernel``: the hours that a convolution spans, before dilation."""

    levels: Positive = 4
    kernel: Annotated[int, Ge(2)] = 3


def build(options: Options, *, input_size: int, hidden_size: int, heads: int, dropout: float) -> Series:
    """A network from ``input_size`` values per hour to ``hidden_size`` channels; ``dropout`` drops whole channels."""
    return Tcn(input_size, hidden_size, dropout, options)


@final
class Tcn(nn.Module):
    """The network; a state depends on its hour and earlier ones only, so that padding after the last hour needs no mask."""

    def __init__(self, input_size: int, hidden_size: int, dropout: float, options: Options) -> None:
        super().__init__()
        widths = [input_size] + options.levels * [hidden_size]
        self.blocks = nn.Sequential(
            *(
                TemporalBlock(inner, outer, options.kernel, 2**level, dropout)
                for level, (inner, outer) in enumerate(pairwise(widths))
            )
        )

    def forward(self, values: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Values [N,T,I], length [N] -> states [N,T,H], last state [N,H]; a patient of no hours has zeros."""
        return until(self.blocks(values.transpose(1, 2)).transpose(1, 2), length)


@final
class TemporalBlock(nn.Module):
    """A residual block of two causal convolutions, with channels first: [N,I,T] -> [N,O,T]."""

    def __init__(self, inner: int, outer: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.before = (kernel - 1) * dilation
        self.first = weight_norm(nn.Conv1d(inner, outer, kernel, dilation=dilation))
        self.second = weight_norm(nn.Conv1d(outer, outer, kernel, dilation=dilation))
        self.residual = nn.Conv1d(inner, outer, 1) if inner != outer else nn.Identity()
        self.dropout = nn.Dropout1d(dropout)

    def forward(self, hours: Tensor) -> Tensor:
        """Hours [N,I,T] -> [N,O,T]; they are padded with zeros at the start, so that no output depends on a later hour."""
        inner = self.dropout(self.first(pad(hours, (self.before, 0))).relu())
        inner = self.dropout(self.second(pad(inner, (self.before, 0))).relu())
        states: Tensor = (inner + self.residual(hours)).relu()
        return states
