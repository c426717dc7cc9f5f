"""Reads clinical notes from CSVs of any layout: finds the columns, assigns notes to stays, and leaves out late notes."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from emerge_ehr.datasets.sources import Notes
from emerge_ehr.datasets.sources._raw.raw_csv import collect, header
from emerge_ehr.datasets.window import LATE_NOTES, late
from emerge_ehr.fields import UserError
from emerge_ehr.storage.times import parse_time

# Names of columns in order of preference; case does not matter.
TIME_COLUMNS = ("charttime", "note_time", "chartdate")
STORE_COLUMNS = ("storetime",)  # when the text was saved; nobody could read it earlier
TEXT_COLUMNS = ("text", "note_text", "note")
TYPE_COLUMNS = ("note_type", "category")
DISCHARGE = r"(?i)^\s*(ds|discharge.*)\s*$"
IS_DISCHARGE = pl.col("note_type").str.contains(DISCHARGE)


@dataclass(frozen=True)
class NoteFiles:
    """Where the notes are and which of them to keep. A column whose name is empty is looked for under its usual names.

    ``ids``: name of an id column of the files (in lower case, in order of preference) -> the cohort's column with the same ids:
    ``stay_id``, ``hadm_id`` or ``subject_id``. ``error_column``: rows with 1 in this column were entered in error.
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

    ``person_column`` serves for rows whose id is empty.
    """

    path: Path
    id_column: str
    key: str
    person_column: str
    time_columns: tuple[str, ...]
    store_columns: tuple[str, ...]
    type_column: str
    text_column: str
    error_column: str


def read_notes(files: NoteFiles, cohort: pl.DataFrame) -> Notes:
    """Read the notes of the cohort's stays, sorted by stay and time.

    A note's time is its chart time, or its store time if that is later; a date without a time (or midnight) counts as the end of
    that day. Notes are matched to stays by the id of the stay or the admission. Where this id is empty (as in half of MIMIC-IV's
    radiology reports), or the file has only the person's, they are matched by person and time, if they were written between
    hospital admission and the end of the window. Notes without a time are kept only if they are matched by the id of the stay
    or the admission, with a warning.

    Raises:
        UserError: a file or column is missing, or no note matches any stay.
    """
    by_admission = bool((cohort["patient_id"] == cohort["hadm_id"]).all())
    extracts = [_read_file(_layout(path, files, by_admission), files, cohort) for path in files.paths]
    counts: dict[str, int] = {}
    for extract in extracts:
        counts = {key: counts.get(key, 0) + extract.counts.get(key, 0) for key in {**counts, **extract.counts}}
    table = (
        pl.concat([extract.table for extract in extracts]).unique().sort("patient_id", "note_time", "note_type", "text")
    )
    warnings = tuple(dict.fromkeys(warning for extract in extracts for warning in extract.warnings))
    return Notes(table, counts, warnings, files.after_window)


def _read_file(layout: Layout, files: NoteFiles, cohort: pl.DataFrame) -> Notes:
    notes, counts = _load(layout, files, cohort)
    if counts["notes read"] == counts["notes without text"]:
        raise UserError(
            f"{layout.path}: {layout.text_column} is empty in all {counts['notes read']} notes; set source.note_text_column"
        )
    matched = _assigned(notes, layout, cohort)
    if matched.is_empty():
        example = notes["id"].drop_nulls().head(1).to_list()
        raise UserError(
            f"{layout.path}: none of its {counts['notes read']} notes matches a stay by {layout.key}"
            f"{f' (first id: {example[0]})' if example else ''}; check source.note_id_column"
        )
    counts["notes assigned to stays"] = matched.height
    counts["notes matched by person and time"] = int(matched["by_time"].sum())
    name, warnings = layout.path.name, []
    if not files.include_discharge_summaries:
        counts["discharge summaries excluded"] = matched.filter(IS_DISCHARGE).height
        matched = matched.filter(~IS_DISCHARGE)
    if files.after_window:
        warnings.append(
            f"{name}: notes written after the observation window are kept (notes_after_window): they leak the future"
        )
    else:
        # Counted before duplicates are removed: the texts of late notes were not read, so that they look alike.
        counts[LATE_NOTES] = matched.filter(late()).height
        matched = matched.filter(~late())
    untimed = matched["note_time"].null_count()
    if untimed:
        counts["notes without a time kept"] = untimed
        warnings.append(
            f"{name}: {untimed} notes carry no time, so they may have been written after the observation window"
        )
    return Notes(matched.select("patient_id", "note_time", "note_type", "text"), counts, tuple(warnings))


def _load(layout: Layout, files: NoteFiles, cohort: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """``id, person, note_time, note_type, text`` of the cohort's ids or persons, and counts over the whole file, in one pass.

    ``text`` is null where no stay keeps the note: texts of other patients, of notes after every window, and of discharge
    summaries are dropped while the file is read, so that memory holds only the texts that are kept.
    """
    wrong = pl.col(layout.error_column).str.strip_chars() == "1" if layout.error_column else pl.lit(value=False)
    last = pl.col("window_end").max()
    ids = cohort.lazy().group_by(pl.col(layout.key).alias("id")).agg(last.alias("until"))
    persons = cohort.lazy().group_by(pl.col("subject_id").alias("person")).agg(last.alias("person_until"))
    text = pl.col(layout.text_column)
    frame = (
        pl.scan_csv(layout.path, infer_schema=False, glob=False)
        .select(
            _id(layout.id_column).alias("id"),
            (_id(layout.person_column) if layout.person_column else pl.lit(None, pl.String)).alias("person"),
            pl.max_horizontal(_note_time(layout.time_columns), _note_time(layout.store_columns)).alias("note_time"),
            _note_type(layout).alias("note_type"),
            pl.when(text.str.strip_chars() != "").then(text).alias("text"),
            wrong.fill_null(value=False).alias("wrong"),
            _not_a_time((*layout.time_columns, *layout.store_columns)).alias("not_a_time"),
        )
        .with_row_index("row")
    )
    frame = frame.join(ids, on="id", how="left", maintain_order="left")
    frame = frame.join(persons, on="person", how="left", maintain_order="left")
    until = pl.coalesce("until", pl.when(pl.col("id").is_null()).then("person_until"))
    frame = frame.with_columns(until.alias("until"), pl.col("text").is_null().alias("blank")).drop("person_until")
    kept = pl.col("until").is_not_null()
    if not files.after_window:
        kept &= ~late("until")
    if not files.include_discharge_summaries:
        kept &= ~IS_DISCHARGE
    frame = frame.with_columns(pl.when(kept).then("text").alias("text"))
    notes = collect(frame, layout.path, every_column=True)
    strange = notes.filter(pl.col("not_a_time").is_not_null())
    if strange.height:
        record, text = strange.select("row", "not_a_time").row(0)
        raise UserError(
            f"{layout.path} record {record + 1}: time {text!r} is not a time (YYYY-MM-DD HH:MM:SS); {strange.height} such notes"
        )
    if notes.is_empty():
        raise UserError(f"{layout.path}: has a header and no rows; get it again, or leave it out of notes_file")
    counts = {"notes read": notes.height, "notes without text": int(notes["blank"].sum())}
    if layout.error_column:
        counts["notes entered in error"] = int(notes["wrong"].sum())
    return notes.filter(~pl.col("wrong") & ~pl.col("blank") & pl.col("until").is_not_null()), counts


def _assigned(notes: pl.DataFrame, layout: Layout, cohort: pl.DataFrame) -> pl.DataFrame:
    """Join the notes to their samples; ``by_time`` is true where they were matched by person and time."""
    stays = cohort.select("patient_id", "subject_id", "admittime", "window_end", pl.col(layout.key).alias("id"))
    during = (pl.col("note_time") >= pl.col("admittime")) & (pl.col("note_time") < pl.col("window_end"))
    columns = ("patient_id", "note_time", "note_type", "text", "window_end", "by_time")
    by_id = notes.join(stays, on="id").with_columns(pl.lit(value=layout.key == "subject_id").alias("by_time"))
    if layout.key == "subject_id":
        by_id = by_id.filter(pl.col("note_time") >= pl.col("admittime"))
    by_person = notes.filter(pl.col("id").is_null()).join(stays, left_on="person", right_on="subject_id")
    by_person = by_person.filter(during).with_columns(pl.lit(value=True).alias("by_time"))
    return pl.concat([by_id.select(columns), by_person.select(columns)])


def _layout(path: Path, files: NoteFiles, by_admission: bool) -> Layout:
    """Find the file's columns; where samples are admissions, the admission's id is preferred to that of an ICU stay."""
    if not path.is_file():
        raise UserError(f"{path}: missing; set notes_file to your notes, or leave it out for surrogate notes")
    present = header(path)
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
    if key == "subject_id" and not time_columns:
        raise UserError(
            f"{path}: notes with only {id_column} need a time column to be assigned to a stay; it has: {', '.join(present)}"
        )
    persons = [name for name, meaning in files.ids.items() if meaning == "subject_id"]
    person = next(iter(_all(present, persons)), "") if key != "subject_id" and time_columns else ""
    kind = next(iter(_all(present, TYPE_COLUMNS)), "")
    wrong = next(iter(_all(present, (files.error_column.lower(),))), "") if files.error_column else ""
    stored = () if files.time_column else tuple(_all(present, STORE_COLUMNS))
    return Layout(path, id_column, key, person, tuple(time_columns), stored, kind, text_column, wrong)


def _id(column: str) -> pl.Expr:
    """The ids as text; an empty id is null, and ``12.0`` becomes ``12``."""
    text = pl.col(column).str.strip_chars().str.replace(r"\.0$", "")
    return pl.when(text != "").then(text)


def _note_type(layout: Layout) -> pl.Expr:
    if layout.type_column:
        return pl.col(layout.type_column).str.strip_chars().fill_null("note")
    return pl.lit("discharge" if "discharge" in layout.path.name.lower() else "note")


def _note_time(columns: Sequence[str]) -> pl.Expr:
    """The first of the columns that holds a time."""
    return day_end(pl.coalesce(*(parse_time(name) for name in columns), pl.lit(None, dtype=pl.Datetime("us"))))


def day_end(time: pl.Expr) -> pl.Expr:
    """Replace times at midnight by the end of that day.

    They are dates without a time, as those of MIMIC-IV's discharge summaries, and must not count as earlier than they were.
    """
    bare = time.dt.time() == datetime.time(0)
    return pl.when(bare).then(time + datetime.timedelta(hours=23, minutes=59, seconds=59)).otherwise(time)


def _not_a_time(columns: Sequence[str]) -> pl.Expr:
    """The text in a time column that is not a time; null where there is none."""
    texts = [pl.col(name).str.strip_chars() for name in columns]
    wrong = [
        pl.when((text != "") & parse_time(name).is_null()).then(text) for name, text in zip(columns, texts, strict=True)
    ]
    return pl.coalesce(*wrong, pl.lit(None, dtype=pl.String))


def _all(present: list[str], wanted: Sequence[str]) -> list[str]:
    lower = {name.lower(): name for name in present}
    return [lower[name] for name in wanted if name in lower]


def _column(path: Path, present: list[str], given: str, wanted: Sequence[str], key: str) -> str:
    names = ([given] if given in present else []) if given else _all(present, wanted)
    if not names:
        wanted_names = f"'{given}'" if given else " or ".join(wanted)
        raise UserError(f"{path}: no column {wanted_names}; it has: {', '.join(present)}; set source.{key}")
    return names[0]
