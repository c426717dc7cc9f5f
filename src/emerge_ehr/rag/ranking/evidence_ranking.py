"""The arithmetic behind retrieval by ``relevance`` (its formula stands there), for a block of patients at once.

Shapes: D diseases, E edges, Y nodes of the graph; P patients of the block, G their diseases together (one row each), M the
edges of these that may be worth something, K triples to choose. ``cells [P * Y]`` holds for every patient and node how many of
the patient's diseases are joined to it, and two flags; it is handed in, and handed back as it came: all zero.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.graphs import Edges, KnowledgeGraph
from emerge_ehr.rag.names import normal
from emerge_ehr.rag.ranking.specificity import by_degree, diseases_of
from emerge_ehr.rag.retrieval import Query

Integers = NDArray[np.int64]
Cells = NDArray[np.uint16]
PRESENT = "disease_phenotype_positive"
WORTHLESS = ("disease_phenotype_negative", "contraindication")
ONE = np.uint16(1)
OWN, SHOWN = np.uint16(1 << 15), np.uint16(1 << 14)  # flags above the count
COUNT = np.uint16(SHOWN - 1)
DECIMALS = 6  # of a score: 1 / ln 3 and 2 / ln 9 are equal, whatever their last digits


@dataclass(frozen=True)
class Lists:
    """Lists of integers in one array: list ``i`` is ``values[start[i]:start[i + 1]]``."""

    start: Integers
    values: Integers

    def of(self, rows: Integers) -> tuple[Integers, Integers]:
        """The lists of ``rows`` after one another: how long each is, and the place of every value in ``values``."""
        length = self.start[rows + 1] - self.start[rows]
        offset = self.start[rows] - np.cumsum(length) + length
        return length, np.arange(length.sum()) + np.repeat(offset, length)


@dataclass(frozen=True)
class EvidenceRanking:
    """The graph as it is ranked: each disease's edges in the order that decides between equals."""

    disease: Integers  # [D] node_index, ascending
    start: Integers  # [D + 1] the edges of each disease
    order: Integers  # [E + 1] the edges' numbers in the graph, then -1
    neighbours: Lists  # D lists of nodes: the ends of the edges that may be worth something
    rank: Integers  # for each value in ``neighbours``: its edge's number in the disease's order
    present: NDArray[np.bool_]  # ... the relation says that the phenotype is present
    namesake: NDArray[np.bool_]  # ... the node is called like the disease
    weight: NDArray[np.float64]  # [Y] 1 / ln n(y)
    called: Lists  # D lists of nodes: the disease itself, and phenotypes called like it
    shown: Lists  # nodes that a signal shows
    signals: Mapping[tuple[str, str], int]  # (signal, direction) -> list in ``shown``

    @property
    def nodes(self) -> int:
        """Y."""
        return len(self.weight)

    def best(self, queries: Sequence[Query], k: int, cells: Cells) -> NDArray[np.int32]:
        """``[G, 1 + K]``: for each disease of each patient its row, and its best edges, then -1."""
        patient = np.repeat(np.arange(len(queries)), [len(query.nodes) for query in queries])
        node_index = np.fromiter(chain.from_iterable(query.nodes for query in queries), np.int64, len(patient))
        row = np.searchsorted(self.disease, node_index)
        number = np.arange(len(patient)) - np.searchsorted(patient, patient)
        turn = np.argsort(number, kind="stable")  # all first diseases, then all second ones: each counts by itself
        length, place = self.neighbours.of(row[turn])
        cell = self.neighbours.values[place] + np.repeat(patient[turn] * self.nodes, length)
        flags = self._flags(queries, patient, row)
        for edges in np.split(cell, np.cumsum(length)[np.cumsum(np.bincount(number)) - 1][:-1] if len(row) else []):
            cells[edges] += ONE  # once, however many relations join the two
        for flag, flagged in flags:
            cells[flagged] |= flag
        found = cells[cell]
        for touched in (cell, *(flagged for _, flagged in flags)):
            cells[touched] = 0
        some = np.flatnonzero(found != ONE)  # only the disease itself is joined to the others: worth nothing
        score = self._score(found[some], place[some])
        worth = np.flatnonzero(score)
        group, rank = np.repeat(np.arange(len(row)), length)[some[worth]], self.rank[place[some[worth]]]
        score = np.round(score[worth], DECIMALS)
        # Groups ascend and so do the ranks in each: a stable sort by group and score leaves equals in that order.
        order = np.argsort(group * (score.max(initial=0) + 1) - score, kind="stable")
        scored = np.empty((len(row), k), dtype=np.int64)
        scored[turn] = _first(group[order], rank[order], len(row), k)
        return np.ascontiguousarray(np.column_stack((row, self._edges(scored, row, k))).astype(np.int32))

    def _flags(self, queries: Sequence[Query], patient: Integers, row: Integers) -> list[tuple[np.uint16, Integers]]:
        """The cells of the patients' own diseases and of what their signals show."""
        length, place = self.called.of(row)
        own = self.called.values[place] + np.repeat(patient * self.nodes, length)
        told = [
            (n, self.signals[signal.code, signal.direction])
            for n, query in enumerate(queries)
            for signal in query.signals
            if (signal.code, signal.direction) in self.signals
        ]
        whose, signals = np.array(told, dtype=np.int64).reshape(-1, 2).T
        length, place = self.shown.of(signals)
        return [(OWN, own), (SHOWN, self.shown.values[place] + np.repeat(whose * self.nodes, length))]

    def _score(self, found: Cells, place: Integers) -> NDArray[np.float64]:
        score = ((found & COUNT) - ONE) * self.weight[self.neighbours.values[place]]
        score += ((found & OWN) > 0) & ~self.namesake[place]
        score += ((found & SHOWN) > 0) & self.present[place]
        return score

    def _edges(self, scored: Integers, row: Integers, k: int) -> Integers:
        """``[G, K]``: where fewer than K edges are worth something, the first of the rest follow; -1 where there is none."""
        rest = np.arange(2 * k)
        degree = self.start[row + 1] - self.start[row]
        usable = (rest < degree[:, None]) & ~(rest[:, None] == scored[:, None, :]).any(axis=2)
        both = np.concatenate((scored, np.where(usable, rest, -1)), axis=1)
        front = np.argsort(both < 0, axis=1, kind="stable")[:, :k]
        ranks = np.take_along_axis(both, front, axis=1)
        return self.order[np.where(ranks < 0, -1, self.start[row][:, None] + ranks)]


