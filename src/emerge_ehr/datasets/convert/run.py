"""Stage convert: turns a source's raw records into OneEHR tables, and counts the cohort flow and everything that is dropped."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from emerge_ehr import components, decides
from emerge_ehr.config import Config
from emerge_ehr.datasets import sources, window, wording
from emerge_ehr.datasets.convert import cohort, doubts, harmonise, inventory, row_table, told
from emerge_ehr.datasets.convert.harmonise import Measured
from emerge_ehr.datasets.sources import Match, Notes, Source
from emerge_ehr.datasets.tasks import Task
from emerge_ehr.datasets.treatments import Treatments
from emerge_ehr.fields import UserError
from emerge_ehr.signals.signals import to_record
from emerge_ehr.storage import artefacts, publishing, schema, table_files

log = logging.getLogger(__name__)
SOCKETS = decides.keys(Config, "tables", among=components.SOCKETS)


@dataclasses.dataclass(frozen=True)
class SelectedCohort:
    """The cohort, a row per sample with its number ``n``; the labels; and the counts, cohort flow and warnings that led there.

    ``dated``: as in ``Extract``.
    """

    stays: pl.DataFrame
    labels: pl.DataFrame
    counts: Mapping[str, int]
    flow: Sequence[cohort.Step]
    warnings: Sequence[str]
    dated: Sequence[str]


def run(config: Config) -> None:
    """Writes ``dynamic, static, label, cohort, notes`` and ``provenance.json`` into ``config.table_dir``.

    Raises:
        UserError: raw files are missing or damaged, or no sample is left in the cohort.
    """
    source = sources.chosen(config)
    task: Task = components.build("task", config.task)
    _refuse_foreign(config.table_dir)
    publishing.finish_interrupted(config.raw_dir)
    inputs = artefacts.hashing(source.inputs())
    candidates = _sample(config, source, task)
    with publishing.publish(config.table_dir, _outdated(config)) as folder:
        sample, measured = _write_measurements(config, source, candidates, folder)
        notes = window.notes(source.notes(sample.stays), sample.stays)
        treatments = sources.treatments(config, config.raw_dir, sample.stays, _match(config))
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


def _refuse_foreign(folder: Path) -> None:
    """Refuse to convert into a folder that holds tables which convert did not write."""
    present = [path.relative_to(folder) for path in table_files.all_files(folder)]
    if present and not (folder / schema.PROVENANCE).is_file():
        raise UserError(
            f"{folder / present[0]}: not written by --stage convert (there is no {schema.PROVENANCE}), and would be replaced; "
            "start at --stage preprocess to use these tables, or set another paths.table_dir"
        )
    artefacts.require_writable(folder)


def _outdated(config: Config) -> list[str]:
    """The names of files of an earlier run that this run will not replace: measurements in the other format, or in more parts
    than it will write; treatments that the config no longer asks for."""
    names = [schema.DYNAMIC.parts, *([schema.DYNAMIC.file] if config.tables.format == "parquet" else [])]
    names += [] if sources.asks_treatments(config) else [schema.TREATMENTS.file]
    return [name for name in names if (config.table_dir / name).exists()]


def _sample(config: Config, source: Source, task: Task) -> SelectedCohort:
    """Apply the cohort's rules, then the task's: a sample needs an outcome that was not yet known at the end of the window."""
    candidates = source.stays()
    known = cohort.known_sexes(candidates)
    stays, flow = cohort.select(known.table, config.cohort, task.sample, one_calendar=source.one_calendar)
    cohort.refuse_impossible_ages(stays, config.raw_dir)
    labels = task.labels(stays, source)
    stays, steps = cohort.exclude_undefined(stays, labels.undefined)
    early = cohort.known_in_window(labels.table, stays)
    table = labels.table.join(early, on=["patient_id", "label_code"], how="anti")
    undefined = ~pl.col("patient_id").is_in(table["patient_id"].unique().to_list())
    stays, step = cohort.exclude(stays, undefined, "outcome known before the end of the observation window")
    flow = [*flow, *steps, step]
    if source.one_calendar:
        every = labels.table if labels.every is None else labels.every
        after = cohort.after_death(every, cohort.with_windows(known.table, config.cohort))
        stays, donors = cohort.exclude(stays, after, "after the person's death, by the labels")
        flow += [dataclasses.replace(donors, doubtful=True)] if donors.dropped_stays else []
        table = table.join(stays, on="patient_id", how="semi")
    _log_flow(flow, wording.candidate(config).word)
    if not stays.height:
        kind = wording.sample(config).short
        for warning in (*candidates.warnings, *labels.warnings, *doubts.excluded(flow)):  # they may say why
            log.warning("%s", warning)
        raise UserError(f"{config.raw_dir}: no {kind} is left in the cohort; see the cohort flow above and [cohort]")
    numbered = stays.with_row_index("n")
    warnings = [
        *known.warnings,
        *labels.warnings,
        *doubts.excluded(flow),
        *doubts.early_outcomes(early.join(stays, on="patient_id", how="semi")),
        *([] if sources.bring_predictions(config) else doubts.of_times(table, stays, config.cohort)),
    ]
    return SelectedCohort(numbered, table, known.counts, flow, warnings, known.dated)


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
    events = source.measurements(sample.stays, _match(config))
    timely = told.marked(events, sample.stays, config.cohort.landmarks)
    measured = harmonise.write_dynamic(timely, sample.stays, source.signals(), folder, config.tables.format)
    measured = dataclasses.replace(measured, told=any(map(told.has_told, events)))
    unmeasured = ~pl.col("patient_id").is_in(measured.patients.to_list())
    stays, step = cohort.exclude(sample.stays, unmeasured, "no measurement in window")
    word = wording.sample(config).word
    _log_flow([step], word)
    if not stays.height:
        for warning in doubts.lost(measured):  # they may say why
            log.warning("%s", warning)
        raise UserError(
            f"{config.raw_dir}: no {word} of the cohort has a measurement in its observation window; check [source], "
            "and that the measurements have the ids of the stays"
        )
    labels = sample.labels.join(stays, on="patient_id", how="semi").sort("patient_id", "label_code")
    return dataclasses.replace(sample, stays=stays, labels=labels, flow=[*sample.flow, step]), measured


def _match(config: Config) -> Match:
    return "stay_id" if config.cohort.anchor == "icu" else "hadm_id"


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
        if told := ", ".join(f"{count} {reason}" for reason, count in counts.items() if count):
            log.info("%s: %s", kind, told)
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
