"""GRU-D: a GRU whose inputs and state decay while nothing is measured (Che et al. 2018, doi 10.1038/s41598-018-24271-9).

With m the mask, x' the last measured value and delta the hours since then (Methods, GRU-D):

    gamma_x = exp(-max(0, w * delta + b))            gamma_h = exp(-max(0, W delta + b))
    x_hat = m x + (1 - m)(gamma_x x' + (1 - gamma_x) mean)
    h <- gamma_h * h, then a GRU step on x_hat whose gates and candidate also see m

Input: ehr. Its z-scores are forward-filled, so that they hold x where measured and x' elsewhere, and the training mean is 0.
Departures: no batch normalisation; dropout on the last state only.
"""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, final

import torch
from annotated_types import Ge, Lt
from torch import Tensor, nn

from emerge_ehr.fields import Positive
from emerge_ehr.models.baselines import Network, Sizes
from emerge_ehr.models.batch import Batch
from emerge_ehr.models.recurrent import until


@dataclass(frozen=True)
class Options:
    """Width of the state, and dropout on the last state."""

    hidden_size: Positive = 128
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.25
    reads: ClassVar[tuple[str, ...]] = ("ehr",)


def build(options: Options, *, sizes: Sizes, seed: int) -> Network:
    """A GRU-D network for ``sizes``; ``seed`` is not used."""
    return GruD(options, sizes)


def hours_since_measured(mask: Tensor) -> Tensor:
    """Mask [N,T,F] -> delta [N,T,F]: hours since a feature's last measurement before this hour, or since the window's start.

    With ``cohort.bin_hours``, they are counted in bins.

    >>> hours_since_measured(torch.tensor([[[0.0], [1.0], [0.0], [0.0], [1.0]]])).flatten().tolist()
    [0.0, 1.0, 1.0, 2.0, 3.0]
    """
    hour = torch.arange(mask.shape[1], device=mask.device)[None, :, None]
    measured = torch.where(mask > 0, hour, 0).cummax(dim=1).values
    before = torch.cat([torch.zeros_like(measured[:, :1]), measured[:, :-1]], dim=1)
    return (hour - before).to(mask.dtype)


@final
class GruD(nn.Module):
    """The network; a state depends on its hour and earlier ones only, so that padding after the last hour needs no mask."""

    def __init__(self, options: Options, sizes: Sizes) -> None:
        super().__init__()
        features, width = sizes.features, options.hidden_size
        bound = 1 / math.sqrt(features)
        self.input_decay = nn.Parameter(torch.empty(features).uniform_(-bound, bound))
        self.input_decay_bias = nn.Parameter(torch.empty(features).uniform_(-bound, bound))
        self.state_decay = nn.Linear(features, width)
        self.from_input = nn.Linear(2 * features, 3 * width)  # reset, update, candidate; x_hat, then m
        self.gates = nn.Linear(width, 2 * width, bias=False)
        self.candidate = nn.Linear(width, width, bias=False)
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(width, sizes.labels)

    def forward(self, batch: Batch) -> Tensor:
        """Batch of N -> logits [N,K]."""
        _, last = until(self.states(batch), batch.ehr_length)
        logits: Tensor = self.head(self.dropout(last))
        return logits

    def states(self, batch: Batch) -> Tensor:
        """Batch of N -> the state after each hour [N,T,H]."""
        mask, delta = batch.ehr_mask, hours_since_measured(batch.ehr_mask)
        input_decay = torch.exp(-(self.input_decay * delta + self.input_decay_bias).relu())
        state_decay = torch.exp(-self.state_decay(delta).relu())
        imputed = batch.ehr * (mask + (1 - mask) * input_decay)
        driven = self.from_input(torch.cat([imputed, mask], dim=2))
        state, states = torch.zeros_like(state_decay[:, 0]), []
        for decay, of_input in zip(state_decay.unbind(dim=1), driven.unbind(dim=1), strict=True):
            state = self.step(state * decay, of_input)
            states.append(state)
        return torch.stack(states, dim=1)

    def step(self, state: Tensor, of_input: Tensor) -> Tensor:
        """Decayed state [N,H], input terms [N,3H] -> next state [N,H]."""
        reset_input, update_input, candidate_input = of_input.chunk(3, dim=1)
        reset_state, update_state = self.gates(state).chunk(2, dim=1)
        reset, update = (reset_input + reset_state).sigmoid(), (update_input + update_state).sigmoid()
        candidate = (candidate_input + self.candidate(reset * state)).tanh()
        following: Tensor = (1 - update) * state + update * candidate
        return following
