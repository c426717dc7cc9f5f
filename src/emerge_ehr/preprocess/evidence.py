"""Turns checked tables into what the models read, for a cohort and for new patients alike: signals, notes, records, arrays."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emerge_ehr import components
from emerge_ehr.compute.local import LOCAL
from emerge_ehr.compute.work import Pool
from emerge_ehr.config import Config
from emerge_ehr.datasets.sources import asks_treatments
from emerge_ehr.datasets.tasks import Task
from emerge_ehr.datasets.wording import window
from emerge_ehr.fields import Component
from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.llm.client import Chat
from emerge_ehr.preprocess import texts
from emerge_ehr.preprocess.fitted import Fitted
from emerge_ehr.preprocess.inputs.tables import CheckedTables
from emerge_ehr.rag import linking
from emerge_ehr.rag import records as rag
from emerge_ehr.rag.entities.rules import Rules
from emerge_ehr.rag.faithfulness import faithfulness
from emerge_ehr.rag.ranking import connections, signal_phenotypes
from emerge_ehr.rag.recorder import PatientFacts
from emerge_ehr.rag.records_file import Record
from emerge_ehr.rag.treatments import given
from emerge_ehr.signals import abnormal
from emerge_ehr.signals import hourly as tensors
from emerge_ehr.signals.hourly import Statistics
from emerge_ehr.signals.signals import Signal

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FoundEvidence:
    """What the RAG half found for N patients: their notes joined, the rows of ``rag_records.csv``, and counts for metadata."""

    notes: list[str]
    records: pl.DataFrame
    counts: dict[str, Any]

    @property
    def summaries(self) -> list[str]:
        """The summaries' texts [N]."""
        return self.records["summary"].to_list()


@dataclass(frozen=True)
class NewEvidence:
    """What was found for N new patients: their notes joined, and their records."""

    notes: list[str]
    records: list[Record]

    @property
    def summaries(self) -> list[str]:
        """The summaries' texts [N]."""
        return [record.summary for record in self.records]


def graph(config: Config) -> KnowledgeGraph:
    """Build the knowledge graph that the config names.

    Raises:
        UserError: its files are missing or damaged.
    """
    knowledge_graph: KnowledgeGraph = components.build(
        "knowledge_graph", config.knowledge_graph, folder=config.kg_dir, cache_dir=config.paths.cache_dir
    )
    log.info("knowledge graph: %d diseases in %s", len(knowledge_graph.diseases()), config.kg_dir)
    return knowledge_graph


def tools(config: Config, task: Task, graph: KnowledgeGraph, chat: Chat | None, pool: Pool) -> rag.Tools:
    """Build the components of the RAG half that the config chooses.

    Raises:
        UserError: a component cannot be built.
    """
    return rag.Tools(
        graph,
        components.build("entities", config.entities, graph=graph, llm=chat, pool=pool),
        linking.build(graph, config.linking, config.seed, config.paths.cache_dir, pool),
        connections.build(graph, signal_phenotypes.read(_phenotypes(config))),
        components.build("retrieval", config.retrieval, graph=graph, seed=config.seed),
        components.build("summary", config.summary, question=task.question, window=window(config.cohort), llm=chat),
        pool,
    )


def _phenotypes(config: Config) -> Path:
    """The table of the phenotypes that signals show, for evidence and audit alike: retrieval's, if the config names one."""
    return Path(config.retrieval.options.get("phenotypes_file", signal_phenotypes.BUILT_IN))


def with_phenotypes(config: Config, chosen: rag.Tools, signals: tuple[Signal, ...]) -> rag.Tools:
    """The same tools, which know the phenotypes that these ``signals`` show, too."""
    if not any(signal.high_shows or signal.low_shows for signal in signals):
        return chosen
    return replace(chosen, connections=connections.build(chosen.graph, _shown(config, signals)))


def _shown(config: Config, signals: tuple[Signal, ...]) -> dict[tuple[str, str], list[str]]:
    """(signal, direction) -> the phenotypes that it shows, by the table of phenotypes and the list of signals."""
    shown = {key: list(names) for key, names in signal_phenotypes.read(_phenotypes(config)).items()}
    for signal in signals:
        for direction, names in (("high", signal.high_shows), ("low", signal.low_shows)):
            if names:
                known = shown.setdefault((signal.name, direction), [])
                known += [name for name in names if name not in known]
    return shown


def auditor(config: Config, task: Task, chosen: rag.Tools, signals: tuple[Signal, ...]) -> faithfulness.Auditor:
    """Build what checks summaries about these ``signals`` against the evidence."""
    default = Component("rules")
    same = config.entities == default  # building another takes seconds
    built = chosen.extractor if same else components.build("entities", default, graph=chosen.graph)
    dictionary = replace(cast(Rules, built), pool=LOCAL)  # it runs in the process that makes the records
    return faithfulness.build(
        chosen.graph, dictionary, signals, _shown(config, signals), task.question, window(config.cohort)
    )


def find(
    config: Config, chosen: rag.Tools, audit: faithfulness.Auditor, tables: CheckedTables, statistics: Statistics
) -> FoundEvidence:
    """Find the signals that are abnormal against the training patients' ``statistics``, and the evidence in notes and graph."""
    patients, treated = _facts(config, chosen, tables, statistics)
    notes = [patient.notes for patient in patients]
    records, counts = rag.records(patients, chosen, audit, tables.hourly, config.linking)
    return FoundEvidence(notes, records, {**counts, **treated})


def of_new(
    config: Config,
    chosen: rag.Tools,
    audit: faithfulness.Auditor | None,
    tables: CheckedTables,
    statistics: Statistics,
) -> NewEvidence:
    """As ``find``, for a few new patients; without ``audit`` their summaries are not audited."""
    patients, _ = _facts(config, chosen, tables, statistics)
    notes = [patient.notes for patient in patients]
    return NewEvidence(notes, rag.of_new(patients, chosen, audit, tables.hourly, config.linking))


def _facts(
    config: Config, chosen: rag.Tools, tables: CheckedTables, statistics: Statistics
) -> tuple[list[PatientFacts], dict[str, int]]:
    """What is known of each sample before retrieval, and counts of the treatments, if they are asked for."""
    signals = abnormal.find(tables.hourly, statistics, tables.signals, config.abnormal)
    names = tables.cohort["patient_id"].to_list()
    notes, starts = rag.joined_notes(tables.notes, names), rag.note_starts(tables.notes, names)
    persons = enumerate(tables.cohort.select("patient_id", "age", "sex").rows())
    treated = given.of_samples(tables.treatments, tables.cohort, chosen.graph) if asks_treatments(config) else None
    facts = [
        PatientFacts(n, patient, age, sex, notes[n], starts[n], signals[n], treated.given[n] if treated else ())
        for n, (patient, age, sex) in persons
    ]
    return facts, treated.counts if treated else {}


def arrays(tables: CheckedTables, fitted: Fitted, found: FoundEvidence | NewEvidence) -> dict[str, NDArray[Any]]:
    """The arrays of ``dataset.Dataset`` by name, except those of the texts' pieces."""
    ehr, mask = tensors.standardise(tables.hourly, fitted.statistics)
    return {
        "ehr": ehr,
        "ehr_mask": mask,
        "ehr_length": tables.hourly.length,
        "static": fitted.static(tables.cohort),
        **texts.whole("note", fitted.note, found.notes),
        **texts.whole("summary", fitted.summary, found.summaries),
        "label": tables.label,
        "label_mask": tables.label_mask,
        "patient_id": tables.cohort["patient_id"].to_numpy().astype(np.str_),
    }
