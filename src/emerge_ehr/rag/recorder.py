"""Makes the record of a sample from what its notes say: its diseases, their evidence, the summary and its audit."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from emerge_ehr.compute import collector
from emerge_ehr.rag import asides, records_file
from emerge_ehr.rag.entities import Entity, Extraction
from emerge_ehr.rag.faithfulness import UNAUDITED, Faithfulness, faithfulness
from emerge_ehr.rag.linking import Linked
from emerge_ehr.rag.names import normal
from emerge_ehr.rag.patient_links import Chooser, PatientLinks, Reason
from emerge_ehr.rag.ranking.connections import Connected, Connections
from emerge_ehr.rag.ranking.places import NoteStart
from emerge_ehr.rag.records_file import Record, RecordedDocument, RecordedMention, RecordedTriple
from emerge_ehr.rag.retrieval import Query, Retrieved, Retriever
from emerge_ehr.rag.summaries import Evidence, Summarizer, Summary
from emerge_ehr.rag.treatments import Given, contraindications
from emerge_ehr.signals.abnormal import AbnormalSignal


@dataclass(frozen=True)
class PatientFacts:
    """What is known of one sample before retrieval. ``n`` is its row in the tensors; ``starts``: where its notes begin."""

    n: int
    patient_id: str
    age: float | None
    sex: str | None
    notes: str
    starts: Sequence[NoteStart]
    signals: Sequence[AbnormalSignal]
    treatments: Sequence[Given] = ()


@dataclass(frozen=True)
class Case:
    """A sample with what was extracted from its notes.

    ``linked``: the disease of each name in the notes that has one. ``charted``: the value of each abnormal signal in its hour.
    ``unlinked``: what the notes name besides, in words that the graph has no disease for. ``summary``: the summary, if it is
    written already.
    """

    patient: PatientFacts
    extraction: Extraction
    linked: dict[str, Linked]
    charted: tuple[float, ...]
    unlinked: tuple[Entity, ...] = ()
    summary: Summary | None = None


@dataclass(frozen=True)
class Tally:
    """The numbers of a record that enter the counts."""

    nodes: int
    left_out: tuple[Reason, ...]
    summary_failed: bool
    audit: Faithfulness
    contraindications: int = 0
    of_left_out: int = 0


@dataclass(frozen=True)
class WrittenRecord:
    """A record as a row of ``rag_records.csv``, and the numbers of it that enter the counts."""

    row: tuple[str, ...]
    tally: Tally


@dataclass(frozen=True)
class Recorder:
    """Makes records from cases; it is sent to the workers with them. ``summarizer`` is None if the cases have their summaries,
    ``auditor`` where nobody will see the records."""

    chooser: Chooser
    connections: Connections
    retriever: Retriever
    summarizer: Summarizer | None
    auditor: faithfulness.Auditor | None

    def evidence(self, cases: Sequence[Case]) -> list[Evidence]:
        """The evidence of each case: its diseases with their documents and triples, beside age, sex and signals."""
        chosen = [
            self.chooser.choose(case.extraction.entities, case.linked, case.patient.notes, case.patient.starts)
            for case in cases
        ]
        queries = [
            Query(tuple(link.node_index for link in own.links), case.patient.signals)
            for case, own in zip(cases, chosen, strict=True)
        ]
        return [
            self._evidence(case, own, retrieved)
            for case, own, retrieved in zip(cases, chosen, self.retriever.retrieve(queries), strict=True)
        ]

    def _evidence(self, case: Case, chosen: PatientLinks, retrieved: Sequence[Retrieved]) -> Evidence:
        patient = case.patient
        connected = self.connections.of(chosen.links, patient.signals, patient.notes)
        beyond = {left.node_index for left in chosen.left_out if left.reason == "beyond max_nodes"}
        told = asides.told(case.linked, beyond)
        beside = ((left.node_index, left.name) for left in chosen.left_out)
        return Evidence(
            patient.age,
            patient.sex,
            patient.signals,
            chosen.links,
            {disease.node_index: _with(disease, connected.get(disease.node_index)) for disease in retrieved},
            connected,
            asides.asides(case.extraction.entities, told, case.unlinked, patient.notes, chosen.parts),
            chosen.left_out,
            patient.treatments,
            contraindications.of_patient(
                self.connections.graph,
                [*((link.node_index, link.name) for link in chosen.links), *beside],
                patient.treatments,
            ),
        )

    def records(self, cases: Sequence[Case]) -> list[Record]:
        """A record for each case; it does not depend on the other cases."""
        with collector.paused():
            return [record for record, _, _ in self._made(cases)]

    def written(self, cases: Sequence[Case]) -> list[WrittenRecord]:
        """The records as rows of text, which take a fraction of their memory."""
        with collector.paused():
            return [
                WrittenRecord(
                    records_file.to_row(record),
                    Tally(
                        len(record.nodes),
                        tuple(left.reason for left in record.left_out),
                        summary.failure is not None,
                        record.faithfulness,
                        len(known.contraindications),
                        len(known.contraindications) - len(known.told_contraindications),
                    ),
                )
                for record, summary, known in self._made(cases)
            ]

    def _made(self, cases: Sequence[Case]) -> Iterator[tuple[Record, Summary, Evidence]]:
        evidence = self.evidence(cases)
        written = [case.summary for case in cases if case.summary]
        summaries = self.summarizer.summarise(evidence) if self.summarizer else written
        audits = [UNAUDITED] * len(cases)
        if self.auditor is not None:
            entities = [case.extraction.entities for case in cases]
            charted = [(case.patient.notes, case.charted) for case in cases]
            audits = self.auditor.audit(summaries, evidence, entities, charted)
        for case, known, summary, audit in zip(cases, evidence, summaries, audits, strict=True):
            yield _record(case, known, summary, audit), summary, known


def _with(disease: Retrieved, connected: Connected | None) -> Retrieved:
    """The disease with the triples that concern the patient before those that were retrieved."""
    if connected is None or not connected.triples:
        return disease
    return replace(disease, triples=tuple(dict.fromkeys([*connected.triples, *disease.triples])))


def _record(case: Case, evidence: Evidence, summary: Summary, audit: Faithfulness) -> Record:
    patient, extraction = case.patient, case.extraction
    # A mention of a more general disease keeps its own node: what takes its place may be only a kind of it.
    kept = {left.node_index: left.kept for left in evidence.left_out if left.reason != "more general"}
    general = {left.node_index for left in evidence.left_out if left.reason == "more general"}
    nodes = {name: kept.get(node, node) for name, (node, _, _) in case.linked.items()}
    retrieved = [evidence.diseases[link.node_index] for link in evidence.links]
    return Record(
        patient_id=patient.patient_id,
        abnormal_signals=tuple(patient.signals),
        entities=tuple(
            RecordedMention(**entity._asdict(), node_index=_node_of(entity, nodes, evidence.diseases.keys() | general))
            for entity in extraction.entities
        ),
        nodes=tuple(evidence.links),
        left_out=tuple(evidence.left_out),
        documents=tuple(
            RecordedDocument(disease.node_index, disease.name, disease.definition, disease.description)
            for disease in retrieved
        ),
        triples=tuple(
            RecordedTriple(disease.node_index, triple.x_name, triple.display_relation, triple.y_name)
            for disease in retrieved
            for triple in disease.triples
        ),
        summary=summary.text,
        provenance=summary.statements,
        faithfulness=audit,
        entity_backend=extraction.backend,
        summary_backend=summary.backend,
        failures=tuple(failure for failure in (extraction.failure, summary.failure) if failure),
        treatments=tuple(evidence.treatments),
        contraindications=tuple(evidence.contraindications),
    )


def _node_of(entity: Entity, nodes: Mapping[str, int | None], told: Collection[int]) -> int | None:
    """The node of the disease that this mention means; None if it is none of the sample's diseases."""
    node = nodes.get(normal(entity.name)) if entity.linked else None
    return node if node in told else None
