"""Source for the eICU Collaborative Research Database v2.0, all tables in one folder: the open demo 2.0.1 or the full copy.

eICU gives times as minutes from unit admission. The dates here are fictitious: each hospital admission begins at 2100-01-01
00:00:00 (``eicu.events``), so only differences of times within an admission mean anything.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, final

import polars as pl

from emerge_ehr.config import Download
from emerge_ehr.datasets.sources import Events, Extract, Match, Notes, Source
from emerge_ehr.datasets.sources._raw.icd9_codes import icd_code
from emerge_ehr.datasets.sources._raw.raw_csv import find, look, read
from emerge_ehr.datasets.sources.eicu import drugs
from emerge_ehr.datasets.sources.eicu import events as eicu_events
from emerge_ehr.datasets.sources.eicu import notes as eicu_notes
from emerge_ehr.datasets.sources.eicu import treatments as eicu_treatments
from emerge_ehr.datasets.sources.eicu.events import STAY, on_calendar
from emerge_ehr.datasets.sources.eicu.items import codes_of_columns
from emerge_ehr.datasets.sources.eicu.outcomes import HOSPITAL, OUTCOMES, PERSON, YEAR, outcomes
from emerge_ehr.datasets.treatments import Treatments, together
from emerge_ehr.fetch import physionet
from emerge_ehr.fields import UserError, listed
from emerge_ehr.signals.items import Wanted, wanted
from emerge_ehr.signals.signals import Signal
from emerge_ehr.signals.table import BENCHMARK, own_file
from emerge_ehr.storage.artefacts import checksum
from emerge_ehr.storage.sexes import known_sex

log = logging.getLogger(__name__)
MEASURED = ("vitalPeriodic", "vitalAperiodic", "lab", "nurseCharting", "respiratoryCharting")
DRUGS = ("medication", "infusionDrug")  # with source.treatments
TREATMENTS = ("respiratoryCare", "treatment")  # read only where the list of signals has items in them
# what the benchmark loses if a table is missing; only patient and one of MEASURED are required
LOST = {
    "vitalPeriodic": "vital signs from the monitor",
    "vitalAperiodic": "non-invasive blood pressures from the monitor",
    "lab": "laboratory glucose, pH and FiO2",
    "nurseCharting": "charted vital signs and the Glasgow Coma Scale",
    "respiratoryCharting": "most FiO2",
    "note": "notes",
    "diagnosis": "diagnoses, which serve as notes",
    "pastHistory": "past history, which serves as notes",
    "admissionDx": "admission diagnoses, which serve as notes",
}
OFFSETS = ("hospitaladmitoffset", "hospitaldischargeoffset", "unitdischargeoffset")
STEPDOWN = "stepdown/other"
SHARED = "stays of a hospital stay that is two persons', left out"
NOBODY = "stays without the id of a person (uniquepid) or of a hospital stay, left out"
UNREAD_AGE = "stays whose age is no number, taken as unknown"
AGE = r"^>?\s*(\d{1,3})(?:\.\d*)?\s*\+?$"  # 63, 63.0, > 89, 90+
TEXTS = (PERSON, "gender", "age", "ethnicity", "unittype", "unitstaytype")
# ICD-9 codes begin with a digit, V, or E and three digits; all other codes are ICD-10
ICD9 = r"^(?:\d|V|E\d{3})"
ID = pl.Int64


@dataclass(frozen=True)
class Options:
    """``project``/``version``: the PhysioNet project to download; empty for a credentialed copy that was put in place by hand.

    ``notes_after_window``: keep notes and diagnoses that were entered after the window as well; they leak the future.
    ``include_stepdown``: take stays in step-down units, which are no intensive care, as samples too, as other pipelines do.
    ``treatments``: orders and infusions are read too (docs/treatments.md).
    """

    project: str = ""
    version: str = ""
    notes_after_window: bool = False
    include_stepdown: bool = True
    signals: str = BENCHMARK
    treatments: bool = False


@final
@dataclass(frozen=True)
class Eicu:
    """The source whose raw files are in ``raw_dir``; ``wanted``: the signals that are read of them."""

    one_calendar: ClassVar[bool] = False
    population: ClassVar[str] = "eICU"
    options: Options
    raw_dir: Path
    wanted: Wanted

    def is_open(self) -> bool:
        """The demo is open."""
        return self.options.project in physionet.OPEN

    def open_files(self) -> frozenset[str]:
        """The files of the demo that were downloaded and verified, and a list of signals, which holds no record."""
        lists = (checksum(path) for path in own_file(self.options.signals))
        return physionet.verified(self.options.project, self.raw_dir).union(lists)

    def download(self, settings: Download, offline: bool) -> None:
        """Download the demo's files from PhysioNet; a credentialed copy is only checked for the tables that are required.

        Offline, a part of the demo will do as well, if it has the tables that are required.
        """
        if not self.options.project:
            self.inputs()
            return
        names = [f"{name}.csv.gz" for name in ("patient", *self._tables(), *self._drugs())]
        if offline and look(self.raw_dir, "patient") and any(look(self.raw_dir, name) for name in MEASURED):
            there = [name for name in self._tables() if look(self.raw_dir, name)]
            names = [f"{name}.csv.gz" for name in ("patient", *there, *self._drugs())]
            for warning in self._missing():
                log.warning("%s; offline, so going on with the part of the demo that is there", warning)
        physionet.download(self.options.project, self.options.version, names, self.raw_dir, settings, offline)

    def inputs(self) -> list[Path]:
        """The table ``patient``, and those of the other tables that are there.

        Raises:
            UserError: there is no ``patient``, no table of measurements, or one of treatments that were asked for is missing.
        """
        patient = find(self.raw_dir, "patient")
        paths = {name: path for name in self._tables() if (path := look(self.raw_dir, name))}
        if not paths.keys() & set(MEASURED):
            raise UserError(
                f"{self.raw_dir}: none of {', '.join(MEASURED)} is there (.csv.gz or .csv): there is nothing to measure; "
                "check paths.raw_dir, or run --stage download"
            )
        given = [find(self.raw_dir, name) for name in self._drugs()]
        return [patient, *paths.values(), *given, *own_file(self.options.signals)]

    def stays(self) -> Extract:
        """The unit stays in ``patient``, a row per stay. Ages above 89 are 90.

        Patients who died in the unit died at unit discharge, others who died at hospital discharge. Where the unit records a
        death and the hospital a discharge alive, the outcome is unknown.
        """
        path = find(self.raw_dir, "patient")
        columns = {
            **dict.fromkeys((STAY, HOSPITAL, *OFFSETS, YEAR), ID),
            **dict.fromkeys((*TEXTS, *OUTCOMES), pl.String),
        }
        rows = read(path, columns, key=(STAY,))
        rows = rows.with_columns(_blank_is_null(name) for name in (*TEXTS, *OUTCOMES))
        nobody = pl.any_horizontal(pl.col(HOSPITAL, PERSON).is_null())
        named = rows.filter(~nobody)
        shared = pl.col(PERSON).n_unique().over(HOSPITAL) > 1  # whose events they are, nobody knows
        counts = {SHARED: named.filter(shared).height, NOBODY: rows.filter(nobody).height}
        # a step-down stay may contradict another, even if it is left out
        judged, contradictions, doubts = outcomes(named.filter(~shared))
        rows, more = self._in_intensive_care(judged)
        age = _age(pl.col("age"))
        counts = {**counts, **more, UNREAD_AGE: rows.filter(age.is_null() & pl.col("age").is_not_null()).height}
        in_unit, tells = pl.col("unit_tells_death"), pl.any_horizontal("unit_tells_death", "hospital_tells_death")
        stays = rows.select(
            pl.col(PERSON).alias("subject_id"),
            *_ids(),
            on_calendar(pl.col("hospitaladmitoffset")).alias("admittime"),
            on_calendar(pl.lit(0)).alias("intime"),
            on_calendar(pl.col("unitdischargeoffset")).alias("outtime"),
            on_calendar(pl.col("hospitaldischargeoffset")).alias("dischtime"),
            pl.when(in_unit).then("unitdischargeoffset").otherwise("hospitaldischargeoffset").alias("end"),
            age.alias("age"),
            pl.coalesce(known_sex(pl.col("gender")), "gender").alias("sex"),
            "ethnicity",
            pl.col("unittype").alias("icu_type"),
            "died",
            tells.alias("tells_death"),
            "after_death",
            "hospitaladmitoffset",
        )
        deathtime = pl.when(pl.col("died") == 1).then(on_calendar(pl.col("end"))).alias("deathtime")
        # A death that may be true counts, even if the outcome is unknown; one of an earlier year was before this calendar began.
        first = pl.when("tells_death").then(on_calendar(pl.col("end"))).min().over("hadm_id")
        before = pl.when("after_death").then(pl.min_horizontal("admittime", "intime"))
        stays = stays.with_columns(deathtime, pl.coalesce(before, first).alias("death"))
        stays = stays.drop("end", "tells_death", "after_death", "hospitaladmitoffset")
        warnings = (
            *doubts,
            *(f"{path.name}: {counts[reason]} {reason}" for reason in (NOBODY, SHARED, UNREAD_AGE) if counts[reason]),
            *self._missing(),
        )
        return Extract(stays, {**counts, **contradictions}, warnings)

    def signals(self) -> tuple[Signal, ...]:
        """Those of the list in the options; eICU has no capillary refill."""
        return self.wanted.signals

    def measurements(self, cohort: pl.DataFrame, match: Match) -> list[Events]:
        """Measurements of the unit stay, or of all unit stays of the admission, including those outside the cohort."""
        units, patient = self._units(), find(self.raw_dir, "patient")
        served = eicu_events.serving(units, cohort, match)
        of = {name: self.wanted.of(name) for name in (*MEASURED, *TREATMENTS)}
        paths = {name: path for name in of if of[name].items and (path := look(self.raw_dir, name))}
        readers = {
            "vitalPeriodic": eicu_events.vitals,
            "vitalAperiodic": eicu_events.vitals,
            "lab": eicu_events.labs,
            "nurseCharting": eicu_events.nurse_chart,
            "respiratoryCharting": eicu_events.respiratory_chart,
            "respiratoryCare": lambda path, wanted, served: eicu_treatments.ventilation(path, wanted, served, cohort),
            "treatment": eicu_treatments.entries,
        }
        admitted = self.wanted.of("patient")
        first = [eicu_events.admission(patient, admitted, units, served)] if admitted.items else []
        return [*first, *(readers[name](path, of[name], served) for name, path in paths.items())]

    def notes(self, cohort: pl.DataFrame) -> Notes:
        """Notes made from ``note``, ``pastHistory``, ``admissionDx`` and ``diagnosis``; a sample may have none."""
        readers = {
            "note": eicu_notes.note_lines,
            "pastHistory": eicu_notes.past_history_lines,
            "admissionDx": eicu_notes.admission_diagnosis_lines,
            "diagnosis": eicu_notes.diagnosis_lines,
        }
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
        code = _blank_is_null("icd9code").str.to_uppercase()  # with its dot, which tells the version
        version = pl.when(code.str.contains(ICD9)).then(9).otherwise(10).alias("icd_version")
        codes = codes.filter(code.is_not_null()).select("hadm_id", version.cast(ID), icd_code(code).alias("icd_code"))
        return codes.unique().sort("hadm_id", "icd_version", "icd_code")

    def _in_intensive_care(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
        """Leave out step-down stays, if so asked, and count them."""
        stepdown = pl.col("unitstaytype").str.to_lowercase().eq_missing(STEPDOWN)
        count = rows.filter(stepdown).height
        if self.options.include_stepdown:
            return rows, {"stays in step-down units, kept (include_stepdown)": count}
        return rows.filter(~stepdown), {"stays in step-down units, left out (include_stepdown)": count}

    def treatments(self, cohort: pl.DataFrame, match: Match) -> Treatments:
        """The orders and infusions that were begun in the windows of ``cohort``."""
        ordered, infused = (find(self.raw_dir, name) for name in DRUGS)
        units = self._units()
        return together([drugs.orders(ordered, units, cohort, match), drugs.infusions(infused, units, cohort, match)])

    def _units(self) -> pl.DataFrame:
        """``patientunitstayid, stay_id, hadm_id, hospitaladmitoffset``, height and weight at admission."""
        ids = dict.fromkeys((STAY, HOSPITAL, "hospitaladmitoffset"), ID)
        admitted = codes_of_columns(self.wanted.of("patient"))
        rows = read(find(self.raw_dir, "patient"), {**ids, **dict.fromkeys(admitted, pl.Float64)})
        return rows.select(STAY, *_ids(), "hospitaladmitoffset", *admitted)

    def _tables(self) -> list[str]:
        """The tables that are read beside ``patient``: those that the benchmark needs, and those of other items of the list."""
        return [*LOST, *(name for name in TREATMENTS if self.wanted.of(name).items)]

    def _drugs(self) -> tuple[str, ...]:
        return DRUGS if self.options.treatments else ()

    def _missing(self) -> tuple[str, ...]:
        """Warnings of tables that are not there, and of signals for which this source has no item."""
        lost = dict(LOST)
        if self.options.signals != BENCHMARK:
            of = {
                name: sorted(set(codes_of_columns(self.wanted.of(name)).values())) for name in (*MEASURED, *TREATMENTS)
            }
            lost = {name: text for name, text in LOST.items() if name not in of} | {
                name: listed(codes) for name, codes in of.items() if codes
            }
        absent = [
            f"{self.raw_dir / name}.csv.gz is missing: without {text}"
            for name, text in lost.items()
            if look(self.raw_dir, name) is None
        ]
        mapped = {item.code for item in self.wanted.items}
        codes = [signal.name for signal in self.wanted.signals if signal.name not in mapped and not signal.sum_of]
        if codes and self.options.signals != BENCHMARK:
            absent.append(f"the list of signals names no item of this source for {listed(codes)}")
        return tuple(absent)


def _age(text: pl.Expr) -> pl.Expr:
    """The age in whole years; above 89, which eICU writes as ``> 89``, it is 90.

    >>> pl.DataFrame({"age": ["63", "63.0", "> 89", "90+", "0", "old"]}).select(_age(pl.col("age"))).to_series().to_list()
    [63, 63, 90, 90, 0, None]
    """
    years = text.str.extract(AGE).cast(ID, strict=False)
    above = text.str.contains(r"^>|\+$")
    return pl.when(above & (years != 89) & (years != 90)).then(None).when(above).then(90).otherwise(years)


def _ids() -> list[pl.Expr]:
    return [pl.col(HOSPITAL).cast(pl.String).alias("hadm_id"), pl.col(STAY).cast(pl.String).alias("stay_id")]


def _blank_is_null(column: str) -> pl.Expr:
    text = pl.col(column).str.strip_chars()
    return pl.when(text != "").then(text).alias(column)


def build(options: Options, *, raw_dir: Path, kg_dir: Path, seed: int) -> Source:
    """Build the source. It does not need ``kg_dir`` and ``seed``, which are for sources that generate data."""
    read = wanted(options.signals, "eicu")
    eicu_treatments.check(read)
    return Eicu(options, raw_dir, read)


def treatments(options: Options, *, raw_dir: Path, cohort: pl.DataFrame, match: Match) -> Treatments:
    """The orders and infusions that were begun in the windows of ``cohort``."""
    return Eicu(options, raw_dir, wanted(options.signals, "eicu")).treatments(cohort, match)
