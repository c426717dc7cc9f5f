"""SOCKET NameSimilarity: how alike an entity's name and the graph's disease names are.

A plug's module also has ``download(options, offline)``, for what stage ``download`` must fetch.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class NameSimilarity(Protocol):
    """Built over the graph's names: no patient's text is in it."""

    def nearest(self, queries: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """For each query the position of the most similar name, and the similarity, at most 1. Of equals, the first name."""

    def description(self) -> dict[str, Any]:
        """Name and what decides its answers: for ``metadata.json``."""
