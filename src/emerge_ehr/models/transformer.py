"""Parts of the Transformer (Vaswani et al. 2017), with the norm before each sublayer (Xiong et al. 2020, arXiv 2002.04745).

PyTorch's own layer computes evaluation differently from training and hides its attention weights. This one computes both alike
and returns the weights.
"""

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

WIDENING = 4  # width of the feed-forward part, in hidden sizes (Vaswani et al. 2017)


def positions(length: int, like: Tensor) -> Tensor:
    """Sinusoids [length,H] of the width, type and device of ``like [...,H]``: sin(p / 10000^(2i/H)) in component 2i, cos in 2i+1.

    They are not learned, so that a window that is longer than any in training has positions too.
    """
    component = torch.arange(like.shape[-1], device=like.device)
    rate = torch.exp(-math.log(10_000) * (component - component % 2) / like.shape[-1])
    angle = torch.arange(length, device=like.device)[:, None] * rate
    return torch.where(component % 2 == 0, angle.sin(), angle.cos()).to(like.dtype)


@final
class Block(nn.Module):
    """One layer: x + MultiHead(norm(x)), then x + W_2 GELU(W_1 norm(x))."""

    def __init__(self, hidden_size: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(hidden_size)
        self.query_key_value = nn.Linear(hidden_size, 3 * hidden_size)
        self.output = nn.Linear(hidden_size, hidden_size)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(hidden_size),
            nn.Linear(hidden_size, WIDENING * hidden_size),
            nn.GELU(),
            nn.Linear(WIDENING * hidden_size, hidden_size),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, allowed: Tensor, rows: int | None = None) -> Tensor:
        """Tokens [N,L,H] -> [N,L,H], or only the first ``rows`` tokens of it.

        ``allowed``, bool, broadcasts to [N,heads,rows,L]: whether token i may attend to token j. Each may attend to at least one.
        """
        query, key, value = self._split(tokens)
        attended = scaled_dot_product_attention(query[:, :, :rows], key, value, attn_mask=allowed)
        tokens = tokens[:, :rows] + self.dropout(self.output(attended.transpose(1, 2).flatten(2)))
        after: Tensor = tokens + self.dropout(self.feed_forward(tokens))
        return after

    def weights(self, tokens: Tensor, allowed: Tensor) -> Tensor:
        """The attention weights [N,L,L] that ``forward`` uses for these tokens, averaged over the heads; each row sums to 1."""
        query, key, _ = self._split(tokens)
        scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1])
        return scores.masked_fill(~allowed, -torch.inf).softmax(dim=3).mean(dim=1)

    def _split(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens [N,L,H] -> query, key, value, each [N,heads,L,H/heads]."""
        joined = self.query_key_value(self.attention_norm(tokens))
        query, key, value = joined.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return query, key, value
