"""What the audit knows of one patient, and what the graph says of the patient's diseases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.rag.entities import OF_THE_PATIENT
from emerge_ehr.rag.faithfulness.notes_text import NotesText
from emerge_ehr.rag.faithfulness.wording import NUMBER, with_digits
from emerge_ehr.rag.names import normal
from emerge_ehr.rag.summaries import Evidence
from emerge_ehr.rag.treatments import Kind
from emerge_ehr.signals.abnormal import AbnormalSignal


@dataclass(frozen=True)
class DiseaseDocuments:
    """What the graph says about a disease.

    ``text``: its documents in normal form, with a blank at both ends; ``numbers``: those in the documents; ``triples``: (display
    relation, neighbour in lower case); ``neighbours``: in lower case.
    """

    text: str
    numbers: frozenset[str]
    triples: frozenset[tuple[str, str]]
    neighbours: frozenset[str]

    def holds(self, name: str) -> bool:
        """Whether the documents hold these words."""
        return f" {normal(name)} " in self.text


@dataclass(frozen=True)
class PatientEvidence:
    """The evidence that a summary of this patient may state.

    ``ages``: the age in years, cut off and rounded; ``counts``: linked disease -> its mentions; ``names``: lower-case name of a
    linked disease -> node; ``objects``: node -> lower-case neighbours in the triples that were retrieved for it;
    ``noted``: node or normal name -> statuses of its mentions in the notes; ``treated``: drugs that were given (in
    lower case), and how.
    """

    ages: frozenset[int]
    sex: str | None
    signals: Sequence[AbnormalSignal]
    counts: Mapping[int, int]
    documents: Mapping[int, DiseaseDocuments]
    names: Mapping[str, int]
    objects: Mapping[int, tuple[str, ...]]
    noted: Mapping[int | str, frozenset[str]]
    notes: NotesText
    treated: Mapping[str, Kind] = field(default_factory=dict)

    def statuses(self, node: int | None, name: str) -> frozenset[str]:
        """The statuses of a disease's mentions in the notes."""
        own = self.noted.get(node) if node is not None else None
        return own or self.noted.get(normal(name)) or frozenset()


def documents(graph: KnowledgeGraph, node: int) -> DiseaseDocuments:
    """Everything that the graph says about a disease, whether it was retrieved or not."""
    disease, triples = graph.diseases()[node], graph.triples(node)
    raw = with_digits(f"{disease.definition} {disease.description}")
    return DiseaseDocuments(
        f" {normal(raw)} ",
        frozenset(number.lstrip("+").replace(",", "").replace("−", "-") for number in NUMBER.findall(raw)),
        frozenset((triple.display_relation, triple.y_name.lower()) for triple in triples),
        frozenset(triple.y_name.lower() for triple in triples),
    )


def patient(
    evidence: Evidence,
    signals: Sequence[AbnormalSignal],
    known: Mapping[int, DiseaseDocuments],
    notes: NotesText,
    nodes: Mapping[str, int],
) -> PatientEvidence:
    """The evidence of one patient: the ``signals`` and the diseases (in ``known``) that hold."""
    links = {link.node_index: link for link in evidence.links if link.node_index in known}
    names: dict[str, int] = {}
    for node, link in links.items():
        for name in (link.name, link.surface, link.member or link.name, evidence.diseases[node].name):
            lower = " ".join(name.lower().split())
            names.setdefault(lower, node)
            names.setdefault(lower.removesuffix(" (disease)").removeprefix("obsolete "), node)
    objects = {
        node: tuple({triple.y_name.lower() for triple in evidence.diseases[node].triples} - {""}) for node in links
    }
    noted: dict[int | str, set[str]] = {}
    for name, surface, status in {(entity.name, entity.surface, entity.status) for entity in notes.entities}:
        for key in {normal(name), normal(surface)}:
            noted.setdefault(key, set()).add(status)
            if key in nodes:
                noted.setdefault(nodes[key], set()).add(status)
                if nodes[key] in links and status in OF_THE_PATIENT:
                    names.setdefault(" ".join(surface.lower().split()), nodes[key])
    return PatientEvidence(
        frozenset() if evidence.age is None else frozenset({int(evidence.age), round(evidence.age)}),
        evidence.sex,
        signals,
        {node: link.count for node, link in links.items()},
        {node: known[node] for node in links},
        names,
        objects,
        {key: frozenset(statuses) for key, statuses in noted.items()},
        notes,
        {drug.name.lower(): drug.kind for drug in reversed(evidence.treatments)},  # infusions, which come first, count
    )
