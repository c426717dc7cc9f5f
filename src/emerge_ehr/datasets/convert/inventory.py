"""What a source's folder holds and what it lacks, told before anything is converted: files with their columns, stays, records,
signals, notes, and the tasks for which they suffice. Nothing is written.

What is missing of one part does not hide what is missing of another.
"""

import gzip
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl

from emerge_ehr import components
from emerge_ehr.config import Config
from emerge_ehr.datasets import sources, wording
from emerge_ehr.datasets.convert import cohort, doubts, harmonise, row_table, told
from emerge_ehr.datasets.sources import Match, Source
from emerge_ehr.datasets.tasks import Task
from emerge_ehr.fields import Component, UserError
from emerge_ehr.storage import publishing

RECORDS = ("admissions", "diagnoses", "labels")
LONGEST = 65_536  # characters of a header that are looked at


def check(config: Config) -> None:
    """Print the inventory.

    Raises:
        UserError: the source or the config's own task lacks what they need.
    """
    source = sources.chosen(config)
    publishing.finish_interrupted(config.raw_dir)
    print(f"source '{config.source.name}' in {config.raw_dir}")
    lacking = _section("files", lambda: _files(source, config.raw_dir))
    found: list[pl.DataFrame] = []
    lacking += _section("stays", lambda: _stays(config, source, found))
    for kind in RECORDS:
        _section(kind, lambda kind=kind: _records(source, kind))  # type: ignore[misc]
    if found:
        lacking += _section("measurements", lambda: _measurements(config, source, found[0]))
        lacking += _section("notes", lambda: _notes(source, found[0]))
        if sources.asks_treatments(config):
            lacking += _section("treatments", lambda: _treatments(config, found[0]))
        lacking += _section(f"task {config.task.name} (of this config)", lambda: _labels(config.task, source, found[0]))
        # one that brings prediction times needs a definition, and at these times no stay's outcome is known
        others = [] if sources.bring_predictions(config) else components.names("task")
        for name in others:
            if name != config.task.name and not components.offers("task", Component(name), "predictions"):
                _section(f"task {name}", lambda name=name: _labels(Component(name), source, found[0]))  # type: ignore[misc]
    if lacking:
        raise UserError(
            f"{config.raw_dir}: --stage convert cannot run as configured; lacking: {', '.join(lacking)} (see above)"
        )
    print("\n--stage convert can run")


def _section(title: str, lines: Callable[[], Iterator[str]]) -> list[str]:
    """Print a part under its title. Returns the title if the source lacks something for it."""
    print(f"\n{title}")
    try:
        for line in lines():
            print(f"  {line}")
    except UserError as error:
        print(f"  lacking: {error}")
        return [title]
    except OSError as error:
        if error.filename is None:
            raise
        print(f"  lacking: {error.filename}: {error.strerror}")
        return [title]
    return []


def _files(source: Source, folder: Path) -> Iterator[str]:
    for path in source.inputs():
        name = path.relative_to(folder) if path.is_relative_to(folder) else path
        columns = _columns(path)
        yield f"{name}  {path.stat().st_size / 1e6:,.1f} MB" + (f"  {', '.join(columns)}" if columns else "")


def _columns(path: Path) -> list[str]:
    """The columns of a CSV or Parquet file; none for files of other kinds, or that cannot be read as such."""
    if path.suffix == ".parquet":
        try:
            return list(pl.read_parquet_schema(path))
        except (pl.exceptions.PolarsError, OSError):
            return []
    if path.name.removesuffix(".gz").endswith(".csv"):
        opened = gzip.open if path.suffix == ".gz" else open
        try:
            with opened(path, "rt", encoding="utf-8", errors="replace") as file:
                return [name.strip().strip('"') for name in file.readline(LONGEST).rstrip("\r\n").split(",")]
        except (OSError, EOFError):
            return []
    return []


