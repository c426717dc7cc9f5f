"""Triples as published: a random sample per disease, here seeded by node, so that a disease says the same of every patient."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from src.datasets.graphs import Edges, KnowledgeGraph
from src.datasets.preprocess.ranking.documents import Documents
from src.datasets.preprocess.retrieval import Query, Retrieved
from src.fields import Positive


@dataclass(frozen=True)
class Options:
    """``triples``: at most so many a node; ``description_characters`` bounds a document."""

    triples: Positive = 5
    description_characters: Positive = 600


@dataclass(frozen=True)
class Sample:
    """Retrieval from one graph."""

    options: Options
    documents: Documents
    edges: Edges
    seed: int

    def retrieve(self, queries: Sequence[Query]) -> list[tuple[Retrieved, ...]]:
        """Each node is looked up once."""
        known = {node: self._node(node) for node in {node for query in queries for node in query.nodes}}
        return [tuple(known[node] for node in query.nodes) for query in queries]

    def _node(self, node_index: int) -> Retrieved:
        """Sampled without replacement, kept in the graph's order."""
        row = int(np.searchsorted(self.edges.disease, node_index))
        start, end = self.edges.start[row : row + 2].tolist()
        rng = np.random.default_rng([self.seed, node_index])
        size = min(self.options.triples, end - start)
        chosen = rng.choice(end - start, size=size, replace=False).tolist() if size else []
        return self.documents.of(node_index, [start + position for position in sorted(chosen)])


def build(options: Options, *, graph: KnowledgeGraph, seed: int) -> Sample:
    """The retriever."""
    edges = graph.edges()
    return Sample(options, Documents(graph, edges, options.description_characters), edges, seed)
