"""``treatments.csv``: what a hospital's own patients were given."""

from dataclasses import replace
from pathlib import Path

import polars as pl

from emerge_ehr.datasets.sources import Match
from emerge_ehr.datasets.sources.tables.source import Options
from emerge_ehr.datasets.treatments import RAW, Treatments, of_windows
from emerge_ehr.storage import schema
from emerge_ehr.storage.ids import id_text
from emerge_ehr.storage.table_files import read_table


def treatments(options: Options, *, raw_dir: Path, cohort: pl.DataFrame, match: Match) -> Treatments | None:
    """The rows of ``treatments.csv`` that were begun in the windows of ``cohort``; None where new records lack the file."""
    path = raw_dir / schema.TREATMENTS.file
    if not path.is_file():
        return None
    kept = tuple(
        replace(column, kind="text", nullable=column.name not in ("patient_id", "kind"))
        for column in schema.TREATMENTS.columns
    )
    rows = read_table(raw_dir, replace(schema.TREATMENTS, columns=kept))
    rows = rows.with_columns(id_text(pl.col("patient_id")), pl.lit(None, pl.String).alias("ordered"))
    found = of_windows(rows.select(RAW), cohort, path)
    return replace(found, counts={"rows": rows.height, **found.counts})
