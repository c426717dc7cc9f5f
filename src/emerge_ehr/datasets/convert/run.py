"""Stage convert: turns a source's raw records into OneEHR tables, and counts the cohort flow and everything that is dropped."""

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from emerge_ehr import components, decides
from emerge_ehr.config import Cohort, Config
from emerge_ehr.datasets import sources, window, wording
from emerge_ehr.datasets.convert import cohort, harmonise
from emerge_ehr.datasets.sources import Extract, Match, Notes, Source
from emerge_ehr.datasets.tasks import Task
from emerge_ehr.fields import UserError
from emerge_ehr.signals.signals import to_record
from emerge_ehr.storage import artefacts, publishing, schema, table_files

log = logging.getLogger(__name__)
SOCKETS = decides.keys(Config, "tables", among=components.SOCKETS)
LONGEST_STAY = 730  # days from the first admission to the last discharge; longer ones give rise to a warning
CODED_NOTES = ("surrogate", "diagnosis")  # note types that are made from diagnosis codes


@dataclasses.dataclass(frozen=True)
class SelectedCohort:
    """The cohort, a row per sample with its number ``n``; the labels; and the counts, cohort flow and warnings that led there."""

    stays: pl.DataFrame
    labels: pl.DataFrame
    counts: Mapping[str, int]
    flow: Sequence[cohort.Step]
    warnings: Sequence[str]


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
        sample, rows = _write_measurements(config, source, candidates, folder)
        notes = window.notes(source.notes(sample.stays), sample.stays)
        warnings = [*sample.warnings, *_missing(source, rows), *notes.warnings, *_doubts(task, notes)]
        _write_others(sample, notes, folder)
        record = {
            **_record(config, source, sample, rows, notes),
            "warnings": warnings,
            "inputs": inputs(),
            **components.record(config, SOCKETS),
            "tables": {
                path.relative_to(folder).as_posix(): artefacts.checksum(path) for path in table_files.all_files(folder)
            },
        }
        artefacts.write_json(folder / schema.PROVENANCE, record)
    for warning in warnings:
        log.warning("%s", warning)
    _log_result(config, sample, rows, notes)


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
    """The names of measurement files of an earlier run: in the other format, or in more parts than this run will write."""
    names = [schema.DYNAMIC.parts, *([schema.DYNAMIC.file] if config.tables.format == "parquet" else [])]
    return [name for name in names if (config.table_dir / name).exists()]


def _sample(config: Config, source: Source, task: Task) -> SelectedCohort:
    """Apply the cohort's rules, then the task's: a sample needs an outcome that was not yet known at the end of the window."""
    candidates = source.stays()
    table, counts = _known_sexes(candidates.table, candidates.counts)
    stays, flow = cohort.select(table, config.cohort, task.sample)
    _refuse_impossible_ages(stays, config.raw_dir)
    labels = task.labels(stays, source)
    stays, steps = cohort.exclude_undefined(stays, labels.undefined)
    early = cohort.known_in_window(labels.table, stays)
    table = labels.table.join(early, on=["patient_id", "label_code"], how="anti")
    known = ~pl.col("patient_id").is_in(table["patient_id"].unique().to_list())
    stays, step = cohort.exclude(stays, known, "outcome known before the end of the observation window")
    flow = [*flow, *steps, step]
    _log_flow(flow, wording.candidate(config).word)
    if not stays.height:
        kind = wording.sample(config).short
        raise UserError(f"{config.raw_dir}: no {kind} is left in the cohort; see the cohort flow above and [cohort]")
    numbered = stays.with_row_index("n")
    warnings = [
        *candidates.warnings,
        *labels.warnings,
        *_strange_times(stays),
        *_late_windows(table, stays, config.cohort),
    ]
    return SelectedCohort(numbered, table, counts, flow, warnings)


def _known_sexes(stays: pl.DataFrame, counts: Mapping[str, int]) -> tuple[pl.DataFrame, Mapping[str, int]]:
    """Replace sexes other than F and M by null, and count them."""
    other = pl.col("sex").is_not_null() & ~pl.col("sex").is_in(["F", "M"])
    count = stays.filter(other).height
    known = stays.with_columns(pl.when(~other).then(pl.col("sex")).alias("sex"))
    return known, {**counts, **({"stays whose sex is neither F nor M, taken as unknown": count} if count else {})}


def _refuse_impossible_ages(stays: pl.DataFrame, raw_dir: Path) -> None:
    """Check the ages against the range of ``static.csv``.

    Raises:
        UserError: a person is too old.
    """
    oldest = next(column.high for column in schema.STATIC.columns if column.name == "age")
    wrong = stays.filter(pl.col("age") > oldest)
    if wrong.height:
        stay, age = wrong.select("stay_id", "age").row(0)
        raise UserError(
            f"{raw_dir}: stay_id {stay} has an age of {age:g} years, which is outside 0-{oldest:g}; mend the age, or "
            f"the years it is computed from, in {wrong.height} such stays"
        )


