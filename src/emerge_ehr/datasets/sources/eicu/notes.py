"""Makes notes from eICU's note elements, past history, admission diagnoses and diagnoses.

eICU holds no prose: a note is a form, and the tables have one row per element of it, with its place in the form and what was
chosen or entered there (``forms``). Diagnoses were picked from lists during the stay and carry that time. So all were known at
their time, unlike billing codes.

A note is a heading and a list of lines, since that is what readers of notes understand: under "Past Medical History:" a disease
is past, under "Family History:" it is a relative's, and "no" governs only its own line.
"""

from pathlib import Path

import polars as pl

from emerge_ehr.datasets.sources import Extract, Notes
from emerge_ehr.datasets.sources._raw.raw_csv import read
from emerge_ehr.datasets.sources.eicu import findings, forms
from emerge_ehr.datasets.sources.eicu.events import STAY, on_calendar
from emerge_ehr.datasets.window import LATE_NOTES

COLUMNS = ("patient_id", "note_time", "note_type", "text")
LINES = {STAY: pl.Int64, "offset": pl.Int64, **dict.fromkeys(("note_type", "heading", "line"), pl.String)}
NOTHING = pl.DataFrame(schema=LINES)
PAST_HISTORY, ADMISSION_DIAGNOSIS, DIAGNOSIS = "past history", "admission diagnosis", "diagnosis"
# A note from longer before both the hospital and the unit admission is of another stay.
ABOUT_FORM = "elements about the form left out"
QUESTIONS = {
    "Elective": "elective surgery",
    "Was the patient admitted from the O.R. or went to the O.R. within 4 hours of admission?": "admission from the operating "
    "room, or going there within 4 hours",
}


def note_lines(path: Path) -> Extract:
    """``patientunitstayid, offset, note_type, heading, line`` of the elements of ``note``, in the order of entry.

    The time of a note is its time of service, or the time when it was entered if that is later.
    """
    times, texts = ("noteoffset", "noteenteredoffset"), ("notetype", "notepath", "notevalue", "notetext")
    ids = dict.fromkeys(("noteid", STAY, *times), pl.Int64)
    rows = read(path, {**ids, **dict.fromkeys(texts, pl.String)}).sort("noteid")
    kind = pl.coalesce(_text("notetype"), pl.lit("note"))
    return _form_lines(rows, "note", texts[1:], times, kind)


def past_history_lines(path: Path) -> Extract:
    """The elements of ``pastHistory``, with the columns of ``note_lines``, under the heading "Past Medical History".

    Those of a family history within it are the family's, and keep its heading.
    """
    times = ("pasthistoryoffset", "pasthistoryenteredoffset")
    texts = ("pasthistorypath", "pasthistoryvalue", "pasthistoryvaluetext")
    ids = dict.fromkeys(("pasthistoryid", STAY, *times), pl.Int64)
    rows = read(path, {**ids, **dict.fromkeys(texts, pl.String)}).sort("pasthistoryid")
    extract = _form_lines(rows, "past history", texts, times, pl.lit(PAST_HISTORY))
    heading = pl.when(pl.col("heading") == forms.FAMILY).then("heading").otherwise(pl.lit(forms.PAST)).alias("heading")
    return Extract(extract.table.with_columns(heading), extract.counts)


def diagnosis_lines(path: Path) -> Extract:
    """The diagnoses, with the columns of ``note_lines``: of each what was found, without the categories it was found under.

    ``cardiovascular|chest pain / ASHD|coronary artery disease|known`` -> ``coronary artery disease: known``.
    """
    ids = dict.fromkeys(("diagnosisid", STAY, "diagnosisoffset"), pl.Int64)
    rows = read(path, {**ids, "diagnosisstring": pl.String}).sort("diagnosisid")
    lines = rows.select(
        STAY,
        pl.col("diagnosisoffset").alias("offset"),
        pl.lit(DIAGNOSIS).alias("note_type"),
        pl.lit("Diagnoses").alias("heading"),
        diagnosis_line().alias("line"),
    )
    blank = lines["line"].null_count()
    return Extract(lines.drop_nulls("line"), {"diagnoses without text": blank} if blank else {})


def diagnosis_line() -> pl.Expr:
    """What ``diagnosisstring`` says was found.

    >>> paths = ["cardiovascular|chest pain / ASHD|coronary artery disease|known", "endocrine|DKA", "sepsis", "a|b|sepsis|sepsis"]
    >>> pl.DataFrame({"diagnosisstring": paths}).select(diagnosis_line()).to_series().to_list()
    ['coronary artery disease: known', 'DKA', 'sepsis', 'sepsis']
    """
    return forms.tidy(findings.each(_text("diagnosisstring"), findings.diagnosis))


