"""TF-IDF of words and word pairs, reduced by truncated SVD (latent semantic analysis), centred and scaled by one number.

All texts of a corpus share most of their words, so that their unit vectors are nearly equal; texts differ by the small rest.
Subtracting the training mean and dividing by one number lets a network see these differences. (One number per component would
raise the noise of the last components to the level of the first.)

A note is scaled to length one, so that a long one weighs no more than a short one. But then it tells the share of each word, not
how often it stands there. A summary says each thing once, and the number of findings matters: it keeps its length.
"""

import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.embeddings import TextEncoder
from emerge_ehr.fields import Positive, UserError
from emerge_ehr.storage.artefacts import read_json, write_json
from emerge_ehr.storage.dataset import read_arrays, write_dataset

Text = Literal["note", "summary"]
ARRAYS = ("idf", "components", "centre", "scale")
NEGLIGIBLE = 1e-6  # of the largest singular value: directions that small are rounding errors
LEAST = 0.05  # of the largest deviation of a component: see _varying
TOKEN = r"(?u)\b[a-zA-Z][\w'-]*\b"
WORDS = re.compile(TOKEN).findall
BLOCK = 256  # texts whose words are counted at once
MOST = 50_000  # sentences whose words are kept: summaries share most of theirs, with each other and with their what-ifs


@dataclass(frozen=True)
class Options:
    """``width``: of the embedding, smaller where the texts span fewer dimensions. ``max_terms``: the size of the vocabulary at
    most. ``min_documents``: terms that occur in fewer texts are dropped. ``chunk_words``: the words of a piece in token-level
    fusion. ``keep_length``: the texts ("note", "summary") that are not scaled to length one."""

    light: ClassVar[bool] = True
    width: Positive = 64
    max_terms: Positive = 20_000
    min_documents: Positive = 2
    chunk_words: Positive = 128
    keep_length: tuple[Text, ...] = ("summary",)


@dataclass(frozen=True)
class FittedTfidfSvd:
    """``terms``, V of them, in column order; ``idf [V]``, ``components [D, V]``, and the training texts' ``centre [D]`` and
    ``scale [1]``. ``keeps_length``: texts are not scaled to length one."""

    terms: tuple[str, ...]
    idf: NDArray[np.float64]
    components: NDArray[np.float64]
    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    chunk_words: int
    keeps_length: bool

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """``[N, D]``: a row per text, zero if it holds no term of the vocabulary."""
        if not texts:
            return np.zeros((0, len(self.components)), dtype=np.float32)
        projected = _projected(self._weighted(texts), self.components, keep_length=self.keeps_length)
        with_terms = np.any(projected != 0, axis=1, keepdims=True)
        return np.where(with_terms, (projected - self.centre) / self.scale, 0).astype(np.float32)

    def _weighted(self, texts: Sequence[str]) -> Any:
        """What scikit-learn's vectoriser makes of the texts [N,V], which takes several times as long to count their terms; not
        yet scaled to length one."""
        from scipy.sparse import vstack

        blocks = [self._known.counted(texts[at : at + BLOCK]) for at in range(0, len(texts), BLOCK)]
        return self._vectoriser._tfidf.transform(blocks[0] if len(blocks) == 1 else vstack(blocks, "csr"), copy=False)

    @cached_property
    def _known(self) -> "_Known":
        return _Known(self.terms)

    @cached_property
    def _vectoriser(self) -> Any:
        return _vectoriser(self.terms, self.idf)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """``[N, D]``: as ``encode``."""
        return self.encode(texts)

    def remember(self, texts: Sequence[str]) -> None:
        """Does nothing, as no vectors are kept."""

    def split(self, text: str) -> list[str]:
        """The text in pieces of ``chunk_words`` words."""
        words = text.split()
        return [" ".join(words[at : at + self.chunk_words]) for at in range(0, len(words), self.chunk_words)]

    def save(self, folder: Path, name: str) -> None:
        """Write the arrays to ``<name>.npz``, the rest to ``<name>.json``."""
        write_dataset(folder / f"{name}.npz", {name: getattr(self, name) for name in ARRAYS})
        write_json(
            folder / f"{name}.json",
            {
                "encoder": "tfidf_svd",
                "chunk_words": self.chunk_words,
                "keeps_length": self.keeps_length,
                "terms": self.terms,
            },
        )

    def description(self) -> dict[str, Any]:
        """Name, width and vocabulary size."""
        kept = {"keeps_length": True} if self.keeps_length else {}
        return {"name": "tfidf_svd", "width": int(self.components.shape[0]), "terms": len(self.terms), **kept}


