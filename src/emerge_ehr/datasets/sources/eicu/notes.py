"""eICU's note elements and diagnoses -> notes.

eICU holds no prose: a note is a form of which ``note`` has one row an element, its place in the form (``notepath``), and what was
chosen or entered there. Diagnoses were picked from a list during the stay, and are stamped with that time. So both were
known when their time says, unlike billing codes.
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

    A note counts from when it was entered, if that is after the time of service it is filed under.
    """
    times, texts = ("noteoffset", "noteenteredoffset"), ("notetype", "notepath", "notevalue", "notetext")
    ids = dict.fromkeys(("noteid", STAY, *times), pl.Int64)
    rows = read(path, {**ids, **dict.fromkeys(texts, pl.String)}).sort("noteid")
    said = rows.filter(~pl.col("notepath").str.contains(FORM).fill_null(value=False))
    counts = {"note elements about the form left out": rows.height - said.height}
    kind = pl.coalesce(_text("notetype"), pl.lit("note"))
    offset = pl.max_horizontal(*times).alias("offset")
    return Extract(said.select(STAY, offset, kind.alias("note_type"), element_line().alias("line")), counts)


def element_line() -> pl.Expr:
    """The two last steps of ``notepath``, ``notevalue`` and ``notetext``, each once.

    >>> rows = [("notes/Vital Signs/Resp Rate/Resp Current", "Resp Current", "24"), ("notes/Dyspnea/dyspnea", "dyspnea", "")]
    >>> elements = pl.DataFrame(rows, schema=["notepath", "notevalue", "notetext"], orient="row")
    >>> elements.select(element_line()).to_series().to_list()
    ['Resp Rate: Resp Current: 24', 'dyspnea']
    """
    # " / " stands within a step: "Allergies / Preadmission Medications"
    steps = pl.col("notepath").str.replace_all(" / ", "\0", literal=True).str.split("/")
    last, above = (
        steps.list.get(place, null_on_oob=True).str.replace_all("\0", " / ", literal=True) for place in (-1, -2)
    )
    above = pl.when(above.str.to_lowercase() != last.str.to_lowercase()).then(above)
    said = pl.concat_list(above, last, _text("notevalue"), _text("notetext"))
    return said.list.drop_nulls().list.unique(maintain_order=True).list.join(": ")


def diagnosis_lines(path: Path) -> Extract:
    """As ``note_lines``: ``cardiovascular|shock / hypotension|sepsis`` -> ``cardiovascular: shock / hypotension: sepsis``."""
    ids = dict.fromkeys(("diagnosisid", STAY, "diagnosisoffset"), pl.Int64)
    rows = read(path, {**ids, "diagnosisstring": pl.String}).sort("diagnosisid")
    line = _text("diagnosisstring").str.replace_all("|", ": ", literal=True)
    kind = pl.lit("diagnosis").alias("note_type")
    lines = rows.select(STAY, pl.col("diagnosisoffset").alias("offset"), kind, line.alias("line"))
    return Extract(lines.filter(pl.col("line").is_not_null()))


def assemble(lines: list[Extract], units: pl.DataFrame, cohort: pl.DataFrame, after_window: bool) -> Notes:
    """``patient_id, note_time, note_type, text``: one note of all lines of a unit stay with the same time and type.

    A sample has the notes of its whole hospital admission, so also of an earlier unit stay. A note without a time stays only
    where the time does not matter.
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
        counts[LATE_NOTES] = table.height - timed.height  # as good as late; ``convert`` adds those that are
        return Notes(timed.select(*COLUMNS).sort(*COLUMNS), counts)
    warning = "notes written after the observation window are kept (notes_after_window): they leak the future"
    return Notes(table.select(*COLUMNS).sort(*COLUMNS), counts, (warning,), after_window=True)


def _text(column: str) -> pl.Expr:
    text = pl.col(column).str.strip_chars()
    return pl.when(text != "").then(text)
