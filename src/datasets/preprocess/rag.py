"""The RAG half of preprocessing: notes -> entities -> diseases -> documents and triples -> summary, one record a patient."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from src.config import Linking
from src.datasets.graphs import KnowledgeGraph
from src.datasets.preprocess import linking
from src.datasets.preprocess.abnormal import AbnormalSignal
from src.datasets.preprocess.audit import faithfulness
from src.datasets.preprocess.entities import Entity, EntityExtractor, Extraction
from src.datasets.preprocess.names import normal
from src.datasets.preprocess.retrieval import Query, Retriever
from src.datasets.preprocess.summaries import Evidence, Summarizer, Summary
from src.datasets.preprocess.tensors import Hourly
from src.datasets.schema import RAG_COLUMNS

SEPARATOR = "\n\n"


@dataclass(frozen=True)
class Tools:
    """The components of the RAG half."""

    graph: KnowledgeGraph
    extractor: EntityExtractor
    linker: linking.Linker
    retriever: Retriever
    summarizer: Summarizer


@dataclass(frozen=True)
class Patient:
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


def records(
    patients: Sequence[Patient], tools: Tools, auditor: faithfulness.Auditor, hourly: Hourly, rule: Linking
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The rows of ``rag_records.csv`` in the patients' order, and the counts for metadata and log."""
    extractions = tools.extractor.extract([patient.notes for patient in patients])
    names = {entity.name for found in extractions for entity in found.entities if entity.linked}
    linked = tools.linker.link(names)
    links = [linking.patient_links(found.entities, linked, tools.graph, rule) for found in extractions]
    queries = [
        Query(tuple(link.node_index for link in own), patient.signals)
        for patient, own in zip(patients, links, strict=True)
    ]
    evidence = [
        Evidence(patient.age, patient.sex, patient.signals, own, {found.node_index: found for found in retrieved})
        for patient, own, retrieved in zip(patients, links, tools.retriever.retrieve(queries), strict=True)
    ]
    summaries = tools.summarizer.summarise(evidence)
    entities = [found.entities for found in extractions]
    charted = [(patient.notes, hourly.value[patient.n]) for patient in patients]
    audits = auditor.audit(summaries, evidence, entities, charted, hourly.features)
    counts = _Counts(len(names), len(linked))
    for found, known, summary in zip(extractions, evidence, summaries, strict=True):
        counts.add(found, known, summary)
    nodes = {name: node for name, (node, _, _) in linked.items()}
    whole = zip(patients, extractions, evidence, summaries, audits, strict=True)
    table = pl.DataFrame(
        [_row(*one, nodes) for one in whole], schema=dict.fromkeys(RAG_COLUMNS, pl.String), orient="row"
    )
    return table, {**counts.as_dict(), **faithfulness.totals(audits)}


def _row(
    patient: Patient,
    extraction: Extraction,
    evidence: Evidence,
    summary: Summary,
    audit: Mapping[str, Any],
    nodes: Mapping[str, int],
) -> tuple[str, ...]:
    """``nodes``: the node of every name that was linked."""
    found = [evidence.diseases[link.node_index] for link in evidence.links]
    documents = [{k: getattr(f, k) for k in ("node_index", "name", "definition", "description")} for f in found]
    triples = [[f.node_index, t.x_name, t.display_relation, t.y_name] for f in found for t in f.triples]
    return (
        patient.patient_id,
        _json([asdict(signal) for signal in patient.signals]),
        _json([{**asdict(e), "node_index": _node_of(e, evidence, nodes)} for e in extraction.entities]),
        _json([asdict(link) for link in evidence.links]),
        _json(documents),
        _json(triples),
        summary.text,
        _json([{"text": s.text, **s.evidence} for s in summary.statements]),
        _json(audit),
        extraction.backend,
        summary.backend,
        _json([failure for failure in (extraction.failure, summary.failure) if failure]),
    )


def _node_of(entity: Entity, evidence: Evidence, nodes: Mapping[str, int]) -> int | None:
    """The node among the patient's that the mention is counted for."""
    node = nodes.get(normal(entity.name)) if entity.linked else None
    return node if node in evidence.diseases else None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


@dataclass
class _Counts:
    """Running totals over patients."""

    entity_names: int
    entity_names_linked: int
    mentions: int = 0
    mentions_negated_family_or_hypothetical: int = 0
    patients_without_a_disease: int = 0
    nodes: int = 0
    entity_failures: int = 0
    summary_failures: int = 0

    def add(self, extraction: Extraction, evidence: Evidence, summary: Summary) -> None:
        self.mentions += len(extraction.entities)
        self.mentions_negated_family_or_hypothetical += sum(not e.linked for e in extraction.entities)
        self.patients_without_a_disease += not evidence.links
        self.nodes += len(evidence.links)
        self.entity_failures += extraction.failure is not None
        self.summary_failures += summary.failure is not None

    def as_dict(self) -> dict[str, int]:
        return asdict(self)
