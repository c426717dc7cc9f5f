"""Makes notes from eICU's note elements and diagnoses.

eICU holds no prose: a note is a form, and the table ``note`` has one row per element of it, with its place in the form
(``notepath``) and what was chosen or entered there. Diagnoses were picked from a list during the stay and carry that time. So
both were known at their time, unlike billing codes.
"""

from pathlib import Path

import polars as pl

from emerge_ehr.datasets.sources import Extract, Notes
from emerge_ehr.datasets.sources._raw.raw_csv import read
from emerge_ehr.datasets.sources.eicu.events import STAY, on_calendar
from emerge_ehr.datasets.window import LATE_NOTES

# Elements that say how the form was displayed, printed and filled in, and nothing about the patient.
FORM = r"^notes/Shared/|/[^/]*Options(?: \d+)?/|/Include Rx/|/Enter surgery Information\?/"
COLUMNS = ("patient_id", "note_time", "note_type", "text")

NOTHING = pl.DataFrame(schema={STAY: pl.Int64, "offset": pl.Int64, "note_type": pl.String, "line": pl.String})


def note_lines(path: Path) -> Extract:
    """``patientunitstayid, offset, note_type, line`` in the order of entry.

    The time of a note is its time of service, or the time when it was entered if that is later.
    """
    times, texts = ("noteoffset", "noteenteredoffset"), ("notetype", "notepath", "notevalue", "notetext")
    ids = dict.fromkeys(("noteid", STAY, *times), pl.Int64)
    rows = read(path, {**ids, **dict.fromkeys(texts, pl.String)}).sort("noteid")
    about_patient = rows.filter(~pl.col("notepath").str.contains(FORM).fill_null(value=False))
    counts = {"note elements about the form left out": rows.height - about_patient.height}
    kind = pl.coalesce(_text("notetype"), pl.lit("note"))
    offset = pl.max_horizontal(*times).alias("offset")
    return Extract(about_patient.select(STAY, offset, kind.alias("note_type"), element_line().alias("line")), counts)


def element_line() -> pl.Expr:
    """The last two steps of ``notepath``, ``notevalue`` and ``notetext``, joined without repeats.

    >>> rows = [("notes/Vital Signs/Resp Rate/Resp Current", "Resp Current", "24"), ("notes/Dyspnea/dyspnea", "dyspnea", "")]
    >>> elements = pl.DataFrame(rows, schema=["notepath", "notevalue", "notetext"], orient="row")
    >>> elements.select(element_line()).to_series().to_list()
    ['Resp Rate: Resp Current: 24', 'dyspnea']
    """
    # " / " occurs within a step: "Allergies / Preadmission Medications"
    steps = pl.col("notepath").str.replace_all(" / ", "\0", literal=True).str.split("/")
    last, above = (
        steps.list.get(place, null_on_oob=True).str.replace_all("\0", " / ", literal=True) for place in (-1, -2)
    )
    above = pl.when(above.str.to_lowercase() != last.str.to_lowercase()).then(above)
    parts = pl.concat_list(above, last, _text("notevalue"), _text("notetext"))
    return parts.list.drop_nulls().list.unique(maintain_order=True).list.join(": ")


def diagnosis_lines(path: Path) -> Extract:
    """The diagnoses, with the columns of ``note_lines``: ``cardiovascular|shock|sepsis`` -> ``cardiovascular: shock: sepsis``."""
    ids = dict.fromkeys(("diagnosisid", STAY, "diagnosisoffset"), pl.Int64)
    rows = read(path, {**ids, "diagnosisstring": pl.String}).sort("diagnosisid")
    line = _text("diagnosisstring").str.replace_all("|", ": ", literal=True)
    kind = pl.lit("diagnosis").alias("note_type")
    lines = rows.select(STAY, pl.col("diagnosisoffset").alias("offset"), kind, line.alias("line"))
    return Extract(lines.filter(pl.col("line").is_not_null()))


def assemble(lines: list[Extract], units: pl.DataFrame, cohort: pl.DataFrame, after_window: bool) -> Notes:
    """Make one note of all lines of a unit stay with the same time and type: ``patient_id, note_time, note_type, text``.

    A sample has the notes of its whole hospital admission, including those of an earlier unit stay. A note without a time is kept
    only if notes after the window are kept as well.
    """
    served = units.join(cohort.select("patient_id", "hadm_id"), on="hadm_id")
    served = served.select(STAY, "hospitaladmitoffset", "patient_id")
    rows = pl.concat([NOTHING, *(extract.table for extract in lines)]).join(served, on=STAY, maintain_order="left")
    rows = rows.with_columns(on_calendar(pl.col("offset")).alias("note_time"))
    text = pl.col("line").unique(maintain_order=True).str.join("\n").alias("text")
    table = rows.group_by("patient_id", STAY, "note_time", "note_type").agg(text)
    counts = {reason: count for extract in lines for reason, count in extract.counts.items()}
    counts["notes of the cohort"] = table.height
    if not after_window:
        timed = table.drop_nulls("note_time")
        # Notes without a time count as late; ``convert`` adds the late ones.
        counts[LATE_NOTES] = table.height - timed.height
        return Notes(timed.select(*COLUMNS).sort(*COLUMNS), counts)
    warning = "notes written after the observation window are kept (notes_after_window): they leak the future"
    return Notes(table.select(*COLUMNS).sort(*COLUMNS), counts, (warning,), after_window=True)


def _text(column: str) -> pl.Expr:
    text = pl.col(column).str.strip_chars()
    return pl.when(text != "").then(text)
