"""Reads clinical notes from CSVs of any layout: finds the columns, assigns notes to stays, and leaves out late notes."""

from collections.abc import Iterator, Sequence

import polars as pl

from emerge_ehr.datasets.sources import Notes
from emerge_ehr.datasets.sources._raw.note_layout import MEANINGS, Layout, NoteFiles, layout, plain_id
from emerge_ehr.datasets.sources._raw.raw_csv import collect
from emerge_ehr.datasets.window import BEFORE, DOUBTFUL, EARLY_NOTES, LATE_NOTES, NO_TEXT, SMALL, TWICE, early, late
from emerge_ehr.fields import UserError, plural
from emerge_ehr.storage import zones
from emerge_ehr.storage.csv_rows import refuse_ragged
from emerge_ehr.storage.ids import is_true, without_zeros
from emerge_ehr.storage.times import NOT_A_TIME, day_end, parse_time, unread_time

# A text that was written after a discharge or death, by its type: DS and AD (its addendum) of MIMIC-IV-Note, the words of
# MIMIC-III and of other hospitals, with whatever stands before and behind them
DISCHARGE = (
    r"(?i)^\s*(?:ds|ad)\s*$|disch|dsch|(?:^|[^a-z])d/?c[ _-]*summ|hospital[ _-]*course|summary of (?:hospital|stay)|"
    r"hospitali[sz]ation[ _-]*summ|final[ _-]*summ|epicris|autops|necrops|post[ _-]*mortem|mortality|deceas|coroner|obituar|"
    r"(?:^|[^a-z])expir(?:ed|ation)|(?:^|[^a-z])death[ _-]*(?:cert|summ|note|report|review)"
)
KIND_IN_ID = r"^\s*\d+-([A-Za-z]{2})-\d+\s*$"
IS_DISCHARGE = pl.col("note_type").str.contains(DISCHARGE)
MIXED = "notes whose patient_id is a person's where most are stays', or the reverse, matched by person and time"
CONTRADICTORY = "notes whose ids are of different persons or admissions, left out"


def read_notes(files: NoteFiles, cohort: pl.DataFrame, admissions: pl.DataFrame | None = None) -> Notes:
    """Read the notes of the cohort's stays, sorted by stay and time.

    A note's time is its chart time, or its store time if that is later; a date without a time (or midnight) counts as the end of
    that day. Notes are matched to stays by the id of the stay or the admission, and those of more than ``BEFORE`` before the
    hospital admission are left out. A note without the stay's id is matched by its admission's. Where this is empty, too (as in
    half of MIMIC-IV's radiology reports), or the file has only the person's, they are matched by person and time, if they were
    written between hospital admission and the end of the window.
    Notes without a time are kept only if they are matched by the id of the stay or the admission, with a warning. A note whose
    ids are of different persons or admissions is left out, and so is one that stands twice.

    ``admissions`` (``subject_id, hadm_id``): all that the source knows, so that notes of unknown ones are told.

    Raises:
        UserError: a file or column is missing, or no note matches any stay.
    """
    extracts = [_read_file(layout(path, files, cohort), files, cohort, admissions) for path in files.paths]
    counts: dict[str, int] = {}
    for extract in extracts:
        counts = {key: counts.get(key, 0) + extract.counts.get(key, 0) for key in {**counts, **extract.counts}}
    rows = pl.concat([extract.table for extract in extracts])
    table = rows.unique().sort("patient_id", "note_time", "note_type", "text")
    counts[TWICE] = rows.height - table.height
    warnings = list(dict.fromkeys(warning for extract in extracts for warning in extract.warnings))
    if counts[TWICE] > SMALL * rows.height:
        warnings.append(f"{counts[TWICE]} of {rows.height} notes are left out: {DOUBTFUL[TWICE]}")
    return Notes(table, counts, tuple(warnings), files.after_window)


