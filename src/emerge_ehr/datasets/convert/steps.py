"""What ``convert`` does before it writes anything, step by step. ``--check`` takes the same steps, so that it refuses what
``convert`` refuses."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from emerge_ehr.config import Config
from emerge_ehr.datasets import sources, wording
from emerge_ehr.datasets.convert import cohort, doubts, harmonise, told
from emerge_ehr.datasets.convert.harmonise import Measured
from emerge_ehr.datasets.sources import Extract, Match, Source
from emerge_ehr.datasets.tasks import Labels, Task
from emerge_ehr.fields import UserError
from emerge_ehr.storage import artefacts, schema, table_files


@dataclasses.dataclass(frozen=True)
class Candidates:
    """``extract``: what the source has, with known sexes; ``stays``: those that satisfy the cohort's rules, and the ``flow`` that
    led there."""

    extract: Extract
    stays: pl.DataFrame
    flow: Sequence[cohort.Step]


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


def match(config: Config) -> Match:
    """By which id measurements belong to a sample."""
    return "stay_id" if config.cohort.anchor == "icu" else "hadm_id"


def refuse_foreign(folder: Path) -> None:
    """Refuse to convert into a folder that holds tables which convert did not write.

    Raises:
        UserError: it does, or cannot be written.
    """
    present = [path.relative_to(folder) for path in table_files.all_files(folder)]
    if present and not (folder / schema.PROVENANCE).is_file():
        raise UserError(
            f"{folder / present[0]}: not written by --stage convert (there is no {schema.PROVENANCE}), and would be replaced; "
            "start at --stage preprocess to use these tables, or set another paths.table_dir"
        )
    artefacts.require_writable(folder)


def candidates(config: Config, source: Source, task: Task, given: Extract) -> Candidates:
    """Apply the cohort's rules to the stays of the source.

    Raises:
        UserError: an age cannot be.
    """
    known = cohort.known_sexes(given)
    stays, flow = cohort.select(known.table, config.cohort, task.sample, one_calendar=source.one_calendar)
    cohort.refuse_impossible_ages(stays, config.raw_dir)
    return Candidates(known, stays, flow)


def with_outcomes(config: Config, source: Source, given: Candidates, labels: Labels) -> SelectedCohort:
    """Apply the task's rules: a sample needs an outcome that was not yet known at the end of the window. None may be left."""
    stays, steps = cohort.exclude_undefined(given.stays, labels.undefined)
    early = cohort.known_in_window(labels.table, stays)
    table = labels.table.join(early, on=["patient_id", "label_code"], how="anti")
    undefined = ~pl.col("patient_id").is_in(table["patient_id"].unique().to_list())
    stays, step = cohort.exclude(stays, undefined, "outcome known before the end of the observation window")
    flow = [*given.flow, *steps, step]
    if source.one_calendar:
        every = labels.table if labels.every is None else labels.every
        after = cohort.after_death(every, cohort.with_windows(given.extract.table, config.cohort))
        stays, donors = cohort.exclude(stays, after, "after the person's death, by the labels")
        flow += [dataclasses.replace(donors, doubtful=True)] if donors.dropped_stays else []
        table = table.join(stays, on="patient_id", how="semi")
    timed = stays.height and not sources.bring_predictions(config)
    warnings = [
        *given.extract.warnings,
        *labels.warnings,
        *doubts.excluded(flow),
        *doubts.early_outcomes(early.join(stays, on="patient_id", how="semi")),
        *(doubts.of_times(table, stays, config.cohort) if timed else []),
    ]
    numbered = stays.with_row_index("n")
    return SelectedCohort(numbered, table, given.extract.counts, flow, warnings, given.extract.dated)


def refuse_empty(config: Config, sample: SelectedCohort) -> None:
    """Refuse a cohort in which nobody is left.

    Raises:
        UserError: it is so.
    """
    if not sample.stays.height:
        kind = wording.sample(config).short
        raise UserError(f"{config.raw_dir}: no {kind} is left in the cohort; see the cohort flow above and [cohort]")


def measure(config: Config, source: Source, stays: pl.DataFrame, folder: Path) -> Measured:
    """Write what the source has measured of the ``stays`` into ``folder``."""
    events = source.measurements(stays, match(config))
    timely = told.marked(events, stays, config.cohort.landmarks)
    measured = harmonise.write_dynamic(timely, stays, source.signals(), folder, config.tables.format)
    return dataclasses.replace(measured, told=any(part.tells_later for part in events))


def with_measurements(sample: SelectedCohort, measured: Measured) -> SelectedCohort:
    """The samples that have a measurement."""
    unmeasured = ~pl.col("patient_id").is_in(measured.patients.to_list())
    stays, step = cohort.exclude(sample.stays, unmeasured, "no measurement in window")
    labels = sample.labels.join(stays, on="patient_id", how="semi").sort("patient_id", "label_code")
    return dataclasses.replace(sample, stays=stays, labels=labels, flow=[*sample.flow, step])


def refuse_unmeasured(config: Config, measured: Measured) -> None:
    """Refuse a cohort of which nothing was measured.

    Raises:
        UserError: it is so.
    """
    if measured.patients.is_empty():
        raise UserError(
            f"{config.raw_dir}: no {wording.sample(config).word} of the cohort has a measurement in its observation window; "
            "check [source], and that the measurements have the ids of the stays"
        )
