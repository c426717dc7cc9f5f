"""Scales the columns of an input by what a sparse logistic regression finds that they tell.

Most components of an embedding, and many statistics of the window, tell nothing about the outcome. A network that is trained on
a thousand patients cannot find out which: it fits their noise. A regression with an L1 penalty can (Tibshirani 1996). So each
column is standardised and multiplied by the size of its coefficient, as in the adaptive lasso (Zou 2006), where such weights
decide how freely a column may be used.

The regression is fitted on training patients, its penalty is chosen on validation patients, and both then stay as they are.
"""

from typing import final

import torch
from torch import Tensor, nn

GAIN = 5.0  # coefficients are mostly between 0.05 and 0.5; the layers that follow expect inputs of about 1
FLOOR = 0.1  # what a regression cannot see, such as a column that counts only with another, is not lost


@final
class Relevance(nn.Module):
    """(x - centre) * factor, and 0 where a value is missing; until ``fit`` the input as it is."""

    centre: Tensor
    factor: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("factor", torch.ones(width))

    def forward(self, columns: Tensor) -> Tensor:
        """Columns [...,D], NaN where missing -> the same shape."""
        return torch.nan_to_num((columns - self.centre) * self.factor, nan=0.0)

    def fit(self, mean: Tensor, deviation: Tensor, coefficients: Tensor) -> None:
        """Take mean and standard deviation [D] of the training patients, and the coefficients [K,D] of the standardised columns.

        With several labels, a column counts as the root mean square of its coefficients.
        """
        self.centre.copy_(mean)
        self.factor.copy_((GAIN * coefficients.square().mean(dim=0).sqrt() + FLOOR) / deviation)