def _read_file(layout: Layout, files: NoteFiles, cohort: pl.DataFrame, admissions: pl.DataFrame | None) -> Notes:
    notes, counts = _load(layout, files, cohort, admissions)
    if counts["notes read"] == counts[NO_TEXT]:
        raise UserError(
            f"{layout.path}: {layout.text_column} is empty in all {plural(counts['notes read'], 'note')}; set "
            "source.note_text_column"
        )
    matched = _assigned(notes, layout, cohort)
    counts[CONTRADICTORY] = notes.join(matched.filter("contradictory"), on="row", how="semi").height
    counts["notes of the cohort's persons outside their admissions"] = notes.join(matched, on="row", how="anti").height
    matched = matched.filter(~pl.col("contradictory"))
    if matched.is_empty():
        example = notes["id"].drop_nulls().head(1).to_list()
        raise UserError(
            f"{layout.path}: none of its {plural(counts['notes read'], 'note')} matches a stay by {layout.key}"
            f"{f' (first id: {example[0]})' if example else ''}; check source.note_id_column"
        )
    counts["notes assigned to stays"] = matched.height
    counts["notes matched by person and time"] = int(matched["by_time"].sum())
    name, warnings = layout.path.name, list(_doubts(layout.path.name, counts))
    if not files.include_discharge_summaries:
        counts["discharge summaries excluded"] = matched.filter(IS_DISCHARGE).height
        matched = matched.filter(~IS_DISCHARGE)
    counts[EARLY_NOTES] = matched.filter(early("begun")).height
    if counts[EARLY_NOTES] > SMALL * matched.height:
        warnings.append(
            f"{name}: {counts[EARLY_NOTES]} of {matched.height} notes are left out: {DOUBTFUL[EARLY_NOTES]}"
        )
    matched = matched.filter(~early("begun"))
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
            f"{name}: {plural(untimed, 'note carries', 'notes carry')} no time, and may have been written after the "
            "observation window"
        )
    return Notes(matched.select("patient_id", "note_time", "note_type", "text"), counts, tuple(warnings))


def _doubts(name: str, counts: dict[str, int]) -> Iterator[str]:
    """Warnings of ids that contradict each other, and of many that nobody has."""
    if counts[CONTRADICTORY]:
        yield (
            f"{name}: {plural(counts[CONTRADICTORY], 'note is', 'notes are')} left out, since their ids are of different "
            "persons or admissions"
        )
    if count := counts.get(MIXED, 0):
        yield f"{name}: {count} of {counts['notes read']} {MIXED}"
    unknown = next((count for reason, count in counts.items() if reason.startswith("notes of an unknown")), 0)
    if unknown > SMALL * counts["notes read"]:
        yield f"{name}: {unknown} of {counts['notes read']} notes have an id that no admission has: are the files of one version?"


def _load(
    layout: Layout, files: NoteFiles, cohort: pl.DataFrame, admissions: pl.DataFrame | None
) -> tuple[pl.DataFrame, dict[str, int]]:
    """``row, id, person, admission, note_time, note_type, text`` of the cohort's ids or persons, and counts over the whole file.

    ``text`` is null where no stay keeps the note: texts of other patients, of notes before every admission or after every
    window, and of discharge summaries are dropped while the file is read, so that memory holds only the texts that are kept.
    """
    notes = _scanned(layout, files, cohort)
    strange = notes.filter(pl.col("not_a_time").is_not_null())
    if strange.height:
        record, text = strange.select("row", "not_a_time").row(0)
        raise UserError(
            f"{layout.path} record {record + 1}: time {text!r} {NOT_A_TIME}; mend {plural(strange.height, 'such note')}"
        )
    if notes.is_empty():
        raise UserError(f"{layout.path}: has a header and no rows; get it again, or leave it out of notes_file")
    counts = {"notes read": notes.height, NO_TEXT: int(notes["blank"].sum())}
    if layout.other_key:
        counts[MIXED] = int(notes["minority"].sum())
    if layout.error_column:
        counts["notes entered in error"] = int(notes["wrong"].sum())
    notes = notes.filter(~pl.col("wrong") & ~pl.col("blank"))
    if admissions is not None and layout.key in admissions.columns:
        known = admissions[layout.key].unique().implode()
        counts[f"notes of an unknown {layout.key}"] = notes.filter(~pl.col("id").is_in(known)).height
    of_cohort = notes.filter(pl.col("until").is_not_null())
    counts["notes of persons or admissions outside the cohort"] = notes.height - of_cohort.height
    return of_cohort, counts


