"""SOCKET TextEncoder: texts -> vectors. What an encoder learns, it learns from training patients' texts only."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class FittedEncoder(Protocol):
    """An encoder ready for any text."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """``[N, D]``; an empty text is a zero row."""

    def split(self, text: str) -> list[str]:
        """The text cut into pieces that ``encode`` reads whole; none for an empty text."""

    def save(self, folder: Path, name: str) -> None:
        """Arrays and JSON, no pickles: ``<name>.npz``, ``<name>.json``."""

    def description(self) -> dict[str, Any]:
        """Name, width, revision: for ``metadata.json``."""


class TextEncoder(Protocol):
    """An encoder to be fitted."""

    def fit(self, texts: Sequence[str]) -> FittedEncoder:
        """Learn from the training patients' texts."""
