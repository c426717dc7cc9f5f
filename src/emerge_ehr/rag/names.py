"""How disease names are compared: their normal form, and an index from it to the graph's nodes."""

import re
from collections.abc import Mapping
from functools import lru_cache

from emerge_ehr.graphs import Disease, KnowledgeGraph

SPACES = re.compile(r"[\s\-/_]+")
DROPPED = re.compile(r"[’']s?(?=\s|$)|[^\w\s\-/]")


@lru_cache(200_000)  # the same few thousand names are compared again and again
def normal(name: str) -> str:
    """The name in lower case, without possessive and punctuation, hyphens as spaces.

    >>> normal("Crohn's disease"), normal("COVID-19")
    ('crohn disease', 'covid 19')
    """
    return SPACES.sub(" ", DROPPED.sub("", name.lower())).strip()


def name_index(graph: KnowledgeGraph) -> Mapping[str, int]:
    """Normal form -> node. Of several nodes with one name, a node whose own name it is, not a member's of its group, comes first;
    then the one with the most triples; then the one with the lowest index. The name of a disease with a ``group`` is that node's.
    """
    best: dict[str, tuple[bool, int, int]] = {}
    for node, disease in graph.diseases().items():
        for position, name in enumerate(disease.names):
            part = disease.group is not None or (position > 0 and _is_part(name, disease))
            known = node if disease.group is None else disease.group
            rank = (part, -graph.degree(known), known)
            key = normal(name)
            if key and (key not in best or rank < best[key]):
                best[key] = rank
    return {key: rank[2] for key, rank in best.items()}


def own_nodes(graph: KnowledgeGraph) -> Mapping[tuple[int, str], int]:
    """(node, normal form of a name) -> the disease of that name, where it is counted to the node but is told by its own texts."""
    return {
        (disease.group, normal(name)): node
        for node, disease in graph.diseases().items()
        if disease.group is not None
        for name in disease.names
    }


def _is_part(name: str, disease: Disease) -> bool:
    """Whether ``name`` is that of a member of a grouped node rather than the node's own."""
    return normal(name) != normal(disease.names[0])
