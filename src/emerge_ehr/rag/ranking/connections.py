"""What the graph says about this patient in particular: how the patient's diseases, signals and drugs hang together.

A triple of one of the patient's diseases counts if its other end is

- a phenotype that an abnormal signal shows (``signal_phenotypes.csv``: a high heart rate shows tachycardia), unless it is the
  disease itself or its opposite (a high pressure is no sign of hypotension). A signal is told of at most ``MOST_EXPLAINED``
  present diseases, those with the fewest phenotypes, as they are the most specific; a
  brief one just beyond the threshold of one only;
- a drug that the notes name: by an indication, a use off label or a contraindication;
- a finding of which a line of the notes speaks and that it does not deny; this is told in general only;
- another disease of the patient. That a phenotype has the name of one ("congestive heart failure" of atrial fibrillation) does
  not count: the graph does not tell what follows from a disease from what just accompanies it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.graphs import Edges, KnowledgeGraph, Triple
from emerge_ehr.rag import phrases
from emerge_ehr.rag.names import normal
from emerge_ehr.rag.patient_links import Link
from emerge_ehr.rag.ranking import findings
from emerge_ehr.rag.ranking.findings import Findings
from emerge_ehr.signals.abnormal import AbnormalSignal

PHENOTYPE = "disease_phenotype_positive"
DRUG = ("indication", "off-label use", "contraindication")
WORD = re.compile(r"[a-z][a-z-]{3,}")
LETTERS = re.compile(r"[a-z0-9]+")
PARTS = re.compile(r"\n+|[.;]\s")
DENIAL = re.compile(
    r"\b(?:no|not|non|denie[sd]|denying|without|negative|neg|absent|free of|never|none|unlikely|family)\b|\(-\)"
)
OPPOSITE = {"high": "low", "low": "high"}
MOST_FINDINGS = 4  # that one disease can come with
MOST_SHOWN = 100_000  # answers that are kept: words of notes are in their keys
MOST_EXPLAINED = 2  # diseases of which one signal is told
BRIEF, LITTLE = 1, 3.0  # hours beyond the threshold and |z| up to which a signal is told of one disease only


@dataclass(frozen=True)
class Manifestation:
    """An abnormal signal that shows a phenotype of the disease ``node_index``."""

    node_index: int
    signal: AbnormalSignal
    phenotype: str


@dataclass(frozen=True)
class Connected:
    """What of one disease concerns the patient. ``triples`` holds all of it, the manifestations' first.

    ``findings``: the phenotypes that may be told of the disease in general, as the notes speak of them, each as it is written
    within a sentence.
    """

    manifestations: tuple[Manifestation, ...]
    drugs: tuple[Triple, ...]
    diseases: tuple[Triple, ...]
    triples: tuple[Triple, ...]
    findings: Mapping[str, str] = field(default_factory=dict)


NOTHING = Connected((), (), (), ())


@dataclass(frozen=True)
class _Ends:
    """The triples of a disease that can count: by the normal form of a phenotype, a drug's name, another disease.
    ``stems``: those of the words of each of its ``findings``."""

    phenotypes: Mapping[str, Triple]
    drugs: Mapping[str, Triple]
    diseases: Mapping[int, Triple]
    findings: Mapping[str, str]
    stems: Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class _Spoken:
    """The stems of each line or sentence that denies nothing, and those of all of them."""

    lines: Sequence[frozenset[str]]
    stems: frozenset[str]


@dataclass(frozen=True)
class Connections:
    """``shown``: (signal, direction) -> normal forms of phenotypes; ``ends`` of diseases seen so far.

    ``shows``: what signals were found to show of diseases: node, names, signal, direction -> phenotypes.
    """

    graph: KnowledgeGraph
    shown: Mapping[tuple[str, str], Sequence[str]]
    known: Findings
    ends: dict[int, _Ends] = field(default_factory=dict)
    shows: dict[tuple[int, frozenset[str], str, str], list[str]] = field(default_factory=dict)

    def of(self, links: Sequence[Link], signals: Sequence[AbnormalSignal], notes: str) -> dict[int, Connected]:
        """What concerns the patient, for each linked disease. ``notes``: all of the patient's notes."""
        lower = notes.lower() if links else ""
        words, spoken = frozenset(WORD.findall(lower)), _spoken(lower)
        nodes = [link.node_index for link in links]
        for node in nodes:
            if node not in self.ends:
                self.ends[node] = self._ends(node)
        explained = self._explained([link for link in links if link.status == "present"], signals)
        return {node: self._of(node, explained.get(node, []), words, spoken, nodes) for node in nodes}

    def _of(
        self,
        node: int,
        shown: Sequence[Manifestation],
        words: frozenset[str],
        spoken: _Spoken,
        nodes: Sequence[int],
    ) -> Connected:
        ends = self.ends[node]
        drugs = [ends.drugs[name] for name in sorted(ends.drugs.keys() & words)]
        diseases = [ends.diseases[other] for other in nodes if other != node and other in ends.diseases]
        phenotypes = [ends.phenotypes[normal(item.phenotype)] for item in shown]
        # Most findings are nowhere in the notes, which all lines at once show sooner than each.
        noted = (
            name
            for name, stems in ends.stems.items()
            if stems <= spoken.stems and any(stems <= line for line in spoken.lines)
        )
        told = {name: ends.findings[name] for name in islice(noted, MOST_FINDINGS)}
        triples = dict.fromkeys([*phenotypes, *drugs, *diseases, *(ends.phenotypes[normal(name)] for name in told)])
        return Connected(tuple(shown), tuple(drugs), tuple(diseases), tuple(triples), told)

    def _explained(self, links: Sequence[Link], signals: Sequence[AbnormalSignal]) -> dict[int, list[Manifestation]]:
        """The signals that are told of each disease; those of one group, such as blood pressures, of the same diseases."""
        by_disease: dict[int, list[Manifestation]] = {}
        for signal in signals:
            phenotypes = {link.node_index: self._shows(link, signal) for link in links}
            able = [node for node, names in phenotypes.items() if names]
            able.sort(
                key=lambda node: len(self.ends[node].phenotypes)
            )  # stable: of equals, what matters more comes first
            little = signal.hours_beyond <= BRIEF and abs(signal.z) < LITTLE
            for node in able[: 1 if little else MOST_EXPLAINED]:
                by_disease.setdefault(node, []).extend(Manifestation(node, signal, name) for name in phenotypes[node])
        return by_disease

    def _shows(self, link: Link, signal: AbnormalSignal) -> list[str]:
        """The phenotypes of the disease that the signal shows; none if the signal is the disease itself, or its opposite."""
        called = frozenset((link.name, link.member or link.name, link.surface))
        key = (link.node_index, called, signal.code, signal.direction)
        if key not in self.shows:
            if len(self.shows) >= MOST_SHOWN:
                self.shows.clear()
            ends = self.ends[link.node_index].phenotypes
            names = self.shown.get((signal.code, signal.direction), ())
            against = self.shown.get((signal.code, OPPOSITE[signal.direction]), ())
            itself = any(findings.alike(own, name) for own in called for name in (*names, *against))
            self.shows[key] = [] if itself else [ends[name].y_name for name in names if name in ends]
        return self.shows[key]

    def _ends(self, node: int) -> _Ends:
        disease = self.graph.diseases()[node]
        phenotypes, drugs, others = _triples(self.graph, node)
        names = [triple.y_name for triple in phenotypes.values()]
        against = {name for own in disease.names for name in self._opposites(own)}
        told = self.known.told(disease.names, [name for name in names if normal(name) not in against])
        return _Ends(phenotypes, drugs, others, told, {name: _stems(normal(name)) for name in told})

    def _opposites(self, name: str) -> set[str]:
        """The phenotypes of the other direction of a signal that shows the disease itself: hypotension of hypertension."""
        return {
            other
            for (code, direction), shown in self.shown.items()
            if any(findings.alike(name, phenotype) for phenotype in shown)
            for other in self.shown.get((code, OPPOSITE[direction]), ())
        }


