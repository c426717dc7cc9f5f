"""Finds the columns of a CSV of notes: the ids, the times, the type and the text, under the names that users give them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from emerge_ehr.datasets.sources._raw.raw_csv import collect, header
from emerge_ehr.fields import UserError
from emerge_ehr.storage.ids import id_text, without_zeros

# Names of columns in order of preference; case does not matter.
TIME_COLUMNS = ("charttime", "note_time", "chartdate")
STORE_COLUMNS = ("storetime",)  # when the text was saved; nobody could read it earlier
TEXT_COLUMNS = ("text", "note_text", "note")
TYPE_COLUMNS = ("note_type", "category")
NOTE_ID_COLUMNS = ("note_id",)
MEANINGS = ("patient_id", "subject_id")  # what a file may call a patient


@dataclass(frozen=True)
class NoteFiles:
    """Where the notes are and which of them to keep. A column whose name is empty is looked for under its usual names.

    ``ids``: name of an id column of the files (in lower case, in order of preference) -> the cohort's column with the same ids:
    ``stay_id``, ``hadm_id``, ``patient_id`` (the sample) or ``subject_id``. ``error_column``: rows with 1 in this column were
    entered in error.
    """

    paths: tuple[Path, ...]
    ids: Mapping[str, str]
    id_column: str = ""
    time_column: str = ""
    text_column: str = ""
    include_discharge_summaries: bool = False
    after_window: bool = False
    error_column: str = ""


@dataclass(frozen=True)
class Layout:
    """The columns of one file; the ids in ``id_column`` are those of the cohort's column ``key``.

    ``person_column`` and ``admission_column`` must agree with the stay that ``id_column`` names, and serve for rows whose id is
    empty. ``other_key``: what some ids may be instead, where the column's name leaves it open. ``note_id_column``: the notes' own
    ids. Columns that the file does not have are empty.
    """

    path: Path
    id_column: str
    key: str
    other_key: str
    person_column: str
    admission_column: str
    time_columns: tuple[str, ...]
    store_columns: tuple[str, ...]
    type_column: str
    note_id_column: str
    text_column: str
    error_column: str


def layout(path: Path, files: NoteFiles, cohort: pl.DataFrame) -> Layout:
    """Find the file's columns; where samples are admissions, the admission's id is preferred to that of an ICU stay.

    Raises:
        UserError: the file or a column is missing, or nothing says which stay a note belongs to.
    """
    if not path.is_file():
        raise UserError(f"{path}: missing; set notes_file to your notes, or leave it out for surrogate notes")
    present = header(path)
    by_admission = bool((cohort["patient_id"] == cohort["hadm_id"]).all())
    wanted = sorted(files.ids, key=lambda name: by_admission and files.ids[name] != "hadm_id")
    id_column = _column(path, present, files.id_column, wanted, "note_id_column")
    text_column = _column(path, present, files.text_column, TEXT_COLUMNS, "note_text_column")
    time_columns = (
        [_column(path, present, files.time_column, (), "note_time_column")]
        if files.time_column
        else _all(present, TIME_COLUMNS)
    )
    key = files.ids.get(id_column.lower(), "")
    if not key:
        raise UserError(f"{path}: note_id_column '{id_column}' must be one of {', '.join(files.ids)}")
    other_key = ""
    if key == "patient_id":
        key = _meaning(path, id_column, cohort)
        other_key = next(name for name in MEANINGS if name != key)
    if key == "subject_id" and not time_columns:
        raise UserError(
            f"{path}: notes with only {id_column} need a time column to be assigned to a stay, since a note may be of any of the "
            f"person's admissions; it has: {', '.join(present)}"
        )
    kind, note_id = (next(iter(_all(present, names)), "") for names in (TYPE_COLUMNS, NOTE_ID_COLUMNS))
    wrong = next(iter(_all(present, (files.error_column.lower(),))), "") if files.error_column else ""
    stored = () if files.time_column else tuple(_all(present, STORE_COLUMNS))
    persons = "" if key == "subject_id" else _first(present, files.ids, ("subject_id", "patient_id"), id_column)
    admissions = "" if key in ("subject_id", "hadm_id") else _first(present, files.ids, ("hadm_id",), id_column)
    times = (tuple(time_columns), stored)
    return Layout(path, id_column, key, other_key, persons, admissions, *times, kind, note_id, text_column, wrong)


def plain_id(column: str) -> pl.Expr:
    """The ids as text, those of digits without leading zeros; an empty id is null, and ``12.0`` becomes ``12``."""
    return without_zeros(id_text(pl.col(column)))


def _meaning(path: Path, column: str, cohort: pl.DataFrame) -> str:
    """What the file calls a patient: the sample, as our own tables do, or the person, whichever more of its ids are."""
    rows = pl.scan_csv(path, infer_schema=False, glob=False).select(plain_id(column).alias("id").unique())
    ids = collect(rows, path)
    samples, persons = (ids.join(cohort, left_on="id", right_on=name, how="semi").height for name in MEANINGS)
    return MEANINGS[persons > samples]


def _first(present: list[str], ids: Mapping[str, str], meanings: Sequence[str], other: str) -> str:
    """The first column besides ``other`` whose ids have one of the ``meanings``, which are in order of preference."""
    names = [name for wanted in meanings for name, meaning in ids.items() if meaning == wanted]
    return next((name for name in _all(present, names) if name != other), "")


def _all(present: list[str], wanted: Sequence[str]) -> list[str]:
    lower = {name.lower(): name for name in present}
    return [lower[name] for name in wanted if name in lower]


def _column(path: Path, present: list[str], given: str, wanted: Sequence[str], key: str) -> str:
    names = ([given] if given in present else []) if given else _all(present, wanted)
    if not names:
        wanted_names = f"'{given}'" if given else " or ".join(wanted)
        raise UserError(f"{path}: no column {wanted_names}; it has: {', '.join(present)}; set source.{key}")
    return names[0]
