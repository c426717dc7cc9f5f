"""RETAIN, the reverse time attention model (Choi et al. 2016, arXiv 1608.05745, section 2.2). Input: ehr.

The hours of the window are its visits: with x_j the z-scores and mask of hour j,

    v_j = W_emb x_j                                  g_j, h_j: two GRUs that read v from the last hour back to the first
    alpha = softmax_j(w . g_j + b)                   beta_j = tanh(W h_j + b)
    c = sum_j alpha_j (beta_j * v_j)                 logits = W c + b

so that an input's contribution to a logit is alpha_j W (beta_j * W_emb[:, i]) x_ji (section 2.3). Departures: dropout on v and c,
which the equations do not have; x holds measurements in place of codes; one prediction, at the last hour.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, final

import torch
from annotated_types import Ge, Lt
from torch import Tensor, nn

from emerge_ehr.fields import Positive
from emerge_ehr.models.baselines import Network, Sizes
from emerge_ehr.models.batch import Batch
from emerge_ehr.models.hours import inside, reversed_inside, values_and_mask


@dataclass(frozen=True)
class Options:
    """The width of v, g and h, and the dropout on v and c."""

    hidden_size: Positive = 128
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.25
    reads: ClassVar[tuple[str, ...]] = ("ehr",)


def build(options: Options, *, sizes: Sizes, seed: int) -> Network:
    """A RETAIN network for ``sizes``; ``seed`` is not used."""
    return Retain(options, sizes)


@final
class Retain(nn.Module):
    """The network; hours after a patient's last get no attention, and the reversed GRUs read them after all observed hours."""

    def __init__(self, options: Options, sizes: Sizes) -> None:
        super().__init__()
        width = options.hidden_size
        self.embedding = nn.Linear(2 * sizes.features, width, bias=False)
        self.alpha_gru = nn.GRU(width, width, batch_first=True)
        self.beta_gru = nn.GRU(width, width, batch_first=True)
        # A bias common to all hours would cancel in the softmax and never be trained.
        self.alpha = nn.Linear(width, 1, bias=False)
        self.beta = nn.Linear(width, width)
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(width, sizes.labels)

    def forward(self, batch: Batch) -> Tensor:
        """Batch of N -> logits [N,K]."""
        visits = self.dropout(self.embedding(values_and_mask(batch)))
        alpha, beta = self.attention(visits, batch)
        context = torch.einsum("nt,nth,nth->nh", alpha, beta, visits)
        logits: Tensor = self.head(self.dropout(context))
        return logits

    def attention(self, visits: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Visits [N,T,H] -> alpha [N,T], which sums to 1 over a patient's observed hours, and beta [N,T,H]."""
        backward = reversed_inside(visits, batch.ehr_length)
        of_alpha, of_beta = (
            reversed_inside(gru(backward)[0], batch.ehr_length) for gru in (self.alpha_gru, self.beta_gru)
        )
        score = self.alpha(of_alpha)[..., 0].masked_fill(~inside(batch), -torch.inf)
        return score.softmax(dim=1), self.beta(of_beta).tanh()

    def contributions(self, batch: Batch) -> Tensor:
        """What each input of each hour adds to the logits [N,T,2F,K], values before masks; with the head's bias they sum to them.

        The model should be in ``eval`` mode.
        """
        inputs = values_and_mask(batch)
        alpha, beta = self.attention(self.embedding(inputs), batch)
        effect = torch.einsum("kh,nth,hi->ntik", self.head.weight, beta, self.embedding.weight)
        return alpha[..., None, None] * inputs[..., None] * effect
