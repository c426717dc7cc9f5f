"""Source for MIMIC-IV v2.x and v3.x (``hosp/``, ``icu/``, and MIMIC-IV-Note's ``note/``), the demo or the full copy."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import polars as pl

from emerge_ehr.config import Download
from emerge_ehr.datasets import dates
from emerge_ehr.datasets.sources import Events, Extract, Match, Notes, Source
from emerge_ehr.datasets.sources._mimic import events as mimic_events
from emerge_ehr.datasets.sources._mimic import outcomes, running, tables
from emerge_ehr.datasets.sources._mimic import treatments as mimic_treatments
from emerge_ehr.datasets.sources._mimic.options import Options
from emerge_ehr.datasets.sources._raw.icd9_codes import icd_code
from emerge_ehr.datasets.sources._raw.note_files import read_notes
from emerge_ehr.datasets.sources._raw.raw_csv import Schema, find, look, read, refuse_orphans, refuse_without_rows, scan
from emerge_ehr.datasets.sources._raw.surrogate_notes import surrogate_notes, titled
from emerge_ehr.datasets.treatments import Treatments, together
from emerge_ehr.fetch import physionet
from emerge_ehr.fields import UserError
from emerge_ehr.signals.items import Wanted, wanted
from emerge_ehr.signals.signals import Signal
from emerge_ehr.signals.table import own_file
from emerge_ehr.storage.artefacts import checksum
from emerge_ehr.storage.ids import stated

HOSPITAL = ("patients", "admissions", "labevents", "diagnoses_icd")
CODES = ("d_icd_diagnoses", "procedures_icd", "d_icd_procedures")
ICU = ("icustays", "chartevents", "d_items")
NOTES = ("discharge", "radiology")
TREATMENTS = ("prescriptions", "pharmacy")  # in hosp/, with source.treatments; the infusions are in icu/
INFUSIONS = "inputevents"
PLANNED = ("ELECTIVE", "SURGICAL SAME DAY ADMISSION")  # types of planned admissions
ID = pl.Int64
IDS = {"subject_id": ID, "hadm_id": ID}


@dataclass(frozen=True)
class Mimic4:
    """The source whose raw files are in ``raw_dir``; ``wanted``: the signals that are read of them."""

    one_calendar: ClassVar[bool] = True
    population: ClassVar[str] = "Beth Israel Deaconess Medical Center"
    options: Options
    raw_dir: Path
    wanted: Wanted

    def is_open(self) -> bool:
        """The demo is open, unless the user adds notes of their own."""
        return self.options.project in physionet.OPEN and not self.options.notes_file

    def open_files(self) -> frozenset[str]:
        """The files of the demo that were downloaded and verified, and a list of signals, which holds no record."""
        lists = (checksum(path) for path in own_file(self.options.signals))
        return physionet.verified(self.options.project, self.raw_dir).union(lists)

    def download(self, settings: Download, offline: bool) -> None:
        """Download the demo's files from PhysioNet; a credentialed copy is only checked for completeness."""
        if not self.options.project:
            self.inputs()
            return
        codes = () if self._note_paths() else CODES
        hospital, icu = self._treatments()
        more = tables.needed(self.wanted, tables.MIMIC4).values()
        names = [f"hosp/{name}.csv.gz" for name in (*HOSPITAL, *codes, *hospital)]
        names += [f"icu/{name}.csv.gz" for name in dict.fromkeys((*ICU, *more, *icu))]
        physionet.download(self.options.project, self.options.version, names, self.raw_dir, settings, offline)

    def inputs(self) -> list[Path]:
        """The raw tables that are read, and the notes or the code tables that surrogate notes are made from.

        Raises:
            UserError: a table or one of the folders ``hosp/`` and ``icu/`` is missing.
        """
        if self.raw_dir.is_dir() and not (self.raw_dir / "icu").is_dir():
            names = ", ".join(sorted(path.name for path in self.raw_dir.iterdir())[:8]) or "nothing"
            raise UserError(
                f"{self.raw_dir}: holds {names}; of MIMIC-IV v2 or v3 it must have the folders hosp/ and icu/"
            )
        notes = self._note_paths()
        hospital, icu = self._treatments()
        codes = () if notes else CODES
        found = [find(self.raw_dir / "hosp", name) for name in (*HOSPITAL, *codes, *hospital)]
        found += [find(self.raw_dir / "icu", name) for name in (*ICU, *icu) if name != "d_items" or icu]
        return [*dict.fromkeys([*found, *self._more().values()]), *notes, *own_file(self.options.signals)]

    def stays(self) -> Extract:
        """The stays in ``icustays`` with their admissions and patients; age = anchor age + years since the anchor year.

        Raises:
            UserError: admissions or patients of some stays are missing, as when files of two versions are mixed.
        """
        icu, hospital, persons = (
            self._find("icu", "icustays"),
            self._find("hosp", "admissions"),
            self._find("hosp", "patients"),
        )
        times = {"intime": pl.Datetime, "outtime": pl.Datetime}
        stays = read(
            icu, {**IDS, "stay_id": ID, "first_careunit": pl.String, **times}, key=("stay_id",), dated=tuple(times)
        )
        judged, patients = self._admissions(), self._patients()
        admissions = judged.table
        refuse_orphans(icu, stays, hospital, admissions, ["subject_id", "hadm_id"])
        refuse_orphans(icu, stays, persons, patients, ["subject_id"])
        joined = stays.join(admissions, on=["subject_id", "hadm_id"]).join(patients, on="subject_id")
        joined = joined.join(outcomes.deaths(admissions, patients), on="subject_id")
        names = {"gender": "sex", "race": "ethnicity", "first_careunit": "icu_type"}
        table = joined.with_columns(
            (pl.col("anchor_age") + pl.col("intime").dt.year() - pl.col("anchor_year")).alias("age"),
            *(pl.col(name).cast(pl.String) for name in ("subject_id", "hadm_id", "stay_id")),
        ).rename(names)
        timed = dates.stays_at_day_end(table)
        lacking = tables.lacking(self.wanted, tables.MIMIC4, self.raw_dir / "icu")
        return Extract(timed.table, {**judged.counts, **timed.counts}, (*judged.warnings, *timed.warnings, *lacking))

    def signals(self) -> tuple[Signal, ...]:
        """Those of the list in the options."""
        return self.wanted.signals

    def measurements(self, cohort: pl.DataFrame, match: Match) -> list[Events]:
        """The signals from ``chartevents``, ``labevents`` and, where the list has items in them, ``outputevents``,
        ``inputevents`` and ``procedureevents``."""
        charted, drawn = find(self.raw_dir / "icu", "chartevents"), find(self.raw_dir / "hosp", "labevents")
        for path in (charted, drawn):
            refuse_without_rows(path)
        text = dict.fromkeys(("charttime", "value", "valuenum", "valueuom"), pl.String)
        columns = {"itemid": ID, "subject_id": ID, "hadm_id": ID, **text}
        chart = self._chart("chart", charted, scan(charted, {**columns, "stay_id": ID}), cohort, match)
        taken = scan(drawn, {**columns, "comments": pl.String}).with_columns(map(stated, IDS))
        return [
            chart,
            mimic_events.labs(drawn, taken, self.wanted.of("lab"), cohort),
            *(self._more_events(table, path, cohort, match) for table, path in self._more().items()),
        ]

    def _more(self) -> dict[str, Path]:
        return tables.present(self.wanted, tables.MIMIC4, self.raw_dir / "icu")

    def _more_events(self, table: str, path: Path, cohort: pl.DataFrame, match: Match) -> Events:
        if table == "output":
            text = dict.fromkeys(("charttime", "value", "valueuom"), pl.String)
            rows = scan(path, {"itemid": ID, **IDS, "stay_id": ID, **text})
            return self._chart(table, path, rows.with_columns(pl.col("value").alias("valuenum")), cohort, match)
        return running.running(path, self.wanted.of(table), cohort, match, "stay_id")

    def _chart(self, table: str, path: Path, rows: pl.LazyFrame, cohort: pl.DataFrame, match: Match) -> Events:
        rows = rows.with_columns(pl.lit(value=False).alias("in_error"), stated("stay_id"))
        return mimic_events.chart(
            path,
            rows.with_columns(map(stated, IDS)),
            self.wanted.of(table),
            cohort,
            match,
            read(self._find("icu", "icustays"), {"stay_id": ID})["stay_id"],
        )

    def notes(self, cohort: pl.DataFrame) -> Notes:
        """Notes from files; without any, surrogate notes made from diagnosis and procedure titles."""
        paths = self._note_paths()
        if not paths:
            titles = {"Diagnoses": ("diagnoses_icd", "d_icd_diagnoses")}
            titles["Procedures"] = ("procedures_icd", "d_icd_procedures")
            return surrogate_notes(cohort, {heading: self._titles(*files) for heading, files in titles.items()})
        return read_notes(self.options.note_files(paths), cohort, self.records("admissions"))

    def records(self, kind: Literal["admissions", "diagnoses", "labels"]) -> pl.DataFrame:
        """Admissions and diagnoses of the whole hospital.

        Raises:
            UserError: ``kind`` is labels, which this source does not have.
        """
        if kind == "admissions":
            admissions = self._admissions().table
            rows = outcomes.before_death(admissions, outcomes.deaths(admissions, self._patients()))
            rows = rows.with_columns(pl.col("admission_type").is_in(list(PLANNED)).alias("planned"))
        elif kind == "diagnoses":
            rows = read(self._find("hosp", "diagnoses_icd"), {**IDS, "icd_version": ID, "icd_code": pl.String})
            rows = rows.with_columns(icd_code(pl.col("icd_code")).alias("icd_code"))
        else:
            raise UserError("[source] name = 'mimic4' has no ready-made labels; choose another task")
        return rows.with_columns(pl.col("subject_id", "hadm_id").cast(pl.String))

    def _find(self, folder: str, name: str) -> Path:
        return find(self.raw_dir / folder, name)

    def _admissions(self) -> Extract:
        """All admissions with ``died``, and what in them contradicts itself."""
        columns: Schema = {
            **IDS,
            **dict.fromkeys(("admittime", "dischtime", "deathtime"), pl.Datetime),
            **dict.fromkeys(("race", "discharge_location", "admission_type"), pl.String),
            "hospital_expire_flag": ID,
        }
        rows = read(self._find("hosp", "admissions"), columns, key=("hadm_id",), dated=("admittime", "dischtime"))
        return outcomes.with_outcomes(rows.rename({"hospital_expire_flag": "died"}), self._patients())

    def _patients(self) -> pl.DataFrame:
        columns: Schema = {
            "subject_id": ID,
            "gender": pl.String,
            "anchor_age": ID,
            "anchor_year": ID,
            "dod": pl.Datetime,
        }
        return read(self._find("hosp", "patients"), columns, key=("subject_id",))

    def _treatments(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The files of treatments in ``hosp/`` and in ``icu/``, if the options ask for them."""
        return (TREATMENTS, (INFUSIONS,)) if self.options.treatments else ((), ())

    def _note_paths(self) -> tuple[Path, ...]:
        paths = (look(self.raw_dir / "note", name) for name in NOTES)
        return self.options.notes_file or tuple(path for path in paths if path)

    def _titles(self, codes: str, titles: str) -> pl.DataFrame:
        code = {"icd_code": pl.String, "icd_version": ID}
        rows = read(find(self.raw_dir / "hosp", codes), {"hadm_id": ID, "seq_num": ID, **code})
        names = read(find(self.raw_dir / "hosp", titles), {**code, "long_title": pl.String})
        return titled(rows, names).with_columns(pl.col("hadm_id").cast(pl.String))


def build(options: Options, *, raw_dir: Path, kg_dir: Path, seed: int) -> Source:
    """Build the source. It does not need ``kg_dir`` and ``seed``, which are for sources that generate data."""
    return Mimic4(options, raw_dir, wanted(options.signals, "mimic"))


def treatments(options: Options, *, raw_dir: Path, cohort: pl.DataFrame, match: Match) -> Treatments:
    """The prescriptions and infusions that were begun in the windows of ``cohort``."""
    hospital, icu = raw_dir / "hosp", raw_dir / "icu"
    prescribed, entered = (find(hospital, name) for name in TREATMENTS)
    return together(
        [
            mimic_treatments.prescriptions(prescribed, cohort, "starttime", "stoptime", entered),
            mimic_treatments.infusions(find(icu, INFUSIONS), find(icu, "d_items"), cohort, match),
        ]
    )
