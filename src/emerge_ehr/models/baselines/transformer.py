"""Transformer encoder over the hours (Vaswani et al. 2017, arXiv 1706.03762, section 3), their mean classified. Input: ehr.

Departures: layer norm before each sub-layer rather than after, which needs no warm-up of the learning rate; the mean of the
observed hours' states is classified, since there is no decoder.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, final

from annotated_types import Ge, Lt
from torch import Tensor, nn

from emerge_ehr.fields import Positive, UserError
from emerge_ehr.models.baselines import Sizes
from emerge_ehr.models.batch import Batch
from emerge_ehr.models.hours import inside, mean_inside, values_and_mask
from emerge_ehr.models.transformer import positions


@dataclass(frozen=True)
class Options:
    """Width (a multiple of ``heads``), heads and layers; dropout within layers and of the mean."""

    hidden_size: Positive = 128
    heads: Positive = 4
    layers: Positive = 2
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.25
    reads: ClassVar[tuple[str, ...]] = ("ehr",)


def build(options: Options, *, sizes: Sizes, seed: int) -> "Transformer":
    """An encoder for ``sizes``.

    Raises:
        UserError: the width does not divide.
    """
    if options.hidden_size % options.heads:
        raise UserError("[baseline] name = 'transformer': hidden_size must be a multiple of heads")
    return Transformer(options, sizes)


@final
class Transformer(nn.Module):
    """Hours after the last are masked as keys and left out of the mean."""

    def __init__(self, options: Options, sizes: Sizes) -> None:
        super().__init__()
        width = options.hidden_size
        self.embedding = nn.Linear(2 * sizes.features, width)
        layer = nn.TransformerEncoderLayer(
            width, options.heads, 4 * width, options.dropout, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, options.layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(width, sizes.labels)

    def forward(self, batch: Batch) -> Tensor:
        """Batch of N -> logits [N,K]."""
        observed = inside(batch)
        hours = self.embedding(values_and_mask(batch))
        hours = hours + positions(hours.shape[1], hours)
        states = self.encoder(hours, src_key_padding_mask=~observed)
        logits: Tensor = self.head(self.dropout(mean_inside(states, observed)))
        return logits
