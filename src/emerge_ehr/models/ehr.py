"""How a model reads the EHR: its hours by a series encoder and, if asked to, the statistics of its window."""

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from emerge_ehr.models import landmarks, window_statistics
from emerge_ehr.models.batch import Batch
from emerge_ehr.models.fusion import Modality
from emerge_ehr.models.hours import inside
from emerge_ehr.models.relevance import Relevance
from emerge_ehr.models.series import Series
from emerge_ehr.models.window_statistics import STATISTICS


@final
class Ehr(nn.Module):
    """Makes the modality ``ehr`` of the series. A patient without any measurement has no hours, and is represented by the
    learned vector ``absent``, which is None where nothing reads the representation."""

    def __init__(
        self, series: Series, statistics: "Statistics | None", absent: nn.Parameter | None, dropout: float
    ) -> None:
        super().__init__()
        self.series = series
        self.statistics = statistics
        self.dropout = nn.Dropout(dropout)
        self.absent = absent

    def forward(self, batch: Batch) -> Modality:
        """Batch of N -> the last state, plus what the statistics tell; the tokens are the states of the T hours."""
        states, last = self.series(torch.cat([batch.ehr, batch.ehr_mask], dim=2), batch.ehr_length)
        states, last = self.dropout(states), self.dropout(last)
        if self.statistics is not None:
            last = last + self.statistics(batch)
        hours = inside(batch)
        present = (batch.ehr_mask.any(dim=2) & hours).any(dim=1, keepdim=True)
        if self.absent is not None:
            last = torch.where(present, last, self.absent)
        return Modality(last, states, hours & present)


@final
class Statistics(nn.Module):
    """Projects the statistics of the window, scaled by their relevance at the landmark, to the hidden size."""

    def __init__(self, features: int, hidden_size: int, dropout: float, steps: Sequence[int] = ()) -> None:
        super().__init__()
        width = len(STATISTICS) * features
        self.steps = tuple(steps)  # of the landmarks
        self.relevance = Relevance(width, max(1, len(self.steps)))
        self.masking = nn.Dropout(dropout)
        self.linear = nn.Linear(width, hidden_size)

    def forward(self, batch: Batch) -> Tensor:
        """Batch of N -> [N,H]."""
        found = window_statistics.of_batch(batch, shares=bool(self.steps))
        scaled = self.relevance(found, landmarks.place(batch.ehr_length, self.steps))
        projected: Tensor = self.linear(self.masking(scaled))
        return projected
