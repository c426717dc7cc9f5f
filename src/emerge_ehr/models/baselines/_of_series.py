"""Makes a baseline of any series encoder, whose last state is classified. Input: ehr.

The encoder reads each hour as its z-scores and the mask of what was measured, as it does in EMERGE.
"""

import inspect
from dataclasses import dataclass, make_dataclass
from typing import Annotated, Any, ClassVar, final

from annotated_types import Ge, Lt
from torch import Tensor, nn

from emerge_ehr import components
from emerge_ehr.fields import Positive
from emerge_ehr.models.baselines import Network, Sizes
from emerge_ehr.models.batch import Batch
from emerge_ehr.models.hours import values_and_mask
from emerge_ehr.models.series import Series


@dataclass(frozen=True)
class Options:
    """Options beside the encoder's own: its width, its heads if it has any, and the dropout in it and on the last state."""

    hidden_size: Positive = 128
    heads: Positive = 4
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.25
    reads: ClassVar[tuple[str, ...]] = ("ehr",)


def takes(plug: Any) -> bool:
    """Whether ``plug`` is a series encoder rather than a baseline: its ``build`` takes the number of values per hour."""
    return "input_size" in inspect.signature(plug.build).parameters


@final
class Adapted:
    """A baseline plug made of an encoder's plug, with ``Options`` and ``build`` as the module of a plug has them."""

    def __init__(self, encoder: Any) -> None:
        self.encoder = encoder
        # One section of the config fills the options of both, so this class inherits the encoder's checks and properties too.
        self.Options = make_dataclass("Options", [], bases=(Options, encoder.Options), frozen=True)

    def build(self, options: Any, *, sizes: Sizes, seed: int) -> Network:
        """The encoder for ``sizes``, and a linear layer on its last state."""
        context = {"hidden_size": options.hidden_size, "heads": options.heads, "dropout": options.dropout}
        series = components.apply(self.encoder.build, options, input_size=2 * sizes.features, **context)
        return Classified(series, options, sizes)


@final
class Classified(nn.Module):
    """A linear layer on the encoder's last state before ``ehr_length``, which depends on observed hours only."""

    def __init__(self, series: Series, options: Options, sizes: Sizes) -> None:
        super().__init__()
        self.series = series
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(options.hidden_size, sizes.labels)

    def forward(self, batch: Batch) -> Tensor:
        """Batch of N -> logits [N,K]."""
        _, last = self.series(values_and_mask(batch), batch.ehr_length)
        logits: Tensor = self.head(self.dropout(last))
        return logits
