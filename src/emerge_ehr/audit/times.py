"""Whether the tables hold anything timed outside a sample's observation window.

They are read here directly, not as ``preprocess`` reads them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from emerge_ehr.audit.findings import Finding, judged
from emerge_ehr.datasets.window import has_text
from emerge_ehr.fields import plural
from emerge_ehr.storage import schema, table_files


def check(folder: Path, provenance: Mapping[str, Any]) -> list[Finding]:
    """Findings on the measurements, notes, treatments and outcomes in ``folder``, compared with the windows in ``cohort.csv``.

    Raises:
        UserError: a table is missing or does not fit its schema.
    """
    windows = table_files.read_table(folder, schema.COHORT).select("patient_id", "window_start", "window_end")
    return [
        measurements(folder, windows),
        *_notes(folder, windows, provenance),
        *_treatments(folder, windows),
        _outcomes(folder, windows),
    ]


def measurements(folder: Path, windows: pl.DataFrame) -> Finding:
    """The finding on the rows of the table of measurements in ``folder``; ``windows`` has the window of each sample."""
    rows = table_files.scan_table(folder, schema.DYNAMIC).join(windows.lazy(), on="patient_id", how="left")
    time = pl.col("event_time")
    outside = rows.select(
        pl.len().alias("rows"),
        (time.is_null() | (time < pl.col("window_start")) | (time >= pl.col("window_end"))).sum().alias("outside"),
        pl.col("window_end").is_null().sum().alias("strangers"),
    )
    where = table_files.place(folder, schema.DYNAMIC)
    count, wrong, strangers = table_files.collect_table(outside, where).row(0)
    problem = f"{wrong} of {count} rows of {where.name} lie outside their patient's window" if wrong else None
    if strangers:
        problem = (
            f"in {where.name}, {plural(strangers, 'row is', 'rows are')} of patients that cohort.csv does not have"
        )
    return judged("measurements inside the window", problem, f"{plural(count, 'row')} of {where.name}")


def _notes(folder: Path, windows: pl.DataFrame, provenance: Mapping[str, Any]) -> list[Finding]:
    if not (folder / schema.NOTES.file).is_file():
        return [Finding("notes inside the window", "passed", "there are no notes")]
    notes = table_files.read_table(folder, schema.NOTES).filter(has_text()).join(windows, on="patient_id", how="left")
    surrogate = pl.col("note_type") == "surrogate"
    late = notes.filter(~surrogate & (pl.col("note_time") >= pl.col("window_end"))).height
    asked_for = provenance.get("source", {}).get("options", {}).get("notes_after_window", False)
    lateness = f"{late} of {notes.height} notes were written after the window"
    if late and asked_for:
        findings = [
            Finding("notes inside the window", "warning", f"{lateness}; source.notes_after_window asks for them")
        ]
    else:
        findings = [judged("notes inside the window", lateness if late else None, plural(notes.height, "note"))]
    if made := notes.filter(surrogate).height:
        detail = (
            f"{plural(made, 'note is', 'notes are')} made from codes, which are assigned after discharge: they may tell the "
            "outcome"
        )
        findings.append(Finding("surrogate notes", "warning", detail))
    if untimed := notes.filter(~surrogate & pl.col("note_time").is_null()).height:
        detail = f"{plural(untimed, 'note carries', 'notes carry')} no time, and may have been written after the window"
        findings.append(Finding("notes without a time", "warning", detail))
    return findings


def _treatments(folder: Path, windows: pl.DataFrame) -> list[Finding]:
    """The finding on treatments; none where there are none, as by default."""
    if not (folder / schema.TREATMENTS.file).is_file():
        return []
    given = table_files.read_table(folder, schema.TREATMENTS).join(windows, on="patient_id", how="left")
    late = pl.any_horizontal(
        pl.col(name).is_not_null() & (pl.col(name) >= pl.col("window_end")) for name in ("start_time", "end_time")
    )
    wrong = given.filter(late | (pl.col("start_time") < pl.col("window_start")) | pl.col("window_end").is_null()).height
    problem = f"{wrong} of {given.height} treatments begin or end outside their patient's window" if wrong else None
    return [judged("treatments inside the window", problem, f"{given.height} treatments")]


def _outcomes(folder: Path, windows: pl.DataFrame) -> Finding:
    labels = table_files.read_table(folder, schema.LABEL).join(windows, on="patient_id")
    early = labels.filter(pl.col("label_time") < pl.col("window_end")).height
    problem = (
        f"{plural(early, 'outcome was', 'outcomes were')} known before the end of their patient's window"
        if early
        else None
    )
    return judged("outcomes after the window", problem, plural(labels.height, "outcome"))
