"""SOCKET Source: where raw records come from. A source gives ``convert`` candidate stays, measurements and notes.

Every table that a source returns is typed: ids are text, times are Datetime, values are in canonical units (``signals``).
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import polars as pl

from emerge_ehr import components
from emerge_ehr.config import Config, Download
from emerge_ehr.datasets.predictions import Predictions
from emerge_ehr.datasets.treatments import Treatments
from emerge_ehr.fields import UserError
from emerge_ehr.signals.signals import Signal
from emerge_ehr.storage.schema import TREATMENTS

Match = Literal["stay_id", "hadm_id"]  # the id by which raw rows are matched to samples: ICU stay or hospital admission


@dataclass(frozen=True)
class Extract:
    """A table read from a source, the rows dropped on the way (reason -> number), and warnings for the user.

    ``dated``: what the source found to be dates rather than times, in its own words. A finished run gives them to ``of_run``, so
    that no new record changes how another is read.
    """

    table: pl.DataFrame
    counts: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    dated: tuple[str, ...] = ()


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

    ``value`` is scaled to the signal's unit, and null where it is not a number. ``convert`` drops rows that lie outside the
    sample's window, have no time, or occur twice; a source may drop rows outside the window itself to save work
    (``window.inside``). Further columns of ``frame`` are optional:

    - ``rank`` (unsigned, 0 if absent): of several values of a signal at one time those of the lowest rank count (``harmonise``);
      of a signal that is summed, the item, since two items may have the same value at one time
    - ``drops``: name of a boolean column -> the reason why rows where it is true are left out
    - ``repairs``: name of a boolean column -> what was done to rows where it is true, which are kept

    ``read``: signal -> the number of its rows in the whole file, whoever they belong to; filled while ``frame`` is read
    (``_raw.row_counts``). Empty where the source does not count them. ``orphans``: as ``read``, the rows of a stay that is not in
    the source's table of stays. ``table``: what the counts call the file, if not its name. ``tells_later``: a further column
    ``told`` says when the file told of a row, which may be later than its time (``convert.told``).
    """

    path: Path
    frame: pl.LazyFrame
    table: str = ""
    drops: Mapping[str, str] = field(default_factory=dict)
    repairs: Mapping[str, str] = field(default_factory=dict)
    read: Counter[str] = field(default_factory=Counter)
    orphans: Counter[str] = field(default_factory=Counter)
    tells_later: bool = False


class Source(Protocol):
    """Raw records of one dataset. Methods raise ``UserError`` for missing, damaged or misnamed files.

    ``one_calendar``: whether the times of a person's admissions say which of them came first. ``population``: whose records these
    are; sources of one population may hold the same person under different ids. Empty where that is not known.
    """

    @property
    def one_calendar(self) -> bool: ...

    @property
    def population(self) -> str: ...

    def is_open(self) -> bool:
        """Whether the options name records that anybody may use without a data use agreement, and no others.

        Which files are there is not looked at: a name in a config proves nothing of them. ``open_files`` does.
        """

    def open_files(self) -> frozenset[str]:
        """The SHA-256 of every raw file that ``download`` has verified as open, or generated; it need not be there any longer."""

    def download(self, settings: Download, offline: bool) -> None:
        """Download the raw files, or say in one line which of them are missing."""

    def inputs(self) -> list[Path]:
        """The raw files that will be read; all of them exist."""

    def stays(self) -> Extract:
        """Candidate ICU stays: ``subject_id, hadm_id, stay_id, admittime, intime, outtime, dischtime, deathtime, death, age, sex,
        ethnicity, icu_type, died`` (0/1, null if unknown or contradictory).

        ``deathtime``: death in the admission; ``death``: when the person died, in this admission or not, as far as the stay's
        calendar knows it. Of a death without a time of day, both are the end of that day.
        """

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


def all_open(source: Source, checksums: Collection[str]) -> bool:
    """Whether the raw files with these SHA-256 are open, all of them; no files prove nothing."""
    return source.is_open() and bool(checksums) and source.open_files().issuperset(checksums)


def chosen(config: Config) -> Source:
    """Build the source that the config names."""
    folders = {"raw_dir": config.raw_dir, "kg_dir": config.kg_dir}
    codes, predictions = source_labels(config), _predictions(config)
    source: Source = components.build(
        "source", config.source, seed=config.seed, label_codes=codes, predictions=predictions, **folders
    )
    return source


def bring_predictions(config: Config) -> bool:
    """Whether the task brings prediction times, so that samples are no stays, and nobody says when an outcome was known."""
    return components.offers("task", config.task, "predictions")


def _predictions(config: Config) -> Predictions | None:
    """The prediction times that the task brings, if it brings any; it then decides who is a sample, and when its window ends.

    Raises:
        UserError: the source takes none, or ``[cohort]`` would decide that too.
    """
    components.build("task", config.task)
    if not bring_predictions(config):
        return None
    named = f"[task] name = '{config.task.name}' brings prediction times"
    if not components.needs("source", config.source, "predictions"):
        raise UserError(
            f"{named}, which [source] name = '{config.source.name}' does not take; it needs the source meds"
        )
    rule = config.cohort
    if (rule.anchor, rule.window, rule.min_stay_hours) != ("icu", "last", 0):
        raise UserError(
            f"{named}, at which the window ends: set [cohort] window = 'last', min_stay_hours = 0 and no anchor; "
            f"window_hours = {rule.window_hours} is then how many hours before it the window begins"
        )
    found: Predictions = components.call("predictions", "task", config.task, raw_dir=config.raw_dir)
    return found


def source_labels(config: Config) -> tuple[str, ...]:
    """The outcomes of a source's own ``label.csv`` that the task predicts, or makes its labels of; empty for all of them."""
    task = components.build("task", config.task)
    if task.timing is None:
        return task.codes or ()
    return (task.timing.given,) if task.timing.given else ()


def asks_treatments(config: Config) -> bool:
    """Whether ``source.treatments`` asks for what the patients were given."""
    return config.source.options.get("treatments") is True


def treatments(config: Config, raw_dir: Path, cohort: pl.DataFrame, match: Match) -> Treatments | None:
    """What was begun in the windows of ``cohort``, from the raw files in ``raw_dir``.

    None where the config does not ask for it, or new records have none.

    A source that has treatments has an option ``treatments`` and a function of that name.

    Raises:
        UserError: a file is missing or faulty.
    """
    if not asks_treatments(config):
        return None
    found: Treatments | None = components.call(
        "treatments", "source", config.source, raw_dir=raw_dir, cohort=cohort, match=match
    )
    return found


def ignored_treatments(config: Config, folder: Path) -> list[str]:
    """A warning where ``treatments.csv`` is in the folder, and the config does not ask for it."""
    if asks_treatments(config) or not (folder / TREATMENTS.file).is_file():
        return []
    return [f"{folder / TREATMENTS.file} is not read; source.treatments = true would read it (docs/treatments.md)"]
