"""SOCKET KnowledgeGraph: diseases with their names, documents and triples."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Disease:
    """One disease node. ``names`` are all names it goes by, the preferred one first; documents may be empty."""

    node_index: int
    names: tuple[str, ...]
    definition: str
    description: str


@dataclass(frozen=True)
class Triple:
    """``(x_name, display_relation, y_name)`` with the disease as x; ``relation`` is the graph's own key."""

    x_name: str
    relation: str
    display_relation: str
    y_name: str


class KnowledgeGraph(Protocol):
    """Diseases and the triples they stand in. Keyed by ``node_index``: ids and names repeat across node types."""

    def inputs(self) -> list[Path]:
        """The files it was read from."""

    def diseases(self) -> dict[int, Disease]:
        """Every disease node."""

    def triples(self, node_index: int) -> list[Triple]:
        """All triples of a disease, without duplicates, in a fixed order."""

    def degree(self, node_index: int) -> int:
        """How many triples a disease stands in."""
