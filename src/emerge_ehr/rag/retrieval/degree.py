"""Retrieves the triples to the graph's best connected nodes: for a disease the same triples, whoever the patient is.

The degree of a node is the number of diseases it is joined to. Nodes of high degree come first: edema, renal failure or sepsis,
which notes and other patients' summaries mention too; those of low degree are mostly single genes and rare drugs. The plug
``relevance`` chooses by the patient's other evidence instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.fields import Positive
from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.rag.ranking.documents import Documents
from emerge_ehr.rag.ranking.specificity import by_degree, diseases_of
from emerge_ehr.rag.retrieval import Query, Retrieved, Retriever


@dataclass(frozen=True)
class Options:
    """``triples``: the most per node; ``description_characters``: the most of a definition, and of a description."""

    triples: Positive = 5
    description_characters: Positive = 600


@dataclass(frozen=True)
class Degree:
    """``order [E]``: each disease's edges, those to the best connected nodes first."""

    options: Options
    documents: Documents
    order: NDArray[np.int64]

    def retrieve(self, queries: Sequence[Query]) -> list[tuple[Retrieved, ...]]:
        """The first of each disease's edges."""
        return self.documents.same_for_all(queries, self._first)

    def _first(self, node_index: int, start: int, end: int) -> list[int]:
        chosen: list[int] = self.order[start : min(end, start + self.options.triples)].tolist()
        return chosen


def build(options: Options, *, graph: KnowledgeGraph, seed: int) -> Retriever:
    """The retriever; nothing is drawn, so the seed does not matter."""
    edges = graph.edges()
    documents = Documents(graph, edges, options.description_characters)
    return Degree(options, documents, by_degree(edges, diseases_of(edges)))
