"""Similarity in words: the probability that a name of the graph is the disease meant, judged by the words that both share.

The nearest ``NEIGHBOURS`` names by stems and character trigrams are compared with the query word by word. A linear score ranks
them, and a logistic function of the best score and of its lead over the next name turns it into a probability. Both were fitted
by ``benchmarks/linking.py fit`` on the half of ICD titles and of annotated abstracts that is not used to report accuracy.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.compute.forms import Json
from emerge_ehr.compute.local import LOCAL
from emerge_ehr.compute.work import Pool, Work
from emerge_ehr.rag.phrases import EMPTY, GENERAL, Words, words
from emerge_ehr.rag.similarity import NameSimilarity

FITTED = Path(__file__).with_name("words.json")
NEIGHBOURS = 24  # names per query that are compared word by word
PIECE = 1000  # names looked up together
BLOCK = 200  # queries compared with all names together
MUCH = 50_000  # names from which starting worker processes pays
UNKNOWN = 16  # columns for words that no name of the graph holds
GENERAL_WEIGHT = 0.8  # inverse document frequency of general words, whatever it is
LONGEST_LEAD = 6.0
OPPOSED = (("acute", "chron"), ("benign", "malignant"))  # stems that exclude each other
FEATURES = (
    "cosine", "query_covered", "name_covered", "trigrams", "number_added", "number_missing", "word_missing", "seldom_meant",
    "acute_or_chronic", "benign_or_malignant", "malignancy_added", "inherited_added",
)  # fmt: skip
Match = tuple[int, float]  # position of the nearest name, and its score
Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Options:
    """There is nothing to choose."""

    light: ClassVar[bool] = True


@dataclass(frozen=True)
class Fitted:
    """``weights``: of each feature in the score; ``score``, ``lead``, ``constant``: of the logistic function."""

    weights: Floats
    score: float
    lead: float
    constant: float


@cache
def fitted() -> Fitted:
    """The numbers that ``benchmarks/linking.py fit`` wrote."""
    values = json.loads(FITTED.read_text("utf-8"))
    weights = np.array([values["weights"][name] for name in FEATURES], dtype=np.float32)
    return Fitted(weights, **values["probability"])


@dataclass(frozen=True)
class Rows:
    """M names as rows. ``stems [M, W]``: each stem's rarity times its weight in the name; ``trigrams [M, G]``: of length one.

    ``sides [M, 2]``: for each pair of ``OPPOSED``, 1 for the first, 2 for the second, 3 for both. ``numbers``: numbers and single
    letters in the name. ``seldom [M]``: obsolete, or a susceptibility. ``inherited [M]``: inherited or congenital.
    """

    stems: Any
    trigrams: Any
    sides: NDArray[np.int8]
    numbers: Sequence[frozenset[str]]
    seldom: Floats
    inherited: NDArray[np.bool_]


@dataclass(frozen=True)
class Space:
    """The stems and trigrams of the graph's names; ``rarity``: the inverse document frequency of each stem, the last of none."""

    column: dict[str, int]
    rarity: Floats
    trigrams: Any

    def rows(self, names: Sequence[str]) -> Rows:
        """The names as rows; words that no name of the graph holds get the last columns."""
        from scipy import sparse

        parts = [words(name) for name in names]
        row, column, value = list[int](), list[int](), list[float]()
        for at, weights in enumerate(parts):
            unknown = len(self.column)
            for stem, weight in weights.items():
                place = self.column.get(stem)
                if place is None:
                    place, unknown = unknown, min(unknown + 1, len(self.column) + UNKNOWN - 1)
                row.append(at)
                column.append(place)
                value.append(weight * float(self.rarity[min(place, len(self.column))]))
        shape = (len(names), len(self.column) + UNKNOWN)
        return Rows(
            sparse.csr_matrix((np.array(value, dtype=np.float32), (row, column)), shape=shape),
            self.trigrams.transform([_spelled(weights) for weights in parts]),
            np.array([_sides(weights) for weights in parts], dtype=np.int8).reshape(-1, len(OPPOSED)),
            [
                frozenset(stem for stem in weights if stem.isdigit() or (len(stem) == 1 and stem != "x"))
                for weights in parts
            ],
            np.array(
                [float("susceptibility" in name or name.startswith("obsolete")) for name in names], dtype=np.float32
            ),
            np.array([bool(INHERITED & weights.keys()) for weights in parts], dtype=bool),
        )


@final
@dataclass(frozen=True)
class WordSimilarity:
    """The names as rows, and the space that they are rows of."""

    space: Space
    names: Rows
    pool: Pool

    def nearest(self, queries: Sequence[str]) -> tuple[Integers, Floats]:
        """The name that is most probably meant, and the probability that it is."""
        tool = (self.space, self.names)
        work = Work("linking", tool, _nearest, Json[str](str), Json[Match](Match), piece=PIECE)
        matches = list(self.pool.map(work, queries, much=len(queries) >= MUCH))
        positions, scores = ([match[part] for match in matches] for part in (0, 1))
        return np.array(positions, dtype=np.int64), np.array(scores, dtype=np.float32)

    @property
    def threshold(self) -> float:
        """From here on a link is more probably right than wrong."""
        return 0.5

    @property
    def title_threshold(self) -> float:
        """From here on more titles are right, and no fewer of the linked ones; ``benchmarks/linking_titles.py`` measured it."""
        return 0.4

    def description(self) -> dict[str, Any]:
        """The plug's name and the fitted numbers."""
        return {"name": "words", **json.loads(FITTED.read_text("utf-8"))}


def download(options: Options, offline: bool) -> None:
    """Nothing to fetch."""


def build(options: Options, *, names: Sequence[str], pool: Pool = LOCAL) -> NameSimilarity:
    """The similarity to ``names``, whose words decide how much each word tells."""
    space = fit_space(names)
    return WordSimilarity(space, space.rows(names), pool)


