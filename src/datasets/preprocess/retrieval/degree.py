"""Triples to the graph's best connected nodes: a disease says the same of every patient.

The degree of a node is the number of diseases it is joined to, and the highest come first: edema, renal failure or sepsis, of
which notes and other patients' summaries speak too. The lowest are mostly single genes and rare drugs. What belongs to this one
patient is what ``relevance`` is for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from src.datasets.graphs import Edges, KnowledgeGraph
from src.datasets.preprocess.ranking.documents import Documents
from src.datasets.preprocess.ranking.specificity import by_degree, diseases_of
from src.datasets.preprocess.retrieval import Query, Retrieved
from src.fields import Positive


@dataclass(frozen=True)
class Options:
    """``triples``: at most so many a node; ``description_characters`` bounds a document."""

    triples: Positive = 5
    description_characters: Positive = 600


@dataclass(frozen=True)
class Degree:
    """``order [E]``: every disease's edges, best connected first."""

    options: Options
    documents: Documents
    edges: Edges
    order: NDArray[np.int64]

    def retrieve(self, queries: Sequence[Query]) -> list[tuple[Retrieved, ...]]:
        """Each node is looked up once."""
        known = {node: self._node(node) for node in {node for query in queries for node in query.nodes}}
        return [tuple(known[node] for node in query.nodes) for query in queries]

    def _node(self, node_index: int) -> Retrieved:
        row = int(np.searchsorted(self.edges.disease, node_index))
        start, end = self.edges.start[row : row + 2].tolist()
        chosen = self.order[start : min(end, start + self.options.triples)]
        return self.documents.of(node_index, chosen.tolist())


def build(options: Options, *, graph: KnowledgeGraph, seed: int) -> Degree:
    """The retriever; nothing is drawn, so the seed does not matter."""
    edges = graph.edges()
    return Degree(
        options,
        Documents(graph, edges, options.description_characters),
        edges,
        by_degree(edges, diseases_of(edges)),
    )
