"""Similarity in spelling, regardless of word order: the cosine of TF-IDF vectors of character n-grams."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.compute.forms import Json
from emerge_ehr.compute.local import LOCAL
from emerge_ehr.compute.work import Pool, Work
from emerge_ehr.fields import Positive
from emerge_ehr.rag.nearest import sparse_nearest
from emerge_ehr.rag.similarity import NameSimilarity

PIECE = 1000  # names looked up together
MUCH = 50_000  # names from which starting worker processes pays
Match = tuple[int, float]  # position of the nearest name, and its score


@dataclass(frozen=True)
class Options:
    """N-grams of ``size`` characters within words. Size 3 links as well as sizes 2 to 4 together, and faster."""

    light: ClassVar[bool] = True
    size: Positive = 3


@final
@dataclass(frozen=True)
class CharacterNgrams:
    """The fitted vectoriser and the names' TF-IDF rows, of length one."""

    vectoriser: Any
    names: Any
    pool: Pool

    def nearest(self, queries: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The exact nearest of all names."""
        work = Work("linking", (self.vectoriser, self.names), _nearest, Json[str](str), Json[Match](Match), piece=PIECE)
        matches = list(self.pool.map(work, queries, much=len(queries) >= MUCH))
        positions, scores = ([match[part] for match in matches] for part in (0, 1))
        return np.array(positions, dtype=np.int64), np.array(scores, dtype=np.float32)

    @property
    def threshold(self) -> float:
        """The one with the best F0.5 on phrases and mentions (docs/linking_by_meaning.md)."""
        return 0.7

    @property
    def title_threshold(self) -> float:
        """Not measured, so that of other names."""
        return self.threshold

    def description(self) -> dict[str, Any]:
        """The plug's name and the n-grams' size."""
        return {"name": "character_ngrams", "size": self.vectoriser.ngram_range[0]}


def download(options: Options, offline: bool) -> None:
    """Nothing to fetch."""


def build(options: Options, *, names: Sequence[str], pool: Pool = LOCAL) -> NameSimilarity:
    """The similarity to ``names``, on which its vectoriser is fitted."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectoriser = TfidfVectorizer(analyzer="char_wb", ngram_range=(options.size, options.size), dtype=np.float32)
    return CharacterNgrams(vectoriser, vectoriser.fit_transform(names), pool)


def _nearest(fitted: tuple[Any, Any], queries: Sequence[str]) -> list[Match]:
    vectoriser, names = fitted
    positions, scores = sparse_nearest(vectoriser.transform(queries), names)
    return list(zip(positions.tolist(), scores.tolist(), strict=True))
