"""What a source's folder holds and what it lacks, told before anything is converted: files with their columns, stays, records,
signals, notes, and the tasks for which they suffice. Nothing is written.

What is missing of one part does not hide what is missing of another.
"""

import gzip
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from emerge_ehr import components
from emerge_ehr.config import Config
from emerge_ehr.datasets import sources, window, wording
from emerge_ehr.datasets.convert import cohort, doubts, row_table, steps
from emerge_ehr.datasets.convert.steps import Candidates, SelectedCohort
from emerge_ehr.datasets.sources import Source
from emerge_ehr.datasets.tasks import Labels, Task
from emerge_ehr.fields import Component, UserError, listed, plural
from emerge_ehr.storage import publishing

RECORDS = ("admissions", "diagnoses", "labels")
LONGEST = 65_536  # characters of a header that are looked at


@dataclass
class Examined:
    """What is known so far of the cohort: ``candidates`` by its rules alone, then the ``sample`` of those with an outcome and, in
    the end, with a measurement."""

    candidates: Candidates | None = None
    sample: SelectedCohort | None = None

    @property
    def stays(self) -> pl.DataFrame:
        """The samples whose measurements, notes and treatments are looked at."""
        if self.sample is not None and self.sample.stays.height:
            return self.sample.stays
        return self.candidates.stays.with_row_index("n") if self.candidates else pl.DataFrame()


def check(config: Config) -> None:
    """Print the inventory.

    Raises:
        UserError: the source or the config's own task lacks what they need.
    """
    source, task = sources.chosen(config), components.build("task", config.task)
    publishing.finish_interrupted(config.raw_dir)
    print(f"source '{config.source.name}' in {config.raw_dir}")
    lacking: dict[str, list[str]] = {}  # what -> the parts that it is lacking for
    examined = Examined()

    def section(title: str, lines: Callable[[], Iterator[str]]) -> None:
        print(f"\n{title}")
        if error := _print(lines):
            print(f"  lacking: {error}")
            lacking.setdefault(error.replace(f"{config.raw_dir}/", ""), []).append(title)

    section("files", lambda: _files(source, config))
    section("stays", lambda: _stays(config, source, task, examined))
    print("\nother records")
    for kind in RECORDS:
        if error := _print(lambda kind=kind: _records(source, kind)):  # type: ignore[misc]
            print(f"  {kind}: no task can use them: {_without_advice(error)}")
    if examined.candidates:
        section(f"task {config.task.name} (of this config)", lambda: _own_task(config, source, task, examined))
        section("measurements", lambda: _measurements(config, source, examined))
        section("notes", lambda: _notes(source, task, examined.stays))
        if sources.asks_treatments(config):
            section("treatments", lambda: _treatments(config, examined.stays))
        # one that brings prediction times needs a definition, and at these times no stay's outcome is known
        others = [] if sources.bring_predictions(config) else components.names("task")
        print("\nother tasks, which this config does not ask for")
        for name in others:
            if name != config.task.name and not components.offers("task", Component(name), "predictions"):
                _print_other(name, source, examined.candidates.stays)
    if lacking:
        told = "; ".join(f"{listed(parts)}: {error}" for error, parts in lacking.items())
        raise UserError(f"{config.raw_dir}: --stage convert cannot run as configured; lacking for {told}")
    print("\n--stage convert can run")


def _print(lines: Callable[[], Iterator[str]]) -> str:
    """Print the lines of a part. Returns what they say that the source lacks; nothing if it lacks nothing."""
    try:
        for line in lines():
            print(f"  {line}")
    except UserError as error:
        return str(error)
    except OSError as error:
        if error.filename is None:
            raise
        return f"{error.filename}: {error.strerror}"
    return ""


def _print_other(name: str, source: Source, stays: pl.DataFrame) -> None:
    """Print whether the source would do for a task that nobody asked for: no warnings, since nothing depends on it."""

    def lines() -> Iterator[str]:
        told = list(_outcomes(components.build("task", Component(name)).labels(stays, source), stays))
        yield from (f"{name}: {line.removeprefix('warning: ')}" for line in told)

    if error := _print(lines):
        print(f"  {name}: not possible here: {_without_advice(error)}")


def _without_advice(error: str) -> str:
    """What is lacking, without the task that is to be chosen instead: nobody asked for this one.

    >>> _without_advice("[source] name = 'tables' has no diagnoses; choose [task] name = 'given', which needs none")
    "[source] name = 'tables' has no diagnoses"
    """
    return error.partition("; choose ")[0]


def _many(count: int, noun: str) -> str:
    """As ``fields.plural``, with commas between thousands."""
    return f"{count:,} {plural(count, noun).partition(' ')[2]}"


def _counts(counts: Mapping[str, int]) -> Iterator[str]:
    yield from (f"{reason}: {count:,}" for reason, count in counts.items() if count)


