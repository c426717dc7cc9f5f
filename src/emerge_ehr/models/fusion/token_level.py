"""Hours, pieces of the note and pieces of the summary attend to each other in one Transformer encoder.

The encoder reads all tokens as one sequence, with an embedding of the modality added to each, and is itself read at a class
token, as in ViLT (Kim et al. 2021, arXiv 2102.03334). Tokens are layer-normalised first, because modalities differ in scale:

    x_i = norm(token_i) + modality embedding + sinusoid of the hour, or of the piece's place in its text
    [class; x_1; ...; x_L] -> Transformer layers, which do not attend to tokens that the patient lacks -> norm -> class token

For a patient without any token there is only the class token. The reported attention is attention rollout (Abnar and Zuidema
2020, doi 10.18653/v1/2020.acl-main.385): the product of the layers' attention, each averaged with the identity for the residual
connection. It says on which tokens the output could depend, not whether they raised or lowered the risk. An hour's token is the
state of the series encoder, which remembers earlier hours too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from emerge_ehr.fields import Positive
from emerge_ehr.models.fusion import Fusion, Modality
from emerge_ehr.models.transformer import Block, positions

INITIAL = 0.02  # standard deviation of the learned embeddings before training, as in BERT


@dataclass(frozen=True)
class Options:
    """``layers`` of the encoder; with a single one, hours and pieces would be combined in the class token only."""

    pieces: ClassVar[bool] = True
    layers: Positive = 2


def build(options: Options, *, modalities: tuple[str, ...], hidden_size: int, heads: int, dropout: float) -> Fusion:
    """An encoder over the tokens of ``modalities``; ``hidden_size`` is a multiple of ``heads``."""
    return TokenLevel(modalities, hidden_size, heads, dropout, options.layers)


@final
class TokenLevel(nn.Module):
    """Fuses by reading the class token after ``layers`` layers over all tokens."""

    def __init__(self, modalities: tuple[str, ...], hidden_size: int, heads: int, dropout: float, layers: int) -> None:
        super().__init__()
        self.kinds = nn.ParameterDict({name: nn.Parameter(INITIAL * torch.randn(hidden_size)) for name in modalities})
        self.class_token = nn.Parameter(INITIAL * torch.randn(hidden_size))
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList([Block(hidden_size, heads, dropout) for _ in range(layers)])
        self.norm = nn.LayerNorm(hidden_size)

    def forward(self, modalities: Mapping[str, Modality]) -> Tensor:
        """Modalities by name -> [N,H]."""
        tokens, allowed = self.join(modalities)
        for block in self.blocks[:-1]:
            tokens = block(tokens, allowed)
        class_token = self.blocks[-1](tokens, allowed, rows=1)  # the last layer of the other tokens is never read
        fused: Tensor = self.norm(class_token[:, 0])
        return fused

    def attention(self, modalities: Mapping[str, Modality]) -> dict[str, Tensor]:
        """Rollout from the class token: modality -> [N,L]; the values of a patient sum to 1, or to 0 for one without tokens."""
        tokens, allowed = self.join(modalities)
        same = torch.eye(tokens.shape[1], dtype=tokens.dtype, device=tokens.device)
        reach = same.expand(len(tokens), -1, -1)
        for block in self.blocks:
            assert isinstance(block, Block)
            reach = (block.weights(tokens, allowed) + same) / 2 @ reach
            tokens = block(tokens, allowed)
        counted = reach[:, 0, 1:]
        share = counted / counted.sum(dim=1, keepdim=True).clamp(min=torch.finfo(counted.dtype).tiny)
        lengths = [modalities[name].tokens.shape[1] for name in self.kinds]
        return dict(zip(self.kinds, torch.split(share, lengths, dim=1), strict=True))

    def join(self, modalities: Mapping[str, Modality]) -> tuple[Tensor, Tensor]:
        """Modalities by name -> [class; their tokens] [N,1+L,H], and which of these are present [N,1,1,1+L] bool."""
        chosen = [modalities[name] for name in self.kinds]
        first = self.class_token.expand(len(chosen[0].tokens), 1, -1)
        tokens = torch.cat([first, *(self.mark(modalities[name].tokens, name) for name in self.kinds)], dim=1)
        present = torch.cat(
            [torch.ones_like(first[..., 0], dtype=torch.bool), *(modality.present for modality in chosen)], dim=1
        )
        return self.dropout(tokens), present[:, None, None]

    def mark(self, tokens: Tensor, name: str) -> Tensor:
        """Tokens [N,L,H] of one modality, normalised, with its embedding and their positions."""
        level: Tensor = layer_norm(tokens, tokens.shape[-1:])
        marked: Tensor = level + self.kinds[name] + positions(tokens.shape[1], level)
        return marked
