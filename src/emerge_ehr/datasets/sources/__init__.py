"""SOCKET Source: where raw records come from. A source hands ``convert`` candidate stays, measurements and notes.

Every table a source returns is typed: ids are text, times are Datetime, values are in canonical units (``signals``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import polars as pl

from emerge_ehr.config import Download
from emerge_ehr.signals.signals import Signal

Match = Literal["stay_id", "hadm_id"]  # what makes a raw row a sample's: its ICU stay, or its hospital admission


@dataclass(frozen=True)
class Extract:
    """A table read from a source, what was dropped on the way (reason -> rows), and what the user must be told."""

    table: pl.DataFrame
    counts: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Events:
    """Measurements in one raw file, lazily: ``n`` (UInt32, the sample's row in the cohort), ``event_time, code, value``.

    ``value`` is scaled to the signal's unit, null where it is no number. Where ``repaired`` is true the row was
    ``repair``: counted, and kept. Rows outside the sample's window are already gone; duplicates, and rows whose time is null,
    are not: they are counted when they go.
    """

    path: Path
    frame: pl.LazyFrame
    repair: str = ""


class Source(Protocol):
    """Raw records of one dataset. Methods raise ``UserError`` for missing, damaged or misnamed files."""

    def download(self, settings: Download, offline: bool) -> None:
        """Bring the raw files onto the disk, or say in one line what is missing."""

    def inputs(self) -> list[Path]:
        """The raw files that will be read; every one exists."""

    def stays(self) -> Extract:
        """Candidate ICU stays: ``subject_id, hadm_id, stay_id, admittime, intime, outtime, dischtime, deathtime, age, sex,
        ethnicity, icu_type, died`` (0/1, null if unknown)."""

    def signals(self) -> tuple[Signal, ...]:
        """What the codes of ``measurements`` mean; the features, in this order."""

    def measurements(self, cohort: pl.DataFrame, match: Match) -> list[Events]:
        """Measurements of the cohort (``n, patient_id, subject_id, hadm_id, stay_id, window_start, window_end``)."""

    def notes(self, cohort: pl.DataFrame) -> Extract:
        """``patient_id, note_time, note_type, text`` of the cohort's stays."""

    def records(self, kind: Literal["admissions", "diagnoses", "labels"]) -> pl.DataFrame:
        """What only some tasks need, of all persons:

        - admissions: ``subject_id, hadm_id, admittime, dischtime, planned`` (bool)
        - diagnoses: ``hadm_id, icd_version`` (9 or 10), ``icd_code`` (without dot)
        - labels: ``patient_id, label_time, label_code, label_value``

        Raises:
            UserError: the source has no such records.
        """