def _first(group: Integers, value: Integers, groups: int, k: int) -> Integers:
    """``[groups, K]``: the first K values of each group, then -1; ``group`` ascends."""
    count = np.bincount(group, minlength=groups)
    number = np.arange(len(group)) - np.repeat(np.cumsum(count) - count, count)
    table = np.full((groups, k), -1, dtype=np.int64)
    table[group[number < k], number[number < k]] = value[number < k]
    return table


def build(graph: KnowledgeGraph, shown: Mapping[tuple[str, str], Sequence[str]]) -> EvidenceRanking:
    """``shown``: (signal, direction) -> names of phenotypes."""
    edges = graph.edges()
    degree = diseases_of(edges)
    order = by_degree(edges, degree)
    disease = np.repeat(np.arange(len(edges.disease)), np.diff(edges.start))
    phenotypes = _phenotypes(edges)
    called = _called(graph, edges, phenotypes)
    signals = _lists(
        [phenotypes[normal(name)] for name in names if normal(name) in phenotypes] for names in shown.values()
    )

    key_of_relation = np.array([*(relation for relation, _ in edges.relations), ""])  # never empty
    relation, neighbour = key_of_relation[edges.relation[order]], edges.neighbour[order]
    able = (degree[neighbour] > 1) | np.isin(neighbour, called.values) | np.isin(neighbour, signals.values)
    able &= ~np.isin(relation, WORTHLESS)
    length, place = called.of(np.arange(len(edges.disease)))
    names = np.repeat(np.arange(len(length)), length) * len(degree) + called.values[place]
    return EvidenceRanking(
        disease=edges.disease,
        start=edges.start,
        order=np.append(order, -1),
        neighbours=Lists(np.concatenate(([0], np.cumsum(able)))[edges.start], neighbour[able]),
        rank=(np.arange(len(order)) - edges.start[disease])[able],
        present=(relation == PRESENT)[able],
        namesake=np.isin(disease * len(degree) + neighbour, names)[able],
        weight=1 / np.log(np.maximum(degree, 2)),
        called=called,
        shown=signals,
        signals={key: number for number, key in enumerate(shown)},
    )


def _phenotypes(edges: Edges) -> dict[str, int]:
    """Normal form of a phenotype's name -> node."""
    named = zip(edges.name, edges.node_type, strict=True)
    return {normal(name): node for node, (name, kind) in enumerate(named) if name and kind == "effect/phenotype"}


def _called(graph: KnowledgeGraph, edges: Edges, phenotypes: Mapping[str, int]) -> Lists:
    """For each disease its own node, and the phenotypes that bear one of its names."""
    node_of = {index: node for node, index in enumerate(edges.node_index.tolist())}
    lists = []
    for index in edges.disease.tolist():
        names = {normal(name): None for name in graph.diseases()[index].names}
        alike = [phenotypes[name] for name in names if name in phenotypes]
        lists.append([*([node_of[index]] if index in node_of else []), *alike])
    return _lists(lists)


def _lists(lists: Iterable[list[int]]) -> Lists:
    made = list(lists)
    start = np.cumsum([0, *map(len, made)])
    return Lists(start, np.fromiter(chain.from_iterable(made), np.int64, int(start[-1])))
