"""The notes that a run's artefacts were made from, as long as the table still is where it was."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from emerge_ehr.config import Config
from emerge_ehr.datasets.window import has_text
from emerge_ehr.preprocess.inputs import landmarks
from emerge_ehr.rag.records import joined_notes
from emerge_ehr.storage import schema, table_files


def path(config: Config) -> Path:
    """Where the notes are."""
    return config.table_dir / schema.NOTES.file


def joined(config: Config, samples: Sequence[str]) -> list[str]:
    """The notes of each of the ``samples`` (``patient_id``), joined to one text, as they were read for mentions."""
    folder, hours = config.table_dir, config.cohort.landmarks
    stays = [landmarks.stay_of(sample) for sample in samples] if hours else list(samples)
    rows = table_files.scan_table(folder, schema.NOTES).filter(pl.col("patient_id").is_in(stays) & has_text())
    written = table_files.collect_table(rows, path(config))
    if hours:
        cohort = landmarks.samples(table_files.read_table(folder, schema.COHORT), hours)
        written = landmarks.notes(written, cohort.filter(pl.col("patient_id").is_in(list(samples))))
    return joined_notes(written, samples)
