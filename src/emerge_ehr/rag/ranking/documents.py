"""Puts together what is retrieved for a disease: its documents, cut to length, and the triples that were chosen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from emerge_ehr.graphs import Edges, KnowledgeGraph, Triple
from emerge_ehr.rag.retrieval import Query, Retrieved
from emerge_ehr.rag.sentences import whole


@dataclass(frozen=True)
class Documents:
    """The diseases of ``graph``; ``characters`` is the most of a definition, and of a description, that is retrieved:
    whole sentences only.

    Documents and triples are kept once made, as many patients share a disease.
    """

    graph: KnowledgeGraph
    edges: Edges
    characters: int
    diseases: dict[int, tuple[str, str, str]] = field(default_factory=dict)  # name and cut documents
    triples: dict[int, Triple] = field(default_factory=dict)  # by edge

    def of(self, node_index: int, chosen: Sequence[int]) -> Retrieved:
        """The disease at ``node_index`` with the triples of its edges ``chosen``, in that order."""
        if node_index not in self.diseases:
            disease = self.graph.diseases()[node_index]
            documents = (
                whole(disease.definition, self.characters),
                whole(disease.description, self.characters),
            )
            self.diseases[node_index] = (disease.names[0], *documents)
        name, definition, description = self.diseases[node_index]
        for edge in chosen:
            if edge not in self.triples:
                self.triples[edge] = self.edges.triple(name, edge)
        triples = tuple([self.triples[edge] for edge in chosen])
        return Retrieved(node_index, name, definition, description, triples)

    def same_for_all(
        self, queries: Sequence[Query], choose: Callable[[int, int, int], Sequence[int]]
    ) -> list[tuple[Retrieved, ...]]:
        """Each query's diseases, where the choice of triples does not depend on the patient: each node is looked up once.

        ``choose(node_index, start, end)`` returns some of the node's edges, which are numbered from ``start`` to ``end - 1``.
        """
        retrieved: dict[int, Retrieved] = {}
        for node in {node for query in queries for node in query.nodes}:
            row = int(np.searchsorted(self.edges.disease, node))
            start, end = self.edges.start[row : row + 2].tolist()
            retrieved[node] = self.of(node, choose(node, start, end))
        return [tuple(retrieved[node] for node in query.nodes) for query in queries]
