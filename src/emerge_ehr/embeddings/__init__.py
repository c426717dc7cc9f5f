"""SOCKET TextEncoder: texts -> vectors. An encoder is fitted on training patients' texts only.

A plug's module also has ``download(options, offline)``, which fetches what the plug needs in stage ``download``, and
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
    """An encoder that is ready for any text."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """``[N, D]``: a row per text; zero for an empty text."""

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """``[N, D]`` for texts to look up among encoded ones; as ``encode``, unless the model distinguishes queries."""

    def remember(self, texts: Sequence[str]) -> None:
        """Compute the vectors of all ``texts`` at once, if the encoder keeps vectors on disk; ``encode`` then reads them."""

    def split(self, text: str) -> list[str]:
        """The text in pieces, each of which ``encode`` reads as a whole; no piece for an empty text."""

    def save(self, folder: Path, name: str) -> None:
        """Write ``<name>.json``, whose key ``encoder`` is the plug's name as configs have it, and arrays, if any, to
        ``<name>.npz``."""

    def description(self) -> dict[str, Any]:
        """Name, width, revision and the like, for ``metadata.json``."""


class TextEncoder(Protocol):
    """An encoder that is not yet fitted."""

    def fit(self, texts: Sequence[str]) -> FittedEncoder:
        """The encoder fitted on ``texts``, which are training patients'."""


def load(folder: Path, name: str, cache_dir: Path) -> FittedEncoder:
    """The encoder that ``save`` wrote to ``folder`` under ``name``, ready for new patients' texts.

    Raises:
        UserError: a file is missing, or the model that the encoder needs is missing or has changed.
    """
    from emerge_ehr.embeddings import _no_text as no_text

    encoder = read_json(folder / f"{name}.json", "preprocess")["encoder"]
    read = no_text.load if encoder == no_text.NAME else components.function_of("embedding", encoder, "load")
    return cast(FittedEncoder, read(folder, name, cache_dir=cache_dir))