def _files(source: Source, config: Config) -> Iterator[str]:
    folder = config.raw_dir
    for path in source.inputs():
        name = path.relative_to(folder) if path.is_relative_to(folder) else path
        columns = _columns(path)
        yield f"{name}  {path.stat().st_size / 1e6:,.1f} MB" + (f"  {', '.join(columns)}" if columns else "")
    yield from (f"warning: {warning}" for warning in sources.ignored_treatments(config, folder))
    steps.refuse_foreign(config.table_dir)


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


def _stays(config: Config, source: Source, task: Task, examined: Examined) -> Iterator[str]:
    given = source.stays()
    persons = given.table["subject_id"].n_unique()
    yield f"{_many(given.table.height, 'stay')} of {_many(persons, 'person')}"
    yield from _counts(given.counts)
    yield from (f"warning: {warning}" for warning in given.warnings)
    found = steps.candidates(config, source, task, given)
    yield from _dropped(found.flow)
    if not found.stays.height:
        raise UserError(f"no {wording.sample(config).short} is left by the rules of [cohort]")
    yield f"{_many(found.stays.height, wording.sample(config).word)} fit{'s' * (found.stays.height == 1)} [cohort]"
    examined.candidates = found


def _dropped(flow: Sequence[cohort.Step]) -> Iterator[str]:
    yield from (f"- {step.reason}: {step.dropped_stays:,}" for step in flow if step.dropped_stays)


def _records(source: Source, kind: str) -> Iterator[str]:
    rows = source.records(kind)  # type: ignore[arg-type]
    yield f"{kind}: {_many(rows.height, 'row')}"


def _own_task(config: Config, source: Source, task: Task, examined: Examined) -> Iterator[str]:
    """The outcomes of the config's own task, and who is left out because of them."""
    if (candidates := examined.candidates) is None:
        return
    labels = task.labels(candidates.stays, source)
    yield from _outcomes(labels, candidates.stays)
    examined.sample = steps.with_outcomes(config, source, candidates, labels)
    yield from _dropped(examined.sample.flow[len(candidates.flow) :])
    told = {*candidates.extract.warnings, *labels.warnings}
    yield from (f"warning: {warning}" for warning in examined.sample.warnings if warning not in told)
    steps.refuse_empty(config, examined.sample)


def _measurements(config: Config, source: Source, examined: Examined) -> Iterator[str]:
    """The rows of each file and signal, of the whole file and in the cohort's windows."""
    with tempfile.TemporaryDirectory() as folder:
        measured = steps.measure(config, source, examined.stays, Path(folder))
    yield from row_table.lines(measured.flow)
    yield from (f"warning: {warning}" for warning in (*doubts.missing(source, measured), *doubts.lost(measured)))
    steps.refuse_unmeasured(config, measured)
    if examined.sample is not None:
        examined.sample = steps.with_measurements(examined.sample, measured)
        yield from _dropped(examined.sample.flow[-1:])


def _notes(source: Source, task: Task, stays: pl.DataFrame) -> Iterator[str]:
    notes = window.notes(source.notes(stays), stays)
    for kind, count in notes.table.group_by("note_type").len().sort("len", descending=True).rows():
        yield f"of type {kind}: {count:,}"
    yield from _counts(notes.counts)
    yield from (f"warning: {warning}" for warning in notes.warnings)
    if notes.table.height:
        yield from (f"warning: {warning}" for warning in doubts.of_notes(task, notes))
    else:
        yield "none: that modality is empty and masked"


def _treatments(config: Config, stays: pl.DataFrame) -> Iterator[str]:
    treatments = sources.treatments(config, config.raw_dir, stays, steps.match(config))
    if treatments is None:
        return
    for kind, count in treatments.table.group_by("kind").len().sort("kind").rows():
        yield f"rows of kind {kind}: {count:,}"
    yield from _counts(treatments.counts)
    yield from (f"warning: {warning}" for warning in treatments.warnings)
    if treatments.table.is_empty():
        yield "none"


def _outcomes(labels: Labels, stays: pl.DataFrame) -> Iterator[str]:
    """The outcomes of the samples.

    Raises:
        UserError: none is known after its window.
    """
    early = cohort.known_in_window(labels.table, stays)
    left = labels.table.join(early, on=["patient_id", "label_code"], how="anti")
    counted = left.group_by("label_code").agg(pl.len(), pl.col("label_value").sum()).sort("label_code")
    if early.height:
        yield f"outcomes known before the end of the observation window, left out: {early.height:,}"
    if not counted.height:
        raise UserError("no sample of the cohort has an outcome that is known after its observation window")
    for code, known, positive in counted.rows():
        yield f"{code}: known for {known:,}, of them {positive:,.0f} with the outcome"
        if positive in (0, known):
            yield f"warning: {code} is {positive / known:.0f} for all of them: no model can learn it"
    yield from _counts({reason: len(ids) for reason, ids in labels.undefined.items()})
    yield from (f"warning: {warning}" for warning in labels.warnings)
