"""Stage preprocess: makes tensors, RAG records, embeddings and the split out of OneEHR tables and the knowledge graph."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import polars as pl

from emerge_ehr import components, decides
from emerge_ehr.compute import pools
from emerge_ehr.compute.local import Local
from emerge_ehr.compute.work import Pool
from emerge_ehr.config import Config
from emerge_ehr.datasets.splits import fold_by_subject, split_by_file, split_by_subject
from emerge_ehr.datasets.tasks import Task
from emerge_ehr.datasets.wording import sample
from emerge_ehr.fields import UserError, plural
from emerge_ehr.graphs import KnowledgeGraph
from emerge_ehr.llm.client import Chat, connect
from emerge_ehr.preprocess import evidence, sparsity, tokens
from emerge_ehr.preprocess.fitted import STATIC_NAMES, encoders, fit
from emerge_ehr.preprocess.inputs import landmarks
from emerge_ehr.preprocess.inputs.tables import CheckedTables, patients, read
from emerge_ehr.rag import records_file
from emerge_ehr.signals import hourly as tensors
from emerge_ehr.signals.signals import to_record
from emerge_ehr.storage import artefacts, publishing, schema, table_files
from emerge_ehr.storage.dataset import write_dataset

log = logging.getLogger(__name__)
MadeOf = dict[str, dict[str, Any]]
SOCKETS = decides.keys(Config, "tables", "artefacts", among=components.SOCKETS)
# libraries whose versions may change the artefacts
LIBRARIES = ("numpy", "polars", "scikit-learn", "scipy", "ahocorasick-rs")


def run(config: Config) -> None:
    """Writes ``emerge_dataset.npz, metadata.json, split.json, rag_records.csv, patients.csv`` and ``fitted/`` into
    ``config.processed_dir`` and, with ``split.folds``, into a folder ``fold_<n>`` in it for each fold.

    Raises:
        UserError: tables or graph are missing or do not fit together.
    """
    folds = config.of_folds()
    for number, of_fold in enumerate(folds, 1):
        log.info("fold %d of %d: everything is fitted without its persons", number, len(folds))
        _run(of_fold, number)
    _run(config)
    publishing.remove_others(config.processed_dir, "fold_*", [of_fold.processed_dir for of_fold in folds])


def _run(config: Config, fold: int = 0) -> None:
    """Make the artefacts of a fold, or those of the run's own model."""
    artefacts.require_writable(config.processed_dir)
    publishing.finish_interrupted(config.table_dir)
    task: Task = components.build("task", config.task)
    chat = connect(config)
    graph = evidence.graph(config)
    inputs = cache(lambda: made_of(config, graph))  # hashed once, for the pool's finished work and for the metadata
    with pools.opened(config, inputs) as pool:
        made = _make(config, task, graph, chat, pool, inputs, fold)
    for warning in made.warnings:
        log.warning("%s", warning)
    log.info("preprocess: %s -> %s", made.told, config.processed_dir)


@dataclass(frozen=True)
class Made:
    """What is logged at the end: ``warnings``, and ``told``, the number of patients and the sizes of the splits."""

    warnings: list[str]
    told: str


def _make(
    config: Config,
    task: Task,
    graph: KnowledgeGraph,
    chat: Chat | None,
    pool: Pool,
    inputs: Callable[[], MadeOf],
    fold: int,
) -> Made:
    """Compute all artefacts, step by step, and publish them."""
    unfitted = encoders(config, pool)
    tools = evidence.tools(config, task, graph, chat, pool)
    tables, split = tables_and_split(config, task, fold)
    tools = evidence.with_phenotypes(config, tools, tables.signals)
    training = tables.cohort["patient_id"].is_in(split["train"]).to_numpy()

    statistics = tensors.fit(tables.hourly.value[training])
    gathered = evidence.find(config, tools, evidence.auditor(config, task, tools, tables.signals), tables, statistics)
    log.info("rag: %s", ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in gathered.counts.items()))

    fitted = fit(statistics, unfitted, tables.cohort, gathered.notes, gathered.summaries, training)
    note_pieces = tokens.pieces(fitted.note, gathered.notes, config.token_level.note_chunks)
    summary_pieces = tokens.pieces(fitted.summary, gathered.summaries, config.token_level.summary_chunks)
    arrays = {
        **evidence.arrays(tables, fitted, gathered),
        "note_tokens_mask": tokens.mask(note_pieces),
        "summary_tokens_mask": tokens.mask(summary_pieces),
    }
    metadata = {
        **_provenance(config, tables, inputs()),
        **_features(tables, statistics),
        "static": STATIC_NAMES,
        "encoders": {"note": fitted.note.description(), "summary": fitted.summary.description()},
        "similarity": tools.linker.similarity.description(),
        "rag": gathered.counts,
        **({"llm": chat.metadata()} if chat else {}),
    }
    with publishing.publish(config.processed_dir) as folder:
        write_dataset(folder / schema.DATASET, arrays)
        tokens.write(folder / schema.NOTE_TOKENS, fitted.note, note_pieces)
        tokens.write(folder / schema.SUMMARY_TOKENS, fitted.summary, summary_pieces)
        records_file.write(gathered.records, folder)
        table_files.write_table(patients(tables.cohort), folder / schema.PATIENTS.file)
        artefacts.write_json(
            folder / schema.SPLIT, {**split, "left_out": _left_out(tables, split), **_rule(config, fold)}
        )
        fitted.save(folder / schema.FITTED)
        artefacts.write_json(folder / schema.METADATA, {**metadata, "artefacts": artefacts.checksums(folder)})
    sizes = ", ".join(f"{part} {len(ids)}" for part, ids in split.items())
    return Made(tables.warnings, f"{plural(len(gathered.notes), 'patient')} ({sizes})")


