"""SOCKET NameSimilarity: how similar an entity's name is to the graph's disease names.

A plug's module also has ``download(options, offline)``, for what stage ``download`` must fetch.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class NameSimilarity(Protocol):
    """Compares names with those it was built over, which are the graph's; it holds no patient's text."""

    def nearest(self, queries: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """For each query the position of the most similar name, the first of equals, and the similarity, at most 1."""

    @property
    def threshold(self) -> float:
        """The similarity from which on a name is linked, unless the config says otherwise."""

    @property
    def title_threshold(self) -> float:
        """The same for titles: a title names a disease, and what it is linked to replaces less that is found in it."""

    def description(self) -> dict[str, Any]:
        """The plug's name and the options that decide its answers, for ``metadata.json``."""
