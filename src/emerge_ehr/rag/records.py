"""The RAG half of preprocessing: notes -> entities -> diseases -> documents and triples -> summary, one record per sample."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, get_args

import polars as pl

from emerge_ehr.compute import collector
from emerge_ehr.compute.forms import Json
from emerge_ehr.compute.work import Pool, Work
from emerge_ehr.config import Linking
from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.progress import bar
from emerge_ehr.rag import asides, linking, records_file
from emerge_ehr.rag.entities import Entity, EntityExtractor, Extraction
from emerge_ehr.rag.faithfulness import Faithfulness, faithfulness
from emerge_ehr.rag.linking import Linked
from emerge_ehr.rag.mentions.candidates import phrases_and_titles, settle
from emerge_ehr.rag.names import normal
from emerge_ehr.rag.patient_links import Chooser, PatientLinks, Reason
from emerge_ehr.rag.ranking import hierarchy
from emerge_ehr.rag.ranking.connections import Connected, Connections
from emerge_ehr.rag.ranking.places import NoteStart
from emerge_ehr.rag.records_file import Record, RecordedDocument, RecordedMention, RecordedTriple
from emerge_ehr.rag.retrieval import Query, Retrieved, Retriever
from emerge_ehr.rag.summaries import Evidence, Summarizer, Summary
from emerge_ehr.rag.treatments import Given, contraindications
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
    connections: Connections
    retriever: Retriever
    summarizer: Summarizer
    pool: Pool


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


def joined_notes(notes: pl.DataFrame, patients: Sequence[str]) -> list[str]:
    """The notes of each of ``patients`` (``patient_id``), in order of time, as one text; empty where there are none."""
    joined = _ordered(notes).group_by("patient_id", maintain_order=True).agg(pl.col("text").str.join(SEPARATOR))
    texts = dict(joined.rows())
    return [texts.get(patient, "") for patient in patients]


def note_starts(notes: pl.DataFrame, patients: Sequence[str]) -> list[tuple[NoteStart, ...]]:
    """Where each note begins in the joined notes of each of ``patients``."""
    starts: dict[str, list[NoteStart]] = {}
    ends: dict[str, int] = {}
    for patient, kind, length in (
        _ordered(notes).select("patient_id", "note_type", pl.col("text").str.len_chars()).iter_rows()
    ):
        start = ends.get(patient, 0)
        starts.setdefault(patient, []).append(NoteStart(start, kind or ""))
        ends[patient] = start + (length or 0) + len(SEPARATOR)
    return [tuple(starts.get(patient, ())) for patient in patients]


def _ordered(notes: pl.DataFrame) -> pl.DataFrame:
    return notes.sort("patient_id", "note_time", "note_type", "text", nulls_last=True)


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
    """Makes records from cases; it is sent to the workers with them. ``summarizer`` is None if the cases have their summaries."""

    chooser: Chooser
    connections: Connections
    retriever: Retriever
    summarizer: Summarizer | None
    auditor: faithfulness.Auditor

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

    def records(self, cases: Sequence[Case]) -> list[WrittenRecord]:
        """A record for each case; it does not depend on the other cases."""
        with collector.paused():
            return self._records(cases)

    def _records(self, cases: Sequence[Case]) -> list[WrittenRecord]:
        evidence = self.evidence(cases)
        written = [case.summary for case in cases if case.summary]
        summaries = self.summarizer.summarise(evidence) if self.summarizer else written
        entities = [case.extraction.entities for case in cases]
        charted = [(case.patient.notes, case.charted) for case in cases]
        audits = self.auditor.audit(summaries, evidence, entities, charted)
        return [
            WrittenRecord(
                records_file.to_row(_record(case, known, summary, audit)),
                Tally(
                    len(known.links),
                    tuple(left.reason for left in known.left_out),
                    summary.failure is not None,
                    audit,
                    len(known.contraindications),
                    len(known.contraindications) - len(known.told_contraindications),
                ),
            )
            for case, known, summary, audit in zip(cases, evidence, summaries, audits, strict=True)
        ]


def records(
    patients: Sequence[PatientFacts], tools: Tools, auditor: faithfulness.Auditor, hourly: Hourly, rule: Linking
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The rows of ``rag_records.csv`` in the order of ``patients``, and the counts for the metadata and the log."""
    extracted = tools.extractor.extract([patient.notes for patient in patients])
    names = {entity.name for extraction in extracted for entity in extraction.entities if entity.linked}
    exact = {normal(entity.name) for extraction in extracted if extraction.exact for entity in extraction.entities}
    phrases, titles = phrases_and_titles(extracted)
    linked = linking.told_by_own_name(tools.linker.link(names | phrases, exact), tools.graph)
    titles_linked = linking.told_by_own_name(tools.linker.link(titles, exact, titles=True), tools.graph)
    extractions = [settle(extraction, linked, titles_linked) for extraction in extracted]
    linked = titles_linked | linked
    cases = [
        _case(patient, extraction, linked, hourly, asides.unlinked(raw, extraction))
        for patient, raw, extraction in zip(patients, extracted, extractions, strict=True)
    ]
    chooser = Chooser(hierarchy.build(tools.graph), rule.max_nodes)
    recorder = Recorder(chooser, tools.connections, tools.retriever, tools.summarizer, auditor)
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
    counts = {
        **_counts(extractions, tallies, names, linked),
        "candidates": sum(len(extraction.candidates) for extraction in extracted),
        "candidates_linked": sum(
            entity in extraction.candidates
            for extraction, settled in zip(extracted, extractions, strict=True)
            for entity in settled.entities
        ),
    }
    if any(patient.treatments for patient in patients):
        counts["contraindications"] = sum(tally.contraindications for tally in tallies)
        counts["contraindications_in_diseases_left_out"] = sum(tally.of_left_out for tally in tallies)
        counts["samples_with_a_contraindication"] = sum(tally.contraindications > 0 for tally in tallies)
    return pl.concat(tables), {**counts, **faithfulness.totals([tally.audit for tally in tallies])}


