"""Scales the columns of an input by what a sparse logistic regression finds that they tell.

Most components of an embedding, and many statistics of the window, tell nothing about the outcome. A network that is trained on
a thousand patients cannot find out which: it fits their noise. A regression with an L1 penalty can (Tibshirani 1996). So each
column is standardised and multiplied by the size of its coefficient, as in the adaptive lasso (Zou 2006), where such weights
decide how freely a column may be used.

The regression is fitted on training patients, its penalty is chosen on validation patients, and both then stay as they are. With
landmarks there is one for each, on the samples of that landmark alone; a window that ends between two is scaled by both
(``landmarks.place``).

Dimensions: N patients, D columns, L landmarks (1 without any), K labels.
"""

from typing import final

import torch
from torch import Tensor, nn

GAIN = 5.0  # coefficients are mostly between 0.05 and 0.5; the layers that follow expect inputs of about 1
FLOOR = 0.1  # what a regression cannot see, such as a column that counts only with another, is not lost
BOUND = 20.0  # standard deviations: a value that training never came near moves a risk no further


@final
class Relevance(nn.Module):
    """(x - centre) * factor within ``limit``, and 0 where a value is missing; until ``fit`` the input as it is."""

    centre: Tensor
    factor: Tensor
    limit: Tensor

    def __init__(self, width: int, landmarks: int = 1) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(landmarks, width))
        self.register_buffer("factor", torch.ones(landmarks, width))
        self.register_buffer("limit", torch.full((landmarks, width), torch.inf))

    def forward(self, columns: Tensor, place: Tensor) -> Tensor:
        """Columns [N,D], NaN where missing, of samples at these places among the landmarks [N] -> the same shape."""
        before, last = place.long(), len(self.centre) - 1
        scaled = self._at(before, columns)
        if not last:
            return scaled
        return scaled.lerp(self._at((before + 1).clamp(max=last), columns), (place - before)[:, None].to(scaled.dtype))

    def _at(self, landmark: Tensor, columns: Tensor) -> Tensor:
        scaled, limit = (columns - self.centre[landmark]) * self.factor[landmark], self.limit[landmark]
        return torch.nan_to_num(scaled.clamp(-limit, limit), nan=0.0)

    def fit(self, landmark: int, mean: Tensor, deviation: Tensor, coefficients: Tensor) -> None:
        """Take mean and standard deviation [D] of the training samples at a landmark, and the coefficients [K,D] of the
        standardised columns.

        With several labels, a column counts as the root mean square of its coefficients.
        """
        weight = GAIN * coefficients.square().mean(dim=0).sqrt() + FLOOR
        self.centre[landmark] = mean
        self.factor[landmark] = weight / deviation
        self.limit[landmark] = BOUND * weight
