"""TF-IDF cosine of character n-grams: alike in spelling, word order aside."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from src.datasets.preprocess.nearest import sparse_nearest
from src.fields import Positive


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

    def nearest(self, queries: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Exact, over all names."""
        return sparse_nearest(self.vectoriser.transform(queries), self.names)

    def description(self) -> dict[str, Any]:
        """Name and size of n-grams."""
        return {"name": "character_ngrams", "size": self.vectoriser.ngram_range[0]}


def download(options: Options, offline: bool) -> None:
    """Nothing to fetch."""


def build(options: Options, *, names: Sequence[str]) -> CharacterNgrams:
    """Fitted on the names."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectoriser = TfidfVectorizer(analyzer="char_wb", ngram_range=(options.size, options.size), dtype=np.float32)
    return CharacterNgrams(vectoriser, vectoriser.fit_transform(names))
