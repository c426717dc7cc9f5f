"""How a model reads note and summary: each as one vector, which are then fused, or each as its pieces."""

from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor, nn

from emerge_ehr.models import absence, landmarks
from emerge_ehr.models.batch import Batch
from emerge_ehr.models.fusion import Modality
from emerge_ehr.models.relevance import Relevance
from emerge_ehr.models.text_fusion import TextFusion


@final
class WholeTexts(nn.Module):
    """Makes one modality, ``text``, of the texts; without ``text_fusion`` there is one text, which goes on as it is."""

    def __init__(
        self, projections: Mapping[str, nn.Module], text_fusion: TextFusion | None, steps: Sequence[int] = ()
    ) -> None:
        super().__init__()
        self.projections = nn.ModuleDict(projections)
        self.text_fusion = text_fusion
        self.steps = tuple(steps)  # of the landmarks

    def forward(self, batch: Batch) -> dict[str, Modality]:
        """Batch of N -> the modality ``text``; its tokens are the projected texts, after their fusion if there are two."""
        embeddings = {"note": batch.note_embedding, "summary": batch.summary_embedding}
        masks = {"note": batch.note_mask > 0, "summary": batch.summary_mask > 0}
        present = torch.stack([masks[name] for name in self.projections], dim=1)
        place = landmarks.place(batch.ehr_length, self.steps)
        texts = torch.stack(
            [projection(embeddings[name], masks[name], place) for name, projection in self.projections.items()],
            dim=1,
        )
        fused = texts[:, 0] if self.text_fusion is None else self.text_fusion(texts, present)
        if len(self.projections) == 1:
            return {"text": Modality(fused, texts, present)}
        always = torch.ones_like(present[:, :1])
        tokens = torch.cat([fused[:, None], texts], dim=1)
        return {"text": Modality(fused, tokens, torch.cat([always, present], dim=1))}

    def relevances(self) -> dict[str, Relevance]:
        """The scaling of each text's components; empty where they are not scaled."""
        scaled = {name: part for name, part in self.projections.items() if isinstance(part, ScaledProjection)}
        return {name: part.relevance for name, part in scaled.items()}


@final
class Projection(nn.Module):
    """Projects the embedding of a text to the hidden size; a patient without this text gets a learned vector.

    A ``plain`` projection has neither normalisation nor dropout.
    """

    def __init__(self, width: int, hidden_size: int, text_dropout: float, dropout: float, *, plain: bool) -> None:
        super().__init__()
        self.masking = nn.Dropout(text_dropout)
        self.linear = nn.Linear(width, hidden_size)
        self.norm = nn.Identity() if plain else nn.LayerNorm(hidden_size)
        self.dropout = nn.Dropout(0.0 if plain else dropout)
        self.absent = absence.vector(hidden_size)

    def forward(self, embedding: Tensor, present: Tensor, place: Tensor) -> Tensor:
        """Embedding [N,D], present [N] bool -> [N,H], at any landmark."""
        return torch.where(present[:, None], self.dropout(self.norm(self.linear(self.masking(embedding)))), self.absent)


@final
class ScaledProjection(nn.Module):
    """Projects an embedding whose components are scaled by their relevance; a patient without this text gets a learned vector.

    There is no normalisation after the projection: it would take away how much a text tells.
    """

    def __init__(self, width: int, hidden_size: int, text_dropout: float, landmarks: int = 1) -> None:
        super().__init__()
        self.relevance = Relevance(width, landmarks)
        self.masking = nn.Dropout(text_dropout)
        self.linear = nn.Linear(width, hidden_size)
        self.absent = absence.vector(hidden_size)

    def forward(self, embedding: Tensor, present: Tensor, place: Tensor) -> Tensor:
        """Embedding [N,D], present [N] bool, place among the landmarks [N] -> [N,H]."""
        scaled = self.relevance(embedding, place)
        return torch.where(present[:, None], self.linear(self.masking(scaled)), self.absent)


@final
class PiecesOfTexts(nn.Module):
    """Makes a modality of each text, with the projected embeddings of its pieces as tokens; missing pieces are masked."""

    def __init__(self, widths: Mapping[str, int], *, hidden_size: int, text_dropout: float) -> None:
        super().__init__()
        self.projections = nn.ModuleDict({name: nn.Linear(width, hidden_size) for name, width in widths.items()})
        self.masking = nn.Dropout(text_dropout)

    def forward(self, batch: Batch) -> dict[str, Modality]:
        """Batch of N -> a modality per text, with C pieces as tokens and their mean (0 without a piece) as representation."""
        tokens = {"note": batch.note_tokens, "summary": batch.summary_tokens}
        masks = {"note": batch.note_tokens_mask, "summary": batch.summary_tokens_mask}
        return {
            name: _pieces(projection(self.masking(tokens[name])), masks[name])
            for name, projection in self.projections.items()
        }


def _pieces(tokens: Tensor, mask: Tensor) -> Modality:
    """Tokens [N,C,H] and their mask [N,C] as a modality, represented by the mean of the tokens that are there."""
    mean = (tokens * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)
    return Modality(mean, tokens, mask > 0)
