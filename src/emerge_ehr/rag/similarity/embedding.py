"""Similarity in meaning, as far as an encoder captures it: the cosine of text embeddings."""

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
        """The exact nearest of all names."""
        return dense_nearest(_unit(self.encoder.encode_queries(queries)), self.names)

    @property
    def threshold(self) -> float:
        """What suits a small general encoder; another encoder needs its own (docs/linking_by_meaning.md)."""
        return 0.7

    @property
    def title_threshold(self) -> float:
        """Not measured, so that of other names."""
        return self.threshold

    def description(self) -> dict[str, Any]:
        """The plug's name and the encoder's description."""
        return {"name": "embedding", "encoder": self.encoder.description()}


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """The rows scaled to length one; a zero row stays zero, and is similar to nothing."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (rows / np.maximum(length, 1e-12)).astype(np.float32)
    return unit


def download(options: Options, offline: bool) -> None:
    """Fetch what the encoder needs, or, offline, check that it is there."""
    components.call("download", SOCKET, options.encoder, offline=offline)


def build(options: Options, *, names: Sequence[str], seed: int, cache_dir: Path, pool: Pool = LOCAL) -> NameSimilarity:
    """The similarity to ``names``, whose vectors are computed, or read from the store under ``cache_dir``."""
    encoder = components.build(SOCKET, options.encoder, seed=seed, cache_dir=cache_dir, pool=pool).fit(names)
    return EmbeddingSimilarity(encoder, _unit(encoder.encode(names)))