def _spoken(notes: str) -> _Spoken:
    """What the notes, in small letters, say and do not deny."""
    lines = [frozenset(map(_stem, LETTERS.findall(part))) for part in PARTS.split(notes) if not DENIAL.search(part)]
    return _Spoken(lines, frozenset[str]().union(*lines))


def _stems(words: str) -> frozenset[str]:
    return frozenset(_stem(word) for word in words.split())


@lru_cache(200_000)
def _stem(word: str) -> str:
    return phrases.stem(phrases.singular(word))


def _triples(graph: KnowledgeGraph, node: int) -> tuple[dict[str, Triple], dict[str, Triple], dict[int, Triple]]:
    """The disease's triples to phenotypes, drugs and other diseases."""
    edges, diseases = graph.edges(), graph.diseases()
    name = diseases[node].names[0]
    phenotypes, drugs, others = dict[str, Triple](), dict[str, Triple](), dict[int, Triple]()
    for edge in _edges_of(edges, node).tolist():
        triple, end = edges.triple(name, edge), int(edges.node_index[edges.neighbour[edge]])
        if triple.relation == PHENOTYPE:
            phenotypes[normal(triple.y_name)] = triple
        elif triple.relation in DRUG:
            drugs.setdefault(triple.y_name.lower(), triple)
        elif end in diseases:
            others[end] = triple
    return phenotypes, drugs, others


def _edges_of(edges: Edges, node: int) -> NDArray[np.int64]:
    row = int(np.searchsorted(edges.disease, node))
    known = row < len(edges.disease) and edges.disease[row] == node
    return np.arange(*edges.start[row : row + 2]) if known else np.zeros(0, np.int64)


def build(graph: KnowledgeGraph, shown: Mapping[tuple[str, str], Sequence[str]]) -> Connections:
    """The connections of ``graph``; ``shown``: (signal, direction) -> names of the phenotypes that it shows."""
    forms = {key: tuple(normal(name) for name in names) for key, names in shown.items()}
    return Connections(graph, forms, findings.build(graph))
