"""Irregular multimodal modelling (Zhang et al., ICML 2023, arXiv 2210.12156), the MPIM of EMERGE's table. Inputs: ehr, note.

The series becomes one state per hour in two ways, which a gate mixes: a projection of the forward-filled values, and
multi-time attention over the hours in which each feature was measured (Shukla and Marlin, ICLR 2021). Time attention gives states
of the notes at the same hours. Layers of self-attention, of attention between both, and of feed-forward networks interleave the
two, and the last states of both are classified.

As published: a learned time embedding (one linear component, the others sines), the gate in the hidden space, layer norm before
each sub-layer, and a residual classifier. Departures: the note is one fixed embedding without a time, and attention over one note
gives its projection at every hour; the language model is not trained; a patient without a note has a learned vector; positions
are sinusoidal, not learned; the text encoder has no warm-up.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, final

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from emerge_ehr.fields import Positive, UserError
from emerge_ehr.models.baselines import Network, Sizes
from emerge_ehr.models.batch import Batch
from emerge_ehr.models.hours import inside, values_and_mask
from emerge_ehr.models.recurrent import until
from emerge_ehr.models.transformer import positions


@dataclass(frozen=True)
class Options:
    """Width and ``time_size``, the width of the time embedding (multiples of ``heads``); heads, layers, dropout."""

    hidden_size: Positive = 128
    heads: Positive = 8
    time_size: Annotated[int, Gt(1)] = 64
    layers: Positive = 2
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.25
    reads: ClassVar[tuple[str, ...]] = ("ehr", "note")


def build(options: Options, *, sizes: Sizes, seed: int) -> Network:
    """An MPIM network for ``sizes``; ``seed`` is not used.

    Raises:
        UserError: a width is not a multiple of ``heads``.
    """
    if options.hidden_size % options.heads or options.time_size % options.heads:
        raise UserError("[baseline] name = 'mpim': hidden_size and time_size must be multiples of heads")
    return Mpim(options, sizes)


@final
class Mpim(nn.Module):
    """The network; hours after a patient's last are masked in every attention."""

    def __init__(self, options: Options, sizes: Sizes) -> None:
        super().__init__()
        width = options.hidden_size
        self.imputed = nn.Linear(2 * sizes.features, width, bias=False)
        self.interpolated = TimeAttention(2 * sizes.features, width, options.time_size, options.heads)
        self.gate = nn.Sequential(
            nn.Dropout(options.dropout), nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, width), nn.Sigmoid()
        )
        self.note = nn.Linear(sizes.note_width, width)
        self.absent = nn.Parameter(torch.randn(width))
        layers = [Interleaved(width, options.heads, options.dropout) for _ in range(options.layers)]
        self.layers = nn.ModuleList(layers)
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.dropout = nn.Dropout(options.dropout)
        self.residual = nn.Sequential(
            nn.Linear(2 * width, 2 * width), nn.ReLU(), nn.Dropout(options.dropout), nn.Linear(2 * width, 2 * width)
        )
        self.head = nn.Linear(2 * width, sizes.labels)

    def forward(self, batch: Batch) -> Tensor:
        """Batch of N -> logits [N,K]."""
        padding = ~inside(batch)
        note = torch.where(batch.note_mask[:, None] > 0, self.note(batch.note_embedding), self.absent)
        series = self.series(batch)
        place = positions(series.shape[1], series)
        notes, series = self.dropout(note[:, None] + place), self.dropout(series + place)
        for layer in self.layers:
            notes, series = layer(notes, series, padding)
        ends = [norm(states) for norm, states in zip(self.norms, (notes, series), strict=True)]
        _, last = until(torch.cat(ends, dim=2), batch.ehr_length)
        logits: Tensor = self.head(last + self.residual(last))
        return logits

    def series(self, batch: Batch) -> Tensor:
        """Batch of N -> the gated mixture of both embeddings of the series [N,T,H]."""
        values = values_and_mask(batch)
        measured = torch.where(inside(batch)[..., None], batch.ehr_mask, 0.0)
        imputed = self.imputed(values)
        interpolated = self.interpolated(values, torch.cat([measured, measured], dim=2))
        gate = self.gate(torch.cat([interpolated, imputed], dim=2))
        mixture: Tensor = gate * interpolated + (1 - gate) * imputed
        return mixture


@final
class TimeAttention(nn.Module):
    """Multi-time attention: a channel's value at every hour as the softmax-weighted mean of its measured hours' values."""

    def __init__(self, channels: int, width: int, time_size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.linear = nn.Linear(1, 1)
        self.periodic = nn.Linear(1, time_size - 1)
        self.query = nn.Linear(time_size, time_size)
        self.key = nn.Linear(time_size, time_size)
        self.output = nn.Linear(heads * channels, width)

    def forward(self, values: Tensor, measured: Tensor) -> Tensor:
        """Values [N,T,C], measured [N,T,C] (0 or 1) -> [N,T,H]; a channel that was never measured counts as 0."""
        weights = self.weights(values.shape[1], values)
        total = torch.einsum("hqk,nkc->nqhc", weights, measured)
        mean = torch.einsum("hqk,nkc->nqhc", weights, values * measured) / total.clamp(min=1e-30)
        states: Tensor = self.output(mean.flatten(start_dim=2))
        return states

    def weights(self, hours: int, like: Tensor) -> Tensor:
        """The exponential of hour q's score for hour k [heads,T,T], the same for every patient and channel."""
        time = torch.linspace(0, 1, hours, device=like.device, dtype=like.dtype)[:, None]
        embedding = torch.cat([self.linear(time), self.periodic(time).sin()], dim=1)
        query, key = (part(embedding).view(hours, self.heads, -1) for part in (self.query, self.key))
        scores = torch.einsum("qhd,khd->hqk", query, key) / query.shape[2] ** 0.5
        weights: Tensor = (scores - scores.amax(dim=2, keepdim=True)).exp()
        return weights


@final
class Interleaved(nn.Module):
    """A layer: self-attention of notes and of series, attention of each to the other, feed-forward networks; all residual."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(6)])
        self.attentions = nn.ModuleList(
            [nn.MultiheadAttention(width, heads, dropout, batch_first=True) for _ in range(4)]
        )
        self.feed_forward = nn.ModuleList(
            [
                nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(4 * width, width))
                for _ in range(2)
            ]
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, notes: Tensor, series: Tensor, padding: Tensor) -> tuple[Tensor, Tensor]:
        """Notes and series [N,T,H], padding [N,T] bool (true after the last hour) -> the next notes and series [N,T,H]."""
        first, second = self.norms[0](notes), self.norms[1](series)
        notes, series = (
            notes + self._attend(0, first, first, padding),
            series + self._attend(1, second, second, padding),
        )
        first, second = self.norms[2](notes), self.norms[3](series)
        notes, series = (
            notes + self._attend(2, first, second, padding),
            series + self._attend(3, second, first, padding),
        )
        notes = notes + self.dropout(self.feed_forward[0](self.norms[4](notes)))
        return notes, series + self.dropout(self.feed_forward[1](self.norms[5](series)))

    def _attend(self, which: int, query: Tensor, key: Tensor, padding: Tensor) -> Tensor:
        attended, _ = self.attentions[which](query, key, key, key_padding_mask=padding, need_weights=False)
        states: Tensor = self.dropout(attended)
        return states
