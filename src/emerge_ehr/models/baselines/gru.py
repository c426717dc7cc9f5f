"""GRU over the hours (Cho et al. 2014, doi 10.3115/v1/D14-1179), its last state classified. Input: ehr.

An hour is its z-scores beside the mask of what was measured, as EMERGE's encoder reads it.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, final

from annotated_types import Ge, Lt
from torch import Tensor, nn

from emerge_ehr.fields import Positive
from emerge_ehr.models.baselines import Sizes
from emerge_ehr.models.batch import Batch
from emerge_ehr.models.hours import values_and_mask
from emerge_ehr.models.recurrent import Recurrent


@dataclass(frozen=True)
class Options:
    """Width and number of layers; dropout of the last state."""

    hidden_size: Positive = 128
    layers: Positive = 1
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.25
    reads: ClassVar[tuple[str, ...]] = ("ehr",)


def build(options: Options, *, sizes: Sizes, seed: int) -> "Gru":
    """A GRU for ``sizes``."""
    return Gru(options, sizes)


@final
class Gru(nn.Module):
    """A state depends on earlier hours only, so that hours after the last need no masking."""

    def __init__(self, options: Options, sizes: Sizes) -> None:
        super().__init__()
        cells = nn.GRU(2 * sizes.features, options.hidden_size, options.layers, batch_first=True)
        self.gru = Recurrent(cells)
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(options.hidden_size, sizes.labels)

    def forward(self, batch: Batch) -> Tensor:
        """Batch of N -> logits [N,K]."""
        _, last = self.gru(values_and_mask(batch), batch.ehr_length)
        logits: Tensor = self.head(self.dropout(last))
        return logits
