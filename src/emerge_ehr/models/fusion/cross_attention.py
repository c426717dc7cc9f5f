"""EHR and text query each other by multi-head cross-attention (Zhu et al. 2024, multimodal fusion network).

The original code gives each side to the other as a single vector. A softmax over one key is 1 whatever the query, so
there the query and key weights never train. Here the queries are the same two representations, and the keys add what
these were made of: all hourly states (the last is the EHR representation), and the fused text with the note and the
summary. Attention that settles on the two representations gives back the original. Each side also has one learned key
and value that is always there: where a patient has no text, or no hour, attention has somewhere to go.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from emerge_ehr.models.fusion import Fusion, Modality


@dataclass(frozen=True)
class Options:
    """None."""

    pieces: ClassVar[bool] = False


def build(options: Options, *, modalities: tuple[str, ...], hidden_size: int, heads: int, dropout: float) -> Fusion:
    """Two cross-attentions of ``heads`` heads; ``hidden_size`` is a multiple of ``heads``."""
    return CrossAttention(hidden_size, heads)


@final
class CrossAttention(nn.Module):
    """W [attend(text -> hours); attend(ehr -> texts)] + b."""

    def __init__(self, hidden_size: int, heads: int) -> None:
        super().__init__()
        self.text_to_ehr = nn.MultiheadAttention(hidden_size, heads, batch_first=True, add_bias_kv=True)
        self.ehr_to_text = nn.MultiheadAttention(hidden_size, heads, batch_first=True, add_bias_kv=True)
        self.projection = nn.Linear(2 * hidden_size, hidden_size)

    def forward(self, modalities: Mapping[str, Modality]) -> Tensor:
        """EHR, text -> [N,H]."""
        ehr, text = modalities["ehr"], modalities["text"]
        from_ehr = _attend(self.text_to_ehr, text.representation, ehr)
        from_text = _attend(self.ehr_to_text, ehr.representation, text)
        fused: Tensor = self.projection(torch.cat([from_ehr, from_text], dim=1))
        return fused

    def attention(self, modalities: Mapping[str, Modality]) -> dict[str, Tensor]:
        """``ehr [N,T]``: what the text looked at; ``text [N,L]``: what the EHR looked at, of fusion, note and summary.

        Means over the heads. Each sums to 1, less what went to the learned key.
        """
        ehr, text = modalities["ehr"], modalities["text"]
        return {
            "ehr": _weights(self.text_to_ehr, text.representation, ehr),
            "text": _weights(self.ehr_to_text, ehr.representation, text),
        }


def _attend(attention: nn.MultiheadAttention, query: Tensor, other: Modality) -> Tensor:
    """Query [N,H] over the other modality's tokens [N,L,H] that are present -> [N,H]."""
    keys = other.tokens
    found, _ = attention(query[:, None], keys, keys, key_padding_mask=~other.present, need_weights=False)
    answer: Tensor = found[:, 0]
    return answer


def _weights(attention: nn.MultiheadAttention, query: Tensor, other: Modality) -> Tensor:
    """Query [N,H] over the other modality's tokens [N,L,H] -> weights [N,L], without that of the learned key."""
    keys = other.tokens
    _, weights = attention(query[:, None], keys, keys, key_padding_mask=~other.present)
    found: Tensor = weights[:, 0, :-1]
    return found
