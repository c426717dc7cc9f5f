"""EHR and text query each other by multi-head cross-attention (Zhu et al. 2024, multimodal fusion network).

The original code gives each side to the other as a single vector. A softmax over one key is 1 whatever the query is, so that
its query and key weights are never trained. Here the queries are the same two representations, but there are more keys: all
hourly states (the last is the EHR's representation), and the fused text together with note and summary. With all attention on the
two representations, the result is that of the original. Each side also has one learned key and value that is always present, for
patients who have no text or no hour to attend to.

Sums and attention can hardly say that one modality changes what another means. So the products of what EHR, note and summary tell
are added, as in a factorisation machine (Rendle 2010, doi 10.1109/ICDM.2010.127), which finds them with few patients.
"""

import math
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
    ``products``: the products of each two of EHR and texts are added; as published, there are none.
    """

    residual: bool = True
    products: bool = True
    pieces: ClassVar[bool] = False


def build(options: Options, *, modalities: tuple[str, ...], hidden_size: int, heads: int, dropout: float) -> Fusion:
    """Two cross-attentions of ``heads`` heads; ``hidden_size`` is a multiple of ``heads``."""
    return CrossAttention(hidden_size, heads, options.residual, options.products)


@final
class CrossAttention(nn.Module):
    """W [attend(text -> hours); attend(ehr -> texts)] + b; with ``residual`` W [text + ...; ehr + ...] + b.

    With ``products``, P (sum of the products u_i u_j of each two of u = A ehr, B note, B summary) is added to either.
    """

    reads_shared = True

    def __init__(self, hidden_size: int, heads: int, residual: bool, products: bool) -> None:
        super().__init__()
        self.residual = residual
        self.text_to_ehr = nn.MultiheadAttention(hidden_size, heads, batch_first=True, add_bias_kv=True)
        self.ehr_to_text = nn.MultiheadAttention(hidden_size, heads, batch_first=True, add_bias_kv=True)
        self.projection = nn.Linear(2 * hidden_size, hidden_size)
        self.products = Products(hidden_size) if products else None

    def forward(self, modalities: Mapping[str, Modality]) -> Tensor:
        """EHR, text -> [N,H]."""
        ehr, text = modalities["ehr"], modalities["text"]
        from_ehr, _ = _attend(self.text_to_ehr, text.representation, ehr)
        from_text, _ = _attend(self.ehr_to_text, ehr.representation, text)
        if self.residual:
            from_ehr, from_text = text.representation + from_ehr, ehr.representation + from_text
        fused: Tensor = self.projection(torch.cat([from_ehr, from_text], dim=1))
        if self.products is not None:
            first = min(1, text.tokens.shape[1] - 1)  # the first of several is their fusion
            fused = fused + self.products(ehr.representation, text.tokens[:, first:], text.present[:, first:])
        return fused

    def attention(self, modalities: Mapping[str, Modality]) -> dict[str, Tensor]:
        """``ehr [N,T]``: the text's attention to the hours; ``text [N,L]``: the EHR's attention to fusion, note and summary.

        These are means over the heads. A row sums to 1 minus the weight of the learned key.
        """
        ehr, text = modalities["ehr"], modalities["text"]
        return {
            "ehr": _attend(self.text_to_ehr, text.representation, ehr)[1].mean(dim=1),
            "text": _attend(self.ehr_to_text, ehr.representation, text)[1].mean(dim=1),
        }


@final
class Products(nn.Module):
    """The pairwise products of EHR and texts, each projected. They begin near zero: the model starts as one without them."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.ehr, self.texts, self.projection = (nn.Linear(hidden_size, hidden_size, bias=False) for _ in range(3))
        nn.init.normal_(self.projection.weight, std=0.01)  # at zero the factors would get no gradient

    def forward(self, ehr: Tensor, texts: Tensor, present: Tensor) -> Tensor:
        """EHR [N,H], texts [N,L,H] and which of them are present [N,L] -> [N,H]."""
        told = torch.where(present[..., None], self.texts(texts), 0.0)
        factors = torch.cat([self.ehr(ehr)[:, None], told], dim=1)
        # the sum over all pairs, by (sum u)^2 = sum u^2 + 2 sum of pairs
        pairs = (factors.sum(dim=1).square() - factors.square().sum(dim=1)) / 2
        products: Tensor = self.projection(pairs)
        return products


def _attend(attention: nn.MultiheadAttention, query: Tensor, other: Modality) -> tuple[Tensor, Tensor]:
    """Query [N,H] over the other modality's tokens [N,L,H] that are present -> what was read [N,H], and the weights [N,heads,L],
    without that of the learned key.

    It is what ``attention`` itself computes. But with one query, the query can be projected to the tokens rather than L tokens to
    the query, and their weighted sum rather than each: a twentieth of the arithmetic at 48 hours, of training and of prediction.
    """
    heads, width = attention.num_heads, attention.head_dim
    assert attention.bias_k is not None and attention.bias_v is not None
    ask, keys, values = attention.in_proj_weight.view(3, heads, width, -1)
    ask_bias, key_bias, value_bias = attention.in_proj_bias.view(3, heads, width)
    learned_key, learned_value = attention.bias_k.view(heads, width), attention.bias_v.view(heads, width)
    asked = (torch.einsum("nh,adh->nad", query, ask) + ask_bias) / math.sqrt(width)
    scores = _times(torch.einsum("nad,adh->nah", asked, keys), other.tokens.transpose(1, 2), other.whose)
    scores = scores + (asked * key_bias).sum(dim=-1, keepdim=True)
    present = other.present if other.whose is None else other.present[other.whose]
    scores = scores.masked_fill(~present[:, None], -torch.inf)
    weights = torch.cat([scores, (asked * learned_key).sum(dim=-1, keepdim=True)], dim=-1).softmax(dim=-1)
    of_tokens, of_learned = weights[..., :-1], weights[..., -1:]
    read = torch.einsum("nah,adh->nad", _times(of_tokens, other.tokens, other.whose), values)
    read = read + of_tokens.sum(dim=-1, keepdim=True) * value_bias + of_learned * learned_value
    attended: Tensor = attention.out_proj(read.flatten(1))
    return attended, of_tokens


def _times(rows: Tensor, tokens: Tensor, whose: Tensor | None) -> Tensor:
    """Rows [N,a,b] times the tokens [G,b,c] of each, those at ``whose`` [N] or its own -> [N,a,c].

    All rows of one patient are multiplied at once: what-ifs have sixteen of each, and this takes an eighth of the time.
    """
    if whose is None:
        return rows @ tokens
    order = whose.argsort(stable=True)
    ordered = whose[order]
    first = torch.searchsorted(ordered, torch.arange(len(tokens), device=whose.device))
    place = torch.empty_like(whose)
    place[order] = torch.arange(len(whose), device=whose.device) - first[ordered]
    together = rows.new_zeros(len(tokens), int(place.max()) + 1, *rows.shape[1:])
    together[whose, place] = rows
    product = together.flatten(1, 2) @ tokens
    return product.view(*together.shape[:3], -1)[whose, place]
