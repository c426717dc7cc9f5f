"""SOCKET Retriever: a disease node -> its documents and a few of its triples."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from emerge_ehr.graphs import Triple
from emerge_ehr.signals.abnormal import AbnormalSignal


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What is retrieved from the graph for one disease; definition and description may be empty."""

    node_index: int
    name: str
    definition: str
    description: str
    triples: tuple[Triple, ...]


@dataclass(frozen=True)
class Query:
    """One patient: the linked disease nodes, the most important first, and the abnormal signals."""

    nodes: tuple[int, ...]
    signals: Sequence[AbnormalSignal]


class Retriever(Protocol):
    """Chooses what to retrieve for each of a patient's diseases."""

    def retrieve(self, queries: Sequence[Query]) -> list[tuple[Retrieved, ...]]:
        """For each patient and each of its nodes, in order: definition, description and a few triples."""
