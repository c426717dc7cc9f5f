"""SOCKET Retriever: a disease node -> its documents and the triples worth telling."""

from dataclasses import dataclass
from typing import Protocol

from src.datasets.graphs import Triple


@dataclass(frozen=True)
class Retrieved:
    """What the graph says of one disease; definition and description may be empty."""

    node_index: int
    name: str
    definition: str
    description: str
    triples: tuple[Triple, ...]


class Retriever(Protocol):
    """Looks a disease up."""

    def retrieve(self, node_index: int) -> Retrieved:
        """Definition, description and a few triples of the node."""