class _Known:
    """The terms by the numbers of their words, in which a pair of words is one number too."""

    def __init__(self, terms: Sequence[str]) -> None:
        pairs = [tuple(term.split(" ")) for term in terms if " " in term]
        every = dict.fromkeys(chain((term for term in terms if " " not in term), *pairs))
        self.number = {word: number for number, word in enumerate(every, 1)}  # 0: a word of no term
        self.columns = len(terms)
        self.of_word = np.full(len(every) + 1, -1)
        keys, of_pair = array("q"), array("q")
        for column, term in enumerate(terms):
            first, _, second = term.partition(" ")
            if second:
                keys.append(self._pair(self.number[first], self.number[second]))
                of_pair.append(column)
            else:
                self.of_word[self.number[first]] = column
        order = np.argsort(keys)
        self.keys, self.of_pair = np.array(keys, np.int64)[order], np.array(of_pair, np.int64)[order]
        self.read: dict[str, NDArray[np.int64]] = {}

    def _pair(self, first: Any, second: Any) -> Any:
        return first * len(self.of_word) + second

    def _numbers(self, sentence: str) -> NDArray[np.int64]:
        """The numbers of a sentence's words, in order."""
        if sentence not in self.read:
            if len(self.read) >= MOST:
                self.read.clear()
            self.read[sentence] = np.array([self.number.get(word, 0) for word in WORDS(sentence.lower())], np.int64)
        return self.read[sentence]

    def counted(self, texts: Sequence[str]) -> Any:
        """How often each term stands in each text: a sparse matrix [N,V]."""
        from scipy.sparse import csr_matrix

        words = [[self._numbers(sentence) for sentence in text.split(". ")] for text in texts]
        rows = np.repeat(np.arange(len(texts)), [sum(map(len, own)) for own in words])
        number = np.concatenate(list(chain.from_iterable(words)))
        singles = self.of_word[number]
        beside = (rows[1:] == rows[:-1]) & (number[1:] > 0) & (number[:-1] > 0)
        keys = self._pair(number[:-1][beside], number[1:][beside])
        at = np.searchsorted(self.keys, keys).clip(max=max(0, len(self.keys) - 1))
        known = self.keys[at] == keys if len(self.keys) else np.zeros(len(keys), dtype=bool)
        columns = np.concatenate([singles[singles >= 0], self.of_pair[at[known]]])
        where = np.concatenate([rows[singles >= 0], rows[1:][beside][known]])
        return csr_matrix((np.ones(len(columns)), (where, columns)), (len(texts), self.columns))


