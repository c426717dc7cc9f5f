"""Labels one by one, for methods that fit each on its own: for whom it is defined, and what to say if it has one class."""

import math

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.models.batch import Batch

Array = NDArray[np.float64]


def defined(batch: Batch, column: int) -> tuple[NDArray[np.int64], Array]:
    """The rows [n] whose label ``column`` is defined, and their labels [n]."""
    rows = np.flatnonzero(batch.label_mask[:, column].cpu().numpy() > 0)
    return rows, batch.label[:, column].double().cpu().numpy()[rows]


def prior_log_odds(label: Array) -> float:
    """Log-odds of the share of positives with one patient of each class added, so that it is finite.

    >>> prior_log_odds(np.array([]))
    0.0
    """
    return math.log((label.sum() + 1) / (len(label) - label.sum() + 1))