def _with(disease: Retrieved, connected: Connected | None) -> Retrieved:
    """The disease with the triples that concern the patient before those that were retrieved."""
    if connected is None or not connected.triples:
        return disease
    return replace(disease, triples=tuple(dict.fromkeys([*connected.triples, *disease.triples])))


def _case(
    patient: PatientFacts,
    extraction: Extraction,
    linked: Mapping[str, Linked],
    hourly: Hourly,
    unlinked: tuple[Entity, ...] = (),
) -> Case:
    names = {normal(entity.name) for entity in extraction.entities if entity.linked} & linked.keys()
    charted = [
        hourly.value[patient.n, signal.hour // hourly.bin_hours, hourly.features.index(signal.code)]
        for signal in patient.signals
    ]
    return Case(
        patient, extraction, {name: linked[name] for name in sorted(names)}, tuple(map(float, charted)), unlinked
    )


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


def _counts(
    extractions: Sequence[Extraction], tallies: Sequence[Tally], names: set[str], linked: Mapping[str, Linked]
) -> dict[str, int]:
    """Totals over all samples."""
    return {
        "entity_names": len(names),
        "entity_names_linked": len({normal(name) for name in names} & linked.keys()),
        "mentions": sum(len(extraction.entities) for extraction in extractions),
        "mentions_negated_family_or_hypothetical": sum(
            not entity.linked for extraction in extractions for entity in extraction.entities
        ),
        "patients_without_a_disease": sum(not tally.nodes for tally in tallies),
        "nodes": sum(tally.nodes for tally in tallies),
        **{
            f"left_out_{reason.replace(' ', '_')}": sum(tally.left_out.count(reason) for tally in tallies)
            for reason in get_args(Reason)
        },
        "entity_failures": sum(extraction.failure is not None for extraction in extractions),
        "summary_failures": sum(tally.summary_failed for tally in tallies),
    }