@dataclass(frozen=True)
class TfidfSvd:
    """The encoder before it is fitted on training texts, which are of the kind ``texts``."""

    options: Options
    seed: int
    texts: Text

    def fit(self, texts: Sequence[str]) -> FittedTfidfSvd:
        """Learn vocabulary, idf and SVD.

        Raises:
            UserError: the texts hold no word often enough.
        """
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.preprocessing import normalize
        from threadpoolctl import threadpool_limits

        vectoriser = TfidfVectorizer(min_df=self.options.min_documents, max_features=self.options.max_terms, **_RECIPE)
        try:
            matrix = vectoriser.fit_transform(texts)
        except ValueError as error:
            raise UserError(
                f"text encoder tfidf_svd: {len(texts)} training texts are too few or too short: {error}"
            ) from None
        terms = tuple(str(term) for term in vectoriser.get_feature_names_out())
        width = min(self.options.width, *(size - 1 for size in matrix.shape))
        if width < 1:
            raise UserError(
                f"text encoder tfidf_svd: only {len(terms)} terms in {len(texts)} training texts; need more text"
            )
        # One thread: the last digits, and with them the sign and order of near-equal components, depend on the number of threads.
        # equal texts have no variance to explain, by which scikit-learn divides
        with threadpool_limits(1), np.errstate(invalid="ignore", divide="ignore"):
            svd = TruncatedSVD(width, random_state=self.seed).fit(normalize(matrix))
        directions = svd.singular_values_ > NEGLIGIBLE * svd.singular_values_[0]
        keeps_length = self.texts in self.options.keep_length
        components = np.asarray(svd.components_)[directions]
        projected = _projected(matrix, components, keep_length=keeps_length)
        if not (varying := _varying(projected)).all():
            components = components[varying]
            projected = _projected(matrix, components, keep_length=keeps_length)
        centre = projected.mean(axis=0)
        spread = np.sqrt(np.mean((projected - centre) ** 2, keepdims=True)).ravel()
        scale = np.where(spread > NEGLIGIBLE, spread, 1.0)  # texts that are all alike stay at zero
        idf = np.asarray(vectoriser.idf_)
        return FittedTfidfSvd(terms, idf, components, centre, scale, self.options.chunk_words, keeps_length)


_RECIPE: dict[str, Any] = {
    "ngram_range": (1, 2),
    "sublinear_tf": True,
    "token_pattern": TOKEN,
    "norm": None,
    "dtype": np.float64,
}


def _projected(weighted: Any, components: NDArray[np.float64], *, keep_length: bool) -> NDArray[np.float64]:
    """Weighted terms [N,V] -> the place of each text among the components [N,D]."""
    from sklearn.preprocessing import normalize

    projected: NDArray[np.float64] = (weighted if keep_length else normalize(weighted)) @ components.T
    return projected if keep_length else _unit(projected)


def _varying(projected: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The components [D] in which the texts [N,D] differ.

    Texts by a template are all but equal in some. Where such a component is standardised, a small difference becomes hundreds of
    standard deviations, and the first patient whose text leaves the template has a risk of 0 or 1.
    """
    deviation = projected.std(axis=0)
    varying: NDArray[np.bool_] = deviation >= LEAST * deviation.max()
    return varying


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rows scaled to length one; zero rows stay zero."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1.0)


def _vectoriser(terms: Sequence[str], idf: NDArray[np.float64]) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectoriser = TfidfVectorizer(vocabulary={term: column for column, term in enumerate(terms)}, **_RECIPE)
    vectoriser.idf_ = idf
    return vectoriser


def download(options: Options, offline: bool) -> None:
    """Nothing to fetch."""


def load(folder: Path, name: str, *, cache_dir: Path) -> FittedTfidfSvd:
    """The encoder that ``save`` wrote."""
    arrays = read_arrays(folder / f"{name}.npz", "preprocess")
    saved = read_json(folder / f"{name}.json", "preprocess")
    return FittedTfidfSvd(
        tuple(saved["terms"]),
        **{name: arrays[name] for name in ARRAYS},
        chunk_words=saved["chunk_words"],
        keeps_length=saved.get("keeps_length", False),
    )


def vocabulary(options: Options, *, folder: Path, name: str, texts: int) -> dict[str, float]:
    """The words of the encoder that ``save`` wrote, each with the share of its ``texts`` training texts that held it.

    The shares are those that the smoothed idf, log((1 + n) / (1 + df)) + 1, was computed from.
    """
    fitted = load(folder, name, cache_dir=folder)
    shares = ((1 + texts) / np.exp(fitted.idf - 1) - 1) / texts
    return {term: float(share) for term, share in zip(fitted.terms, shares, strict=True) if " " not in term}


def words(text: str) -> list[str]:
    """The words of a text as the vocabulary has them.

    >>> words("BP 90/60, no DVT")
    ['bp', 'no', 'dvt']
    """
    return re.findall(TOKEN, text.lower())


def build(options: Options, *, seed: int, texts: Text = "note") -> TextEncoder:
    """The encoder, not yet fitted, of ``texts`` of a kind."""
    return TfidfSvd(options, seed, texts)
