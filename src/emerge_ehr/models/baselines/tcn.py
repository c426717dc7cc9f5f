"""Temporal convolutional network (Bai, Kolter and Koltun 2018, arXiv 1803.01271, section 3). Input: ehr.

Level l is a residual block of two causal convolutions with dilation 2^l, each with weight normalisation, ReLU and spatial
dropout; a convolution of width 1 matches widths on the residual path. The last hour's output is classified. With kernel k
and L levels the output sees 1 + 2(k - 1)(2^L - 1) hours: 61 with the defaults, so the whole window of 48.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar, final

from annotated_types import Ge, Lt
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils.parametrizations import weight_norm

from emerge_ehr.fields import Positive
from emerge_ehr.models.baselines import Sizes
from emerge_ehr.models.batch import Batch
from emerge_ehr.models.hours import values_and_mask
from emerge_ehr.models.recurrent import until


@dataclass(frozen=True)
class Options:
    """Channels, levels, hours a convolution spans, dropout of channels."""

    hidden_size: Positive = 64
    levels: Positive = 4
    kernel: Annotated[int, Ge(2)] = 3
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.25
    reads: ClassVar[tuple[str, ...]] = ("ehr",)


def build(options: Options, *, sizes: Sizes, seed: int) -> "Tcn":
    """A network for ``sizes``."""
    return Tcn(options, sizes)


@final
class Tcn(nn.Module):
    """Outputs depend on earlier hours only, so that hours after the last need no masking."""

    def __init__(self, options: Options, sizes: Sizes) -> None:
        super().__init__()
        widths = [2 * sizes.features] + options.levels * [options.hidden_size]
        self.blocks = nn.Sequential(
            *(
                Block(inner, outer, options.kernel, 2**level, options.dropout)
                for level, (inner, outer) in enumerate(pairwise(widths))
            )
        )
        self.head = nn.Linear(options.hidden_size, sizes.labels)

    def forward(self, batch: Batch) -> Tensor:
        """Batch of N -> logits [N,K]."""
        _, last = until(self.states(values_and_mask(batch)), batch.ehr_length)
        logits: Tensor = self.head(last)
        return logits

    def states(self, hours: Tensor) -> Tensor:
        """Hours [N,T,I] -> what the last block gives for each [N,T,H]."""
        states: Tensor = self.blocks(hours.transpose(1, 2)).transpose(1, 2)
        return states


@final
class Block(nn.Module):
    """Channels first: [N,I,T] -> [N,O,T]."""

    def __init__(self, inner: int, outer: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.before = (kernel - 1) * dilation
        self.first = weight_norm(nn.Conv1d(inner, outer, kernel, dilation=dilation))
        self.second = weight_norm(nn.Conv1d(outer, outer, kernel, dilation=dilation))
        self.residual = nn.Conv1d(inner, outer, 1) if inner != outer else nn.Identity()
        self.dropout = nn.Dropout1d(dropout)

    def forward(self, hours: Tensor) -> Tensor:
        """Zero hours are put before the first, so that no output sees a later hour."""
        inner = self.dropout(self.first(pad(hours, (self.before, 0))).relu())
        inner = self.dropout(self.second(pad(inner, (self.before, 0))).relu())
        states: Tensor = (inner + self.residual(hours)).relu()
        return states