def admission_diagnosis_lines(path: Path) -> Extract:
    """What the APACHE form says of the reason for admission, with the columns of ``note_lines``.

    The element that names only the organ system is a category, and left out.
    """
    texts = ("admitdxpath", "admitdxname", "admitdxtext")
    ids = dict.fromkeys(("admissiondxid", STAY, "admitdxenteredoffset"), pl.Int64)
    rows = read(path, {**ids, **dict.fromkeys(texts, pl.String)}).sort("admissiondxid")
    category = pl.col("admitdxpath").str.contains(r"\|Organ System\|").fill_null(value=False)
    kept = rows.filter(~category)
    steps = pl.col("admitdxpath").str.split("|").list.eval(pl.element().str.strip_chars())
    last = pl.coalesce(_text("admitdxname"), steps.list.get(-1))
    question = steps.list.get(-2, null_on_oob=True).replace(QUESTIONS)
    operative = pl.when(steps.list.contains("Operative")).then(pl.lit(" (operative)"))
    answer = pl.when(last == "specified").then(pl.coalesce(_text("admitdxtext"), last)).otherwise(last)
    repeats = question.str.to_lowercase() == last.str.to_lowercase()
    line = (
        pl.when(steps.list.contains("All Diagnosis"))
        .then(pl.concat_str(findings.each(forms.tidy(last), findings.admission), operative, ignore_nulls=True))
        .otherwise(forms.answered(pl.when(~repeats).then(question), answer))
    )
    lines = kept.select(
        STAY,
        pl.col("admitdxenteredoffset").alias("offset"),
        pl.lit(ADMISSION_DIAGNOSIS).alias("note_type"),
        pl.lit("Admission Diagnosis").alias("heading"),
        line.alias("line"),
    )
    counts = {"admission diagnoses that name only an organ system left out": rows.height - kept.height}
    return Extract(lines.drop_nulls("line"), counts)


def assemble(lines: list[Extract], units: pl.DataFrame, cohort: pl.DataFrame, after_window: bool) -> Notes:
    """Make one note of all lines of a unit stay with the same time and type: ``patient_id, note_time, note_type, text``.

    A sample has the notes of its whole hospital admission, including those of an earlier unit stay. A note without a time is kept
    only if notes after the window are kept as well.
    """
    served = units.join(cohort.select("patient_id", "hadm_id"), on="hadm_id")
    served = served.select(STAY, "hospitaladmitoffset", "patient_id")
    every = pl.concat([NOTHING, *(extract.table for extract in lines)])
    counts = {reason: count for extract in lines for reason, count in extract.counts.items()}
    if orphans := every.join(units, on=STAY, how="anti").height:
        counts["lines of notes of a unit stay that is not in patient"] = orphans
    rows = every.join(served, on=STAY, maintain_order="left")
    rows = rows.with_columns(on_calendar(pl.col("offset")).alias("note_time"))
    note = ("patient_id", STAY, "note_time", "note_type")
    listed = pl.concat_str(pl.lit("- "), pl.col("line").unique(maintain_order=True)).str.join("\n")
    parts = rows.group_by(*note, "heading", maintain_order=True).agg(listed.alias("listed"))
    part = pl.concat_str("heading", pl.lit(":\n"), "listed")
    table = parts.group_by(note, maintain_order=True).agg(part.str.join("\n\n").alias("text"))
    counts["notes of the cohort"] = table.height
    if not after_window:
        timed = table.drop_nulls("note_time")
        # Notes without a time count as late; ``convert`` adds the late ones.
        counts[LATE_NOTES] = table.height - timed.height
        return Notes(timed.select(*COLUMNS).sort(*COLUMNS), counts)
    warning = "notes written after the observation window are kept (notes_after_window): they leak the future"
    return Notes(table.select(*COLUMNS).sort(*COLUMNS), counts, (warning,), after_window=True)


def _form_lines(
    rows: pl.DataFrame, name: str, texts: tuple[str, ...], times: tuple[str, str], note_type: pl.Expr
) -> Extract:
    """The lines of elements whose path, value and text are in the columns ``texts``."""
    path, value, text = texts
    about_patient = rows.filter(~forms.is_form(path, value))
    counts = {f"{name} {ABOUT_FORM}": rows.height - about_patient.height}
    lines = forms.with_lines(about_patient, path, value, text)
    offset = pl.max_horizontal(*times).alias("offset")
    table = lines.select(STAY, offset, note_type.alias("note_type"), "heading", "line")
    return Extract(table.filter(pl.col("line").fill_null("") != ""), counts)


def _text(column: str) -> pl.Expr:
    text = pl.col(column).str.strip_chars()
    return pl.when(text != "").then(text)
