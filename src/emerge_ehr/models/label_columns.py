"""Helpers of methods that fit each label separately: the patients with the label, and the log-odds if it has one class only."""

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]


class Labelled(Protocol):
    """Patients with labels [N,K], and where these are defined [N,K]."""

    @property
    def label(self) -> Tensor:
        """1 with the outcome, 0 without."""

    @property
    def label_mask(self) -> Tensor:
        """1 where the outcome is defined."""


def defined(batch: Labelled, column: int) -> tuple[NDArray[np.int64], Array]:
    """The rows [n] for which the label in ``column`` is defined, and their labels [n]."""
    rows = np.flatnonzero(batch.label_mask[:, column].cpu().numpy() > 0)
    return rows, batch.label[:, column].double().cpu().numpy()[rows]


def prior_log_odds(label: Array) -> float:
    """The log-odds of the share of positives, with one patient of each class added so that they are finite.

    >>> prior_log_odds(np.array([]))
    0.0
    """
    return math.log((label.sum() + 1) / (len(label) - label.sum() + 1))
