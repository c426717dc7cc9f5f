"""What the graph holds against the drugs that a patient was given: direct edges from a drug to a disease of the patient.

A drug that is contraindicated in a kind of the patient's disease, or in what the disease is a kind of, is not told.
"""

from collections.abc import Sequence

import numpy as np

from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.rag.treatments import Contraindication, Given

RELATION = "contraindication"


def of_patient(
    graph: KnowledgeGraph, diseases: Sequence[tuple[int, str]], given: Sequence[Given]
) -> tuple[Contraindication, ...]:
    """The drugs among ``given`` that the graph holds contraindicated in one of the ``diseases`` (node_index, name), in the order
    of the diseases and then of the drugs."""
    drugs = {drug.node_index: drug for drug in given if drug.node_index is not None}
    if not drugs:
        return ()
    edges = graph.edges()
    wanted = np.array([relation == RELATION for relation, _ in edges.relations], dtype=np.bool_)
    found = []
    for node, name in diseases:
        row = int(np.searchsorted(edges.disease, node))
        if row == len(edges.disease) or edges.disease[row] != node:
            continue
        span = slice(*edges.start[row : row + 2])
        ends = edges.node_index[edges.neighbour[span][wanted[edges.relation[span]]]]
        against = set(ends.tolist())
        found += [
            Contraindication(drug.name, index, drug.kind, node, name)
            for index, drug in drugs.items()
            if index in against
        ]
    return tuple(found)
