"""Retrieves a random sample of each disease's triples, as published.

The draw is seeded by the node, so that for a disease it is the same, whoever the patient is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emerge_ehr.fields import Positive
from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.rag.ranking.documents import Documents
from emerge_ehr.rag.retrieval import Query, Retrieved, Retriever


@dataclass(frozen=True)
class Options:
    """``triples``: the most per node; ``description_characters``: the most of a definition, and of a description."""

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
        """Some of the edges ``start`` to ``end - 1``, drawn without replacement, in the graph's order."""
        rng = np.random.default_rng([self.seed, node_index])
        size = min(self.options.triples, end - start)
        chosen = rng.choice(end - start, size=size, replace=False).tolist() if size else []
        return [start + position for position in sorted(chosen)]


def build(options: Options, *, graph: KnowledgeGraph, seed: int) -> Retriever:
    """The retriever."""
    edges = graph.edges()
    return SampledTriples(options, Documents(graph, edges, options.description_characters), seed)
