"""Links an entity's name to a disease node: exactly, else to the most similar name, if that is similar enough."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from src import components
from src.config import Linking
from src.datasets.graphs import KnowledgeGraph
from src.datasets.preprocess.entities import Entity
from src.datasets.preprocess.names import name_index, normal
from src.datasets.preprocess.similarity import NameSimilarity
from src.fields import UserError


@dataclass(frozen=True)
class Link:
    """A disease node and how well the entity's name matched; 1 is an exact match. ``count`` is how often it was mentioned."""

    node_index: int
    name: str
    surface: str
    score: float
    count: int


@dataclass(frozen=True)
class Linker:
    """The graph's names, in the order that ``similarity`` knows them by."""

    index: Mapping[str, int]
    names: Sequence[str]
    similarity: NameSimilarity
    threshold: float

    def link(self, names: Iterable[str]) -> dict[str, tuple[int, float]]:
        """name -> (node, score) for those that reach the threshold."""
        wanted = sorted({normal(name) for name in names})
        found = {name: (self.index[name], 1.0) for name in wanted if name in self.index}
        rest = [name for name in wanted if name not in found and name]
        if rest:
            positions, scores = self.similarity.nearest(rest)
            for name, position, score in zip(rest, positions.tolist(), scores.tolist(), strict=True):
                if score >= self.threshold:
                    found[name] = (self.index[self.names[position]], min(1.0, round(score, 4)))
        return found


def build(graph: KnowledgeGraph, rule: Linking, seed: int, cache_dir: Path) -> Linker:
    """The linker over all disease names of the graph."""
    index = name_index(graph)
    if not index:
        raise UserError("the knowledge graph holds no disease; check the files in paths.kg_dir")
    names = sorted(index)
    similarity = components.build("linking.similarity", rule.similarity, names=names, seed=seed, cache_dir=cache_dir)
    return Linker(index, names, similarity, rule.threshold)


def patient_links(
    entities: Sequence[Entity], linked: Mapping[str, tuple[int, float]], graph: KnowledgeGraph, rule: Linking
) -> list[Link]:
    """A patient's diseases: entities of the patient by frequency (then first mention), each node once, at most ``max_nodes``."""
    order: dict[str, list[Entity]] = {}
    for entity in entities:
        if entity.linked:
            order.setdefault(normal(entity.name), []).append(entity)
    links: dict[int, Link] = {}
    for name, mentions in sorted(order.items(), key=lambda item: (-len(item[1]), item[1][0].start)):
        if name in linked and linked[name][0] not in links:
            node, score = linked[name]
            links[node] = Link(node, graph.diseases()[node].names[0], mentions[0].surface, score, len(mentions))
    return list(links.values())[: rule.max_nodes]
