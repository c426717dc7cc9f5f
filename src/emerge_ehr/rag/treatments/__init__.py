"""What a patient was given: the names of drugs, their nodes of the graph, and what the graph holds against them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["prescription", "infusion"]
SAID: Mapping[Kind, str] = {
    "infusion": "infused",
    "prescription": "prescribed",
}  # of a drug, in the summaries; infusions first


@dataclass(frozen=True)
class Given:
    """A drug that was begun in the window.

    ``name``: the graph's name in small letters or, of a drug without a node, the source's without form and strength; ``kind``:
    "infusion" if any of it was infused; ``hour``: of the window, in which it was first begun; ``written``: as the source has it,
    each way once.
    """

    name: str
    node_index: int | None
    kind: Kind
    hour: int
    written: tuple[str, ...]


@dataclass(frozen=True)
class Contraindication:
    """The graph holds the drug ``drug`` contraindicated in the disease ``node_index``, a node of the patient."""

    drug: str
    drug_node_index: int
    kind: Kind
    node_index: int
    disease: str
