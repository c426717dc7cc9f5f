"""Source for MIMIC-III v1.4, charted in CareVue or MetaVision: a folder with ``ADMISSIONS.csv.gz`` etc., or the demo's CSVs."""

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
from emerge_ehr.datasets.sources._raw.raw_csv import (
    Schema,
    collect,
    find,
    look,
    read,
    refuse_orphans,
    refuse_without_rows,
    scan,
)
from emerge_ehr.datasets.sources._raw.surrogate_notes import surrogate_notes, titled
from emerge_ehr.datasets.treatments import Treatments, together
from emerge_ehr.fetch import physionet
from emerge_ehr.fields import UserError
from emerge_ehr.signals.items import Wanted, wanted
from emerge_ehr.signals.signals import Signal
from emerge_ehr.signals.table import own_file
from emerge_ehr.storage.artefacts import checksum
from emerge_ehr.storage.ids import is_true, stated

TABLES = ("ADMISSIONS", "PATIENTS", "ICUSTAYS", "CHARTEVENTS", "LABEVENTS", "DIAGNOSES_ICD")
CODES = ("D_ICD_DIAGNOSES", "PROCEDURES_ICD", "D_ICD_PROCEDURES")
NOTES = "NOTEEVENTS"
TREATMENTS = ("PRESCRIPTIONS", "INPUTEVENTS_MV", "INPUTEVENTS_CV", "D_ITEMS")  # with source.treatments
CAREVUE_SUBSET = "mimic3-carevue"
ID = pl.Int64
IDS = {"subject_id": ID, "hadm_id": ID}
# MIMIC-III moves the birth of persons over 89 to 300 years before their first admission; no ages lie between.
SHIFTED_AGE, OLDEST_AGE = 200, 90


