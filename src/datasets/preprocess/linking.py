"""Links an entity's name to a disease node: exactly, else by similarity of character n-grams (TF-IDF cosine)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from src.config import Linking, UserError
from src.datasets.graphs import KnowledgeGraph
from src.datasets.preprocess.entities import Entity
from src.datasets.preprocess.names import name_index, normal


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
    """The graph's names with their TF-IDF rows. Fitted on the graph alone: no patient's text is in it."""

    index: Mapping[str, int]
    names: Sequence[str]
    vectoriser: Any
    matrix: Any
    threshold: float

    def link(self, names: Iterable[str]) -> dict[str, tuple[int, float]]:
        """name -> (node, score) for those that reach the threshold."""
        wanted = sorted({normal(name) for name in names})
        found = {name: (self.index[name], 1.0) for name in wanted if name in self.index}
        rest = [name for name in wanted if name not in found]
        for start in range(0, len(rest), 512):
            block = rest[start : start + 512]
            scores = self.vectoriser.transform(block) @ self.matrix.T
            best = np.asarray(scores.argmax(axis=1)).ravel()
            for row, name in enumerate(block):
                score = float(scores[row, best[row]])
                if score >= self.threshold:
                    found[name] = (self.index[self.names[best[row]]], round(score, 4))
        return found


def build(graph: KnowledgeGraph, rule: Linking) -> Linker:
    """The linker over all disease names of the graph."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    index = name_index(graph)
    if not index:
        raise UserError("the knowledge graph holds no disease; check the files in paths.kg_dir")
    names = sorted(index)
    vectoriser = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), dtype=np.float32)
    return Linker(index, names, vectoriser, vectoriser.fit_transform(names), rule.threshold)


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
