"""What a model reads of note and summary: each as one vector and then their fusion, or each as its pieces."""

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor, nn

from emerge_ehr.models.batch import Batch
from emerge_ehr.models.fusion import Modality
from emerge_ehr.models.text_fusion import TextFusion


@final
class WholeTexts(nn.Module):
    """One modality, ``text``; without a fusion its only text goes on as it is."""

    def __init__(
        self,
        widths: Mapping[str, int],
        text_fusion: TextFusion | None,
        *,
        hidden_size: int,
        text_dropout: float,
        dropout: float,
    ) -> None:
        super().__init__()
        self.projections = nn.ModuleDict(
            {name: Projection(width, hidden_size, text_dropout, dropout) for name, width in widths.items()}
        )
        self.text_fusion = text_fusion

    def forward(self, batch: Batch) -> dict[str, Modality]:
        """Batch of N -> the text representation; tokens: the projected texts, and first their fusion if there are two."""
        embeddings = {"note": batch.note_embedding, "summary": batch.summary_embedding}
        masks = {"note": batch.note_mask > 0, "summary": batch.summary_mask > 0}
        present = torch.stack([masks[name] for name in self.projections], dim=1)
        texts = torch.stack([part(embeddings[name], masks[name]) for name, part in self.projections.items()], dim=1)
        fused = texts[:, 0] if self.text_fusion is None else self.text_fusion(texts, present)
        if len(self.projections) == 1:
            return {"text": Modality(fused, texts, present)}
        always = torch.ones_like(present[:, :1])
        tokens = torch.cat([fused[:, None], texts], dim=1)
        return {"text": Modality(fused, tokens, torch.cat([always, present], dim=1))}


@final
class Projection(nn.Module):
    """A text embedding to the hidden size; for a patient without this text, a learned vector."""

    def __init__(self, width: int, hidden_size: int, text_dropout: float, dropout: float) -> None:
        super().__init__()
        self.masking = nn.Dropout(text_dropout)
        self.linear = nn.Linear(width, hidden_size)
        self.norm = nn.LayerNorm(hidden_size)
        self.dropout = nn.Dropout(dropout)
        self.absent = nn.Parameter(torch.randn(hidden_size))

    def forward(self, embedding: Tensor, present: Tensor) -> Tensor:
        """Embedding [N,D], present [N] bool -> [N,H]."""
        return torch.where(present[:, None], self.dropout(self.norm(self.linear(self.masking(embedding)))), self.absent)


@final
class PiecesOfTexts(nn.Module):
    """A modality for each text, its tokens the projected embeddings of its pieces; a piece that is not there is masked."""

    def __init__(self, widths: Mapping[str, int], *, hidden_size: int, text_dropout: float) -> None:
        super().__init__()
        self.projections = nn.ModuleDict({name: nn.Linear(width, hidden_size) for name, width in widths.items()})
        self.masking = nn.Dropout(text_dropout)

    def forward(self, batch: Batch) -> dict[str, Modality]:
        """Batch of N -> by name of the text, its C pieces; their mean is the representation (0 where there is none)."""
        tokens = {"note": batch.note_tokens, "summary": batch.summary_tokens}
        masks = {"note": batch.note_tokens_mask, "summary": batch.summary_tokens_mask}
        return {name: _pieces(part(self.masking(tokens[name])), masks[name]) for name, part in self.projections.items()}


def _pieces(tokens: Tensor, mask: Tensor) -> Modality:
    """Tokens [N,C,H], mask [N,C]."""
    mean = (tokens * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)
    return Modality(mean, tokens, mask > 0)