def fit_space(names: Sequence[str]) -> Space:
    """The stems and trigrams of ``names``."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    parts = [words(name) for name in names]
    count = Counter(stem for weights in parts for stem in weights)
    column = {stem: place for place, stem in enumerate(sorted(count))}
    rarity = [
        GENERAL_WEIGHT if stem in GENERAL_STEMS else float(np.log((len(names) + 1) / (count[stem] + 1))) + 0.3
        for stem in column
    ]
    trigrams = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 3), dtype=np.float32)
    trigrams.fit([_spelled(weights) for weights in parts])
    return Space(column, np.array([*rarity, np.log(len(names) + 1) + 0.3], dtype=np.float32), trigrams)


GENERAL_STEMS = frozenset(stem for word in GENERAL for stem in words(word))
INHERITED = frozenset(stem for word in ("hereditary", "congenital", "autosomal", "x linked") for stem in words(word))


def neighbours(space: Space, names: Rows, queries: Rows) -> tuple[Integers, Integers]:
    """Pairs of a query and a name, ``[P]`` each: for every query the nearest ``NEIGHBOURS`` names, in the order of the names."""
    from scipy import sparse

    columns = sparse.hstack([_unit(names.stems), names.trigrams]).T.tocsr()
    together = sparse.hstack([_unit(queries.stems), queries.trigrams]).tocsr()
    query, name = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for start in range(0, together.shape[0], BLOCK):
        scores = together[start : start + BLOCK] @ columns
        for row, (begin, end) in enumerate(zip(scores.indptr, scores.indptr[1:], strict=False)):
            if end - begin > NEIGHBOURS:
                near = np.argpartition(scores.data[begin:end], -NEIGHBOURS)[-NEIGHBOURS:]
            else:
                near = np.arange(end - begin)
            name.append(np.sort(scores.indices[begin:end][near].astype(np.int64)))
            query.append(np.full(len(near), start + row))
    return np.concatenate(query), np.concatenate(name)


def features(names: Rows, queries: Rows, name: Integers, query: Integers) -> Floats:
    """``[P, len(FEATURES)]``: how each query compares with its name."""
    asked, known = queries.stems[query], names.stems[name]
    both = np.asarray(asked.multiply(known > 0).sum(axis=1)).ravel()
    known_in_query = np.asarray(known.multiply(asked > 0).sum(axis=1)).ravel()
    cosine = np.asarray(_unit(asked).multiply(_unit(known)).sum(axis=1)).ravel()
    trigrams = np.asarray(queries.trigrams[query].multiply(names.trigrams[name]).sum(axis=1)).ravel()
    missing = (asked - asked.multiply(known > 0)).max(axis=1).toarray().ravel()
    numbers = [(queries.numbers[q], names.numbers[n]) for q, n in zip(query.tolist(), name.tolist(), strict=True)]
    opposed = queries.sides[query] * names.sides[name] == 2
    return np.column_stack(
        [
            cosine,
            both / np.maximum(np.asarray(asked.sum(axis=1)).ravel(), 1e-6),
            known_in_query / np.maximum(np.asarray(known.sum(axis=1)).ravel(), 1e-6),
            trigrams,
            [bool(own - asked_numbers) for asked_numbers, own in numbers],
            [bool(asked_numbers - own) for asked_numbers, own in numbers],
            missing / 10,
            names.seldom[name],
            opposed,
            (queries.sides[query, 1] == 0) & (names.sides[name, 1] > 0),
            names.inherited[name] & ~queries.inherited[query],
        ]
    ).astype(np.float32)


def best(query: Integers, name: Integers, score: Floats, count: int) -> tuple[Integers, Floats, Floats]:
    """For each of ``count`` queries the name with the highest score, the score, and its lead over the next name.

    A query without a name gets name 0 and the score minus infinity.
    """
    order = np.lexsort((name, -np.round(score, 5), query))
    query, name, score = query[order], name[order], score[order]
    first = np.flatnonzero(np.diff(query, prepend=-1))
    position, top = np.zeros(count, dtype=np.int64), np.full(count, -np.inf, dtype=np.float32)
    lead = np.full(count, LONGEST_LEAD, dtype=np.float32)
    position[query[first]], top[query[first]] = name[first], score[first]
    followed = first[np.append(query, -1)[first + 1] == query[first]] if len(first) else first
    lead[query[followed]] = np.minimum(score[followed] - score[followed + 1], LONGEST_LEAD)
    return position, top, lead


def _nearest(tool: tuple[Space, Rows], asked: Sequence[str]) -> list[Match]:
    space, names = tool
    queries, numbers = space.rows(asked), fitted()
    query, name = neighbours(space, names, queries)
    score = features(names, queries, name, query) @ numbers.weights
    position, top, lead = best(query, name, score.astype(np.float32), len(asked))
    logit = numbers.score * top + numbers.lead * lead + numbers.constant
    probability = 1 / (1 + np.exp(-np.clip(logit.astype(np.float64), -50, 50)))
    return list(zip(position.tolist(), probability.tolist(), strict=True))


def _spelled(weights: Words) -> str:
    """The stems that say something, as a text of which the trigrams are taken."""
    return " ".join(stem for stem, weight in weights.items() if weight > EMPTY and stem not in GENERAL_STEMS)


def _sides(weights: Words) -> list[int]:
    return [(first in weights) + 2 * (second in weights) for first, second in OPPOSED]


def _unit(rows: Any) -> Any:
    """The rows scaled to length one; a zero row stays zero."""
    from scipy import sparse

    length = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1)).ravel())
    return sparse.diags((1 / np.maximum(length, 1e-12)).astype(np.float32)) @ rows
