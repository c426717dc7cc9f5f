"""Which diseases of the graph are more general than others.

PrimeKG holds an edge ``parent-child`` in both directions, so it does not say which end is the parent. Here the parent is the end
whose name the other's name ends with ("pneumonia" of "aspiration pneumonia"); else the end with more such edges. On the edges of
the open graph between names of the first kind, the number of edges alone is right nine times in ten, and wrong once. As such
errors add up, more than one step up leads only to diseases that are surely more general: those all of whose words are in the
name below, and classes such as "heart disease".
"""

from dataclasses import dataclass, field

import numpy as np

from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.rag.names import normal
from emerge_ehr.rag.ranking.containment import ELSEWHERE

PARENT_CHILD = "disease_disease"
STEPS = 4  # upwards
CLASS = " disease"  # the end of a class's name
OF_CLASS = 15  # edges that such a class has at least
HYPERTENSION = "hypertension"


@dataclass(frozen=True)
class Hierarchy:
    """``kin``: a disease's ends of ``parent-child`` edges, by node_index; ``ancestors`` and ``names`` are kept once made."""

    graph: KnowledgeGraph
    kin: dict[int, tuple[int, ...]]
    made: dict[int, frozenset[int]] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)

    def ancestors(self, node: int) -> frozenset[int]:
        """The diseases that are more general than ``node``."""
        if node not in self.made:
            parents = set(self._parents(node))
            above, edge = set(parents), parents
            for _ in range(STEPS - 1):
                edge = {parent for child in edge for parent in self._parents(child)} - above - {node}
                above |= edge
            self.made[node] = frozenset(other for other in above if other in parents or self._surely_above(other, node))
        return self.made[node]

    def breadth(self, node: int) -> int:
        """The number of ``parent-child`` edges: the more, the more general."""
        return len(self.kin.get(node, ()))

    def _parents(self, node: int) -> list[int]:
        return [other for other in self.kin.get(node, ()) if self._is_parent(other, node)]

    def _is_parent(self, one: int, other: int) -> bool:
        name, longer = self._name(one), self._name(other)
        if name == HYPERTENSION and ELSEWHERE & set(longer.split()):
            return False
        if longer.endswith(f" {name}"):
            return True
        return not name.endswith(f" {longer}") and self.breadth(one) > self.breadth(other)

    def _surely_above(self, one: int, other: int) -> bool:
        name = self._name(one)
        below = set(self._name(other).split())
        if name == HYPERTENSION and ELSEWHERE & below:
            return False
        is_class = name.endswith(CLASS) and self.breadth(one) >= OF_CLASS
        return is_class or set(name.split()) <= below

    def _name(self, node: int) -> str:
        if node not in self.names:
            self.names[node] = normal(self.graph.diseases()[node].names[0])
        return self.names[node]


def build(graph: KnowledgeGraph) -> Hierarchy:
    """The hierarchy of the graph's diseases."""
    edges = graph.edges()
    wanted = np.array([*(relation == PARENT_CHILD for relation, _ in edges.relations), False])
    rows = np.flatnonzero(wanted[edges.relation])
    disease = edges.disease[np.searchsorted(edges.start, rows, side="right") - 1]
    other = edges.node_index[edges.neighbour[rows]]
    known = np.isin(other, list(graph.diseases()))
    kin: dict[int, list[int]] = {}
    for node, end in zip(disease[known].tolist(), other[known].tolist(), strict=True):
        kin.setdefault(node, []).append(end)
    return Hierarchy(graph, {node: tuple(ends) for node, ends in kin.items()})