def _strange_times(stays: pl.DataFrame) -> Iterator[str]:
    """Warnings of discharge times that are missing, and of stays that are too long to be true."""
    ends = pl.max_horizontal("outtime", "dischtime") - pl.min_horizontal("intime", "admittime")
    if count := stays.filter(ends > pl.duration(days=LONGEST_STAY)).height:
        yield f"{count} stays last longer than {LONGEST_STAY} days: are their times right?"
    if count := stays["dischtime"].null_count():
        yield f"{count} stays have no time of discharge from the hospital: that from the ICU stands for it"


def _late_windows(labels: pl.DataFrame, stays: pl.DataFrame, rule: Cohort) -> list[str]:
    """A warning where many outcomes were known within an hour of the window's end, so that they are hardly predicted."""
    timed = labels.join(stays.select("patient_id", "window_end"), on="patient_id")
    close = timed.filter(pl.col("label_time") - pl.col("window_end") < pl.duration(hours=1)).height
    if close < 0.1 * labels.height:
        return []
    return [
        f"{close} of {labels.height} outcomes were known within an hour of the end of their observation window "
        f"(cohort.window = '{rule.window}'): scores describe the past rather than predict"
    ]


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
) -> tuple[SelectedCohort, Extract]:
    """Write ``dynamic``; returns the samples that have a measurement, and the number of rows per code.

    Raises:
        UserError: no sample has a measurement.
    """
    match: Match = "stay_id" if config.cohort.anchor == "icu" else "hadm_id"
    measured, rows = harmonise.write_dynamic(
        source.measurements(sample.stays, match), sample.stays, source.signals(), folder, config.tables.format
    )
    unmeasured = ~pl.col("patient_id").is_in(measured.to_list())
    stays, step = cohort.exclude(sample.stays, unmeasured, "no measurement in window")
    word = wording.sample(config).word
    _log_flow([step], word)
    if not stays.height:
        raise UserError(
            f"{config.raw_dir}: no {word} of the cohort has a measurement in its observation window; check [source]"
        )
    labels = sample.labels.join(stays, on="patient_id", how="semi").sort("patient_id", "label_code")
    return dataclasses.replace(sample, stays=stays, labels=labels, flow=[*sample.flow, step]), rows


def _missing(source: Source, rows: Extract) -> Iterator[str]:
    """A warning of signals that no sample has."""
    absent = sorted({signal.name for signal in source.signals()} - set(rows.table["code"]))
    if absent:
        yield f"no sample has a measurement of {', '.join(absent)}"


def _doubts(task: Task, notes: Notes) -> Iterator[str]:
    """Warnings of notes that are missing, or that give the labels away."""
    if notes.table.is_empty():
        yield "there are no notes: that modality is empty and masked"
    if task.from_codes and notes.table["note_type"].is_in(CODED_NOTES).any():
        yield "the notes name the codes that the labels are made of: scores with them mean nothing"


def _write_others(sample: SelectedCohort, notes: Notes, folder: Path) -> None:
    """Write ``static, label, cohort`` and ``notes``."""
    stays = sample.stays
    static = [name for name in ("patient_id", "age", "sex", "ethnicity", "icu_type") if name in stays.columns]
    table_files.write_table(stays.select(static), folder / schema.STATIC.file)
    table_files.write_table(sample.labels, folder / schema.LABEL.file)
    table_files.write_table(
        stays.select([column.name for column in schema.COHORT.columns]), folder / schema.COHORT.file
    )
    table_files.write_table(notes.table, folder / schema.NOTES.file)


def _record(config: Config, source: Source, sample: SelectedCohort, rows: Extract, notes: Notes) -> dict[str, Any]:
    """The record in ``provenance.json`` of how the tables were made."""
    return {
        "format": schema.TABLES_FORMAT,
        "dataset": config.dataset,
        **decides.compared(config, "tables"),
        "cohort_flow": [dataclasses.asdict(step) for step in sample.flow],
        "signals": [to_record(signal) for signal in source.signals()],
        "measurements": {"rows": dict(rows.table.rows()), "dropped or repaired": dict(rows.counts)},
        "stays": dict(sample.counts),
        "notes": {"rows": notes.table.height, "counts": dict(notes.counts)},
    }


def _log_result(config: Config, sample: SelectedCohort, rows: Extract, notes: Notes) -> None:
    counted = {**sample.counts, **rows.counts, **notes.counts}
    dropped = ", ".join(f"{count} {reason}" for reason, count in counted.items() if count)
    log.info("counted: %s", dropped or "nothing dropped or repaired")
    positive = sample.labels.group_by("label_code").agg(pl.col("label_value").sum()).sort("label_code").rows()
    shown = ", ".join(f"{n:g} {code}" for code, n in positive[:4]) + (", ..." if len(positive) > 4 else "")
    log.info(
        "convert: %d %ss (%s), %d measurements, %d notes -> %s",
        sample.stays.height,
        wording.sample(config).word,
        shown,
        rows.table["len"].sum(),
        notes.table.height,
        config.table_dir,
    )
