"""Makes the inputs of new records, whose outcomes are not known, by the rules by which a run's own were made."""

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from emerge_ehr import components
from emerge_ehr.config import Config
from emerge_ehr.datasets import sources, window, wording
from emerge_ehr.datasets.convert import cohort, harmonise
from emerge_ehr.datasets.sources import Match, Notes, Source
from emerge_ehr.datasets.tasks import Task

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Unlabelled:
    """New records, whose outcomes are not known: ``stays`` with their windows, their notes, treatments where they have
    any, and warnings.

    ``lost``: warnings of the records that do not satisfy the cohort's rules.
    """

    stays: pl.DataFrame
    notes: pl.DataFrame
    treatments: pl.DataFrame | None
    warnings: Sequence[str]
    lost: Sequence[str]


def convert(config: Config, source: Source, folder: Path) -> Unlabelled:
    """Write ``dynamic.csv`` of new records into ``folder``, by the rules of ``config.cohort``. No outcome is asked for.

    Raises:
        UserError: raw files are missing or damaged.
    """
    task: Task = components.build("task", config.task)
    inputs = source.inputs()
    candidates = cohort.known_sexes(source.stays())
    stays, flow = cohort.select(candidates.table, config.cohort, task.sample, one_calendar=source.one_calendar)
    stays, step = cohort.exclude(stays, pl.col("window_end") <= pl.col("window_start"), "empty observation window")
    cohort.refuse_impossible_ages(stays, inputs[0].parent)
    numbered = stays.with_row_index("n")
    match: Match = "stay_id" if config.cohort.anchor == "icu" else "hadm_id"
    notes, treatments = Notes(numbered), None
    if numbered.height:
        events = source.measurements(numbered, match)
        measured = harmonise.write_dynamic(events, numbered, source.signals(), folder, "csv")
        notes = window.notes(source.notes(numbered), numbered)
        treatments = sources.treatments(config, inputs[0].parent, numbered, match)
        of_treatments = treatments.counts if treatments else {}
        dropped = {**candidates.counts, **measured.counts, **notes.counts, **of_treatments}
        log.info(
            "counted: %s", ", ".join(f"{reason}: {count}" for reason, count in dropped.items() if count) or "nothing"
        )
    lost = list(_not_predicted([*flow, step], wording.sample(config).word))
    warnings = [*candidates.warnings, *notes.warnings, *(treatments.warnings if treatments else ())]
    return Unlabelled(stays, notes.table, treatments.table if treatments else None, warnings, lost)


def _not_predicted(flow: Sequence[cohort.Step], word: str) -> Iterator[str]:
    """A warning of the records that do not satisfy the cohort's rules."""
    reasons = [f"{step.reason}: {step.dropped_stays}" for step in flow if step.dropped_stays]
    if reasons:
        lost = sum(step.dropped_stays for step in flow)
        yield f"{lost} of {flow[0].stays} {word}s are not predicted, by the rules of [cohort] ({'; '.join(reasons)})"