@dataclass(frozen=True)
class Mimic3:
    """The source whose raw files are in ``raw_dir``; ``wanted``: the signals that are read of them."""

    one_calendar: ClassVar[bool] = True
    options: Options
    raw_dir: Path
    wanted: Wanted

    @property
    def population(self) -> str:
        """The hospital's, unless it is the subset of persons who are not in MIMIC-IV (doi 10.13026/8a4q-w170)."""
        return "" if self.options.project == CAREVUE_SUBSET else "Beth Israel Deaconess Medical Center"

    def is_open(self) -> bool:
        """The demo is open, unless the user adds notes of their own."""
        return self.options.project in physionet.OPEN and not self.options.notes_file

    def open_files(self) -> frozenset[str]:
        """The files of the demo that were downloaded and verified, and a list of signals, which holds no record."""
        lists = (checksum(path) for path in own_file(self.options.signals))
        return physionet.verified(self.options.project, self.raw_dir).union(lists)

    def download(self, settings: Download, offline: bool) -> None:
        """Download the demo's files from PhysioNet; a credentialed copy is only checked for completeness."""
        if self.options.project in ("", CAREVUE_SUBSET):  # which nobody may download without an account
            self.inputs()
            return
        codes = () if self._note_paths() else CODES
        more = tables.needed(self.wanted, tables.MIMIC3).values()
        names = [f"{name}.csv" for name in dict.fromkeys((*TABLES, *more, *codes, *self._treatments))]
        physionet.download(self.options.project, self.options.version, names, self.raw_dir, settings, offline)

    def inputs(self) -> list[Path]:
        """The raw tables that are read, and the notes or the code tables that surrogate notes are made from."""
        notes = self._note_paths()
        codes = () if notes else CODES
        found = [find(self.raw_dir, name) for name in (*TABLES, *codes, *self._treatments)]
        return [*dict.fromkeys([*found, *self._more().values()]), *notes, *own_file(self.options.signals)]

    def stays(self) -> Extract:
        """The stays in ``ICUSTAYS`` with their admissions and patients; age in whole years at ICU admission, 90 for all above 89.

        Raises:
            UserError: admissions or patients of some stays are missing, as when files of two versions are mixed.
        """
        icu, hospital, persons = (find(self.raw_dir, name) for name in ("ICUSTAYS", "ADMISSIONS", "PATIENTS"))
        times = dict.fromkeys(("intime", "outtime"), pl.Datetime)
        columns: Schema = {**IDS, "icustay_id": ID, "first_careunit": pl.String, **times}
        stays = read(icu, columns, key=("icustay_id",), dated=("intime", "outtime"))
        judged, patients = self._admissions(), self._patients()
        admissions = judged.table
        refuse_orphans(icu, stays, hospital, admissions, ["subject_id", "hadm_id"])
        refuse_orphans(icu, stays, persons, patients, ["subject_id"])
        joined = stays.join(admissions, on=["subject_id", "hadm_id"]).join(patients, on="subject_id")
        joined = joined.join(outcomes.deaths(admissions, patients), on="subject_id")
        names = {"icustay_id": "stay_id", "gender": "sex", "first_careunit": "icu_type"}
        ids = (pl.col(name).cast(pl.String) for name in ("subject_id", "hadm_id", "icustay_id"))
        table = joined.with_columns(_age().alias("age"), *ids).rename(names).drop("dob")
        timed = dates.stays_at_day_end(table)
        lacking = tables.lacking(self.wanted, tables.MIMIC3, self.raw_dir)
        return Extract(timed.table, {**judged.counts, **timed.counts}, (*judged.warnings, *timed.warnings, *lacking))

    def signals(self) -> tuple[Signal, ...]:
        """Those of the list in the options."""
        return self.wanted.signals

    def measurements(self, cohort: pl.DataFrame, match: Match) -> list[Events]:
        """The signals from ``CHARTEVENTS`` (rows with ``ERROR`` 1 left out), ``LABEVENTS`` and, where the list has items in them,
        ``OUTPUTEVENTS``, ``INPUTEVENTS_MV`` and ``PROCEDUREEVENTS_MV``."""
        charted, drawn = find(self.raw_dir, "CHARTEVENTS"), find(self.raw_dir, "LABEVENTS")
        for path in (charted, drawn):
            refuse_without_rows(path)
        text = dict.fromkeys(("charttime", "value", "valuenum", "valueuom"), pl.String)
        columns = {**IDS, "itemid": ID, **text}
        rows = scan(charted, {**columns, "icustay_id": ID, "error": pl.String})
        chart = self._chart("chart", charted, rows, cohort, match)
        taken = scan(drawn, columns).with_columns(pl.lit(None, pl.String).alias("comments"), *map(stated, IDS))
        return [
            chart,
            mimic_events.labs(drawn, taken, self.wanted.of("lab"), cohort),
            *(self._more_events(table, path, cohort, match) for table, path in self._more().items()),
        ]

    def _more(self) -> dict[str, Path]:
        return tables.present(self.wanted, tables.MIMIC3, self.raw_dir)

    def _more_events(self, table: str, path: Path, cohort: pl.DataFrame, match: Match) -> Events:
        if table == "output":
            text = dict.fromkeys(("charttime", "value", "valueuom", "iserror"), pl.String)
            rows = scan(path, {"itemid": ID, **IDS, "icustay_id": ID, **text}).rename({"iserror": "error"})
            return self._chart(table, path, rows.with_columns(pl.col("value").alias("valuenum")), cohort, match)
        return running.running(path, self.wanted.of(table), cohort, match, "icustay_id")

    def _chart(self, table: str, path: Path, rows: pl.LazyFrame, cohort: pl.DataFrame, match: Match) -> Events:
        rows = rows.rename({"icustay_id": "stay_id"})
        rows = rows.with_columns(is_true(pl.col("error")).alias("in_error"), *map(stated, (*IDS, "stay_id")))
        known = read(find(self.raw_dir, "ICUSTAYS"), {"icustay_id": ID})["icustay_id"]
        return mimic_events.chart(path, rows, self.wanted.of(table), cohort, match, known)

    def notes(self, cohort: pl.DataFrame) -> Notes:
        """Notes from files; without any, surrogate notes made from diagnosis and procedure titles."""
        paths = self._note_paths()
        if not paths:
            titles = {"Diagnoses": ("DIAGNOSES_ICD", CODES[0]), "Procedures": CODES[1:]}
            return surrogate_notes(cohort, {heading: self._titles(*files) for heading, files in titles.items()})
        return read_notes(self.options.note_files(paths, error_column="iserror"), cohort, self.records("admissions"))

    def records(self, kind: Literal["admissions", "diagnoses", "labels"]) -> pl.DataFrame:
        """Admissions and diagnoses of the whole hospital; diagnosis rows without a code are left out.

        Raises:
            UserError: ``kind`` is labels, which this source does not have.
        """
        if kind == "admissions":
            admissions = self._admissions().table
            rows = outcomes.before_death(admissions, outcomes.deaths(admissions, self._patients()))
            rows = rows.with_columns((pl.col("admission_type").str.strip_chars() == "ELECTIVE").alias("planned"))
        elif kind == "diagnoses":
            rows = read(find(self.raw_dir, "DIAGNOSES_ICD"), {**IDS, "icd9_code": pl.String})
            code = icd_code(pl.col("icd9_code")).alias("icd_code")
            rows = rows.select(*IDS, pl.lit(9, ID).alias("icd_version"), code).drop_nulls("icd_code")
        else:
            raise UserError("[source] name = 'mimic3' has no ready-made labels; choose another task")
        return rows.with_columns(pl.col(*IDS).cast(pl.String))

    def _admissions(self) -> Extract:
        """All admissions with ``died``, and what in them contradicts itself."""
        columns: Schema = {
            **IDS,
            **dict.fromkeys(("admittime", "dischtime", "deathtime"), pl.Datetime),
            **dict.fromkeys(("ethnicity", "discharge_location", "admission_type"), pl.String),
            "hospital_expire_flag": ID,
        }
        rows = read(find(self.raw_dir, "ADMISSIONS"), columns, key=("hadm_id",), dated=("admittime", "dischtime"))
        return outcomes.with_outcomes(rows.rename({"hospital_expire_flag": "died"}), self._patients())

    def _patients(self) -> pl.DataFrame:
        """All persons; ``dod``, as in MIMIC-III, is the hospital's date of death, else the social security's."""
        days = dict.fromkeys(("dob", "dod", "dod_hosp", "dod_ssn"), pl.Datetime)
        columns: Schema = {"subject_id": ID, "gender": pl.String, **days}
        rows = read(find(self.raw_dir, "PATIENTS"), columns, key=("subject_id",))
        return rows.with_columns(pl.coalesce("dod_hosp", "dod", "dod_ssn").alias("dod")).drop("dod_ssn")

    @property
    def _treatments(self) -> tuple[str, ...]:
        return TREATMENTS if self.options.treatments else ()

    def _note_paths(self) -> tuple[Path, ...]:
        """The user's files of notes, else ``NOTEEVENTS`` unless it has only a header."""
        if self.options.notes_file:
            return self.options.notes_file
        path = look(self.raw_dir, NOTES)
        filled = path is not None and collect(scan(path, {"text": pl.String}).head(1), path).height
        return (path,) if path is not None and filled else ()

    def _titles(self, codes: str, titles: str) -> pl.DataFrame:
        """The codes of all admissions with their titles, as ``surrogate_notes`` takes them."""
        rows = read(find(self.raw_dir, codes), {"hadm_id": ID, "seq_num": ID, "icd9_code": pl.String})
        names = read(find(self.raw_dir, titles), {"icd9_code": pl.String, "long_title": pl.String})
        rows, names = (
            table.rename({"icd9_code": "icd_code"}).with_columns(pl.lit(9, ID).alias("icd_version"))
            for table in (rows, names)
        )
        return titled(rows, names).with_columns(pl.col("hadm_id").cast(pl.String))


