"""EHR and text query each other by multi-head cross-attention (Zhu et al. 2024, multimodal fusion network).

The original code gives each side to the other as a single vector. A softmax over one key is 1 whatever the query is, so that
its query and key weights are never trained. Here the queries are the same two representations, but there are more keys: all
hourly states (the last is the EHR's representation), and the fused text together with note and summary. With all attention on the
two representations, the result is that of the original. Each side also has one learned key and value that is always present, for
patients who have no text or no hour to attend to.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from emerge_ehr.models.fusion import Fusion, Modality


@dataclass(frozen=True)
class Options:
    """``residual``: each side keeps its own representation, to which what it read of the other is added.

    Without it (as published), what the attention passes by is lost: by a softmax, more of one hour or text is less of others.
    """

    residual: bool = True
    pieces: ClassVar[bool] = False


def build(options: Options, *, modalities: tuple[str, ...], hidden_size: int, heads: int, dropout: float) -> Fusion:
    """Two cross-attentions of ``heads`` heads; ``hidden_size`` is a multiple of ``heads``."""
    return CrossAttention(hidden_size, heads, options.residual)


@final
class CrossAttention(nn.Module):
    """W [attend(text -> hours); attend(ehr -> texts)] + b; with ``residual`` W [text + ...; ehr + ...] + b."""

    def __init__(self, hidden_size: int, heads: int, residual: bool) -> None:
        super().__init__()
        self.residual = residual
        self.text_to_ehr = nn.MultiheadAttention(hidden_size, heads, batch_first=True, add_bias_kv=True)
        self.ehr_to_text = nn.MultiheadAttention(hidden_size, heads, batch_first=True, add_bias_kv=True)
        self.projection = nn.Linear(2 * hidden_size, hidden_size)

    def forward(self, modalities: Mapping[str, Modality]) -> Tensor:
        """EHR, text -> [N,H]."""
        ehr, text = modalities["ehr"], modalities["text"]
        from_ehr = _attend(self.text_to_ehr, text.representation, ehr)
        from_text = _attend(self.ehr_to_text, ehr.representation, text)
        if self.residual:
            from_ehr, from_text = text.representation + from_ehr, ehr.representation + from_text
        fused: Tensor = self.projection(torch.cat([from_ehr, from_text], dim=1))
        return fused

    def attention(self, modalities: Mapping[str, Modality]) -> dict[str, Tensor]:
        """``ehr [N,T]``: the text's attention to the hours; ``text [N,L]``: the EHR's attention to fusion, note and summary.

        These are means over the heads. A row sums to 1 minus the weight of the learned key.
        """
        ehr, text = modalities["ehr"], modalities["text"]
        return {
            "ehr": _weights(self.text_to_ehr, text.representation, ehr),
            "text": _weights(self.ehr_to_text, ehr.representation, text),
        }


def _attend(attention: nn.MultiheadAttention, query: Tensor, other: Modality) -> Tensor:
    """Query [N,H] over the other modality's tokens [N,L,H] that are present -> [N,H]."""
    keys = other.tokens
    values, _ = attention(query[:, None], keys, keys, key_padding_mask=~other.present, need_weights=False)
    attended: Tensor = values[:, 0]
    return attended


def _weights(attention: nn.MultiheadAttention, query: Tensor, other: Modality) -> Tensor:
    """Query [N,H] over the other modality's tokens [N,L,H] -> weights [N,L], without the weight of the learned key."""
    keys = other.tokens
    _, weights = attention(query[:, None], keys, keys, key_padding_mask=~other.present)
    of_tokens: Tensor = weights[:, 0, :-1]
    return of_tokens
