"""MIMIC-IV (v2.2 layout: ``hosp/``, ``icu/``), the demo or the full copy."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from src.config import Download
from src.datasets import physionet
from src.datasets.artefacts import TIME_FORMAT
from src.datasets.harmonise import canonical
from src.datasets.mimic4_items import CHART, LAB, item_table, score_table
from src.datasets.note_files import NoteFiles, read_notes
from src.datasets.raw_csv import collect, find, read, scan
from src.datasets.sources import Extract

HOSPITAL = ("patients", "admissions", "labevents")
CODES = ("diagnoses_icd", "d_icd_diagnoses", "procedures_icd", "d_icd_procedures")
ICU = ("icustays", "chartevents", "d_items")
ID = pl.Int64


@dataclass(frozen=True)
class Options:
    """``project``/``version``: the PhysioNet project to download, none for a credentialed copy put in place by hand.

    ``notes_file``: one or several CSVs of notes; none makes surrogate notes from billing codes. Its columns are found by
    """

    project: str = ""
    version: str = ""
    notes_file: tuple[Path, ...] = ()
    note_id_column: str = ""
    note_time_column: str = ""
    note_text_column: str = ""
    include_discharge_summaries: bool = False
    notes_after_window: bool = False


@dataclass(frozen=True)
class Mimic4:
    """Source over ``raw_dir``."""

    options: Options
    raw_dir: Path

    def download(self, settings: Download, offline: bool) -> None:
        """The demo's files from PhysioNet; a credentialed copy is only checked for completeness."""
        if not self.options.project:
            self.inputs()
            return
        codes = () if self.options.notes_file else CODES
        names = [f"hosp/{name}.csv.gz" for name in (*HOSPITAL, *codes)] + [f"icu/{name}.csv.gz" for name in ICU]
        physionet.download(self.options.project, self.options.version, names, self.raw_dir, settings, offline)

    def inputs(self) -> list[Path]:
        """The raw tables read, and the notes or the code tables that stand in for them."""
        hospital = HOSPITAL if self.options.notes_file else (*HOSPITAL, *CODES)
        tables = [find(self.raw_dir / "hosp", name) for name in hospital]
        tables += [find(self.raw_dir / "icu", name) for name in ICU if name != "d_items"]
        return tables + list(self.options.notes_file)

    def stays(self) -> pl.DataFrame:
        """``icustays`` with its admission and patient; age = anchor age + years since the anchor year."""
        ids = {"subject_id": ID, "hadm_id": ID}
        stays = read(
            find(self.raw_dir / "icu", "icustays"),
            {**ids, "stay_id": ID, "first_careunit": pl.String, "intime": pl.Datetime, "outtime": pl.Datetime},
        )
        times = dict.fromkeys(("admittime", "dischtime", "deathtime"), pl.Datetime)
        admissions = read(
            find(self.raw_dir / "hosp", "admissions"), {**ids, **times, "race": pl.String, "hospital_expire_flag": ID}
        )
        patients = read(
            find(self.raw_dir / "hosp", "patients"),
            {"subject_id": ID, "gender": pl.String, "anchor_age": ID, "anchor_year": ID},
        )
        joined = stays.join(admissions, on=["subject_id", "hadm_id"], how="left").join(
            patients, on="subject_id", how="left"
        )
        return joined.with_columns(
            (pl.col("anchor_age") + pl.col("intime").dt.year() - pl.col("anchor_year")).alias("age"),
            *(pl.col(name).cast(pl.String) for name in ("subject_id", "hadm_id", "stay_id")),
        ).rename({"gender": "sex", "race": "ethnicity", "first_careunit": "icu_type", "hospital_expire_flag": "died"})

    def measurements(self, cohort: pl.DataFrame) -> Extract:
        """The 17 signals from ``chartevents`` (by stay) and ``labevents`` (by person and time)."""
        windows = cohort.select(
            "patient_id",
            "window_start",
            "window_end",
            *(pl.col(name).cast(ID) for name in ("subject_id", "hadm_id", "stay_id")),
        )
        labs, without_admission = self._labs(windows)
        extract = canonical(pl.concat([self._chart(windows), labs]))
        counts = {**extract.counts, "lab rows matched by person and time, having no hadm_id": without_admission}
        return Extract(extract.table, counts)

    def _chart(self, windows: pl.DataFrame) -> pl.DataFrame:
        path = find(self.raw_dir / "icu", "chartevents")
        columns = {"stay_id": ID, "charttime": pl.String, "itemid": ID, "value": pl.String, "valuenum": pl.Float64}
        events = scan(path, columns).join(item_table(CHART).lazy(), on="itemid")
        events = events.join(windows.lazy().select("stay_id", "patient_id", "window_start", "window_end"), on="stay_id")
        events = _in_window(events, early=pl.col("code").is_in(["height", "weight"])).with_columns(
            pl.col("value").str.strip_chars().str.to_lowercase().alias("text")
        )
        events = events.join(score_table().lazy(), on=["code", "text"], how="left")
        number = pl.coalesce(pl.col("valuenum"), pl.col("score"))
        return collect(_scaled(events, number), path)

    def _labs(self, windows: pl.DataFrame) -> tuple[pl.DataFrame, int]:
        path = find(self.raw_dir / "hosp", "labevents")
        columns = {"subject_id": ID, "hadm_id": ID, "itemid": ID, "charttime": pl.String, "valuenum": pl.Float64}
        events = scan(path, columns).join(item_table(LAB).lazy(), on="itemid")
        stays = windows.lazy().rename({"hadm_id": "stay_hadm_id"})
        events = _in_window(events.join(stays, on="subject_id"))
        events = events.filter(pl.col("hadm_id").is_null() | (pl.col("hadm_id") == pl.col("stay_hadm_id")))
        scaled = _scaled(events, pl.col("valuenum"), pl.col("hadm_id").is_null().alias("unmatched"))
        found = collect(scaled, path)
        return found.drop("unmatched"), int(found["unmatched"].sum())

    def notes(self, cohort: pl.DataFrame) -> Extract:
        """Notes from ``notes_file``; without one, the surrogate made from diagnosis and procedure titles."""
        if self.options.notes_file:
            chosen = self.options
            files = NoteFiles(
                chosen.notes_file,
                chosen.note_id_column,
                chosen.note_time_column,
                chosen.note_text_column,
                chosen.include_discharge_summaries,
                chosen.notes_after_window,
            )
            return read_notes(files, cohort)
        return self._surrogate_notes(cohort)

    def _surrogate_notes(self, cohort: pl.DataFrame) -> Extract:
        parts = []
        for heading, codes, titles in (
            ("Diagnoses", "diagnoses_icd", "d_icd_diagnoses"),
            ("Procedures", "procedures_icd", "d_icd_procedures"),
        ):
            code = {"icd_code": pl.String, "icd_version": ID}
            rows = read(find(self.raw_dir / "hosp", codes), {"hadm_id": ID, "seq_num": ID, **code})
            names = read(find(self.raw_dir / "hosp", titles), {**code, "long_title": pl.String})
            rows = rows.join(names, on=["icd_code", "icd_version"]).sort("hadm_id", "seq_num", "icd_code")
            body = pl.format(f"{heading}:\n{{}}.", pl.col("long_title").str.join(".\n"))
            parts.append(rows.group_by("hadm_id", maintain_order=True).agg(body.alias("text")))
        text = pl.concat(parts).group_by("hadm_id", maintain_order=True).agg(pl.col("text").str.join("\n"))
        notes = cohort.select("patient_id", pl.col("hadm_id").cast(ID), "dischtime").join(
            text, on="hadm_id", how="inner"
        )
        notes = notes.select(
            "patient_id", pl.col("dischtime").alias("note_time"), pl.lit("surrogate").alias("note_type"), "text"
        )
        warning = (
            "surrogate notes: no notes_file is set, so each note is made of the admission's diagnosis and procedure titles. "
            "Billing codes are assigned after discharge: they leak the future, and scores with them are optimistic"
        )
        return Extract(notes.sort("patient_id"), {"surrogate notes": notes.height}, (warning,))


