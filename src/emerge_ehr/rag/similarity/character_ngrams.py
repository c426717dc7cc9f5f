"""TF-IDF cosine of character n-grams: alike in spelling, word order aside."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.compute.forms import Json
from emerge_ehr.compute.local import LOCAL
from emerge_ehr.compute.work import Pool, Work
from emerge_ehr.fields import Positive
from emerge_ehr.rag.nearest import sparse_nearest
from emerge_ehr.rag.similarity import NameSimilarity

PIECE = 1000  # names looked up together
MUCH = 50_000  # names from which processes of their own are worth their start
Match = tuple[int, float]  # position of the nearest name, and its score


@dataclass(frozen=True)
class Options:
    """N-grams of ``size`` characters, inside words. Three do as well as two to four, and faster."""

    size: Positive = 3


@final
@dataclass(frozen=True)
class CharacterNgrams:
    """The fitted vectoriser and the names' TF-IDF rows, of length one."""

    vectoriser: Any
    names: Any
    pool: Pool

    def nearest(self, queries: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Exact, over all names."""
        work = Work("linking", (self.vectoriser, self.names), _nearest, Json[str](str), Json[Match](Match), piece=PIECE)
        found = list(self.pool.map(work, queries, much=len(queries) >= MUCH))
        positions, scores = ([match[part] for match in found] for part in (0, 1))
        return np.array(positions, dtype=np.int64), np.array(scores, dtype=np.float32)

    def description(self) -> dict[str, Any]:
        """Name and size of n-grams."""
        return {"name": "character_ngrams", "size": self.vectoriser.ngram_range[0]}


def download(options: Options, offline: bool) -> None:
    """Nothing to fetch."""


def build(options: Options, *, names: Sequence[str], pool: Pool = LOCAL) -> NameSimilarity:
    """Fitted on the names."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectoriser = TfidfVectorizer(analyzer="char_wb", ngram_range=(options.size, options.size), dtype=np.float32)
    return CharacterNgrams(vectoriser, vectoriser.fit_transform(names), pool)


def _nearest(known: tuple[Any, Any], queries: Sequence[str]) -> list[Match]:
    vectoriser, names = known
    positions, scores = sparse_nearest(vectoriser.transform(queries), names)
    return list(zip(positions.tolist(), scores.tolist(), strict=True))
