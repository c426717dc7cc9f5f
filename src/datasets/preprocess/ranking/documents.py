"""What the graph says of a disease, put together: documents cut to length, and the triples that were chosen."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from src.datasets.graphs import Edges, KnowledgeGraph, Triple
from src.datasets.preprocess.retrieval import Retrieved


@dataclass(frozen=True)
class Documents:
    """``characters`` bounds a definition, and a description. What was made once is kept: patients share it."""

    graph: KnowledgeGraph
    edges: Edges
    characters: int
    diseases: dict[int, tuple[str, str, str]] = field(default_factory=dict)  # name and cut documents
    triples: dict[int, Triple] = field(default_factory=dict)  # by edge

    def of(self, node_index: int, chosen: Sequence[int]) -> Retrieved:
        """The disease with the triples of its edges ``chosen``, in that order."""
        if node_index not in self.diseases:
            disease = self.graph.diseases()[node_index]
            documents = disease.definition[: self.characters], disease.description[: self.characters]
            self.diseases[node_index] = (disease.names[0], *documents)
        name, definition, description = self.diseases[node_index]
        for edge in chosen:
            if edge not in self.triples:
                self.triples[edge] = self.edges.triple(name, edge)
        triples = tuple([self.triples[edge] for edge in chosen])
        return Retrieved(node_index, name, definition, description, triples)
