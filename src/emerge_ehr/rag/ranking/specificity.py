"""How specific a node of the graph is: the fewer diseases it is joined to, the more it says about each of them."""

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.graphs import Edges


def diseases_of(edges: Edges) -> NDArray[np.int64]:
    """``[Y]``: the number of diseases that each node is joined to, by any relation."""
    nodes = len(edges.node_index)
    disease = np.repeat(np.arange(len(edges.disease)), np.diff(edges.start))
    pairs = np.unique(disease * nodes + edges.neighbour)
    return np.bincount(pairs % nodes, minlength=nodes)


def by_degree(edges: Edges, degree: NDArray[np.int64]) -> NDArray[np.int64]:
    """``[E]``: the edges of each disease, those to nodes of the highest ``degree [Y]`` first; ties in the graph's order."""
    disease = np.repeat(np.arange(len(edges.disease)), np.diff(edges.start))
    return np.lexsort((-degree[edges.neighbour], disease))
