"""SOCKET KnowledgeGraph: diseases with their names, documents and triples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Disease:
    """One disease node. ``names`` are all names it goes by, the preferred one first; documents may be empty."""

    node_index: int
    names: tuple[str, ...]
    definition: str
    description: str


class Triple(NamedTuple):  # not a dataclass: hundreds of thousands are made
    """``(x_name, display_relation, y_name)`` with the disease as x; ``relation`` is the graph's own key."""

    x_name: str
    relation: str
    display_relation: str
    y_name: str


@dataclass(frozen=True)
class Edges:
    """The edges of all diseases as arrays: D diseases, E edges, Y nodes that an edge may end at.

    Disease ``d`` has the edges ``start[d]`` to ``start[d + 1]``, in the order of ``triples``.
    """

    disease: NDArray[np.int64]  # [D] node_index, ascending
    start: NDArray[np.int64]  # [D + 1]
    neighbour: NDArray[np.int64]  # [E] row of the three below
    relation: NDArray[np.int64]  # [E] row of ``relations``
    relations: Sequence[tuple[str, str]]  # the graph's own key, and as it is displayed
    node_index: NDArray[np.int64]  # [Y] ascending
    node_type: Sequence[str]  # [Y]
    name: Sequence[str]  # [Y]

    def triple(self, x_name: str, edge: int) -> Triple:
        """An edge in words; ``x_name`` is its disease's."""
        relation, displayed = self.relations[self.relation[edge]]
        return Triple(x_name, relation, displayed, self.name[self.neighbour[edge]])


class KnowledgeGraph(Protocol):
    """Diseases and the triples they stand in. Keyed by ``node_index``: ids and names repeat across node types."""

    def inputs(self) -> Mapping[Path, str]:
        """The files it was read from, each with its SHA-256."""

    def diseases(self) -> Mapping[int, Disease]:
        """Every disease node."""

    def triples(self, node_index: int) -> Sequence[Triple]:
        """All triples of a disease, without duplicates, in a fixed order."""

    def degree(self, node_index: int) -> int:
        """How many triples a disease stands in."""

    def edges(self) -> Edges:
        """The same triples as arrays."""
