"""EMERGE: hourly series, clinical note and retrieved summary -> one logit a label (Zhu et al., CIKM 2024).

    ehr, ehr_mask   -> series encoder -----------------> states, ehr --+
    note embedding    -> projection --+                                +-> cross-attention -> head -> logits
    summary embedding -> projection --+-> text fusion -> text ---------+

Departures from the original code: dropout on the embeddings' components, the projected texts and the series' states (small
cohorts overfit without it); the mask of measured hours is an input beside the values; the attention keys
(see ``fusion/cross_attention.py``); projected texts are layer-normalised, because encoders differ in scale by a factor
of ten and more (TF-IDF vectors have length one); a text that a patient lacks is a learned vector, masked as a key.
"""

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor, nn

from src import components
from src.config import Model
from src.models.batch import Batch
from src.models.fusion import Fusion, Modality
from src.models.series import Series
from src.models.text_fusion import TextFusion


def build(settings: Model, *, features: int, text_widths: Mapping[str, int], labels: int) -> "Emerge":
    """The model for ``features`` an hour, embeddings of ``text_widths`` (note, summary) and ``labels`` labels.

    Only the parts that ``settings.modalities`` need are made, so every parameter is trained.
    """
    size = settings.hidden_size
    chosen: tuple[str, ...] = settings.modalities
    widths = {name: width for name, width in text_widths.items() if name in chosen}
    series = text_fusion = fusion = None
    if "ehr" in settings.modalities:
        series = components.build("model.series", settings.series, input_size=2 * features, hidden_size=size)
    if len(widths) > 1:
        text_fusion = components.build("model.text_fusion", settings.text_fusion, texts=len(widths), hidden_size=size)
    if series is not None and widths:
        fusion = components.build("model.fusion", settings.fusion, hidden_size=size, heads=settings.heads)
    dropouts = {"dropout": settings.dropout, "text_dropout": settings.text_dropout}
    return Emerge(series, widths, text_fusion, fusion, hidden_size=size, labels=labels, **dropouts)


@final
class Emerge(nn.Module):
    """The whole model; ``series`` None = no EHR, ``text_fusion`` None = fewer than two texts."""

    def __init__(
        self,
        series: Series | None,
        text_widths: Mapping[str, int],
        text_fusion: TextFusion | None,
        fusion: Fusion | None,
        *,
        hidden_size: int,
        dropout: float,
        text_dropout: float,
        labels: int,
    ) -> None:
        super().__init__()
        self.series = series
        self.projections = nn.ModuleDict(
            {name: Projection(width, hidden_size, text_dropout, dropout) for name, width in text_widths.items()}
        )
        self.dropout = nn.Dropout(dropout)
        self.text_fusion = text_fusion
        self.fusion = fusion
        self.head = nn.Sequential(
            nn.GELU(), nn.Linear(hidden_size, hidden_size), nn.Dropout(dropout), nn.Linear(hidden_size, labels)
        )

    def forward(self, batch: Batch) -> Tensor:
        """Batch of N -> logits [N,K]."""
        if self.series is None:
            return self.classify(self.read_texts(batch).representation)
        ehr = self.read_hours(self.series, batch)
        if self.fusion is None:
            return self.classify(ehr.representation)
        return self.classify(self.fusion(ehr, self.read_texts(batch)))

    def read_hours(self, series: Series, batch: Batch) -> Modality:
        """Batch of N -> the last state and the states of the T hours."""
        states, last = series(torch.cat([batch.ehr, batch.ehr_mask], dim=2), batch.ehr_length)
        states, last = self.dropout(states), self.dropout(last)
        hours = torch.arange(batch.ehr.shape[1], device=batch.ehr.device)
        return Modality(last, states, hours < batch.ehr_length[:, None])

    def read_texts(self, batch: Batch) -> Modality:
        """Batch of N -> the text representation; tokens: the projected texts, and first their fusion if there are two."""
        embeddings = {"note": batch.note_embedding, "summary": batch.summary_embedding}
        masks = {"note": batch.note_mask > 0, "summary": batch.summary_mask > 0}
        present = torch.stack([masks[name] for name in self.projections], dim=1)
        texts = torch.stack([part(embeddings[name], masks[name]) for name, part in self.projections.items()], dim=1)
        if self.text_fusion is None:
            return Modality(texts[:, 0], texts, present)
        fused = self.text_fusion(texts, present)
        always = torch.ones_like(present[:, :1])
        return Modality(fused, torch.cat([fused[:, None], texts], dim=1), torch.cat([always, present], dim=1))

    def classify(self, representation: Tensor) -> Tensor:
        """Representation [N,H] -> logits [N,K]."""
        logits: Tensor = self.head(representation)
        return logits


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
