"""The RAG half of preprocessing: notes -> entities -> diseases -> documents and triples -> summary, one record per sample."""

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
BLOCK = 1000  # records that are added to the table together: as rows of text they take several times the memory
MUCH = 5000  # samples from which on it pays to start worker processes


@dataclass(frozen=True)
class Tools:
    """The components of the RAG half, and the pool of workers that run them."""

    graph: KnowledgeGraph
    extractor: EntityExtractor
    linker: linking.Linker
    retriever: Retriever
    summarizer: Summarizer
    pool: Pool


@dataclass(frozen=True)
class PatientFacts:
    """What is known of one sample before retrieval. ``n`` is its row in the tensors."""

    n: int
    patient_id: str
    age: float | None
    sex: str | None
    notes: str
    signals: Sequence[AbnormalSignal]


def joined_notes(notes: pl.DataFrame, patients: Sequence[str]) -> list[str]:
    """The notes of each of ``patients`` (``patient_id``), in order of time, as one text; empty where there are none."""
    ordered = notes.sort("patient_id", "note_time", "note_type", "text", nulls_last=True)
    joined = ordered.group_by("patient_id", maintain_order=True).agg(pl.col("text").str.join(SEPARATOR))
    texts = dict(joined.rows())
    return [texts.get(patient, "") for patient in patients]


@dataclass(frozen=True)
class Case:
    """A sample with what was extracted from its notes.

    ``linked``: the disease of each name in the notes that has one. ``charted``: the value of each abnormal signal in its hour.
    ``summary``: the summary, if it is written already.
    """

    patient: PatientFacts
    extraction: Extraction
    linked: dict[str, Linked]
    charted: tuple[float, ...]
    summary: Summary | None = None


@dataclass(frozen=True)
class Tally:
    """The numbers of a record that enter the counts."""

    nodes: int
    summary_failed: bool
    audit: Faithfulness


@dataclass(frozen=True)
class WrittenRecord:
    """A record as a row of ``rag_records.csv``, and the numbers of it that enter the counts."""

    row: tuple[str, ...]
    tally: Tally


@dataclass(frozen=True)
class Recorder:
    """Makes records from cases; it is sent to the workers with them. ``summarizer`` is None if the cases have their summaries."""

    graph: KnowledgeGraph
    retriever: Retriever
    summarizer: Summarizer | None
    auditor: faithfulness.Auditor
    rule: Linking

    def evidence(self, cases: Sequence[Case]) -> list[Evidence]:
        """The evidence of each case: its diseases with their documents and triples, beside age, sex and signals."""
        links = [linking.patient_links(case.extraction.entities, case.linked, self.graph, self.rule) for case in cases]
        queries = [
            Query(tuple(link.node_index for link in case_links), case.patient.signals)
            for case, case_links in zip(cases, links, strict=True)
        ]
        return [
            Evidence(
                case.patient.age,
                case.patient.sex,
                case.patient.signals,
                case_links,
                {disease.node_index: disease for disease in retrieved},
            )
            for case, case_links, retrieved in zip(cases, links, self.retriever.retrieve(queries), strict=True)
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
    """The rows of ``rag_records.csv`` in the order of ``patients``, and the counts for the metadata and the log."""
    extractions = tools.extractor.extract([patient.notes for patient in patients])
    names = {entity.name for extraction in extractions for entity in extraction.entities if entity.linked}
    linked = tools.linker.link(names)
    cases = [
        _case(patient, extraction, linked, hourly) for patient, extraction in zip(patients, extractions, strict=True)
    ]
    recorder = Recorder(tools.graph, tools.retriever, tools.summarizer, auditor, rule)
    if tools.summarizer.asks:  # a language model: this process asks for all samples, since the endpoints set the pace
        summaries = tools.summarizer.summarise(recorder.evidence(cases))
        cases = [replace(case, summary=summary) for case, summary in zip(cases, summaries, strict=True)]
        recorder = replace(recorder, summarizer=None)
    work = Work("records", recorder, Recorder.records, Json[Case](Case), Json[WrittenRecord](WrittenRecord))
    made = tools.pool.map(work, cases, much=len(cases) >= MUCH)
    written = iter(bar(made, title="records", unit="sample", total=len(cases)))
    tables, tallies = [records_file.table([])], list[Tally]()
    while block := list(islice(written, BLOCK)):
        tables.append(records_file.table([record.row for record in block]))
        tallies += [record.tally for record in block]
    counts = _counts(extractions, tallies, len(names), len(linked))
    return pl.concat(tables), {**counts, **faithfulness.totals([tally.audit for tally in tallies])}


def _case(patient: PatientFacts, extraction: Extraction, linked: Mapping[str, Linked], hourly: Hourly) -> Case:
    names = {normal(entity.name) for entity in extraction.entities if entity.linked} & linked.keys()
    charted = [hourly.value[patient.n, signal.hour, hourly.features.index(signal.code)] for signal in patient.signals]
    return Case(patient, extraction, {name: linked[name] for name in sorted(names)}, tuple(map(float, charted)))


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
    )


def _node_of(entity: Entity, evidence: Evidence, nodes: Mapping[str, int]) -> int | None:
    """The node of the disease for which this mention counts; None if it counts for none of the sample's diseases."""
    node = nodes.get(normal(entity.name)) if entity.linked else None
    return node if node in evidence.diseases else None


def _counts(
    extractions: Sequence[Extraction], tallies: Sequence[Tally], names: int, names_linked: int
) -> dict[str, int]:
    """Totals over all samples."""
    return {
        "entity_names": names,
        "entity_names_linked": names_linked,
        "mentions": sum(len(extraction.entities) for extraction in extractions),
        "mentions_negated_family_or_hypothetical": sum(
            not entity.linked for extraction in extractions for entity in extraction.entities
        ),
        "patients_without_a_disease": sum(not tally.nodes for tally in tallies),
        "nodes": sum(tally.nodes for tally in tallies),
        "entity_failures": sum(extraction.failure is not None for extraction in extractions),
        "summary_failures": sum(tally.summary_failed for tally in tallies),
    }
