"""VecoCare's prediction stage, without its pre-training (Xu et al., IJCAI 2023, doi 10.24963/ijcai.2023/547). Inputs: ehr, note.

Visits and note are encoded, then read together by an encoder whose attention is added to a local convolution of its values
(``Blended``). The last visit's state s and the note's state t are classified together with the notes t' of remembered training
patients (s', t'), which are read through two channels:

    similar = softmax(s . s') t'        dissimilar = -softmax(-s . s') t'        logits = W [s; t; similar; dissimilar] + b

This follows the abstract and the authors' code; the paper's full text was not at hand. Departures: neither pre-training task is
run, since masked words and codes need vocabularies, and the distance between the parts of a note and of a stay needs several
parts, where here a note is one fixed embedding. Pre-training is most of what the paper proposes, so its result here is that of
the architecture only. The visits are the window's hours, evenly spaced; they are encoded by an ordinary transformer rather than
a time-aware one. The memory holds the latest training steps rather than the previous epoch, and starts empty, not random.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, final

import torch
from annotated_types import Ge, Lt
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from emerge_ehr.fields import Positive, UserError
from emerge_ehr.models.baselines import Network, Sizes
from emerge_ehr.models.batch import Batch
from emerge_ehr.models.hours import inside, values_and_mask
from emerge_ehr.models.patient_memory import PatientMemory
from emerge_ehr.models.recurrent import until
from emerge_ehr.models.transformer import positions


@dataclass(frozen=True)
class Options:
    """Width, a multiple of ``heads``; heads; layers of the joint encoder; dropout.

    ``kernel``: the hours that its convolution spans, an odd number. ``memory``: how many training patients it remembers.
    """

    hidden_size: Positive = 128
    heads: Positive = 4
    layers: Positive = 1
    kernel: Positive = 3
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.25
    memory: Positive = 1024
    reads: ClassVar[tuple[str, ...]] = ("ehr", "note")


def build(options: Options, *, sizes: Sizes, seed: int) -> Network:
    """A VecoCare network for ``sizes``; ``seed`` is not used.

    Raises:
        UserError: the width is not a multiple of ``heads``, or the kernel is even.
    """
    if options.hidden_size % options.heads or not options.kernel % 2:
        raise UserError("[baseline] name = 'vecocare': hidden_size must be a multiple of heads, kernel odd")
    return VecoCare(options, sizes)


@final
class VecoCare(nn.Module):
    """The network; hours after a patient's last, and a missing note, are masked as keys and are zero in the convolution."""

    def __init__(self, options: Options, sizes: Sizes) -> None:
        super().__init__()
        width = options.hidden_size
        self.visit = nn.Linear(2 * sizes.features, width)
        self.visits = nn.TransformerEncoderLayer(
            width, options.heads, 4 * width, options.dropout, batch_first=True, norm_first=True
        )
        self.note = nn.Linear(sizes.note_width, width)
        self.kind = nn.Parameter(torch.randn(2, width) * 0.02)
        self.joint = nn.ModuleList(
            [Blended(width, options.heads, options.kernel, options.dropout) for _ in range(options.layers)]
        )
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(4 * width, sizes.labels)
        self.memory = PatientMemory(options.memory, 2 * width + 1)

    def forward(self, batch: Batch) -> Tensor:
        """Batch of N -> logits [N,K]."""
        visit, note = self.represent(batch)
        similar, dissimilar = self.retrieve(visit)
        if self.training:
            self.memory.remember(torch.cat([visit, note, batch.note_mask[:, None]], dim=1))
        logits: Tensor = self.head(self.dropout(torch.cat([visit, note, similar, dissimilar], dim=1)))
        return logits

    def represent(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Batch of N -> joint states of the last hour [N,H] and of the note [N,H], which is zero where there is no note."""
        observed, has_note = inside(batch), batch.note_mask[:, None] > 0
        hours = self.visit(values_and_mask(batch))
        hours = hours + positions(hours.shape[1], hours)
        hours = self.visits(hours, src_key_padding_mask=~observed) + self.kind[0]
        note = torch.where(has_note, self.note(batch.note_embedding), 0.0) + self.kind[1]
        present = torch.cat([observed, has_note], dim=1)
        states = torch.cat([hours, note[:, None]], dim=1)
        for layer in self.joint:
            states = layer(states, present)
        states = self.norm(states)
        _, last = until(states[:, :-1], batch.ehr_length)
        return last, torch.where(has_note, states[:, -1], 0.0)

    def retrieve(self, visit: Tensor) -> tuple[Tensor, Tensor]:
        """Last visits [N,H] -> the notes of similar and of dissimilar remembered patients, each [N,H]; 0 while there are none."""
        width = visit.shape[1]
        remembered = self.memory.vectors.clone()  # the gradient needs them as they are now
        stays, notes, usable = remembered[:, :width], remembered[:, width:-1], remembered[:, -1] > 0
        score = visit @ stays.T
        both = [_softmax(score, usable) @ notes, -_softmax(-score, usable) @ notes]
        return both[0], both[1]


@final
class Blended(nn.Module):
    """A pre-norm transformer layer whose attention output has a convolution of the values added before it is projected."""

    def __init__(self, width: int, heads: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.rate = heads, dropout
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.projected = nn.Linear(width, 3 * width)
        self.local = nn.Conv1d(width, width, kernel, padding="same")
        self.output = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 4 * width), nn.SELU(), nn.Dropout(dropout), nn.Linear(4 * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, present: Tensor) -> Tensor:
        """States [N,L,H], present [N,L] bool -> [N,L,H]."""
        query, key, value = self.projected(self.norms[0](states)).chunk(3, dim=2)
        value = torch.where(present[..., None], value, 0.0)
        split = [part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (query, key, value)]
        rate = self.rate if self.training else 0.0
        mask = present[:, None, None, :]
        attended = scaled_dot_product_attention(split[0], split[1], split[2], attn_mask=mask, dropout_p=rate)
        local = self.local(value.transpose(1, 2)).transpose(1, 2)
        states = states + self.dropout(self.output(attended.transpose(1, 2).flatten(2) + local))
        blended: Tensor = states + self.dropout(self.feed_forward(self.norms[1](states)))
        return blended


def _softmax(score: Tensor, usable: Tensor) -> Tensor:
    """Score [N,M] -> weights [N,M] over the ``usable`` [M] patients; all 0 if there are none."""
    weights = score.masked_fill(~usable, torch.finfo(score.dtype).min).softmax(dim=1)
    return weights * usable
