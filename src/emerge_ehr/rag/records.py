"""The RAG half of preprocessing: notes -> entities -> diseases -> documents and triples -> summary, a record per patient."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any

import polars as pl

from emerge_ehr.compute.forms import Json
from emerge_ehr.compute.work import Pool, Work
from emerge_ehr.config import Linking
from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.progress import bar
from emerge_ehr.rag import linking, records_file
from emerge_ehr.rag.entities import Entity, EntityExtractor, Extraction
from emerge_ehr.rag.faithfulness import Faithfulness, faithfulness
from emerge_ehr.rag.linking import Linked
from emerge_ehr.rag.names import normal
from emerge_ehr.rag.records_file import Record, RecordedDocument, RecordedMention, RecordedTriple
from emerge_ehr.rag.retrieval import Query, Retriever
from emerge_ehr.rag.summaries import Evidence, Summarizer, Summary
from emerge_ehr.signals.abnormal import AbnormalSignal
from emerge_ehr.signals.hourly import Hourly

SEPARATOR = "\n\n"
BLOCK = 1000  # records put into the table together: as rows of text they take several times the memory
MUCH = 5000  # patients from which processes of their own are worth their start


@dataclass(frozen=True)
class Tools:
    """The components of the RAG half, and who does their work."""

    graph: KnowledgeGraph
    extractor: EntityExtractor
    linker: linking.Linker
    retriever: Retriever
    summarizer: Summarizer
    pool: Pool


@dataclass(frozen=True)
class PatientFacts:
    """What is known of one patient before retrieval. ``n`` is the row in the tensors."""

    n: int
    patient_id: str
    age: float | None
    sex: str | None
    notes: str
    signals: Sequence[AbnormalSignal]


def joined_notes(notes: pl.DataFrame, patients: Sequence[str]) -> list[str]:
    """Each patient's notes in order of time as one text; empty where there are none."""
    ordered = notes.sort("patient_id", "note_time", "note_type", "text", nulls_last=True)
    joined = ordered.group_by("patient_id", maintain_order=True).agg(pl.col("text").str.join(SEPARATOR))
    texts = dict(joined.rows())
    return [texts.get(patient, "") for patient in patients]


@dataclass(frozen=True)
class Case:
    """A patient with what was found in the notes. ``linked``: of the names in them. ``charted``: the value in each signal's hour.
    ``summary``: where it is written already."""

    patient: PatientFacts
    extraction: Extraction
    linked: dict[str, Linked]
    charted: tuple[float, ...]
    summary: Summary | None = None


@dataclass(frozen=True)
class Tally:
    """What of a record is counted."""

    nodes: int
    summary_failed: bool
    audit: Faithfulness


@dataclass(frozen=True)
class WrittenRecord:
    """A record as a row of ``rag_records.csv``, and what of it is counted."""

    row: tuple[str, ...]
    tally: Tally


@dataclass(frozen=True)
class Recorder:
    """What makes a record of a case; it goes where the cases go. ``summarizer``: of summaries that are not written yet."""

    graph: KnowledgeGraph
    retriever: Retriever
    summarizer: Summarizer | None
    auditor: faithfulness.Auditor
    rule: Linking

    def evidence(self, cases: Sequence[Case]) -> list[Evidence]:
        """Diseases, documents and triples beside age, sex and signals."""
        links = [linking.patient_links(case.extraction.entities, case.linked, self.graph, self.rule) for case in cases]
        queries = [
            Query(tuple(link.node_index for link in own), case.patient.signals)
            for case, own in zip(cases, links, strict=True)
        ]
        return [
            Evidence(
                case.patient.age,
                case.patient.sex,
                case.patient.signals,
                own,
                {one.node_index: one for one in retrieved},
            )
            for case, own, retrieved in zip(cases, links, self.retriever.retrieve(queries), strict=True)
        ]

    def records(self, cases: Sequence[Case]) -> list[WrittenRecord]:
        """A record for each case; it does not depend on the other cases."""
        evidence = self.evidence(cases)
        written = [case.summary for case in cases if case.summary]
        summaries = self.summarizer.summarise(evidence) if self.summarizer else written
        entities = [case.extraction.entities for case in cases]
        charted = [(case.patient.notes, case.charted) for case in cases]
        audits = self.auditor.audit(summaries, evidence, entities, charted)
        return [
            WrittenRecord(
                records_file.to_row(_record(case, known, summary, audit)),
                Tally(len(known.links), summary.failure is not None, audit),
            )
            for case, known, summary, audit in zip(cases, evidence, summaries, audits, strict=True)
        ]


