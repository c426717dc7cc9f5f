"""Makes notes from billing codes, for data without notes. They leak, because codes are assigned after discharge."""

import polars as pl

from emerge_ehr.datasets.sources import Notes
from emerge_ehr.datasets.sources._raw import icd9_codes
from emerge_ehr.datasets.sources._raw.icd9_codes import icd_code

FEW = 0.05  # the share of the codes that may be lost without a warning
WHY_LOST = ("they name nothing in the notes; are codes and titles of one version?", "is a file doubled?")
WARNING = (
    "surrogate notes: no notes_file is set, so each note is made of the admission's diagnosis and procedure titles. "
    "Billing codes are assigned after discharge: they leak the future, and scores with them are optimistic"
)


def titled(rows: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """The ``rows`` of codes (``icd_version, icd_code, ...``) with their ``long_title``, null where ``names`` has none.

    ``zeros_lost``: an ICD-9 code has no title, but would with zeros in front.
    """
    key = ["icd_version", "icd_code"]
    rows, names = (table.with_columns(icd_code(pl.col("icd_code")).alias("icd_code")) for table in (rows, names))
    names = names.unique(key, keep="first", maintain_order=True)
    nine = names.filter(pl.col("icd_version") == 9)["icd_code"]
    lost = (pl.col("icd_version") == 9) & icd9_codes.zeros_lost(pl.col("icd_code"), nine)
    return rows.join(names, on=key, how="left").with_columns(lost.alias("zeros_lost"))


def surrogate_notes(cohort: pl.DataFrame, titles: dict[str, pl.DataFrame]) -> Notes:
    """Make one note per admission, with the time of its discharge.

    ``titles``: heading -> the codes of all admissions, ``hadm_id`` (text), ``seq_num`` and the columns of ``titled``. Codes
    without a title are left out and counted, and so is the second of two equal rows.
    """
    parts, counts, warnings = [], {}, [WARNING]
    for heading, every in titles.items():
        rows = every.unique(maintain_order=True)
        named = rows.drop_nulls("long_title")
        untitled, twice = (
            f"{heading.lower()} without a title, left out",
            f"{heading.lower()} that stand twice, left out",
        )
        lost = {untitled: rows.height - named.height, twice: every.height - rows.height}
        counts.update(lost)
        warnings += [
            f"{count} of {every.height} {reason}: {WHY_LOST[reason == twice]}"
            for reason, count in lost.items()
            if count > FEW * every.height
        ]
        nine = rows.filter(pl.col("icd_version") == 9)
        warnings += icd9_codes.warnings(nine["icd_code"], heading.lower(), nine.filter("zeros_lost").height)
        body = pl.format(f"{heading}:\n{{}}.", pl.col("long_title").str.join(".\n"))
        ordered = named.sort("hadm_id", "seq_num", "long_title")
        parts.append(ordered.group_by("hadm_id", maintain_order=True).agg(body.alias("text")))
    text = pl.concat(parts).group_by("hadm_id", maintain_order=True).agg(pl.col("text").str.join("\n"))
    notes = cohort.select("patient_id", "hadm_id", "dischtime").join(text, on="hadm_id")
    notes = notes.select(
        "patient_id", pl.col("dischtime").alias("note_time"), pl.lit("surrogate").alias("note_type"), "text"
    )
    return Notes(
        notes.sort("patient_id"), {"surrogate notes": notes.height, **counts}, tuple(warnings), after_window=True
    )
