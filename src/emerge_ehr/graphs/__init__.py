"""SOCKET KnowledgeGraph: diseases with their names, documents and triples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Disease:
    """A disease node. ``names``: all its names, the preferred one first; definition and description may be empty.

    ``group``: the node that the graph counts this disease to although that node's name, texts and triples are not this disease's.
    Names are linked to that node; what is told of the disease is its own. None for all others.
    """

    node_index: int
    names: tuple[str, ...]
    definition: str
    description: str
    group: int | None = None


class Triple(NamedTuple):  # not a dataclass, which takes longer to make: there are hundreds of thousands
    """``(x_name, display_relation, y_name)`` with the disease as x; ``relation`` is the graph's key for the relation."""

    x_name: str
    relation: str
    display_relation: str
    y_name: str


@dataclass(frozen=True)
class Edges:
    """The edges of all diseases as arrays, of D diseases, E edges and Y nodes at the edges' other ends.

    Disease ``d`` has the edges ``start[d]`` to ``start[d + 1] - 1``, in the order of ``KnowledgeGraph.triples``.
    """

    disease: NDArray[np.int64]  # [D] node_index, ascending
    start: NDArray[np.int64]  # [D + 1]
    neighbour: NDArray[np.int64]  # [E] row of ``node_index``, ``node_type`` and ``name``
    relation: NDArray[np.int64]  # [E] row of ``relations``
    relations: Sequence[tuple[str, str]]  # (relation, display_relation)
    node_index: NDArray[np.int64]  # [Y] ascending
    node_type: Sequence[str]  # [Y]
    name: Sequence[str]  # [Y]

    def triple(self, x_name: str, edge: int) -> Triple:
        """The triple of an edge; ``x_name``: the name of its disease."""
        relation, displayed = self.relations[self.relation[edge]]
        return Triple(x_name, relation, displayed, self.name[self.neighbour[edge]])


class KnowledgeGraph(Protocol):
    """Diseases and their triples, by ``node_index``, as ids and names repeat across node types."""

    def inputs(self) -> Mapping[Path, str]:
        """The files that the graph was read from, each with its SHA-256."""

    def diseases(self) -> Mapping[int, Disease]:
        """Every disease node, by ``node_index``."""

    def triples(self, node_index: int) -> Sequence[Triple]:
        """All triples of a disease, without duplicates, in a fixed order."""

    def degree(self, node_index: int) -> int:
        """The number of a disease's triples."""

    def edges(self) -> Edges:
        """The triples of all diseases as arrays."""
