"""The RAG half of preprocessing: notes -> entities -> diseases -> documents and triples -> summary, one record per sample."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, get_args

import polars as pl

from emerge_ehr.compute.forms import Json
from emerge_ehr.compute.work import Pool, Work
from emerge_ehr.config import Linking
from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.progress import bar
from emerge_ehr.rag import asides, linking, records_file
from emerge_ehr.rag.entities import Entity, EntityExtractor, Extraction
from emerge_ehr.rag.faithfulness import faithfulness
from emerge_ehr.rag.linking import Linked
from emerge_ehr.rag.mentions.candidates import phrases_and_titles, settle
from emerge_ehr.rag.names import normal
from emerge_ehr.rag.patient_links import Chooser, Reason
from emerge_ehr.rag.ranking import hierarchy
from emerge_ehr.rag.ranking.connections import Connections
from emerge_ehr.rag.ranking.places import NoteStart
from emerge_ehr.rag.recorder import Case, PatientFacts, Recorder, Tally, WrittenRecord
from emerge_ehr.rag.records_file import Record
from emerge_ehr.rag.retrieval import Retriever
from emerge_ehr.rag.summaries import Summarizer
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
class Extracted:
    """What was found in the notes of some samples: the ``cases``; ``raw``: the extractions before candidates were settled; all
    ``names`` of entities, and ``linked``: the disease of each that has one."""

    cases: list[Case]
    raw: Sequence[Extraction]
    names: set[str]
    linked: Mapping[str, Linked]


def records(
    patients: Sequence[PatientFacts], tools: Tools, auditor: faithfulness.Auditor, hourly: Hourly, rule: Linking
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The rows of ``rag_records.csv`` in the order of ``patients``, and the counts for the metadata and the log."""
    found = _extracted(patients, tools, hourly)
    recorder, cases = _recorder(tools, auditor, rule, found.cases)
    work = Work("records", recorder, Recorder.written, Json[Case](Case), Json[WrittenRecord](WrittenRecord))
    made = tools.pool.map(work, cases, much=len(cases) >= MUCH)
    written = iter(bar(made, title="records", unit="sample", total=len(cases)))
    tables, tallies = [records_file.table([])], list[Tally]()
    while block := list(islice(written, BLOCK)):
        tables.append(records_file.table([record.row for record in block]))
        tallies += [record.tally for record in block]
    counts = {**_counts(found, tallies), **faithfulness.totals([tally.audit for tally in tallies])}
    if any(patient.treatments for patient in patients):
        counts["contraindications"] = sum(tally.contraindications for tally in tallies)
        counts["contraindications_in_diseases_left_out"] = sum(tally.of_left_out for tally in tallies)
        counts["samples_with_a_contraindication"] = sum(tally.contraindications > 0 for tally in tallies)
    return pl.concat(tables), counts


def of_new(
    patients: Sequence[PatientFacts],
    tools: Tools,
    auditor: faithfulness.Auditor | None,
    hourly: Hourly,
    rule: Linking,
) -> list[Record]:
    """The records of a few ``patients``, made in this process; without an ``auditor`` their summaries are not audited."""
    recorder, cases = _recorder(tools, auditor, rule, _extracted(patients, tools, hourly).cases)
    return recorder.records(cases)


def _extracted(patients: Sequence[PatientFacts], tools: Tools, hourly: Hourly) -> Extracted:
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
    return Extracted(cases, extracted, names, linked)


def _recorder(
    tools: Tools, auditor: faithfulness.Auditor | None, rule: Linking, cases: list[Case]
) -> tuple[Recorder, list[Case]]:
    """What makes the records, and the cases to make them of. A language model has written their summaries already: this process
    asks for all samples, since the endpoints set the pace."""
    chooser = Chooser(hierarchy.build(tools.graph), rule.max_nodes)
    recorder = Recorder(chooser, tools.connections, tools.retriever, tools.summarizer, auditor)
    if not tools.summarizer.asks:
        return recorder, cases
    summaries = tools.summarizer.summarise(recorder.evidence(cases))
    told = [replace(case, summary=summary) for case, summary in zip(cases, summaries, strict=True)]
    return replace(recorder, summarizer=None), told


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


def _counts(found: Extracted, tallies: Sequence[Tally]) -> dict[str, int]:
    """Totals over all samples."""
    extractions = [case.extraction for case in found.cases]
    return {
        "entity_names": len(found.names),
        "entity_names_linked": len({normal(name) for name in found.names} & found.linked.keys()),
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
        "candidates": sum(len(raw.candidates) for raw in found.raw),
        "candidates_linked": sum(
            entity in raw.candidates
            for raw, settled in zip(found.raw, extractions, strict=True)
            for entity in settled.entities
        ),
    }
