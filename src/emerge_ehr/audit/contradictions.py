"""Whether the tables hold what cannot be: samples of a person who was dead, and measurements whose times are dates.

``convert`` leaves out the former and moves the latter; tables that were made elsewhere may hold both.
"""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from emerge_ehr.audit.findings import Finding, judged
from emerge_ehr.datasets import dates
from emerge_ehr.datasets.convert.cohort import deaths, first_deaths
from emerge_ehr.fields import plural
from emerge_ehr.storage import schema, table_files
from emerge_ehr.storage.ids import one_person

LEAST = 10  # measurements of a code; with fewer, all may have been at midnight by chance


def check(folder: Path, *, one_calendar: bool) -> list[Finding]:
    """Findings on the tables in ``folder``.

    ``one_calendar``: whether the times of different admissions of a person can be compared.

    Raises:
        UserError: a table is missing or does not fit its schema.
    """
    return [_after_death(folder, one_calendar), *_dated(folder), *_dated_notes(folder)]


def _after_death(folder: Path, one_calendar: bool) -> Finding:
    cohort, _ = one_person(table_files.read_table(folder, schema.COHORT))
    labels = table_files.read_table(folder, schema.LABEL)
    of = ["subject_id"] if one_calendar else ["subject_id", "hadm_id"]
    after = (
        cohort.join(first_deaths(labels, cohort, of), on=of)
        .filter(pl.col("window_start") >= pl.col("death"))
        .sort("patient_id")
    )
    wrong = (
        f"{after.height} do, such as '{after['patient_id'][0]}': their outcomes are not those of living patients"
        if after.height
        else None
    )
    return judged(
        "no sample begins after its person's death", wrong, f"{deaths(labels)['patient_id'].n_unique()} deaths"
    )


def _dated(folder: Path) -> Iterator[Finding]:
    rows = table_files.scan_table(folder, schema.DYNAMIC).group_by("code").agg(dates.counted())
    codes = table_files.collect_table(rows, table_files.place(folder, schema.DYNAMIC))
    found = dates.found(codes.filter(pl.col("timed") >= LEAST))
    check = "measurements have a time of day"
    if found.codes:
        yield Finding(
            check,
            "warning",
            f"all times of {dates.named(found.codes)} are exactly midnight: if they are dates, "
            f"{plural(found.rows, 'value counts', 'values count')} up "
            "to 24 hours before they were measured",
        )
        return
    yield Finding(check, "passed", plural(codes.height, "code"))


def _dated_notes(folder: Path) -> Iterator[Finding]:
    if not (folder / schema.NOTES.file).is_file():
        return
    timed = table_files.read_table(folder, schema.NOTES).drop_nulls("note_time")
    dated = timed.filter(dates.is_midnight("note_time")).height
    if dated and dated == timed.height:
        detail = (
            f"all {plural(dated, 'note is', 'notes are')} timed at midnight: if they are dates, notes may be known up to 24 "
            "hours too early"
        )
        yield Finding("notes have a time of day", "warning", detail)
