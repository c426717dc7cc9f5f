"""At which landmark a sample is judged, early or late in its stay: what is fitted is fitted for each of them apart.

The same statistic tells another thing at another hour. A fall in pressure shows at hour 6 in the mean of the window, at hour 48
only in its course; and a slope over six hours varies ten times as much as one over two days.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def reached(length: Tensor, landmarks: Sequence[int]) -> Tensor:
    """The number of the last of the ``landmarks`` (steps of the series, ascending) that a window of ``length`` [N] steps reaches.

    It is 0 for a window that ends before the first, and everywhere without landmarks.

    >>> reached(torch.tensor([3, 6, 30, 48]), (6, 24, 48)).tolist()
    [0, 0, 1, 2]
    """
    later = torch.tensor(tuple(landmarks)[1:], dtype=length.dtype, device=length.device)
    return (length[:, None] >= later).sum(dim=1)
