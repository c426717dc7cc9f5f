"""Reads the table ``note``: what was written of the cohort's samples before their windows closed."""

import polars as pl

from emerge_ehr.datasets.sources import Notes
from emerge_ehr.datasets.sources._raw.note_files import DISCHARGE
from emerge_ehr.datasets.sources._raw.raw_csv import collect
from emerge_ehr.datasets.sources.omop import concepts
from emerge_ehr.datasets.sources.omop.tables import ID, TEXT, TIME, Tables
from emerge_ehr.datasets.window import BEFORE, LATE_NOTES, NO_TEXT, has_text, textless
from emerge_ehr.fields import plural
from emerge_ehr.storage.ids import stated
from emerge_ehr.storage.times import day_end

COLUMNS = {
    **dict.fromkeys(("person_id", "visit_occurrence_id", "visit_detail_id"), ID),
    **dict.fromkeys(("note_class_concept_id", "note_type_concept_id"), ID),
    **dict.fromkeys(("note_date", "note_datetime"), TIME),
    **dict.fromkeys(("note_title", "note_source_value", "note_text"), TEXT),
}
OUTSIDE = "notes of persons or admissions outside the cohort"
SCHEMA = {"patient_id": TEXT, "note_time": TIME, "note_type": TEXT, "text": TEXT}


def read(tables: Tables, cohort: pl.DataFrame, details: pl.DataFrame, *, discharge: bool) -> Notes:
    """The notes of the samples' stays and admissions; those that name no admission are the person's since the admission.

    A note's time is ``note_datetime``, else ``note_date``; a date without a time of day, or midnight, is the end of that day.
    Texts after the window are not kept in memory. Its type is the title, else the name of its class or type, else what the source
    calls it. ``discharge``: whether discharge summaries are kept.
    """
    if not tables.has("note"):
        return Notes(pl.DataFrame(schema=SCHEMA))
    samples = cohort.lazy().select(
        pl.col("subject_id").cast(ID).alias("person_id"),
        "patient_id",
        "admittime",
        "window_start",
        "window_end",
        pl.col("hadm_id").cast(ID, strict=False).alias("our_hadm_id"),
        pl.col("stay_id").cast(ID, strict=False).alias("our_stay_id"),
    )
    by_stay = bool((cohort["patient_id"] == cohort["stay_id"]).all())
    time = day_end(pl.coalesce("note_datetime", "note_date")).alias("note_time")
    notes = tables.scan("note", COLUMNS, ("person_id", "note_date", "note_text")).with_row_index("row")
    notes = notes.with_columns(time, *map(stated, ("visit_occurrence_id", "visit_detail_id")))
    matched = notes.join(samples, on="person_id").join(
        details.lazy().rename({"stay_id": "of_stay"}), on="visit_detail_id", how="left"
    )
    since = pl.coalesce("admittime", "window_start") - BEFORE
    same = (pl.col("visit_occurrence_id") == pl.col("our_hadm_id")).fill_null(pl.col("note_time") >= since)
    if by_stay:
        same = same & (pl.col("of_stay") == pl.col("our_stay_id")).fill_null(value=True)
    late = pl.col("note_time") >= pl.col("window_end")
    text = pl.when(~late.fill_null(value=False) & (pl.col("note_text").str.strip_chars() != "")).then("note_text")
    blank = ~has_text("note_text")
    chosen = matched.filter(same.fill_null(value=False)).with_columns(
        late.fill_null(value=False).alias("late"), blank.alias("blank"), text.alias("text")
    )
    rows = collect(chosen.drop("note_text"), tables.path("note"))
    total = int(collect(notes.select(pl.len()), tables.path("note")).item())
    return _counted(rows.with_columns(_kind(rows, tables)), total, discharge=discharge)


def _counted(rows: pl.DataFrame, total: int, *, discharge: bool) -> Notes:
    counts = {
        "notes read": total,
        OUTSIDE: total - rows["row"].n_unique(),
        "notes of the cohort": rows.height,
        NO_TEXT: rows.filter("blank").height,
    }
    empty = textless("note: note_text", counts[NO_TEXT], rows.height)
    rows = rows.filter(~pl.col("blank"))
    if not discharge:
        summary = pl.col("note_type").str.contains(DISCHARGE).fill_null(value=False)
        counts["discharge summaries excluded"] = rows.filter(summary).height
        rows = rows.filter(~summary)
    counts[LATE_NOTES] = rows.filter("late").height
    table = rows.filter(~pl.col("late")).select(list(SCHEMA))
    untimed = table["note_time"].null_count()
    warning = (
        f"{plural(untimed, 'note carries', 'notes carry')} no time, and may have been written after the observation "
        "window"
    )
    return Notes(table.sort(table.columns), counts, (*empty, *([warning] if untimed else [])))


def _kind(rows: pl.DataFrame, tables: Tables) -> pl.Expr:
    """What sort of note a row is. All that is said of it is looked at for a discharge summary, which the title may not say."""
    columns = ("note_class_concept_id", "note_type_concept_id")
    ids = pl.concat([rows[column] for column in columns])
    named = concepts.names(tables, ids).select("concept_id", "concept_name").drop_nulls()
    names = [
        pl.col(column).replace_strict(named["concept_id"], named["concept_name"], default=None, return_dtype=TEXT)
        for column in columns
    ]
    said = [pl.col("note_title"), names[0], pl.col("note_source_value"), names[1]]
    stated_ = [pl.when(text.str.strip_chars() != "").then(text.str.strip_chars()) for text in said]
    summary = [pl.when(text.str.contains(DISCHARGE)).then(text) for text in stated_[:3]]
    return pl.coalesce(*summary, *stated_, pl.lit("note")).alias("note_type")
