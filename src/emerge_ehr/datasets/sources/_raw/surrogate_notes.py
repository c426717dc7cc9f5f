"""Makes notes from billing codes, for data without notes. They leak, because codes are assigned after discharge."""

import polars as pl

from emerge_ehr.datasets.sources import Notes

WARNING = (
    "surrogate notes: no notes_file is set, so each note is made of the admission's diagnosis and procedure titles. "
    "Billing codes are assigned after discharge: they leak the future, and scores with them are optimistic"
)


def surrogate_notes(cohort: pl.DataFrame, titles: dict[str, pl.DataFrame]) -> Notes:
    """Make one note per admission, with the time of its discharge.

    ``titles``: heading -> table with ``hadm_id`` (text), ``seq_num, long_title``.
    """
    parts = []
    for heading, rows in titles.items():
        body = pl.format(f"{heading}:\n{{}}.", pl.col("long_title").str.join(".\n"))
        ordered = rows.sort("hadm_id", "seq_num", "long_title")
        parts.append(ordered.group_by("hadm_id", maintain_order=True).agg(body.alias("text")))
    text = pl.concat(parts).group_by("hadm_id", maintain_order=True).agg(pl.col("text").str.join("\n"))
    notes = cohort.select("patient_id", "hadm_id", "dischtime").join(text, on="hadm_id")
    notes = notes.select(
        "patient_id", pl.col("dischtime").alias("note_time"), pl.lit("surrogate").alias("note_type"), "text"
    )
    return Notes(notes.sort("patient_id"), {"surrogate notes": notes.height}, (WARNING,), after_window=True)