def estimate(config: Config) -> None:
    """``--dry-run``: prints how many requests to the language model a run would send and what they would cost; sends none.

    Requests for summaries depend on the entities in the notes. Where the model has not answered yet, the rules find these.
    Nothing is written.

    Raises:
        UserError: as ``run``; or no backend is a language model.
    """
    task: Task = components.build("task", config.task)
    chat = connect(config, dry=True)
    if chat is None:
        raise UserError("--dry-run: nothing would be sent; [llm] entity_backend and summary_backend choose a model")
    publishing.finish_interrupted(config.table_dir)
    tools = evidence.tools(config, task, evidence.graph(config), chat, Local(config.compute.workers))
    for fold in range(config.split.folds + 1):  # each has signals that are abnormal by statistics of its own
        tables, split = tables_and_split(config, task, fold)
        tools = evidence.with_phenotypes(config, tools, tables.signals)
        training = tables.cohort["patient_id"].is_in(split["train"]).to_numpy()
        auditor = evidence.auditor(config, task, tools, tables.signals)
        evidence.find(config, tools, auditor, tables, tensors.fit(tables.hourly.value[training]))
    print(*chat.estimate(), sep="\n")


def tables_and_split(config: Config, task: Task, fold: int = 0) -> tuple[CheckedTables, dict[str, list[str]]]:
    """Read the tables and split the stays, make a sample of each landmark of a stay, then remove what ``config.sparsity`` names.

    ``fold``: from 1, with ``split.folds``; 0 for the run's own model.
    """
    tables = read(config.table_dir, config, task)
    split = _split(config, tables.cohort, fold)
    if config.cohort.landmarks:
        tables, split = landmarks.expand(tables, split, config.cohort.landmarks, task.timing)
    return sparsity.thin(tables, split, config.sparsity, config.seed)


def made_of(config: Config, graph: KnowledgeGraph) -> MadeOf:
    """What the artefacts are made of: the SHA-256 of the tables, of the graph's files and of the files that options name; the
    versions of libraries; and the record of plugs from other packages."""
    files = [*table_files.all_files(config.table_dir), *graph.inputs(), *components.files(config, SOCKETS)]
    files += [config.split.file] if config.split.file else []
    return {
        "inputs": artefacts.hashes(files, graph.inputs()),
        "versions": artefacts.versions(LIBRARIES),
        **components.record(config, SOCKETS),
    }


def _split(config: Config, cohort: pl.DataFrame, fold: int) -> dict[str, list[str]]:
    if config.split.file is not None:
        return split_by_file(cohort, config.split.file)
    rng = np.random.default_rng(config.seed)
    folds, persons = config.split.folds, cohort["subject_id"].n_unique()
    if folds > persons:
        raise UserError(
            f"{config.table_dir / schema.COHORT.file}: there are only {plural(persons, 'person')}; set fewer split.folds "
            f"than {folds}"
        )
    split = fold_by_subject(cohort, config.split, fold, rng) if folds else split_by_subject(cohort, config.split, rng)
    for part, ids in split.items():
        if not ids and not (part == "test" and folds and not fold):
            raise UserError(
                f"{config.table_dir / schema.COHORT.file}: too few persons ({persons}, {cohort.height} {sample(config).word}s): "
                f"the {part} split is empty; bring more, or set other shares in [split]"
            )
    return split


def _left_out(tables: CheckedTables, split: dict[str, list[str]]) -> list[str]:
    """The patients in no split: those whom ``[sparsity]`` removed from training."""
    named = {patient for part in split.values() for patient in part}
    return [patient for patient in tables.cohort["patient_id"] if patient not in named]


def _rule(config: Config, fold: int) -> dict[str, Any]:
    """The record of how the split was made, for ``split.json``."""
    if config.split.file is not None:
        return {"file": config.split.file.name, "group": "subject_id"}
    ratios = {"train": config.split.train, "val": config.split.validation}
    folds = {"folds": config.split.folds, **({"fold": fold} if fold else {})} if config.split.folds else {}
    return {"seed": config.seed, "ratios": ratios, "group": "subject_id", **folds}


def _features(tables: CheckedTables, statistics: tensors.Statistics) -> dict[str, Any]:
    """Names, units and training statistics of the features, and the labels' names."""
    counted = zip(tables.signals, statistics.count, strict=True)
    return {
        "label_names": tables.label_names,
        "features": [to_record(signal) for signal in tables.signals],
        "never_measured_in_training": [signal.name for signal, hours in counted if not hours],
        "statistics": {
            "mean": statistics.mean.tolist(),
            "std": statistics.std.tolist(),
            "hours": statistics.count.tolist(),
        },
    }


def _provenance(config: Config, tables: CheckedTables, inputs: MadeOf) -> dict[str, Any]:
    """Where the artefacts come from: settings, inputs, versions, and the cohort flow and warnings of ``convert``."""
    settings = decides.compared(config, "tables", "artefacts")
    return {
        "format": schema.ARTEFACTS_FORMAT,
        "dataset": config.dataset,
        "task": config.task.name,
        "seed": config.seed,
        # [llm] is recorded with the model's answers
        "settings": {section: values for section, values in settings.items() if section != "llm"},
        "cohort_flow": tables.provenance.get("cohort_flow"),
        "rows": {kind: tables.provenance.get(kind) for kind in ("stays", "measurements", "notes")},
        "dated": tables.provenance.get("dated", []),
        "warnings": tables.warnings,
        **inputs,
    }