def _scanned(layout: Layout, files: NoteFiles, cohort: pl.DataFrame) -> pl.DataFrame:
    """All rows of the file in one pass; ``until`` is the last window of the row's id or person, null outside the cohort."""
    refuse_ragged(layout.path)
    raw = pl.scan_csv(layout.path, infer_schema=False, glob=False)
    zones.refuse_two_clocks((layout.path, raw, name) for name in (*layout.time_columns, *layout.store_columns))
    wrong = is_true(pl.col(layout.error_column)) if layout.error_column else pl.lit(value=False)
    first, last = pl.min_horizontal("admittime", "window_start").min() - BEFORE, pl.col("window_end").max()
    ids = cohort.lazy().group_by(without_zeros(pl.col(layout.key)).alias("id"))
    persons = cohort.lazy().group_by(without_zeros(pl.col("subject_id")).alias("person"))
    admissions = cohort.lazy().group_by(without_zeros(pl.col("hadm_id")).alias("admission"))
    text = pl.col(layout.text_column)
    times = [_note_time(columns) for columns in (layout.time_columns, layout.store_columns)]
    frame = raw.select(
        plain_id(layout.id_column).alias("id"),
        _id_if_any(layout.person_column).alias("person"),
        _id_if_any(layout.admission_column).alias("admission"),
        pl.max_horizontal(*times).alias("note_time"),
        pl.min_horizontal(*times).alias("begun"),
        _note_type(layout).alias("note_type"),
        pl.when(text.str.strip_chars() != "").then(text).alias("text"),
        wrong.fill_null(value=False).alias("wrong"),
        _not_a_time((*layout.time_columns, *layout.store_columns)).alias("not_a_time"),
    ).with_row_index("row")
    frame = _by_their_meaning(frame, layout, cohort)
    frame = frame.join(ids.agg(first.alias("since"), last.alias("until")), on="id", how="left", maintain_order="left")
    frame = frame.join(persons.agg(last.alias("person_until")), on="person", how="left", maintain_order="left")
    frame = frame.join(admissions.agg(last.alias("admission_until")), on="admission", how="left", maintain_order="left")
    others = pl.coalesce("admission_until", pl.when(pl.col("admission").is_null()).then("person_until"))
    until = pl.coalesce("until", pl.when(pl.col("id").is_null()).then(others))
    frame = frame.with_columns(until.alias("until"), pl.col("text").is_null().alias("blank"))
    frame = frame.drop("person_until", "admission_until")
    kept = pl.col("until").is_not_null() & ~(pl.col("begun") < pl.col("since")).fill_null(value=False)
    if not files.after_window:
        kept &= ~late("until")
    if not files.include_discharge_summaries:
        kept &= ~IS_DISCHARGE
    frame = frame.with_columns(pl.when(kept).then("text").alias("text"))
    return collect(frame, layout.path, every_column=True)


def _by_their_meaning(frame: pl.LazyFrame, layout: Layout, cohort: pl.DataFrame) -> pl.LazyFrame:
    """Read the ids that are persons' where most are samples', or the reverse, as what they are; ``minority`` is true for them."""
    if not layout.other_key:
        return frame.with_columns(pl.lit(value=False).alias("minority"))
    samples, persons = (cohort.select(without_zeros(pl.col(name))).to_series() for name in MEANINGS)
    mine, others = (samples, persons) if layout.key == "patient_id" else (persons, samples)
    id_ = pl.col("id")
    minority = (id_.is_in(others.implode()) & ~id_.is_in(mine.implode())).fill_null(value=False)
    if layout.key == "patient_id":
        person = pl.when(minority).then("id").otherwise("person").alias("person")
        return frame.with_columns(minority.alias("minority"), person, pl.when(~minority).then("id").alias("id"))
    person = pl.when(minority).then(id_.replace(dict(zip(samples, persons, strict=True)))).otherwise("id")
    return frame.with_columns(minority.alias("minority"), person.alias("id"))


