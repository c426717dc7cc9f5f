"""Stage convert: turns a source's raw records into OneEHR tables, and counts the cohort flow and everything that is dropped."""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from emerge_ehr import components, decides
from emerge_ehr.config import Config
from emerge_ehr.datasets import sources, window, wording
from emerge_ehr.datasets.convert import cohort, doubts, inventory, row_table, steps, told
from emerge_ehr.datasets.convert.harmonise import Measured
from emerge_ehr.datasets.convert.steps import SelectedCohort
from emerge_ehr.datasets.sources import Notes, Source
from emerge_ehr.datasets.tasks import Task
from emerge_ehr.datasets.treatments import Treatments
from emerge_ehr.signals.signals import to_record
from emerge_ehr.storage import artefacts, publishing, schema, table_files

log = logging.getLogger(__name__)
SOCKETS = decides.keys(Config, "tables", among=components.SOCKETS)


def run(config: Config) -> None:
    """Writes ``dynamic, static, label, cohort, notes`` and ``provenance.json`` into ``config.table_dir``.

    Raises:
        UserError: raw files are missing or damaged, or no sample is left in the cohort.
    """
    source = sources.chosen(config)
    task: Task = components.build("task", config.task)
    steps.refuse_foreign(config.table_dir)
    publishing.finish_interrupted(config.raw_dir)
    inputs = artefacts.hashing(source.inputs())
    candidates = _sample(config, source, task)
    with publishing.publish(config.table_dir, _outdated(config)) as folder:
        sample, measured = _write_measurements(config, source, candidates, folder)
        notes = window.notes(source.notes(sample.stays), sample.stays)
        treatments = sources.treatments(config, config.raw_dir, sample.stays, steps.match(config))
        warnings = [
            *sample.warnings,
            *doubts.missing(source, measured),
            *doubts.lost(measured),
            *notes.warnings,
            *doubts.of_notes(task, notes),
            *(treatments.warnings if treatments else sources.ignored_treatments(config, config.raw_dir)),
        ]
        _write_others(sample, notes, treatments, folder)
        record = {
            **_record(config, source, sample, measured, notes),
            **({"treatments": _counted(treatments)} if treatments else {}),
            **({told.RECORDED: list(config.cohort.landmarks)} if measured.told else {}),
            "warnings": warnings,
            "inputs": inputs(),
            "inputs_open": sources.all_open(source, inputs().values()),
            **components.record(config, SOCKETS),
            "tables": {
                path.relative_to(folder).as_posix(): artefacts.checksum(path) for path in table_files.all_files(folder)
            },
        }
        artefacts.write_json(folder / schema.PROVENANCE, record)
    for warning in warnings:
        log.warning("%s", warning)
    _log_result(config, sample, measured, notes, treatments)


def check(config: Config) -> None:
    """Print what the source has and lacks; see ``inventory``."""
    inventory.check(config)


def _outdated(config: Config) -> list[str]:
    """The names of files of an earlier run that this run will not replace: measurements in the other format, or in more parts
    than it will write; treatments that the config no longer asks for."""
    names = [schema.DYNAMIC.parts, *([schema.DYNAMIC.file] if config.tables.format == "parquet" else [])]
    names += [] if sources.asks_treatments(config) else [schema.TREATMENTS.file]
    return [name for name in names if (config.table_dir / name).exists()]


def _sample(config: Config, source: Source, task: Task) -> SelectedCohort:
    """Apply the cohort's rules, then the task's.

    Raises:
        UserError: nobody is left.
    """
    candidates = steps.candidates(config, source, task, source.stays())
    sample = steps.with_outcomes(config, source, candidates, task.labels(candidates.stays, source))
    _log_flow(sample.flow, wording.candidate(config).word)
    if not sample.stays.height:
        for warning in sample.warnings:  # they may say why
            log.warning("%s", warning)
    steps.refuse_empty(config, sample)
    return sample


def _log_flow(flow: Sequence[cohort.Step], word: str) -> None:
    for line in flow:
        log.info(
            "cohort: %6d %ss, %6d persons  (-%d) %s",
            line.stays,
            word,
            line.patients,
            line.dropped_stays,
            line.reason,
        )


def _write_measurements(
    config: Config, source: Source, sample: SelectedCohort, folder: Path
) -> tuple[SelectedCohort, Measured]:
    """Write ``dynamic``; returns the samples that have a measurement, and what was measured.

    Raises:
        UserError: no sample has a measurement.
    """
    measured = steps.measure(config, source, sample.stays, folder)
    left = steps.with_measurements(sample, measured)
    _log_flow(left.flow[-1:], wording.sample(config).word)
    if measured.patients.is_empty():
        for warning in doubts.lost(measured):  # they may say why
            log.warning("%s", warning)
    steps.refuse_unmeasured(config, measured)
    return left, measured


def _counted(treatments: Treatments) -> dict[str, Any]:
    """The record of the treatments in ``provenance.json``."""
    return {"rows": treatments.table.height, "counts": dict(treatments.counts)}


def _write_others(sample: SelectedCohort, notes: Notes, treatments: Treatments | None, folder: Path) -> None:
    """Write ``static, label, cohort``, ``notes`` and, if there are any, ``treatments``."""
    stays = sample.stays
    static = [
        name for name in ("patient_id", "age", "sex", "ethnicity", "icu_type", schema.SITE) if name in stays.columns
    ]
    table_files.write_table(stays.select(static), folder / schema.STATIC.file)
    table_files.write_table(sample.labels, folder / schema.LABEL.file)
    table_files.write_table(
        stays.select([column.name for column in schema.COHORT.columns]), folder / schema.COHORT.file
    )
    table_files.write_table(notes.table, folder / schema.NOTES.file)
    if treatments:
        table_files.write_table(treatments.table, folder / schema.TREATMENTS.file)


def _record(config: Config, source: Source, sample: SelectedCohort, measured: Measured, notes: Notes) -> dict[str, Any]:
    """The record in ``provenance.json`` of how the tables were made."""
    return {
        "format": schema.TABLES_FORMAT,
        "dataset": config.dataset,
        **decides.compared(config, "tables"),
        "cohort_flow": [dataclasses.asdict(step) for step in sample.flow],
        "signals": [to_record(signal) for signal in source.signals()],
        "measurements": {
            "rows": dict(measured.rows.rows()),
            "dropped or repaired": measured.counts,
            "flow": [dataclasses.asdict(row) for row in measured.flow],
        },
        "stays": dict(sample.counts),
        "dated": list(sample.dated),
        "notes": {"rows": notes.table.height, "counts": dict(notes.counts)},
    }


def _log_result(
    config: Config, sample: SelectedCohort, measured: Measured, notes: Notes, treatments: Treatments | None
) -> None:
    for line in row_table.lines(measured.flow):
        log.info("rows: %s", line)
    counted = {"stays": sample.counts, "notes": notes.counts}
    if treatments:
        counted["treatments"] = {"kept": treatments.table.height, **treatments.counts}
    for kind, counts in counted.items():
        if in_words := "; ".join(f"{reason}: {count}" for reason, count in counts.items() if count):
            log.info("%s: %s", kind, in_words)
    positive = sample.labels.group_by("label_code").agg(pl.col("label_value").sum()).sort("label_code").rows()
    shown = ", ".join(f"{n:g} {code}" for code, n in positive[:4]) + (", ..." if len(positive) > 4 else "")
    log.info(
        "convert: %d %ss (%s), %d measurements, %d notes -> %s",
        sample.stays.height,
        wording.sample(config).word,
        shown,
        measured.rows["len"].sum(),
        notes.table.height,
        config.table_dir,
    )
