"""A graph of three diseases and three drugs, in which names repeat across types of nodes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emerge_ehr.graphs import Disease, Edges, Triple

NAMES = {1: "asthma", 2: "intracranial hemorrhage", 3: "hypertension", 4: "pneumonia"}
ENDS = {
    100: ("drug", "Metoprolol"),
    101: ("drug", "Heparin"),
    102: ("gene/protein", "REN"),
    103: ("drug", "Aspirin lysine"),
}
EDGES = (  # of a disease: relation, the other end
    (1, "contraindication", 100),
    (2, "contraindication", 101),
    (2, "contraindication", 103),
    (3, "indication", 100),
    (3, "disease_protein", 102),
)
RELATIONS = ("contraindication", "disease_protein", "indication")


@dataclass(frozen=True)
class SmallGraph:
    def inputs(self) -> dict[Path, str]:
        return {}

    def diseases(self) -> dict[int, Disease]:
        return {node: Disease(node, (name,), "", "") for node, name in NAMES.items()}

    def triples(self, node_index: int) -> list[Triple]:
        return [Triple(NAMES[node], name, name, ENDS[end][1]) for node, name, end in EDGES if node == node_index]

    def degree(self, node_index: int) -> int:
        return len(self.triples(node_index))

    def edges(self) -> Edges:
        own = sorted(NAMES)
        start = np.cumsum([0, *(self.degree(node) for node in own)])
        ends = sorted(ENDS)
        return Edges(
            np.array(own),
            start,
            np.array([ends.index(end) for _, _, end in EDGES]),
            np.array([RELATIONS.index(name) for _, name, _ in EDGES]),
            [(name, name) for name in RELATIONS],
            np.array(ends),
            [ENDS[end][0] for end in ends],
            [ENDS[end][1] for end in ends],
        )


def graph() -> SmallGraph:
    return SmallGraph()
