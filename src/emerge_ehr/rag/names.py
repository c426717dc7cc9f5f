"""How disease names are compared: one normal form, and an index from it to graph nodes."""

import re
from collections.abc import Mapping

from emerge_ehr.graphs import Disease, KnowledgeGraph

SPACES = re.compile(r"[\s\-/_]+")
DROPPED = re.compile(r"[’']s?(?=\s|$)|[^\w\s\-/]")


def normal(name: str) -> str:
    """Lower case, no possessive or punctuation, hyphens as spaces.

    >>> normal("Crohn's disease"), normal("COVID-19")
    ('crohn disease', 'covid 19')
    """
    return SPACES.sub(" ", DROPPED.sub("", name.lower())).strip()


def name_index(graph: KnowledgeGraph) -> Mapping[str, int]:
    """Normal form -> node. Of several nodes with one name, the one in most triples, then the lowest index."""
    best: dict[str, tuple[bool, int, int]] = {}
    for node, disease in graph.diseases().items():
        for position, name in enumerate(disease.names):
            rank = (position > 0 and _is_part(name, disease), -graph.degree(node), node)
            key = normal(name)
            if key and (key not in best or rank < best[key]):
                best[key] = rank
    return {key: rank[2] for key, rank in best.items()}


def _is_part(name: str, disease: Disease) -> bool:
    """A member's name of a grouped node: another node that bears the name itself goes first."""
    return normal(name) != normal(disease.names[0])
