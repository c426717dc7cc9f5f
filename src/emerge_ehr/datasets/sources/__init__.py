"""SOCKET Source: where raw records come from. A source gives ``convert`` candidate stays, measurements and notes.

Every table that a source returns is typed: ids are text, times are Datetime, values are in canonical units (``signals``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import polars as pl

from emerge_ehr import components
from emerge_ehr.config import Config, Download
from emerge_ehr.signals.signals import Signal

Match = Literal["stay_id", "hadm_id"]  # the id by which raw rows are matched to samples: ICU stay or hospital admission


@dataclass(frozen=True)
class Extract:
    """A table read from a source, the rows dropped on the way (reason -> number), and warnings for the user."""

    table: pl.DataFrame
    counts: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Notes:
    """``table`` has ``patient_id, note_time, note_type, text``; ``counts`` and ``warnings`` are as in ``Extract``.

    ``after_window``: notes from after the observation window are kept, and a warning says so. Otherwise ``convert`` leaves
    them out and counts them.
    """

    table: pl.DataFrame
    counts: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    after_window: bool = False


@dataclass(frozen=True)
class Events:
    """Measurements in one raw file, as a lazy frame: ``n`` (UInt32, the sample's row in the cohort), ``event_time, code, value``.

    ``value`` is scaled to the signal's unit, and null where it is not a number. The column ``repaired`` is optional: rows where
    it is true are kept, and counted under the words in ``repair``. ``convert`` drops rows that lie outside the sample's window,
    have no time, or occur twice; a source may drop rows outside the window itself to save work (``window.inside``).
    """

    path: Path
    frame: pl.LazyFrame
    repair: str = ""


class Source(Protocol):
    """Raw records of one dataset. Methods raise ``UserError`` for missing, damaged or misnamed files."""

    def is_open(self) -> bool:
        """Whether anybody may use the records without a data use agreement.

        This is said of the files in ``raw_dir`` as far as they show it or, where there are none yet, of those that would be
        downloaded.
        """

    def download(self, settings: Download, offline: bool) -> None:
        """Download the raw files, or say in one line which of them are missing."""

    def inputs(self) -> list[Path]:
        """The raw files that will be read; all of them exist."""

    def stays(self) -> Extract:
        """Candidate ICU stays: ``subject_id, hadm_id, stay_id, admittime, intime, outtime, dischtime, deathtime, age, sex,
        ethnicity, icu_type, died`` (0/1, null if unknown)."""

    def signals(self) -> tuple[Signal, ...]:
        """The signals that the codes of ``measurements`` name; they are the features, in this order."""

    def measurements(self, cohort: pl.DataFrame, match: Match) -> list[Events]:
        """Measurements of the cohort (``n, patient_id, subject_id, hadm_id, stay_id, window_start, window_end``)."""

    def notes(self, cohort: pl.DataFrame) -> Notes:
        """Notes of the cohort's samples."""

    def records(self, kind: Literal["admissions", "diagnoses", "labels"]) -> pl.DataFrame:
        """Records of all persons that only some tasks need:

        - admissions: ``subject_id, hadm_id, admittime, dischtime, planned`` (bool)
        - diagnoses: ``hadm_id, icd_version`` (9 or 10), ``icd_code`` (without dot)
        - labels: ``patient_id, label_time, label_code, label_value``

        Raises:
            UserError: the source has no such records.
        """


def chosen(config: Config) -> Source:
    """Build the source that the config names."""
    folders = {"raw_dir": config.raw_dir, "kg_dir": config.kg_dir}
    source: Source = components.build("source", config.source, seed=config.seed, **folders)
    return source
