"""Triples ranked by relevance to this patient's other evidence.

For a patient with the diseases D and the abnormal signals S, the triple from d in D to the node y is worth

    own(y) + shown(y) + |{e in D without d: y is joined to e}| / ln n(y)

- ``own``: 1 if y is another disease of the patient, or is called like one (a phenotype "Atrial fibrillation"), but not like d;
- ``shown``: 1 if the relation says that y is a phenotype of d, and a signal of S shows it (``signal_phenotypes.csv``: a high
  heart rate shows tachycardia);
- the rest is the index of Adamic and Adar (2003, doi 10.1016/S0378-8733(03)00009-1): what d shares with other diseases of the
  patient counts more, the fewer diseases n(y) it is joined to in the whole graph.

A phenotype that a disease lacks and a drug that it forbids are worth nothing and are not shared: hundreds of drugs are forbidden
in any two common diseases. The best come first; among equals (to six decimals) those whose n(y) is higher, then those earlier
in the graph's order. So without any other evidence, the choice is that of ``degree``.
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
from emerge_ehr.rag.ranking.signal_phenotypes import read
from emerge_ehr.rag.retrieval import Query, Retrieved, Retriever

PHENOTYPES = Path(__file__).with_name("signal_phenotypes.csv")
CELLS = 1 << 22  # patients times nodes that are scored at once: a few dozen patients, in the processor's cache


@dataclass(frozen=True)
class Options:
    """``triples``: at most so many a node; ``description_characters`` bounds a document; ``phenotypes_file``: a table
    ``signal,direction,phenotype`` to use instead of the built-in one."""

    triples: Positive = 5
    description_characters: Positive = 600
    phenotypes_file: Path = PHENOTYPES


@dataclass(frozen=True)
class Relevance:
    """Retrieval from one graph."""

    options: Options
    documents: Documents
    ranking: EvidenceRanking

    def retrieve(self, queries: Sequence[Query]) -> list[tuple[Retrieved, ...]]:
        """In blocks of patients; all who are told the same of a disease share the object."""
        known: dict[bytes, Retrieved] = {}
        answers: list[tuple[Retrieved, ...]] = []
        size = max(CELLS // max(self.ranking.nodes, 1), 1)
        cells = np.zeros(size * self.ranking.nodes, dtype=np.uint16)
        for start in range(0, len(queries), size):
            block = queries[start : start + size]
            chosen = self.ranking.best(block, self.options.triples, cells)
            told = iter(self._told(chosen, known))
            answers += [tuple(islice(told, len(query.nodes))) for query in block]
        return answers

    def _told(self, chosen: NDArray[np.int32], known: dict[bytes, Retrieved]) -> list[Retrieved]:
        """One for each row of ``chosen``, from those made before where there is one."""
        keys = chosen.view(f"V{chosen.itemsize * chosen.shape[1]}").ravel().tolist()
        fresh = [number for number, key in enumerate(keys) if key not in known]
        for number, (row, *edges) in zip(fresh, chosen[fresh].tolist(), strict=True):
            told = [edge for edge in edges if edge >= 0]
            known[keys[number]] = self.documents.of(int(self.ranking.disease[row]), told)
        return [known[key] for key in keys]


def build(options: Options, *, graph: KnowledgeGraph, seed: int) -> Retriever:
    """The retriever; nothing is drawn, so the seed does not matter.

    Raises:
        UserError: the table of phenotypes is missing or damaged.
    """
    shown = read(options.phenotypes_file)
    return Relevance(
        options, Documents(graph, graph.edges(), options.description_characters), evidence_ranking.build(graph, shown)
    )
