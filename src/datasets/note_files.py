"""Reads clinical notes from CSVs of any layout: finds the columns, assigns notes to stays, keeps what the window allows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from src.config import UserError
from src.datasets.artefacts import parse_time
from src.datasets.raw_csv import collect, header
from src.datasets.sources import Extract

# In order of preference; compared without case.
ID_COLUMNS = ("stay_id", "icustay_id", "hadm_id", "subject_id")
TIME_COLUMNS = ("charttime", "note_time", "storetime", "chartdate")
TEXT_COLUMNS = ("text", "note_text", "note")
TYPE_COLUMNS = ("note_type", "category")
DISCHARGE = r"(?i)^\s*(ds|discharge.*)\s*$"


@dataclass(frozen=True)
class NoteFiles:
    """Where notes are and which to keep; an empty column name means: find it by name."""

    paths: tuple[Path, ...]
    id_column: str = ""
    time_column: str = ""
    text_column: str = ""
    include_discharge_summaries: bool = False
    after_window: bool = False


def read_notes(files: NoteFiles, cohort: pl.DataFrame) -> Extract:
    """Notes of the cohort's stays, sorted by stay and time.

    A note belongs to a stay by ``stay_id`` or ``hadm_id``, or by ``subject_id`` and time, if written between hospital
    admission and the window's end. A time that is only a date counts as the day's end. Notes without any time cannot
    be placed: they are kept, with a warning, only where the id names the stay or the admission.

    Raises:
        UserError: a file or column is missing, or no note matches any stay.
    """
    extracts = [_read_file(path, files, cohort) for path in files.paths]
    counts: dict[str, int] = {}
    for extract in extracts:
        counts = {key: counts.get(key, 0) + extract.counts.get(key, 0) for key in {**counts, **extract.counts}}
    table = (
        pl.concat([extract.table for extract in extracts]).unique().sort("patient_id", "note_time", "note_type", "text")
    )
    warnings = tuple(dict.fromkeys(warning for extract in extracts for warning in extract.warnings))
    return Extract(table, counts, warnings)


def _read_file(path: Path, files: NoteFiles, cohort: pl.DataFrame) -> Extract:
    notes, key, timed = _load(path, files)
    counts = {"notes read": notes.height, "notes without text": notes["text"].null_count()}
    notes = notes.drop_nulls("text")
    matched = notes.join(cohort.select("patient_id", pl.col(key).alias("id"), "admittime", "window_end"), on="id")
    if matched.is_empty():
        example = notes["id"].drop_nulls().head(1).to_list()
        raise UserError(
            f"{path}: none of its {notes.height} notes matches a stay by {key} (first id: {example}); check note_id_column"
        )
    if timed and key == "subject_id":
        matched = matched.filter(pl.col("note_time") >= pl.col("admittime"))
    counts["notes of the cohort"] = matched.height
    discharge = pl.col("note_type").str.contains(DISCHARGE)
    late = (pl.col("note_time") >= pl.col("window_end")).fill_null(value=False)
    warnings = []
    if not files.include_discharge_summaries:
        counts["discharge summaries excluded"] = matched.filter(discharge).height
        matched = matched.filter(~discharge)
    if files.after_window:
        warnings.append(
            f"{path.name}: notes written after the observation window are kept (notes_after_window): they leak the future"
        )
    else:
        counts["notes after the window excluded"] = matched.filter(late).height
        matched = matched.filter(~late)
    untimed = matched["note_time"].null_count()
    if untimed:
        counts["notes without a time kept"] = untimed
        warnings.append(
            f"{path.name}: {untimed} notes carry no time, so they may have been written after the observation window"
        )
    return Extract(matched.select("patient_id", "note_time", "note_type", "text"), counts, tuple(warnings))


def _load(path: Path, files: NoteFiles) -> tuple[pl.DataFrame, str, bool]:
    """``id, note_time, note_type, text``, the cohort column that ``id`` matches, and whether notes are timed."""
    if not path.is_file():
        raise UserError(f"{path}: missing; set notes_file to your notes, or leave it out for surrogate notes")
    present = header(path)
    id_column = _column(path, present, files.id_column, ID_COLUMNS, "note_id_column")
    text_column = _column(path, present, files.text_column, TEXT_COLUMNS, "note_text_column")
    time_columns = [c for c in ([files.time_column] if files.time_column else _all(present, TIME_COLUMNS)) if c]
    type_column = next(iter(_all(present, TYPE_COLUMNS)), None)
    key = id_column.lower().replace("icustay_id", "stay_id")
    if key not in ID_COLUMNS:
        raise UserError(f"{path}: note_id_column '{id_column}' must be one of {', '.join(ID_COLUMNS)}")
    if key == "subject_id" and not time_columns:
        raise UserError(
            f"{path}: notes with only subject_id need a time column to be assigned to a stay; it has: {', '.join(present)}"
        )
    default_type = "discharge" if "discharge" in path.name.lower() else "note"
    frame = pl.scan_csv(path, infer_schema=False).select(
        pl.col(id_column).str.strip_chars().str.replace(r"\.0$", "").alias("id"),
        _note_time(time_columns).alias("note_time"),
        (pl.col(type_column).fill_null("note") if type_column else pl.lit(default_type)).alias("note_type"),
        pl.when(pl.col(text_column).str.strip_chars() != "").then(pl.col(text_column)).alias("text"),
    )
    return collect(frame, path), key, bool(time_columns)


def _note_time(columns: Sequence[str]) -> pl.Expr:
    """The first time there is; a bare date is the end of its day, so that it never counts as earlier than it was."""
    end_of_day = pl.duration(hours=23, minutes=59, seconds=59)
    times = [
        pl.when(pl.col(name).str.strip_chars().str.len_chars() <= 10)
        .then(parse_time(name) + end_of_day)
        .otherwise(parse_time(name))
        for name in columns
    ]
    return pl.coalesce(*times, pl.lit(None, dtype=pl.Datetime("us")))


def _all(present: list[str], wanted: Sequence[str]) -> list[str]:
    lower = {name.lower(): name for name in present}
    return [lower[name] for name in wanted if name in lower]


def _column(path: Path, present: list[str], given: str, wanted: Sequence[str], key: str) -> str:
    found = ([given] if given in present else []) if given else _all(present, wanted)
    if not found:
        looked = f"'{given}'" if given else " or ".join(wanted)
        raise UserError(f"{path}: no column {looked}; it has: {', '.join(present)}; set source.{key}")
    return found[0]
