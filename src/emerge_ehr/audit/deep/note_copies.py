"""Notes that stand in the records of two persons: passages that hardly anybody else has.

A passage (a shingle) is eight words in a row. Passages of many persons are templates, and tell nothing of who copied what.
"""

import numpy as np
import polars as pl

from emerge_ehr.audit.deep.examined import Examined
from emerge_ehr.audit.findings import Finding, told

WORDS = 8  # of a passage
FEW_PERSONS = 5  # have a passage that is no template
LEAST_SHARED = 0.5  # of the passages without templates of the shorter of the two notes
LEAST_PASSAGES = 20  # shared ones: 27 words in a row
LARGEST = 20_000_000  # passages that are kept; of more, an even share, chosen by their hash (Broder 1997)
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, so that the place of a word in a passage counts
CHECK = "no note in two splits"


def check(examined: Examined) -> Finding:
    """The finding on the notes of persons in different splits."""
    patients = examined.of_patients().filter(pl.col("part") != "")
    notes = examined.tables.notes.join(patients, on="patient_id")
    if notes.is_empty():
        return Finding(CHECK, "passed", "there are no notes")
    found = copies(notes.select("patient_id", "person", "part", "text"))
    if found.is_empty():
        return Finding(CHECK, "passed", f"no two of {notes.height} notes share half of the passages that few have")
    pairs = found.select("patient_id", "part", "patient_id_other", "part_other").unique(maintain_order=True)
    names = [f"'{one}' ({part}) and '{other}' ({part_other})" for one, part, other, part_other in pairs.head(3).rows()]
    detail = f"{found.height} pairs of notes of two persons are copies, such as those of {told(names, '; ')}"
    return Finding(CHECK, "warning", detail)


def copies(notes: pl.DataFrame) -> pl.DataFrame:
    """The pairs of copied notes of different persons in different splits, the most alike first.

    ``notes``: a row per note with ``patient_id, person, part, text``. The pairs have these columns of both notes but the texts,
    those of the second with ``_other``, and ``shared``, the number of passages that they share.
    """
    notes = notes.with_row_index("note")
    shingles, step = _shingles(notes)
    persons = notes.select("note", "person", "part", "patient_id")
    own = shingles.join(persons, on="note").with_columns(pl.col("person").n_unique().over("shingle").alias("persons"))
    own = own.filter(pl.col("persons") <= FEW_PERSONS)
    size = own.group_by("note").agg(pl.len().alias("size"))
    shared = own.filter(pl.col("persons") > 1).select("shingle", "note", "person", "part", "patient_id")
    pairs = shared.join(shared, on="shingle", suffix="_other").filter(
        (pl.col("note") < pl.col("note_other"))
        & (pl.col("person") != pl.col("person_other"))
        & (pl.col("part") != pl.col("part_other"))
    )
    keys = ["note", "note_other", "patient_id", "part", "patient_id_other", "part_other"]
    counted = pairs.group_by(keys).agg(pl.len().alias("shared"))
    counted = counted.join(size, on="note").join(
        size.rename({"note": "note_other", "size": "size_other"}), on="note_other"
    )
    enough = pl.col("shared") >= max(1, LEAST_PASSAGES // step)
    alike = pl.col("shared") >= LEAST_SHARED * pl.min_horizontal("size", "size_other")
    return counted.filter(enough & alike).sort("shared", "note", "note_other", descending=[True, False, False])


def _shingles(notes: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """The passages of each note, each once, as ``note, shingle``; of every so many hashes one, which is the second value."""
    words = notes.select("note", pl.col("text").str.to_lowercase().str.extract_all(r"[\p{L}\p{N}]+").alias("word"))
    words = words.explode("word").drop_nulls("word")
    note, code = words["note"].to_numpy(), words["word"].hash(seed=0).to_numpy()
    count = max(0, len(note) - WORDS + 1)
    shingle = np.zeros(count, dtype=np.uint64)
    for place in range(WORDS):
        shingle = shingle * MULTIPLIER + code[place : place + count]
    inside = note[:count] == note[WORDS - 1 :] if count else np.zeros(0, dtype=bool)
    step = 1 + int(inside.sum()) // LARGEST
    kept = inside & ((shingle >> np.uint64(32)) % np.uint64(step) == 0)
    return pl.DataFrame({"note": note[:count][kept], "shingle": shingle[kept]}).unique(), step
