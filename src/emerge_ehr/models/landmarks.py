"""At which landmark a sample is judged, early or late in its stay: what is fitted is fitted for each of them apart.

The same statistic tells another thing at another hour. A fall in pressure shows at hour 6 in the mean of the window, at hour 48
only in its course; and a slope over six hours varies ten times as much as one over two days. A window that ends between two
landmarks is judged by what both of them have, the nearer one more: so a risk that is asked for every hour does not jump at a
landmark where nothing happened to the patient.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def place(length: Tensor, landmarks: Sequence[int]) -> Tensor:
    """Where windows of ``length`` [N] steps end among the ``landmarks`` (steps of the series, ascending) [N], float.

    At a landmark it is the number of that landmark; between two it grows evenly. It is 0 up to the first, and everywhere without
    landmarks.

    >>> place(torch.tensor([3, 6, 30, 48]), (6, 24, 48)).tolist()
    [0.0, 0.0, 1.25, 2.0]
    """
    steps = torch.tensor(tuple(landmarks), dtype=torch.get_default_dtype(), device=length.device)
    passed = (length[:, None] - steps[:-1]) / (steps[1:] - steps[:-1])
    return passed.clamp(0, 1).sum(dim=1)
