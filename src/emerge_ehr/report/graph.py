"""A patient's part of the knowledge graph as a figure: diseases on the left, what triples join them to on the right."""

from collections.abc import Sequence
from dataclasses import dataclass

from emerge_ehr.report.evidence import ShownDisease

WIDTH, ROW, EDGE = 640, 20, 14
LEFT, RIGHT = 250, 400  # where the diseases' dots and those of their neighbours stand


@dataclass(frozen=True)
class Node:
    """A name and its height; ``whole`` where it was cut."""

    name: str
    whole: str
    y: float


@dataclass(frozen=True)
class Edge:
    """A triple as a curve."""

    path: str
    title: str
    shared: bool


@dataclass(frozen=True)
class Graph:
    """``shared``: neighbours that several diseases have, which is where evidence meets."""

    height: float
    diseases: tuple[Node, ...]
    neighbours: tuple[Node, ...]
    edges: tuple[Edge, ...]
    shared: tuple[str, ...]


def graph(diseases: Sequence[ShownDisease]) -> Graph | None:
    """The figure; None where no triple was retrieved."""
    triples = [
        (one.number, relation, name) for one in diseases for relation, names in one.relations.items() for name in names
    ]
    if not triples:
        return None
    neighbours = list(dict.fromkeys(name for _, _, name in triples))
    joined = {name: {number for number, _, other in triples if other == name} for name in neighbours}
    rows = max(len(neighbours), len(diseases))
    heights = {name: EDGE + ROW * (n + (rows - len(neighbours)) / 2) for n, name in enumerate(neighbours)}
    step = ROW * max(1.0, (rows - 1) / max(1, len(diseases) - 1))
    places = {one.number: EDGE + step * n for n, one in enumerate(diseases)}
    if len(diseases) == 1:
        places = {diseases[0].number: EDGE + ROW * (rows - 1) / 2}
    titles = {one.number: one.name for one in diseases}
    edges = tuple(
        Edge(
            _curve(places[number], heights[name]),
            f"{titles[number]} – {relation} – {name}",
            len(joined[name]) > 1,
        )
        for number, relation, name in triples
    )
    return Graph(
        height=2 * EDGE + ROW * (rows - 1),
        diseases=tuple(Node(_cut(one.name, 34), one.name, places[one.number]) for one in diseases),
        neighbours=tuple(Node(_cut(name, 34), name, heights[name]) for name in neighbours),
        edges=edges,
        shared=tuple(name for name in neighbours if len(joined[name]) > 1),
    )


def _curve(start: float, end: float) -> str:
    middle = (LEFT + RIGHT) / 2
    return f"M{LEFT} {start:.4g}C{middle:g} {start:.4g} {middle:g} {end:.4g} {RIGHT} {end:.4g}"


def _cut(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: most - 1].rstrip()}…"
