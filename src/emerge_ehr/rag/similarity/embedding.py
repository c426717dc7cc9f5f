"""Cosine of text embeddings: alike in meaning, as far as the encoder knows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from emerge_ehr import components
from emerge_ehr.compute.local import LOCAL
from emerge_ehr.compute.work import Pool
from emerge_ehr.embeddings import FittedEncoder
from emerge_ehr.fields import Component
from emerge_ehr.rag.nearest import dense_nearest
from emerge_ehr.rag.similarity import NameSimilarity

SOCKET = "embedding"


@dataclass(frozen=True)
class Options:
    """``encoder``: a plug of the socket ``embedding`` with its options."""

    encoder: Component

    def __post_init__(self) -> None:
        components.options(SOCKET, self.encoder)


@final
@dataclass(frozen=True)
class EmbeddingSimilarity:
    """``names [M, D]``: the names' vectors, of length one."""

    encoder: FittedEncoder
    names: NDArray[np.float32]

    def nearest(self, queries: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Exact, over all names."""
        return dense_nearest(_unit(self.encoder.encode_queries(queries)), self.names)

    def description(self) -> dict[str, Any]:
        """Name and encoder."""
        return {"name": "embedding", "encoder": self.encoder.description()}


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length one; a zero row stays, and is similar to nothing."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (rows / np.maximum(length, 1e-12)).astype(np.float32)
    return unit


def download(options: Options, offline: bool) -> None:
    """What the encoder needs."""
    components.call("download", SOCKET, options.encoder, offline=offline)


def build(options: Options, *, names: Sequence[str], seed: int, cache_dir: Path, pool: Pool = LOCAL) -> NameSimilarity:
    """The names, embedded; from the store, if they were before."""
    encoder = components.build(SOCKET, options.encoder, seed=seed, cache_dir=cache_dir, pool=pool).fit(names)
    return EmbeddingSimilarity(encoder, _unit(encoder.encode(names)))