def _age() -> pl.Expr:
    """The age at ``intime``: the number of birthdays since ``dob``; a shifted birth gives 90.

    >>> from datetime import datetime
    >>> dob = [datetime(2100, 5, 2), datetime(2100, 5, 3), datetime(1859, 1, 1)]
    >>> pl.DataFrame({"dob": dob, "intime": [datetime(2160, 5, 2, 12)] * 3}).select(_age()).to_series().to_list()
    [60, 59, 90]
    """
    intime, dob = pl.col("intime"), pl.col("dob")
    day_in_year = [time.dt.month().cast(pl.Int32) * 100 + time.dt.day() for time in (intime, dob)]
    years = intime.dt.year() - dob.dt.year() - (day_in_year[0] < day_in_year[1]).cast(pl.Int32)
    return pl.when(years > SHIFTED_AGE).then(OLDEST_AGE).otherwise(years)


def build(options: Options, *, raw_dir: Path, kg_dir: Path, seed: int) -> Source:
    """Build the source. It does not need ``kg_dir`` and ``seed``, which are for sources that generate data."""
    return Mimic3(options, raw_dir, wanted(options.signals, "mimic", "mimic3"))


def treatments(options: Options, *, raw_dir: Path, cohort: pl.DataFrame, match: Match) -> Treatments:
    """The prescriptions, whose times are dates, and the infusions charted in MetaVision and in CareVue, begun in the windows of
    ``cohort``. A row of CareVue is one charted rate."""
    prescribed, metavision, carevue, items = (find(raw_dir, name) for name in TREATMENTS)
    charted = ("charttime", "charttime")
    return together(
        [
            mimic_treatments.prescriptions(prescribed, cohort, "startdate", "enddate", dates=True),
            mimic_treatments.infusions(metavision, items, cohort, match, "icustay_id"),
            mimic_treatments.infusions(carevue, items, cohort, match, "icustay_id", charted),
        ]
    )