def records(
    patients: Sequence[PatientFacts], tools: Tools, auditor: faithfulness.Auditor, hourly: Hourly, rule: Linking
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The rows of ``rag_records.csv`` in the patients' order, and the counts for metadata and log."""
    extractions = tools.extractor.extract([patient.notes for patient in patients])
    names = {entity.name for found in extractions for entity in found.entities if entity.linked}
    linked = tools.linker.link(names)
    cases = [_case(*one, linked, hourly) for one in zip(patients, extractions, strict=True)]
    recorder = Recorder(tools.graph, tools.retriever, tools.summarizer, auditor, rule)
    if tools.summarizer.asks:  # for all patients from here: what limits it is the endpoints
        summaries = tools.summarizer.summarise(recorder.evidence(cases))
        cases = [replace(case, summary=summary) for case, summary in zip(cases, summaries, strict=True)]
        recorder = replace(recorder, summarizer=None)
    work = Work("records", recorder, Recorder.records, Json[Case](Case), Json[WrittenRecord](WrittenRecord))
    made = tools.pool.map(work, cases, much=len(cases) >= MUCH)
    found = iter(bar(made, title="records", unit="sample", total=len(cases)))
    tables, tallies = [records_file.table([])], list[Tally]()
    while some := list(islice(found, BLOCK)):
        tables.append(records_file.table([record.row for record in some]))
        tallies += [record.tally for record in some]
    counts = _counts(extractions, tallies, len(names), len(linked))
    return pl.concat(tables), {**counts, **faithfulness.totals([tally.audit for tally in tallies])}


def _case(patient: PatientFacts, extraction: Extraction, linked: Mapping[str, Linked], hourly: Hourly) -> Case:
    own = {normal(entity.name) for entity in extraction.entities if entity.linked} & linked.keys()
    charted = [hourly.value[patient.n, signal.hour, hourly.features.index(signal.code)] for signal in patient.signals]
    return Case(patient, extraction, {name: linked[name] for name in sorted(own)}, tuple(map(float, charted)))


def _record(case: Case, evidence: Evidence, summary: Summary, audit: Faithfulness) -> Record:
    patient, extraction = case.patient, case.extraction
    nodes = {name: node for name, (node, _, _) in case.linked.items()}
    retrieved = [evidence.diseases[link.node_index] for link in evidence.links]
    return Record(
        patient_id=patient.patient_id,
        abnormal_signals=tuple(patient.signals),
        entities=tuple(
            RecordedMention(**asdict(entity), node_index=_node_of(entity, evidence, nodes))
            for entity in extraction.entities
        ),
        nodes=tuple(evidence.links),
        documents=tuple(
            RecordedDocument(own.node_index, own.name, own.definition, own.description) for own in retrieved
        ),
        triples=tuple(
            RecordedTriple(own.node_index, triple.x_name, triple.display_relation, triple.y_name)
            for own in retrieved
            for triple in own.triples
        ),
        summary=summary.text,
        provenance=summary.statements,
        faithfulness=audit,
        entity_backend=extraction.backend,
        summary_backend=summary.backend,
        failures=tuple(failure for failure in (extraction.failure, summary.failure) if failure),
    )


def _node_of(entity: Entity, evidence: Evidence, nodes: Mapping[str, int]) -> int | None:
    """The node among the patient's that the mention is counted for."""
    node = nodes.get(normal(entity.name)) if entity.linked else None
    return node if node in evidence.diseases else None


def _counts(
    extractions: Sequence[Extraction], tallies: Sequence[Tally], names: int, names_linked: int
) -> dict[str, int]:
    """Totals over patients."""
    return {
        "entity_names": names,
        "entity_names_linked": names_linked,
        "mentions": sum(len(one.entities) for one in extractions),
        "mentions_negated_family_or_hypothetical": sum(not e.linked for one in extractions for e in one.entities),
        "patients_without_a_disease": sum(not tally.nodes for tally in tallies),
        "nodes": sum(tally.nodes for tally in tallies),
        "entity_failures": sum(one.failure is not None for one in extractions),
        "summary_failures": sum(tally.summary_failed for tally in tallies),
    }
