"""Triples as published: a random sample per disease, here seeded by node, so that a disease says the same of every patient."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emerge_ehr.fields import Positive
from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.rag.ranking.documents import Documents
from emerge_ehr.rag.retrieval import Query, Retrieved, Retriever


@dataclass(frozen=True)
class Options:
    """``triples``: at most so many a node; ``description_characters`` bounds a document."""

    triples: Positive = 5
    description_characters: Positive = 600


@dataclass(frozen=True)
class SampledTriples:
    """Retrieval from one graph."""

    options: Options
    documents: Documents
    seed: int

    def retrieve(self, queries: Sequence[Query]) -> list[tuple[Retrieved, ...]]:
        """A sample of each disease's edges."""
        return self.documents.same_for_all(queries, self._sample)

    def _sample(self, node_index: int, start: int, end: int) -> list[int]:
        """Without replacement, kept in the graph's order."""
        rng = np.random.default_rng([self.seed, node_index])
        size = min(self.options.triples, end - start)
        chosen = rng.choice(end - start, size=size, replace=False).tolist() if size else []
        return [start + position for position in sorted(chosen)]


def build(options: Options, *, graph: KnowledgeGraph, seed: int) -> Retriever:
    """The retriever."""
    edges = graph.edges()
    return SampledTriples(options, Documents(graph, edges, options.description_characters), seed)
