"""The cross-attention of the original code: each side is one vector, so that each attends to one other.

A softmax over a single key is 1 whatever the query is. What each side reads is therefore a linear map of the other, and the keys
and queries are never trained. The two are then pooled by attention, with their mean as the query (Zhu et al. 2024, code of the
first version). ``cross_attention`` gives both sides more to attend to.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from emerge_ehr.models.fusion import Fusion, Modality


@dataclass(frozen=True)
class Options:
    """This fusion has no options."""

    pieces: ClassVar[bool] = False


def build(options: Options, *, modalities: tuple[str, ...], hidden_size: int, heads: int, dropout: float) -> Fusion:
    """Two attentions of ``heads`` heads; ``hidden_size`` is a multiple of ``heads``."""
    return Published(hidden_size, heads)


@final
class Published(nn.Module):
    """c = [attend(text -> ehr), attend(ehr -> text)], two vectors; softmax(c q) c with q = W mean(c) + b."""

    def __init__(self, hidden_size: int, heads: int) -> None:
        super().__init__()
        self.text_to_ehr = nn.MultiheadAttention(hidden_size, heads, batch_first=True)
        self.ehr_to_text = nn.MultiheadAttention(hidden_size, heads, batch_first=True)
        self.query = nn.Linear(hidden_size, hidden_size)

    def forward(self, modalities: Mapping[str, Modality]) -> Tensor:
        """EHR, text -> [N,H]."""
        ehr, text = (modalities[name].representation[:, None] for name in ("ehr", "text"))
        of_ehr = self.text_to_ehr(text, ehr, ehr, need_weights=False)[0]
        of_text = self.ehr_to_text(ehr, text, text, need_weights=False)[0]
        read = torch.cat([of_ehr, of_text], dim=1)  # [N,2,H]
        query = self.query(read.mean(dim=1))
        weights = torch.softmax((read @ query[..., None]).squeeze(-1), dim=1)
        fused: Tensor = (weights[..., None] * read).sum(dim=1)
        return fused

    def attention(self, modalities: Mapping[str, Modality]) -> None:
        """None: each side has one vector to attend to, whose weight is always 1."""
