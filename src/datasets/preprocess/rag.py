"""The RAG half of preprocessing: notes -> entities -> diseases -> documents and triples -> summary, one record a patient."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl
from tqdm import tqdm

from src.config import Linking
from src.datasets.graphs import KnowledgeGraph
from src.datasets.preprocess import faithfulness, linking
from src.datasets.preprocess.abnormal import AbnormalSignal
from src.datasets.preprocess.entities import Entity, EntityExtractor
from src.datasets.preprocess.linking import Link
from src.datasets.preprocess.retrieval import Retrieved, Retriever
from src.datasets.preprocess.summaries import Evidence, Statement, Summarizer
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
    patients: Sequence[Patient], tools: Tools, hourly: Hourly, rule: Linking
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The rows of ``rag_records.csv`` in the patients' order, and the counts for metadata and log."""
    bar = tqdm(patients, desc="entities", unit="patient", disable=None, leave=False)
    entities = [list(tools.extractor.extract(patient.notes)) for patient in bar]
    names = {entity.name for found in entities for entity in found if entity.status == "present"}
    linked = tools.linker.link(names)
    retrieved: dict[int, Retrieved] = {}
    rows, counts = [], _Counts(len(names), len(linked))
    for patient, found in zip(
        tqdm(patients, desc="summaries", unit="patient", disable=None, leave=False), entities, strict=True
    ):
        links = linking.patient_links(found, linked, tools.graph, rule)
        for link in links:
            if link.node_index not in retrieved:
                retrieved[link.node_index] = tools.retriever.retrieve(link.node_index)
        evidence = Evidence(patient.age, patient.sex, patient.signals, links, retrieved)
        statements = tools.summarizer.summarise(evidence)
        audit = faithfulness.audit(statements, patient.notes, hourly.value[patient.n], hourly.features, tools.graph)
        counts.add(found, links, audit)
        rows.append(_row(patient, found, links, retrieved, statements, audit))
    return pl.DataFrame(rows, schema=dict.fromkeys(RAG_COLUMNS, pl.String), orient="row"), counts.as_dict()


def _row(
    patient: Patient,
    entities: Sequence[Entity],
    links: Sequence[Link],
    retrieved: Mapping[int, Retrieved],
    statements: Sequence[Statement],
    audit: Mapping[str, Any],
) -> tuple[str, ...]:
    found = [retrieved[link.node_index] for link in links]
    documents = [{k: getattr(f, k) for k in ("node_index", "name", "definition", "description")} for f in found]
    triples = [[f.node_index, t.x_name, t.display_relation, t.y_name] for f in found for t in f.triples]
    return (
        patient.patient_id,
        _json([asdict(signal) for signal in patient.signals]),
        _json([asdict(entity) for entity in entities]),
        _json([asdict(link) for link in links]),
        _json(documents),
        _json(triples),
        " ".join(statement.text for statement in statements),
        _json([{"text": s.text, **s.evidence} for s in statements]),
        _json(audit),
    )


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
    unsupported_statements: int = 0

    def add(self, entities: Sequence[Entity], links: Sequence[Link], audit: Mapping[str, Any]) -> None:
        self.mentions += len(entities)
        self.mentions_negated_family_or_hypothetical += sum(e.status != "present" for e in entities)
        self.patients_without_a_disease += not links
        self.nodes += len(links)
        self.unsupported_statements += len(audit["unsupported"])

    def as_dict(self) -> dict[str, int]:
        return asdict(self)
