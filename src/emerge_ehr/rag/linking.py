"""Links an entity's name to a disease node: by the same name or, if there is none, by the most similar name above a threshold."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from emerge_ehr import components
from emerge_ehr.compute.local import LOCAL
from emerge_ehr.compute.work import Pool
from emerge_ehr.config import Linking
from emerge_ehr.fields import UserError
from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.rag.entities import Entity
from emerge_ehr.rag.names import name_index, normal
from emerge_ehr.rag.similarity import NameSimilarity

Linked = tuple[int, float, str]  # node, score, the graph's name that matched


@dataclass(frozen=True)
class Link:
    """A disease node that a patient's notes mention ``count`` times; ``score``: the names' similarity, 1 if they are equal.

    ``surface``: the words of the first mention. ``member``: PrimeKG groups diseases into nodes; where the notes name a member of
    the group instead of the group, the member's name.
    """

    node_index: int
    name: str
    surface: str
    score: float
    count: int
    member: str | None = None


@dataclass(frozen=True)
class Linker:
    """``index``: normal form of a name -> node; ``names``: these names, in the order that ``similarity`` was built over."""

    index: Mapping[str, int]
    names: Sequence[str]
    similarity: NameSimilarity
    threshold: float

    def link(self, names: Iterable[str]) -> dict[str, Linked]:
        """The link of each name that is in the graph or similar enough to a name there, by the name's normal form."""
        distinct = sorted({normal(name) for name in names})
        linked = {name: (self.index[name], 1.0, name) for name in distinct if name in self.index}
        rest = [name for name in distinct if name not in linked and name]
        if rest:
            positions, scores = self.similarity.nearest(rest)
            for name, position, score in zip(rest, positions.tolist(), scores.tolist(), strict=True):
                if score >= self.threshold:
                    matched = self.names[position]
                    linked[name] = (self.index[matched], min(1.0, round(score, 4)), matched)
        return linked


def build(graph: KnowledgeGraph, rule: Linking, seed: int, cache_dir: Path, pool: Pool = LOCAL) -> Linker:
    """The linker over all disease names of the graph.

    Raises:
        UserError: the graph holds no disease.
    """
    index = name_index(graph)
    if not index:
        raise UserError("the knowledge graph holds no disease; check the files in paths.kg_dir")
    names = sorted(index)
    similarity = components.build(
        "linking.similarity", rule.similarity, names=names, seed=seed, cache_dir=cache_dir, pool=pool
    )
    return Linker(index, names, similarity, rule.threshold)


def patient_links(
    entities: Sequence[Entity], linked: Mapping[str, Linked], graph: KnowledgeGraph, rule: Linking
) -> list[Link]:
    """A patient's diseases: the nodes of the patient's own entities, each once, the most mentioned first (of equals the one first
    mentioned), at most ``rule.max_nodes``."""
    order: dict[str, list[Entity]] = {}
    for entity in entities:
        if entity.linked:
            order.setdefault(normal(entity.name), []).append(entity)
    links: dict[int, Link] = {}
    for name, mentions in sorted(order.items(), key=lambda item: (-len(item[1]), item[1][0].start)):
        if name in linked and linked[name][0] not in links:
            node, score, matched = linked[name]
            own = graph.diseases()[node].names[0]
            member = None if matched == normal(own) else matched
            links[node] = Link(node, own, mentions[0].surface, score, len(mentions), member)
    return list(links.values())[: rule.max_nodes]
