"""Checks every statement of a summary against the data it speaks of, not against what its writer says it used."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src.datasets.graphs import KnowledgeGraph
from src.datasets.preprocess.summaries import Statement


def audit(
    statements: Sequence[Statement],
    notes: str,
    hours: NDArray[np.float32],
    features: Sequence[str],
    graph: KnowledgeGraph,
) -> dict[str, Any]:
    """``{supported: share of statements, unsupported: their texts}``.

    A signal's value must stand at its hour in ``hours [T, F]``, a disease's surface literally in ``notes`` and its node in the
    graph, a triple in the graph. Definitions, directions and counts are not checked.
    """
    failing = [s.text for s in statements if not _holds(s.evidence, notes, hours, features, graph)]
    return {"supported": round(1 - len(failing) / max(len(statements), 1), 4), "unsupported": failing}


def _holds(
    evidence: Mapping[str, Any], notes: str, hours: NDArray[np.float32], features: Sequence[str], graph: KnowledgeGraph
) -> bool:
    match evidence["kind"]:
        case "signal":
            charted = hours[evidence["hour"], features.index(evidence["code"])]
            return bool(np.isclose(charted, evidence["value"], atol=1e-3))
        case "disease":
            return evidence["surface"] in notes and evidence["node_index"] in graph.diseases()
        case "triples":
            known = {(t.display_relation, t.y_name) for t in graph.triples(evidence["node_index"])}
            return all((evidence["relation"], name) in known for name in evidence["names"])
        case _:
            return True
