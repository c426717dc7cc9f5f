"""Retrieves the triples most relevant to the patient's other evidence.

For a patient with the diseases D and the abnormal signals S, the score of the triple from d in D to the node y is

    own(y) + shown(y) + |{e in D without d: y is joined to e}| / ln n(y)

- ``own``: 1 if y is another disease of the patient, or has its name (a phenotype "Atrial fibrillation"), but not that of d;
- ``shown``: 1 if the relation says that y is a phenotype of d, and a signal of S shows it (``signal_phenotypes.csv``: a high
  heart rate shows tachycardia);
- the rest is the index of Adamic and Adar (2003, doi 10.1016/S0378-8733(03)00009-1): a node that d shares with other diseases of
  the patient counts more, the fewer diseases n(y) it is joined to in the whole graph.

A phenotype that a disease lacks and a drug that is contraindicated in it score 0 and do not count as shared: any two common
diseases share hundreds of contraindicated drugs. The highest scores come first; among equal ones (to six decimals) those with
the higher n(y), then those earlier in the graph's order. So without any other evidence, the choice is that of ``degree``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.fields import Positive
from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.rag.ranking import evidence_ranking
from emerge_ehr.rag.ranking.documents import Documents
from emerge_ehr.rag.ranking.evidence_ranking import EvidenceRanking
from emerge_ehr.rag.ranking.signal_phenotypes import BUILT_IN, read
from emerge_ehr.rag.retrieval import Query, Retrieved, Retriever

CELLS = (
    1 << 22
)  # patients times nodes scored at once: a few dozen patients, so that they fit into the processor's cache


@dataclass(frozen=True)
class Options:
    """``triples``: the most per node; ``description_characters``: the most of a definition, and of a description;
    ``phenotypes_file``: a table ``signal,direction,phenotype`` to use instead of the built-in one."""

    triples: Positive = 5
    description_characters: Positive = 600
    phenotypes_file: Path = BUILT_IN


@dataclass(frozen=True)
class Relevance:
    """Retrieval from one graph."""

    options: Options
    documents: Documents
    ranking: EvidenceRanking

    def retrieve(self, queries: Sequence[Query]) -> list[tuple[Retrieved, ...]]:
        """The best triples of each disease. Patients are scored in blocks; those with the same choice share one object."""
        made: dict[bytes, Retrieved] = {}
        answers: list[tuple[Retrieved, ...]] = []
        size = max(CELLS // max(self.ranking.nodes, 1), 1)
        cells = np.zeros(size * self.ranking.nodes, dtype=np.uint16)
        for start in range(0, len(queries), size):
            block = queries[start : start + size]
            chosen = self.ranking.best(block, self.options.triples, cells)
            retrieved = iter(self._documents_of(chosen, made))
            answers += [tuple(islice(retrieved, len(query.nodes))) for query in block]
        return answers

    def _documents_of(self, chosen: NDArray[np.int32], made: dict[bytes, Retrieved]) -> list[Retrieved]:
        """What is retrieved for each row of ``chosen [G, 1 + K]``; rows that are not yet in ``made`` are added to it."""
        keys = chosen.view(f"V{chosen.itemsize * chosen.shape[1]}").ravel().tolist()
        fresh = [number for number, key in enumerate(keys) if key not in made]
        for number, (row, *edges) in zip(fresh, chosen[fresh].tolist(), strict=True):
            usable = [edge for edge in edges if edge >= 0]
            made[keys[number]] = self.documents.of(int(self.ranking.disease[row]), usable)
        return [made[key] for key in keys]


def build(options: Options, *, graph: KnowledgeGraph, seed: int) -> Retriever:
    """The retriever; nothing is drawn, so the seed does not matter.

    Raises:
        UserError: the table of phenotypes is missing or damaged.
    """
    shown = read(options.phenotypes_file)
    return Relevance(
        options, Documents(graph, graph.edges(), options.description_characters), evidence_ranking.build(graph, shown)
    )
