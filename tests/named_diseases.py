"""A knowledge graph for tests that need names of diseases only."""

from collections.abc import Sequence
from pathlib import Path

from emerge_ehr.graphs import Disease, Triple


class NamedDiseases:
    """Diseases of one name each, without edges; the node of a disease is its place among the names."""

    def __init__(self, names: Sequence[str]) -> None:
        self.nodes = {node: Disease(node, (name,), "", "") for node, name in enumerate(names)}

    def inputs(self) -> list[Path]:
        return []

    def diseases(self) -> dict[int, Disease]:
        return self.nodes

    def triples(self, node_index: int) -> list[Triple]:
        return []

    def degree(self, node_index: int) -> int:
        return 0
