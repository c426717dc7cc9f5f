"""Writes MIMIC-IV's files as a MEDS 0.4 dataset, with the codes, times and ids that the package MIMIC_IV_MEDS 0.2 gives them.

Of the tables that matter to the 17 signals and to stays: labs at the time of their result (``storetime``), diagnoses at the
discharge, a death in hospital at its time and any other at its date; no text where it is the number, and each row once. Shards
are by split, as there; persons are split by their id. The export that the package itself makes of the demo was found to hold the
same rows of these codes (docs/meds.md).
"""

import json
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from emerge_ehr.datasets.sources._mimic.items import ids
from emerge_ehr.signals.items import wanted

ITEMS = wanted("benchmark", "mimic")
CREATININE = 50912  # a lab that is none of the 17 signals
COLUMNS = {
    "subject_id": pl.Int64,
    "time": pl.Datetime("us"),
    "code": pl.String,
    "numeric_value": pl.Float32,
    "text_value": pl.String,
    "hadm_id": pl.Int64,
    "icustay_id": pl.Int64,
}
IDS = {"hadm_id": "hadm_id", "icustay_id": "stay_id"}
SPLITS = ("train", "held_out", "train", "tuning", "train")  # by the remainder of the person's id


def write(folder: Path, raw: Path) -> None:
    """Write the dataset of the files in ``raw`` into ``folder``: ``data/<split>/0.parquet`` and ``metadata/``."""
    rows = pl.concat([*_of_hospital(raw), *_of_icu(raw)]).unique(maintain_order=True)
    rows = rows.sort("subject_id", "time", maintain_order=True)
    persons = rows.select("subject_id").unique().sort("subject_id")
    split = pl.col("subject_id").mod(len(SPLITS)).replace_strict(dict(enumerate(SPLITS)), return_dtype=pl.String)
    splits = persons.with_columns(split.alias("split"))
    (folder / "metadata").mkdir(parents=True)
    for name in dict.fromkeys(SPLITS):
        (folder / "data" / name).mkdir(parents=True)
        of_split = splits.filter(pl.col("split") == name)
        rows.join(of_split, on="subject_id", how="semi", maintain_order="left").write_parquet(
            folder / "data" / name / "0.parquet"
        )
    splits.write_parquet(folder / "metadata" / "subject_splits.parquet")
    codes = rows.select("code").unique().sort("code").with_columns(pl.lit(None, pl.String).alias("description"))
    codes.with_columns(pl.lit(None, pl.List(pl.String)).alias("parent_codes")).write_parquet(
        folder / "metadata" / "codes.parquet"
    )
    about = {"dataset_name": "MIMIC-IV-demo", "dataset_version": "2.2", "meds_version": "0.4.1"}
    (folder / "metadata" / "dataset.json").write_text(json.dumps(about))


def _of_hospital(raw: Path) -> Sequence[pl.DataFrame]:
    patients, admissions = _read(raw, "hosp/patients"), _read(raw, "hosp/admissions")
    patients = patients.join(admissions.group_by("subject_id").agg(pl.col("deathtime").min()), on="subject_id")
    birth = (pl.col("anchor_year").cast(pl.Int32) - pl.col("anchor_age").cast(pl.Int32)).cast(pl.String) + "-01-01"
    died = pl.coalesce(_time("deathtime"), _time("dod", "%Y-%m-%d"))
    diagnoses = _read(raw, "hosp/diagnoses_icd").join(admissions.select("hadm_id", "dischtime"), on="hadm_id")
    lab = _read(raw, "hosp/labevents").filter(
        pl.col("itemid").cast(pl.Int64).is_in([*ids(ITEMS.of("lab")), CREATININE])
    )
    place, left = (pl.col(name).fill_null("UNK") for name in ("admission_location", "discharge_location"))
    code = pl.format("LAB//RESULT//{}//{}", "itemid", pl.col("valueuom").fill_null("UNK"))
    return (
        _events(patients, pl.format("GENDER//{}", "gender"), pl.lit(None)),
        _events(patients, pl.lit("MEDS_BIRTH"), birth.str.to_datetime("%Y-%m-%d", time_unit="us")),
        _timed(_events(patients, pl.lit("MEDS_DEATH"), died)),
        _events(admissions, pl.format("HOSPITAL_ADMISSION//{}//{}", "admission_type", place), _time("admittime")),
        _events(admissions, pl.format("RACE//{}", "race"), _time("admittime")),
        _events(admissions, pl.format("HOSPITAL_DISCHARGE//{}", left), _time("dischtime")),
        _events(diagnoses, pl.format("DIAGNOSIS//ICD//{}//{}", "icd_version", "icd_code"), _time("dischtime")),
        _timed(_events(lab, code, _time("storetime"), numeric_value="valuenum", text_value="value")),
    )


def _of_icu(raw: Path) -> Sequence[pl.DataFrame]:
    stays = _read(raw, "icu/icustays")
    chart = _read(raw, "icu/chartevents").filter(pl.col("itemid").cast(pl.Int64).is_in(ids(ITEMS.of("chart"))))
    code = pl.format("LAB//{}//{}", "itemid", pl.col("valueuom").fill_null("UNK"))
    return (
        _events(stays, pl.format("ICU_ADMISSION//{}", "first_careunit"), _time("intime")),
        _events(stays, pl.format("ICU_DISCHARGE//{}", "last_careunit"), _time("outtime")),
        _events(chart, code, _time("charttime"), numeric_value="valuenum", text_value="value"),
    )


def _read(raw: Path, name: str) -> pl.DataFrame:
    return pl.read_csv(raw / f"{name}.csv.gz", infer_schema=False)


def _time(name: str, form: str = "%Y-%m-%d %H:%M:%S") -> pl.Expr:
    return pl.col(name).str.to_datetime(form, time_unit="us", strict=False)


def _events(table: pl.DataFrame, code: pl.Expr, when: pl.Expr, **values: str) -> pl.DataFrame:
    read = {name: pl.col(values[name]) if name in values else pl.lit(None) for name in ("numeric_value", "text_value")}
    ids = {name: pl.col(column) if column in table.columns else pl.lit(None) for name, column in IDS.items()}
    subject = pl.col("subject_id").cast(pl.Int64)
    events = table.select(subject, when.alias("time"), code.alias("code"), **read, **ids).cast(COLUMNS)  # type: ignore[arg-type]
    a_number = pl.col("text_value").cast(pl.Float64, strict=False).is_not_null()
    return events.with_columns(pl.when(~a_number).then("text_value").alias("text_value"))


def _timed(events: pl.DataFrame) -> pl.DataFrame:
    return events.filter(pl.col("time").is_not_null())
