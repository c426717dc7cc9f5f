"""Source for the eICU Collaborative Research Database v2.0, all tables in one folder: the open demo 2.0.1 or the full copy.

eICU gives times as minutes from unit admission. The dates here are fictitious: each hospital admission begins at 2100-01-01
00:00:00 (``eicu.events``), so only differences of times within an admission mean anything.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

import polars as pl

from emerge_ehr.config import Download
from emerge_ehr.datasets.sources import Events, Extract, Match, Notes, Source
from emerge_ehr.datasets.sources._raw.raw_csv import find, look, read
from emerge_ehr.datasets.sources.eicu import events as eicu_events
from emerge_ehr.datasets.sources.eicu import notes as eicu_notes
from emerge_ehr.datasets.sources.eicu.events import STAY, on_calendar
from emerge_ehr.datasets.sources.eicu.items import ADMISSION, APERIODIC, PERIODIC
from emerge_ehr.fetch import physionet
from emerge_ehr.fields import UserError
from emerge_ehr.signals.signals import SIGNALS, Signal

MEASURED = ("vitalPeriodic", "vitalAperiodic", "lab", "nurseCharting")
# what is lost if a table is missing; only patient and one of MEASURED are required
LOST = {
    "vitalPeriodic": "vital signs from the monitor",
    "vitalAperiodic": "non-invasive blood pressures from the monitor",
    "lab": "laboratory glucose, pH and FiO2",
    "nurseCharting": "charted vital signs and the Glasgow Coma Scale",
    "note": "notes",
    "diagnosis": "diagnoses, which serve as notes",
}
HOSPITAL = "patienthealthsystemstayid"
OFFSETS = ("hospitaladmitoffset", "hospitaldischargeoffset", "unitdischargeoffset")
TEXTS = ("uniquepid", "gender", "age", "ethnicity", "unittype", "hospitaldischargestatus", "unitdischargestatus")
# ICD-9 codes begin with a digit, V, or E and three digits; all other codes are ICD-10
ICD9 = r"^(?:\d|V|E\d{3})"
ID = pl.Int64


@dataclass(frozen=True)
class Options:
    """``project``/``version``: the PhysioNet project to download; empty for a credentialed copy that was put in place by hand.

    ``notes_after_window``: keep notes and diagnoses that were entered after the window as well; they leak the future.
    """

    project: str = ""
    version: str = ""
    notes_after_window: bool = False


@final
@dataclass(frozen=True)
class Eicu:
    """The source whose raw files are in ``raw_dir``."""

    options: Options
    raw_dir: Path

    def is_open(self) -> bool:
        """Whether the files are those of the demo, which is open."""
        return physionet.is_open(self.options.project, self.raw_dir)

    def download(self, settings: Download, offline: bool) -> None:
        """Download the demo's files from PhysioNet; a credentialed copy is only checked for the tables that are required."""
        if not self.options.project:
            self.inputs()
            return
        names = [f"{name}.csv.gz" for name in ("patient", *LOST)]
        physionet.download(self.options.project, self.options.version, names, self.raw_dir, settings, offline)

    def inputs(self) -> list[Path]:
        """The table ``patient``, and those of the other tables that are there.

        Raises:
            UserError: there is no ``patient``, or no table of measurements.
        """
        patient = find(self.raw_dir, "patient")
        paths = {name: path for name in LOST if (path := look(self.raw_dir, name))}
        if not paths.keys() & set(MEASURED):
            raise UserError(
                f"{self.raw_dir}: none of {', '.join(MEASURED)} is there (.csv.gz or .csv): there is nothing to measure; "
                "check paths.raw_dir, or run --stage download"
            )
        return [patient, *paths.values()]

    def stays(self) -> Extract:
        """The unit stays in ``patient``, a row per stay. Ages above 89 are 90.

        Patients who died in the unit died at unit discharge, others who died at hospital discharge. Where the unit records a
        death and the hospital a discharge alive, the outcome is unknown.
        """
        path = find(self.raw_dir, "patient")
        columns = {**dict.fromkeys((STAY, HOSPITAL, *OFFSETS), ID), **dict.fromkeys(TEXTS, pl.String)}
        rows = read(path, columns, key=(STAY,))
        rows = rows.with_columns(_blank_is_null(name) for name in TEXTS)
        hospital, unit = (pl.col(f"{place}dischargestatus").str.to_lowercase() for place in ("hospital", "unit"))
        in_unit = unit.eq_missing("expired")
        dead = hospital.eq_missing("expired") | (hospital.is_null() & in_unit)
        died = pl.when(dead).then(1).when((hospital == "alive") & ~in_unit).then(0)
        age = pl.when(pl.col("age").str.contains(r"^>\s*89$")).then(90).otherwise(pl.col("age").cast(ID, strict=False))
        stays = rows.select(
            pl.col("uniquepid").alias("subject_id"),
            *_ids(),
            on_calendar(pl.col("hospitaladmitoffset")).alias("admittime"),
            on_calendar(pl.lit(0)).alias("intime"),
            on_calendar(pl.col("unitdischargeoffset")).alias("outtime"),
            on_calendar(pl.col("hospitaldischargeoffset")).alias("dischtime"),
            pl.when(in_unit).then("unitdischargeoffset").otherwise("hospitaldischargeoffset").alias("death"),
            age.alias("age"),
            pl.col("gender").str.to_lowercase().replace_strict({"male": "M", "female": "F"}, default=None).alias("sex"),
            "ethnicity",
            pl.col("unittype").alias("icu_type"),
            died.alias("died"),
            "hospitaladmitoffset",
        )
        deathtime = pl.when(pl.col("died") == 1).then(on_calendar(pl.col("death"))).alias("deathtime")
        stays = stays.with_columns(deathtime).drop("death", "hospitaladmitoffset")
        contradictory = rows.filter(in_unit & (hospital == "alive")).height
        return Extract(stays, {"expired in the unit, discharged alive": contradictory}, self._missing())

    def signals(self) -> tuple[Signal, ...]:
        """The 17 signals of the benchmark; eICU has no capillary refill."""
        return SIGNALS

    def measurements(self, cohort: pl.DataFrame, match: Match) -> list[Events]:
        """Measurements of the unit stay, or of all unit stays of the admission, including those outside the cohort."""
        units, patient = self._units(), find(self.raw_dir, "patient")
        served = eicu_events.windows(units, cohort, match)
        paths = {name: path for name in MEASURED if (path := look(self.raw_dir, name))}
        readers = {
            "vitalPeriodic": lambda path: eicu_events.vitals(path, PERIODIC, served),
            "vitalAperiodic": lambda path: eicu_events.vitals(path, APERIODIC, served),
            "lab": lambda path: eicu_events.labs(path, served),
            "nurseCharting": lambda path: eicu_events.nurse_chart(path, served),
        }
        return [eicu_events.admission(patient, units, served), *(readers[name](path) for name, path in paths.items())]

    def notes(self, cohort: pl.DataFrame) -> Notes:
        """Notes made from the tables ``note`` and ``diagnosis``; a sample may have none."""
        readers = {"note": eicu_notes.note_lines, "diagnosis": eicu_notes.diagnosis_lines}
        lines = [reader(path) for name, reader in readers.items() if (path := look(self.raw_dir, name))]
        return eicu_notes.assemble(lines, self._units(), cohort, self.options.notes_after_window)

    def records(self, kind: Literal["admissions", "diagnoses", "labels"]) -> pl.DataFrame:
        """Diagnoses, from the ICU's own list, in which an entry carries an ICD-9 and an ICD-10 code: "414.00, I25.10".

        Raises:
            UserError: ``kind`` is admissions or labels, which this source does not have.
        """
        if kind == "admissions":
            raise UserError(
                "[source] name = 'eicu' holds no dates between hospital admissions, so readmission cannot be labelled; "
                "choose another task"
            )
        if kind == "labels":
            raise UserError("[source] name = 'eicu' has no ready-made labels; choose another task")
        rows = read(find(self.raw_dir, "diagnosis"), {STAY: ID, "icd9code": pl.String})
        codes = rows.join(self._units(), on=STAY).with_columns(pl.col("icd9code").str.split(",")).explode("icd9code")
        code = _blank_is_null("icd9code").str.to_uppercase()
        version = pl.when(code.str.contains(ICD9)).then(9).otherwise(10).alias("icd_version")
        codes = codes.filter(code.is_not_null()).select(
            "hadm_id", version.cast(ID), code.str.replace_all(".", "", literal=True).alias("icd_code")
        )
        return codes.unique().sort("hadm_id", "icd_version", "icd_code")

    def _units(self) -> pl.DataFrame:
        """``patientunitstayid, stay_id, hadm_id, hospitaladmitoffset``, height and weight at admission."""
        ids = dict.fromkeys((STAY, HOSPITAL, "hospitaladmitoffset"), ID)
        rows = read(find(self.raw_dir, "patient"), {**ids, **dict.fromkeys(ADMISSION, pl.Float64)})
        return rows.select(STAY, *_ids(), "hospitaladmitoffset", *ADMISSION)

    def _missing(self) -> tuple[str, ...]:
        absent = {name: lost for name, lost in LOST.items() if look(self.raw_dir, name) is None}
        return tuple(f"{self.raw_dir / name}.csv.gz is missing: without {lost}" for name, lost in absent.items())


def _ids() -> list[pl.Expr]:
    return [pl.col(HOSPITAL).cast(pl.String).alias("hadm_id"), pl.col(STAY).cast(pl.String).alias("stay_id")]


def _blank_is_null(column: str) -> pl.Expr:
    text = pl.col(column).str.strip_chars()
    return pl.when(text != "").then(text).alias(column)


def build(options: Options, *, raw_dir: Path, kg_dir: Path, seed: int) -> Source:
    """Build the source. It does not need ``kg_dir`` and ``seed``, which are for sources that generate data."""
    return Eicu(options, raw_dir)
