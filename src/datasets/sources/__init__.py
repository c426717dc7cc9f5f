"""SOCKET Source: where raw records come from. A source hands ``convert`` candidate stays, measurements and notes.

Every table a source returns is typed: ids are text, times are Datetime, values are in canonical units (``signals``).
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import polars as pl

from src.config import Download


@dataclass(frozen=True)
class Extract:
    """A table read from a source, what was dropped on the way (reason -> rows), and what the user must be told."""

    table: pl.DataFrame
    counts: dict[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class Source(Protocol):
    """Raw records of one dataset. Methods raise ``UserError`` for missing, damaged or misnamed files."""

    def download(self, settings: Download, offline: bool) -> None:
        """Bring the raw files onto the disk, or say in one line what is missing."""

    def inputs(self) -> list[Path]:
        """The raw files that will be read; every one exists."""

    def stays(self) -> pl.DataFrame:
        """Candidate ICU stays: ``subject_id, hadm_id, stay_id, intime, outtime, dischtime, deathtime, age, sex,
        ethnicity, icu_type, died`` (0/1, null if unknown)."""

    def measurements(self, cohort: pl.DataFrame) -> Extract:
        """``patient_id, event_time, code, value`` of the cohort's stays, inside their windows, duplicates removed."""

    def notes(self, cohort: pl.DataFrame) -> Extract:
        """``patient_id, note_time, note_type, text`` of the cohort's stays."""