def _stays(config: Config, source: Source, found: list[pl.DataFrame]) -> Iterator[str]:
    """Put the cohort, numbered, into ``found``."""
    candidates = source.stays()
    persons = candidates.table["subject_id"].n_unique()
    yield f"{candidates.table.height:,} stays of {persons:,} persons"
    yield from (f"{count:,} {reason}" for reason, count in candidates.counts.items() if count)
    yield from (f"warning: {warning}" for warning in candidates.warnings)
    known = cohort.known_sexes(candidates)
    task: Task = components.build("task", config.task)
    selected, flow = cohort.select(known.table, config.cohort, task.sample, one_calendar=source.one_calendar)
    yield from (f"- {step.dropped_stays:,} {step.reason}" for step in flow if step.dropped_stays)
    if not selected.height:
        raise UserError(f"no {wording.sample(config).short} is left by the rules of [cohort]")
    yield f"{selected.height:,} {wording.sample(config).word}s fit [cohort]"
    found.append(selected.with_row_index("n"))


def _records(source: Source, kind: str) -> Iterator[str]:
    rows = source.records(kind)  # type: ignore[arg-type]
    yield f"{rows.height:,} rows"


def _measurements(config: Config, source: Source, stays: pl.DataFrame) -> Iterator[str]:
    """The rows of each file and signal, of the whole file and in the cohort's windows."""
    match: Match = "stay_id" if config.cohort.anchor == "icu" else "hadm_id"
    with tempfile.TemporaryDirectory() as folder:
        events = told.marked(source.measurements(stays, match), stays, config.cohort.landmarks)
        measured = harmonise.write_dynamic(events, stays, source.signals(), Path(folder), config.tables.format)
    yield from row_table.lines(measured.flow)
    yield from (f"warning: {warning}" for warning in doubts.missing(source, measured))
    if not measured.patients.len():
        raise UserError(
            "no sample of the cohort has a measurement in its observation window; check [source], and that "
            "the measurements have the ids of the stays"
        )


def _notes(source: Source, stays: pl.DataFrame) -> Iterator[str]:
    notes = source.notes(stays)
    for kind, count in notes.table.group_by("note_type").len().sort("len", descending=True).rows():
        yield f"{count:,} of type {kind}"
    yield from (f"{count:,} {reason}" for reason, count in notes.counts.items() if count)
    yield from (f"warning: {warning}" for warning in notes.warnings)
    if not notes.table.height:
        yield "none"


def _treatments(config: Config, stays: pl.DataFrame) -> Iterator[str]:
    match: Match = "stay_id" if config.cohort.anchor == "icu" else "hadm_id"
    treatments = sources.treatments(config, config.raw_dir, stays, match)
    if treatments:
        for kind, count in treatments.table.group_by("kind").len().sort("kind").rows():
            yield f"{count:,} rows of kind {kind}"
        yield from (f"{count:,} {reason}" for reason, count in treatments.counts.items() if count)
        yield from (f"warning: {warning}" for warning in treatments.warnings)
    if treatments is None or treatments.table.is_empty():
        yield "none"


def _labels(chosen: Component, source: Source, stays: pl.DataFrame) -> Iterator[str]:
    task: Task = components.build("task", chosen)
    labels = task.labels(stays, source)
    early = cohort.known_in_window(labels.table, stays)
    left = labels.table.join(early, on=["patient_id", "label_code"], how="anti")
    counted = left.group_by("label_code").agg(pl.len(), pl.col("label_value").sum()).sort("label_code")
    if early.height:
        yield f"{early.height:,} outcomes known before the end of the observation window, left out"
    if not counted.height:
        raise UserError("no sample of the cohort has an outcome that is known after its observation window")
    for code, known, positive in counted.rows():
        yield f"{code}: known for {known:,}, of them {positive:,.0f} with the outcome"
        if positive in (0, known):
            yield f"warning: {code} is {positive / known:.0f} for all of them: no model can learn it"
    yield from (f"{len(ids):,} {reason}" for reason, ids in labels.undefined.items() if ids)
    yield from (f"warning: {warning}" for warning in labels.warnings)
