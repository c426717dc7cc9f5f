"""What the graph says of a disease, put together: documents cut to length, and the triples that were chosen."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from src.datasets.graphs import KnowledgeGraph
from src.datasets.preprocess.retrieval import Retrieved


@dataclass(frozen=True)
class Documents:
    """``characters`` bounds a definition, and a description."""

    graph: KnowledgeGraph
    characters: int
    cut: dict[int, tuple[str, str, str]] = field(default_factory=dict)  # name and documents already cut

    def of(self, node_index: int, chosen: Iterable[int]) -> Retrieved:
        """The disease with the triples at the positions ``chosen`` of ``graph.triples``, in that order."""
        if node_index not in self.cut:
            disease = self.graph.diseases()[node_index]
            documents = disease.definition[: self.characters], disease.description[: self.characters]
            self.cut[node_index] = (disease.names[0], *documents)
        triples = self.graph.triples(node_index)
        return Retrieved(node_index, *self.cut[node_index], tuple(map(triples.__getitem__, chosen)))
