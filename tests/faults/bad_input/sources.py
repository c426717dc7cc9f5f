"""Faults of raw files in other layouts than MIMIC-IV's: MIMIC-III, eICU, MEDS, and tables of a user's own."""

from pathlib import Path

import polars as pl

from tests.faults.bad_input.any_file import ANY_CSV, ANY_FILE, ANY_GZIP
from tests.faults.bad_input.damage import (
    Damage,
    cell,
    column,
    halved,
    renamed,
    replaced_by,
    rows,
    without,
    written,
)  # fmt: skip
from tests.faults.bad_input.fault import SAME, Cases, faults, handled, refused, some


def frame(edit: "pl.Expr | dict[str, str] | pl.DataFrame | str") -> Damage:
    """A parquet file with one column changed, renamed or dropped."""

    def damage(path: Path) -> None:
        table = pl.read_parquet(path)
        if isinstance(edit, pl.Expr):
            table = table.with_columns(edit)
        elif isinstance(edit, dict):
            table = table.rename(edit)
        elif isinstance(edit, str):
            table = table.drop(edit)
        else:
            table = edit
        table.write_parquet(path)

    return damage


OF_EVERY_CSV = (
    "wrong delimiter",
    "byte order mark",
    "duplicated column",
    "row too long",
    "cut off in a row",
    "NUL bytes at the end",
    "header only",
    "binary",
    "reordered columns",
    "blank lines at the end",
)
# The general faults that files of MIMIC-III and eICU are given; those of MIMIC-IV (raw_files.py) are given all
GZIPPED_CSV: Cases = (
    some(ANY_CSV, *OF_EVERY_CSV, "CRLF line ends")
    | some(ANY_FILE, "emptied", "missing")
    | some(ANY_GZIP, "truncated gzip", "not gzip", "flipped bits")
)
MIMIC3_ICUSTAYS: Cases = {
    "impossible date": (cell("INTIME", "2120-02-31 10:00:00"), refused("intime '2120-02-31 10:00:00' is not a time")),
    "duplicate id": (rows(lambda table: [*table, table[1]]), refused("icustay_id 206504 stands twice")),
}
MIMIC3_PATIENTS: Cases = {
    "impossible date": (cell("DOB", "2050-13-14 00:00:00"), refused("dob '2050-13-14 00:00:00' is not a time")),
    "born after the stay": (cell("DOB", "2190-01-01 00:00:00"), handled("younger than 18 years")),
    "far past": (cell("DOB", "1000-01-01 00:00:00"), SAME),
}
MIMIC3_ADMISSIONS: Cases = {
    "label not 0 or 1": (cell("HOSPITAL_EXPIRE_FLAG", "7"), handled("outcome unknown")),
    "time zone": (
        cell("DISCHTIME", "2120-02-01 10:00:00+02:00"),
        refused("dischtime '2120-02-01 10:00:00+02:00' is not a time"),
    ),
}
MIMIC3_CHARTEVENTS: Cases = {
    "text in a number": (
        cell("VALUENUM", "high"),
        refused("row 2: valuenum 'high' is not a number"),
    ),
    "column missing": (without("ERROR"), refused("no column 'error'")),
}
MIMIC3_LABEVENTS: Cases = {
    "ids as float": (
        column("HADM_ID", lambda value: value and value + ".0"),
        SAME,
    ),
}
MIMIC3_NOTEEVENTS: Cases = {
    "impossible date": (cell("CHARTDATE", "2120-02-31"), refused("time '2120-02-31' is not a time")),
    "column renamed": (renamed("TEXT", "BODY"), refused("no column 'text'")),
    "swapped with another": (replaced_by("ADMISSIONS.csv.gz"), refused("no column 'text'")),
}
EICU_PATIENT: Cases = {
    "text in a number": (
        cell("unitdischargeoffset", "long"),
        refused("row 2: unitdischargeoffset 'long' is not a whole number"),
    ),
    "impossible age": (
        cell("age", "400"),
        refused("stay_id 1 has an age of 400 years, which is outside 0-120", names="eicu"),
    ),
    "age in words": (cell("age", "old"), SAME),
    "negative hours": (cell("unitdischargeoffset", "-90"), SAME),
    "duplicate id": (rows(lambda table: [*table, table[1]]), refused("patientunitstayid 1 stands twice")),
    "label neither Alive nor Expired": (cell("hospitaldischargestatus", "Unsure"), SAME),
    "column renamed": (renamed("uniquepid", "person"), refused("no column 'uniquepid'")),
}
EICU_VITALPERIODIC: Cases = {
    "text in a number": (
        cell("heartrate", "fast"),
        refused("row 2: heartrate 'fast' is not a number"),
    ),
    "offset as float": (
        cell("observationoffset", "1.5"),
        refused("row 2: observationoffset '1.5' is not a whole number"),
    ),
}
EICU_LAB: Cases = {
    "column missing": (without("labresult"), refused("no column 'labresult'")),
}
EICU_NURSECHARTING: Cases = {
    "column missing": (without("nursingchartvalue"), refused("no column 'nursingchartvalue'")),
}
PARQUET: Cases = {
    "halved": (halved, refused("not a readable parquet file: parquet: File out of specification: The f")),
    "text": (
        written("subject_id,time,code\n"),
        refused("not a readable parquet file: parquet: File out of specification: The f"),
    ),
    "garbled": (
        lambda path: path.write_bytes(b"PAR1" + bytes(600) + path.read_bytes()[604:]) and None,
        refused("cannot be read: parquet: File out of specification: Invalid thrift: pr"),
    ),
    "column missing": (frame("time"), refused("no column 'time'")),
    "column renamed": (frame({"subject_id": "patient_id"}), refused("no column 'subject_id'")),
    "ids as text": (
        frame(pl.col("subject_id").cast(pl.String)),
        refused("subject_id and time are String and Datetime(time_unit='us', time_zone="),
    ),
    "ids as float": (
        frame(pl.col("subject_id").cast(pl.Float64)),
        refused("subject_id and time are Float64 and Datetime(time_unit='us', time_zone"),
    ),
    "times as text": (frame(pl.col("time").cast(pl.String)), refused("subject_id and time are Int64 and String")),
    "times in a zone": (frame(pl.col("time").dt.replace_time_zone("UTC")), SAME),
    "values as text": (frame(pl.col("numeric_value").cast(pl.String)), SAME),
    "NaN": (
        frame(pl.lit(float("nan")).alias("numeric_value")),
        refused("no stay of the cohort has a measurement in its observation window", names="meds"),
    ),
    "infinity": (
        frame(pl.lit(float("inf")).alias("numeric_value")),
        refused("no stay of the cohort has a measurement in its observation window", names="meds"),
    ),
    "values empty": (
        frame(pl.lit(None, pl.Float32).alias("numeric_value")),
        refused("no stay of the cohort has a measurement in its observation window", names="meds"),
    ),
    "codes empty": (
        frame(pl.lit(None, pl.String).alias("code")),
        refused("no code matches source.icu_admission = ICU_ADMISSION//*", names="meds"),
    ),
    "ids empty": (
        frame(pl.lit(None, pl.Int64).alias("subject_id")),
        refused("no ICU stay is left in the cohort", names="meds"),
    ),
    "codes unknown": (
        frame(("x" + pl.col("code")).alias("code")),
        refused("no code matches source.icu_admission = ICU_ADMISSION//*", names="meds"),
    ),
    "no rows": (
        lambda path: pl.read_parquet(path).head(0).write_parquet(path),
        refused("no code matches source.icu_admission = ICU_ADMISSION//*", names="meds"),
    ),
}
TABLES_DYNAMIC: Cases = {
    "impossible date": (
        cell("event_time", "2150-02-31 10:00:00"),
        refused("event_time '2150-02-31 10:00:00' is not a time"),
    ),
    "time zone": (
        cell("event_time", "2150-03-02 10:00:00+02:00"),
        refused("event_time '2150-03-02 10:00:00+02:00' is not a time"),
    ),
    "code empty": (cell("code", ""), refused("code is empty")),
    "patient empty": (cell("patient_id", ""), refused("patient_id is empty")),
    "NaN": (column("value", lambda value: "NaN"), refused("none of its 4 codes can be used")),
    "patient unknown": (cell("patient_id", "P0"), handled("no label")),
}
TABLES_STATIC: Cases = {
    "age out of range": (cell("age", "130"), refused("age '130' is outside 0-120")),
    "sex of another kind": (
        cell("sex", "9"),
        handled("the sex (or gender) of 1 patients is a number (9) whose meaning"),
    ),
    "duplicate id": (rows(lambda table: [*table, table[1]]), refused("patient_id P1 stands twice")),
}
TABLES_LABEL: Cases = {
    "label not 0 or 1": (cell("label_value", "3"), refused("label_value 3 of patient_id 'P1' is neither 0 nor 1")),
    "label 0.5": (cell("label_value", "0.5"), refused("label_value 0.5 of patient_id 'P1' is neither 0 nor 1")),
    "known in the window": (
        cell("label_time", "2100-01-01 00:00:00"),
        handled("outcome known before the end of the observation window"),
    ),
    "patient lost": (rows(lambda table: [table[0], *table[2:]]), handled("no label")),
}
FAULTS = [
    *faults(
        "convert",
        "mimic3/ICUSTAYS.csv.gz",
        GZIPPED_CSV | MIMIC3_ICUSTAYS,
        {
            "wrong delimiter": refused("no column 'subject_id'"),
            "duplicated column": refused("two columns are named 'ROW_ID'"),
            "cut off in a row": refused("cut off"),
            "NUL bytes at the end": refused("cut off: its last line has no end and fewer than 12 fields"),
            "binary": refused("no column 'subject_id'"),
        },
        config="mimic3.toml",
    ),
    *faults("convert", "mimic3/PATIENTS.csv.gz", MIMIC3_PATIENTS, config="mimic3.toml"),
    *faults("convert", "mimic3/ADMISSIONS.csv.gz", MIMIC3_ADMISSIONS, config="mimic3.toml"),
    *faults("convert", "mimic3/CHARTEVENTS.csv.gz", MIMIC3_CHARTEVENTS, config="mimic3.toml"),
    *faults("convert", "mimic3/LABEVENTS.csv.gz", MIMIC3_LABEVENTS, config="mimic3.toml"),
    *faults(
        "convert",
        "mimic3/NOTEEVENTS.csv.gz",
        some(ANY_CSV, "header only") | some(ANY_GZIP, "truncated gzip") | MIMIC3_NOTEEVENTS,
        {
            "header only": handled("surrogate notes"),
        },
        config="mimic3.toml",
    ),
    *faults(
        "convert",
        "eicu/patient.csv.gz",
        GZIPPED_CSV | EICU_PATIENT,
        {
            "wrong delimiter": refused("no column 'patientunitstayid'"),
            "duplicated column": refused("two columns are named 'patientunitstayid'"),
            "cut off in a row": refused("cut off: its last line has no end and fewer than 29 fields"),
            "NUL bytes at the end": refused("cut off: its last line has no end and fewer than 29 fields"),
            "binary": refused("no column 'patientunitstayid'"),
        },
        config="eicu.toml",
    ),
    *faults("convert", "eicu/vitalPeriodic.csv.gz", EICU_VITALPERIODIC, config="eicu.toml"),
    *faults(
        "convert",
        "eicu/lab.csv.gz",
        GZIPPED_CSV | EICU_LAB,
        {
            "wrong delimiter": refused("no column 'patientunitstayid'"),
            "duplicated column": refused("two columns are named 'labid'"),
            "cut off in a row": refused("cut off: its last line has no end and fewer than 10 fields"),
            "NUL bytes at the end": refused("cut off: its last line has no end and fewer than 10 fields"),
            "header only": handled("no sample has a measurement of"),
            "binary": refused("no column 'patientunitstayid'"),
            "missing": handled("no sample has a measurement of"),
        },
        config="eicu.toml",
    ),
    *faults("convert", "eicu/nurseCharting.csv.gz", EICU_NURSECHARTING, config="eicu.toml"),
    *faults(
        "convert",
        "meds/data/train/0.parquet",
        some(ANY_FILE, "emptied", "missing") | PARQUET,
        {
            "emptied": refused("not a readable parquet file: parquet: File out of specification: A Par"),
            "missing": refused("has no .parquet", names="meds/data"),
        },
        config="meds.toml",
    ),
    *faults(
        "convert",
        "tables_source/dynamic.csv",
        some(ANY_CSV, *OF_EVERY_CSV) | some(ANY_FILE, "emptied", "missing") | TABLES_DYNAMIC,
        {
            "cut off in a row": refused("cut off: its last line has no end and fewer than 4 fields"),
            "NUL bytes at the end": refused("cut off: its last line has no end and fewer than 4 fields"),
            "blank lines at the end": SAME,
        },
        config="tables.toml",
    ),
    *faults("convert", "tables_source/static.csv", TABLES_STATIC, config="tables.toml"),
    *faults("convert", "tables_source/label.csv", TABLES_LABEL, config="tables.toml"),
]
