"""A patient's part of the knowledge graph as a figure: diseases on the left, their neighbours in the triples on the right."""

from collections.abc import Sequence
from dataclasses import dataclass

from emerge_ehr.report.evidence import ShownDisease

WIDTH, ROW, EDGE = 640, 20, 14
LEFT, RIGHT = 250, 400  # x coordinates of the diseases' dots and of their neighbours'


@dataclass(frozen=True)
class Node:
    """A node. ``name`` may be cut to fit; ``whole`` is the full name. ``y``: its coordinate."""

    name: str
    whole: str
    y: float


@dataclass(frozen=True)
class Edge:
    """A triple, drawn as a curve. ``shared``: whether its neighbour is one that several diseases have."""

    path: str
    title: str
    shared: bool


@dataclass(frozen=True)
class Graph:
    """The figure. ``shared``: the names of neighbours that several diseases have."""

    height: float
    diseases: tuple[Node, ...]
    neighbours: tuple[Node, ...]
    edges: tuple[Edge, ...]
    shared: tuple[str, ...]


def graph(diseases: Sequence[ShownDisease]) -> Graph | None:
    """The figure of these diseases; None if no triple was retrieved."""
    triples = [
        (disease.number, relation, name)
        for disease in diseases
        for relation, names in disease.relations.items()
        for name in names
    ]
    if not triples:
        return None
    neighbours = list(dict.fromkeys(name for _, _, name in triples))
    joined = {name: {number for number, _, other in triples if other == name} for name in neighbours}
    rows = max(len(neighbours), len(diseases))
    heights = {name: EDGE + ROW * (n + (rows - len(neighbours)) / 2) for n, name in enumerate(neighbours)}
    step = ROW * max(1.0, (rows - 1) / max(1, len(diseases) - 1))
    places = {disease.number: EDGE + step * n for n, disease in enumerate(diseases)}
    if len(diseases) == 1:
        places = {diseases[0].number: EDGE + ROW * (rows - 1) / 2}
    titles = {disease.number: disease.name for disease in diseases}
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
        diseases=tuple(Node(_cut(disease.name, 34), disease.name, places[disease.number]) for disease in diseases),
        neighbours=tuple(Node(_cut(name, 34), name, heights[name]) for name in neighbours),
        edges=edges,
        shared=tuple(name for name in neighbours if len(joined[name]) > 1),
    )


def _curve(start: float, end: float) -> str:
    middle = (LEFT + RIGHT) / 2
    return f"M{LEFT} {start:.4g}C{middle:g} {start:.4g} {middle:g} {end:.4g} {RIGHT} {end:.4g}"


def _cut(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: most - 1].rstrip()}…"
