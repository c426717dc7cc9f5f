"""Reads the OneEHR tables, ours or a user's own, and refuses what does not fit together or leaks."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from src.config import Cohort, UserError, to_dict
from src.datasets import artefacts, schema


@dataclass(frozen=True)
class Tables:
    """The tables of stage convert, checked; ``cohort`` has one row a patient, with age, sex and label, in order."""

    cohort: pl.DataFrame
    dynamic: pl.DataFrame
    notes: pl.DataFrame
    provenance: Mapping[str, Any]
    warnings: list[str]


def read(folder: Path, task: str, rule: Cohort) -> Tables:
    """The tables in ``folder`` with the labels of ``task``, joined and checked against each other and the windows.

    Raises:
        UserError: a table is missing or does not fit its schema, the others, or the observation windows.
    """
    cohort = artefacts.read_table(folder, schema.COHORT)
    static = artefacts.read_table(folder, schema.STATIC)
    label = artefacts.read_table(folder, schema.LABEL).filter(pl.col("label_code") == task)
    joined = cohort.join(static, on="patient_id").join(label, on="patient_id").rename({"label_value": "positive"})
    if joined.height != cohort.height:
        lost = cohort.join(joined, on="patient_id", how="anti")["patient_id"][0]
        raise UserError(
            f"{folder}: patient_id '{lost}' of cohort.csv is not in static.csv, or has no '{task}' in label.csv"
        )
    _refuse_other_labels(folder, joined)
    joined = joined.sort("patient_id")
    dynamic = artefacts.read_table(folder, schema.DYNAMIC)
    _refuse_strangers(folder, schema.DYNAMIC, dynamic, joined)
    notes = artefacts.read_table(folder, schema.NOTES)
    _refuse_strangers(folder, schema.NOTES, notes, joined)
    _refuse_outside(folder, dynamic, joined)
    provenance = artefacts.read_json(folder / schema.PROVENANCE, "convert") if _converted(folder) else {}
    if provenance and provenance["cohort"] != to_dict(rule):
        raise UserError(
            f"{folder}: converted with other [cohort] settings than this config's; run --stage convert again"
        )
    if not provenance.get("source", {}).get("notes_after_window"):
        _refuse_late_notes(folder, notes, joined)
    return Tables(joined, dynamic, notes, provenance, _warnings(notes, provenance))


def _converted(folder: Path) -> bool:
    return (folder / schema.PROVENANCE).is_file()


def _warnings(notes: pl.DataFrame, provenance: Mapping[str, Any]) -> list[str]:
    """What ``convert`` warned of; for a user's own tables, what can be seen in them."""
    if provenance:
        return list(provenance["warnings"])
    warnings = []
    if surrogates := notes.filter(pl.col("note_type") == "surrogate").height:
        warnings.append(f"{surrogates} notes are surrogates made from codes: they may leak the future")
    if untimed := notes["note_time"].null_count():
        warnings.append(f"{untimed} notes carry no time: they may have been written after the observation window")
    return warnings


def _refuse_outside(folder: Path, dynamic: pl.DataFrame, cohort: pl.DataFrame) -> None:
    inside = pl.col("event_time").is_between(pl.col("window_start"), pl.col("window_end"), closed="left")
    outside = dynamic.join(cohort, on="patient_id").filter(~inside)
    if outside.height:
        patient, time = outside.select("patient_id", "event_time").row(0)
        path = folder / schema.DYNAMIC.file
        raise UserError(f"{path}: {outside.height} rows outside the observation window, first: {patient} at {time}")


def _refuse_late_notes(folder: Path, notes: pl.DataFrame, cohort: pl.DataFrame) -> None:
    timed = notes.filter(pl.col("note_type") != "surrogate").join(cohort, on="patient_id")
    late = timed.filter(pl.col("note_time") >= pl.col("window_end"))
    if late.height:
        patient, time = late.select("patient_id", "note_time").row(0)
        path = folder / schema.NOTES.file
        raise UserError(f"{path}: {late.height} notes written after the observation window, first: {patient} at {time}")


def _refuse_other_labels(folder: Path, cohort: pl.DataFrame) -> None:
    other = cohort.filter(~pl.col("positive").is_in([0.0, 1.0]))
    if other.height:
        patient, value = other.select("patient_id", "positive").row(0)
        raise UserError(f"{folder / 'label.csv'}: label_value {value} of patient_id '{patient}' is neither 0 nor 1")


def _refuse_strangers(folder: Path, table: schema.Table, rows: pl.DataFrame, cohort: pl.DataFrame) -> None:
    strangers = rows.join(cohort, on="patient_id", how="anti")
    if strangers.height:
        first = strangers["patient_id"][0]
        raise UserError(
            f"{folder / table.file}: patient_id '{first}' is not in cohort.csv; {strangers.height} such rows"
        )