def _assigned(notes: pl.DataFrame, layout: Layout, cohort: pl.DataFrame) -> pl.DataFrame:
    """Join the notes to their samples; ``by_time`` is true where they were matched by person and time.

    ``contradictory``: the note's person or admission is not that of the sample.
    """
    ids = {name: without_zeros(pl.col(name)).alias(f"{name} of the sample") for name in ("subject_id", "hadm_id")}
    sample = without_zeros(pl.col("patient_id")).alias("sample")
    stays = cohort.select(
        "patient_id",
        *ids.values(),
        sample,
        "admittime",
        "window_start",
        "window_end",
        without_zeros(pl.col(layout.key)).alias("id"),
    )
    during = (pl.col("note_time") >= pl.col("admittime")) & (pl.col("note_time") < pl.col("window_end"))
    columns = (
        "row",
        "patient_id",
        "note_time",
        "begun",
        "note_type",
        "text",
        "admittime",
        "window_start",
        "window_end",
        "by_time",
        "contradictory",
    )
    # what the file calls a patient may be the sample
    of_person = (pl.col("person") == pl.col("subject_id of the sample")) | (pl.col("person") == pl.col("sample"))
    of_admission = (pl.col("admission") == pl.col("hadm_id of the sample")).fill_null(value=True)
    agree = of_person.fill_null(value=True) & of_admission
    by_id = notes.join(stays, on="id").with_columns(
        pl.lit(value=layout.key == "subject_id").alias("by_time"), (~agree).alias("contradictory")
    )
    if layout.key == "subject_id":
        by_id = by_id.filter(pl.col("note_time") >= pl.col("admittime"))
    nameless, samples = notes.filter(pl.col("id").is_null()), stays.drop("id")
    by_admission = nameless.join(samples, left_on="admission", right_on="hadm_id of the sample").with_columns(
        pl.lit(value=False).alias("by_time"), (~of_person.fill_null(value=True)).alias("contradictory")
    )
    by_person = nameless.filter(pl.col("admission").is_null())
    by_person = by_person.join(samples, left_on="person", right_on="subject_id of the sample").filter(during)
    by_person = by_person.with_columns(pl.lit(value=True).alias("by_time"), pl.lit(value=False).alias("contradictory"))
    return pl.concat([table.select(columns) for table in (by_id, by_admission, by_person)])


def _id_if_any(column: str) -> pl.Expr:
    return plain_id(column) if column else pl.lit(None, pl.String)


def _note_type(layout: Layout) -> pl.Expr:
    """What kind of note it is: by the column of types, or MIMIC-IV-Note's own id (``10003400-DS-21``), or the file's name."""
    kinds = [pl.col(layout.type_column).str.strip_chars()] if layout.type_column else []
    kinds += [pl.col(layout.note_id_column).str.extract(KIND_IN_ID)] if layout.note_id_column else []
    named = [pl.when(kind != "").then(kind) for kind in kinds]
    return pl.coalesce(*named, pl.lit("discharge" if "discharge" in layout.path.name.lower() else "note"))


def _note_time(columns: Sequence[str]) -> pl.Expr:
    """The first of the columns that holds a time."""
    return day_end(pl.coalesce(*(parse_time(name) for name in columns), pl.lit(None, dtype=pl.Datetime("us"))))


def _not_a_time(columns: Sequence[str]) -> pl.Expr:
    """The text in a time column that is not a time; null where there is none."""
    texts = [pl.col(name).str.strip_chars() for name in columns]
    wrong = [pl.when(unread_time(name)).then(text) for name, text in zip(columns, texts, strict=True)]
    return pl.coalesce(*wrong, pl.lit(None, dtype=pl.String))