def _in_window(events: pl.LazyFrame, early: pl.Expr | None = None) -> pl.LazyFrame:
    """Rows whose ``charttime`` (text, parsed only for rows that got here) lies in the stay's window.

    Where ``early`` holds, a time up to a day before the window counts as its start: the admission form's height and
    weight carry a time shortly before the ICU admission.
    """
    time = pl.col("charttime").str.to_datetime(TIME_FORMAT, time_unit="us")
    events = events.with_columns(time.alias("event_time"))
    if early is not None:
        day_before = pl.col("window_start") - pl.duration(hours=24)
        moved = early & pl.col("event_time").is_between(day_before, pl.col("window_start"))
        event_time = pl.when(moved).then(pl.col("window_start")).otherwise(pl.col("event_time"))
        events = events.with_columns(event_time.alias("event_time"))
    return events.filter(pl.col("event_time").is_between(pl.col("window_start"), pl.col("window_end"), closed="left"))


def _scaled(events: pl.LazyFrame, number: pl.Expr, *more: pl.Expr) -> pl.LazyFrame:
    value = number * pl.col("scale") + pl.col("offset")
    return events.select("patient_id", "event_time", "code", value.alias("value"), *more)


def build(options: Options, *, raw_dir: Path, kg_dir: Path, seed: int) -> Mimic4:
    """The source; ``kg_dir`` and ``seed`` serve the generators among its siblings."""
    return Mimic4(options, raw_dir)
