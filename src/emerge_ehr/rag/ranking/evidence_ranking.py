"""The arithmetic behind retrieval by ``relevance`` (the formula is in that module), for a block of patients at once.

Shapes: D diseases, E edges and Y nodes of the graph; P patients in the block; G diseases of all these patients together, a row
per patient and disease; M edges of these that can have a score; K triples to choose. ``cells [P * Y]`` holds, for every patient
and node, the number of the patient's diseases that are joined to the node, and two flags. The caller provides it with all zeros,
and it is all zeros again afterwards.
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
DECIMALS = 6  # of a score, so that equal scores such as 1 / ln 3 and 2 / ln 9 do not differ in their last digits


@dataclass(frozen=True)
class Lists:
    """Lists of integers in one array: list ``i`` is ``values[start[i]:start[i + 1]]``."""

    start: Integers
    values: Integers

    def of(self, rows: Integers) -> tuple[Integers, Integers]:
        """The lists of ``rows``, one after the other: the length of each list, and the position in ``values`` of each value."""
        length = self.start[rows + 1] - self.start[rows]
        offset = self.start[rows] - np.cumsum(length) + length
        return length, np.arange(length.sum()) + np.repeat(offset, length)


@dataclass(frozen=True)
class EvidenceRanking:
    """The graph, prepared for ranking; each disease's edges stand in the order that decides between equal scores."""

    disease: Integers  # [D] node_index, ascending
    start: Integers  # [D + 1] the edges of each disease
    order: Integers  # [E + 1] the edges' numbers in the graph, then -1
    neighbours: Lists  # D lists of nodes: the other ends of the edges that can have a score
    rank: Integers  # for each value in ``neighbours``: its edge's number in the disease's order
    present: NDArray[np.bool_]  # for each value in ``neighbours``: the relation says that the phenotype is present
    namesake: NDArray[np.bool_]  # for each value in ``neighbours``: the node has one of the disease's names
    weight: NDArray[np.float64]  # [Y] 1 / ln n(y), where n(y) diseases are joined to node y
    called: Lists  # D lists of nodes: the disease itself, and phenotypes that have one of its names
    shown: Lists  # lists of nodes, one for each (signal, direction): the phenotypes that it shows
    signals: Mapping[tuple[str, str], int]  # (signal, direction) -> list in ``shown``

    @property
    def nodes(self) -> int:
        """The number of nodes Y."""
        return len(self.weight)

    def best(self, queries: Sequence[Query], k: int, cells: Cells) -> NDArray[np.int32]:
        """``[G, 1 + K]``: for each disease of each patient, its row in ``disease`` and its best edges, filled up with -1."""
        patient = np.repeat(np.arange(len(queries)), [len(query.nodes) for query in queries])
        node_index = np.fromiter(chain.from_iterable(query.nodes for query in queries), np.int64, len(patient))
        row = np.searchsorted(self.disease, node_index)
        number = np.arange(len(patient)) - np.searchsorted(patient, patient)
        # All patients' first diseases, then all second ones, and so on: within such a part no cell stands twice.
        turn = np.argsort(number, kind="stable")
        length, place = self.neighbours.of(row[turn])
        cell = self.neighbours.values[place] + np.repeat(patient[turn] * self.nodes, length)
        flags = self._flags(queries, patient, row)
        for edges in np.split(cell, np.cumsum(length)[np.cumsum(np.bincount(number)) - 1][:-1] if len(row) else []):
            cells[edges] += ONE  # 1 per disease, however many relations join it to the node
        for flag, flagged in flags:
            cells[flagged] |= flag
        content = cells[cell]
        for touched in (cell, *(flagged for _, flagged in flags)):
            cells[touched] = 0
        some = np.flatnonzero(content != ONE)  # elsewhere only the disease itself is joined to the node: score 0
        score = self._score(content[some], place[some])
        worth = np.flatnonzero(score)
        group, rank = np.repeat(np.arange(len(row)), length)[some[worth]], self.rank[place[some[worth]]]
        score = np.round(score[worth], DECIMALS)
        # Groups ascend and so do the ranks in each: a stable sort by group and score leaves equals in that order.
        order = np.argsort(group * (score.max(initial=0) + 1) - score, kind="stable")
        scored = np.empty((len(row), k), dtype=np.int64)
        scored[turn] = _first(group[order], rank[order], len(row), k)
        return np.ascontiguousarray(np.column_stack((row, self._edges(scored, row, k))).astype(np.int32))

    def _flags(self, queries: Sequence[Query], patient: Integers, row: Integers) -> list[tuple[np.uint16, Integers]]:
        """Each flag with its cells: those of the patients' own diseases, and of the phenotypes that their signals show."""
        length, place = self.called.of(row)
        own = self.called.values[place] + np.repeat(patient * self.nodes, length)
        abnormal = [
            (n, self.signals[signal.code, signal.direction])
            for n, query in enumerate(queries)
            for signal in query.signals
            if (signal.code, signal.direction) in self.signals
        ]
        whose, signals = np.array(abnormal, dtype=np.int64).reshape(-1, 2).T
        length, place = self.shown.of(signals)
        return [(OWN, own), (SHOWN, self.shown.values[place] + np.repeat(whose * self.nodes, length))]

    def _score(self, content: Cells, place: Integers) -> NDArray[np.float64]:
        """``[M]``: the score of each edge, from the content of its cell and its position in ``neighbours``."""
        score = ((content & COUNT) - ONE) * self.weight[self.neighbours.values[place]]
        score += ((content & OWN) > 0) & ~self.namesake[place]
        score += ((content & SHOWN) > 0) & self.present[place]
        return score

    def _edges(self, scored: Integers, row: Integers, k: int) -> Integers:
        """``[G, K]``: the numbers of the scored edges in the graph.

        Where there are fewer than K, the first of the disease's other edges follow; -1 where there is none.
        """
        rest = np.arange(2 * k)
        degree = self.start[row + 1] - self.start[row]
        usable = (rest < degree[:, None]) & ~(rest[:, None] == scored[:, None, :]).any(axis=2)
        both = np.concatenate((scored, np.where(usable, rest, -1)), axis=1)
        front = np.argsort(both < 0, axis=1, kind="stable")[:, :k]
        ranks = np.take_along_axis(both, front, axis=1)
        return self.order[np.where(ranks < 0, -1, self.start[row][:, None] + ranks)]


def _first(group: Integers, value: Integers, groups: int, k: int) -> Integers:
    """``[groups, K]``: the first K values of each group, filled up with -1; ``group`` must ascend."""
    count = np.bincount(group, minlength=groups)
    number = np.arange(len(group)) - np.repeat(np.cumsum(count) - count, count)
    table = np.full((groups, k), -1, dtype=np.int64)
    table[group[number < k], number[number < k]] = value[number < k]
    return table


def build(graph: KnowledgeGraph, shown: Mapping[tuple[str, str], Sequence[str]]) -> EvidenceRanking:
    """The ranking over ``graph``; ``shown``: (signal, direction) -> names of the phenotypes that it shows."""
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
    """The normal form of each phenotype's name -> its node."""
    named = zip(edges.name, edges.node_type, strict=True)
    return {normal(name): node for node, (name, kind) in enumerate(named) if name and kind == "effect/phenotype"}


def _called(graph: KnowledgeGraph, edges: Edges, phenotypes: Mapping[str, int]) -> Lists:
    """For each disease a list of its own node and of the phenotypes that have one of its names."""
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
