"""SOCKET TextEncoder: texts -> vectors. What an encoder learns, it learns from training patients' texts only.

A plug's module also has ``download(options, offline)``, for what stage ``download`` must fetch, and
``load(folder, name, cache_dir=...)``, the inverse of ``FittedEncoder.save``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from emerge_ehr import components
from emerge_ehr.storage.artefacts import read_json


class FittedEncoder(Protocol):
    """An encoder ready for any text."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """``[N, D]``; an empty text is a zero row."""

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The same for texts to be looked up among encoded ones, where the model distinguishes them."""

    def remember(self, texts: Sequence[str]) -> None:
        """Where vectors are kept on disk, compute those of all ``texts`` at a time: they are about to be asked for in parts."""

    def split(self, text: str) -> list[str]:
        """The text cut into pieces that ``encode`` reads whole; none for an empty text."""

    def save(self, folder: Path, name: str) -> None:
        """Arrays and JSON, no pickles: ``<name>.npz``, ``<name>.json``; the JSON's ``encoder`` is the plug's name, as configs
        have it."""

    def description(self) -> dict[str, Any]:
        """Name, width, revision: for ``metadata.json``."""


class TextEncoder(Protocol):
    """An encoder to be fitted."""

    def fit(self, texts: Sequence[str]) -> FittedEncoder:
        """Learn from the training patients' texts."""


def load(folder: Path, name: str, cache_dir: Path) -> FittedEncoder:
    """What ``save`` wrote, ready for new patients' texts.

    Raises:
        UserError: it is missing, or the model it needs is, or that model has changed.
    """
    from emerge_ehr.embeddings import _no_text as no_text

    encoder = read_json(folder / f"{name}.json", "preprocess")["encoder"]
    read = no_text.load if encoder == no_text.NAME else components.function_of("embedding", encoder, "load")
    return cast(FittedEncoder, read(folder, name, cache_dir=cache_dir))
