"""Corruptions of raw files in other layouts than MIMIC-IV's: MIMIC-III, eICU, MEDS, and tables of a user's own."""

from pathlib import Path

import polars as pl

from tests.faults.corruption import Corruption
from tests.faults.damage import (
    ARCHIVES,
    FILES,
    LINES,
    Damage,
    cell,
    column,
    emptied,
    halved,
    missing,
    renamed,
    replaced_by,
    rows,
    without,
    written,
)  # fmt: skip

SOME = (
    "wrong delimiter",
    "byte order mark",
    "CRLF line ends",
    "duplicated column",
    "row too long",
    "cut off in a row",
    "NUL bytes at the end",
    "header only",
    "binary",
    "reordered columns",
    "blank lines at the end",
)
GENERAL = {kind: LINES[kind] for kind in SOME} | {"emptied": FILES["emptied"], "missing": FILES["missing"]}
ZIPPED = GENERAL | {kind: ARCHIVES[kind] for kind in ("truncated gzip", "not gzip", "flipped bits")}


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


PARQUET: dict[str, Damage] = {
    "halved": halved,
    "emptied": emptied,
    "missing": missing,
    "text": written("subject_id,time,code\n"),
    "garbled": lambda path: path.write_bytes(b"PAR1" + bytes(600) + path.read_bytes()[604:]) and None,
    "column missing": frame("time"),
    "column renamed": frame({"subject_id": "patient_id"}),
    "ids as text": frame(pl.col("subject_id").cast(pl.String)),
    "ids as float": frame(pl.col("subject_id").cast(pl.Float64)),
    "times as text": frame(pl.col("time").cast(pl.String)),
    "times in a zone": frame(pl.col("time").dt.replace_time_zone("UTC")),
    "values as text": frame(pl.col("numeric_value").cast(pl.String)),
    "NaN": frame(pl.lit(float("nan")).alias("numeric_value")),
    "infinity": frame(pl.lit(float("inf")).alias("numeric_value")),
    "values empty": frame(pl.lit(None, pl.Float32).alias("numeric_value")),
    "codes empty": frame(pl.lit(None, pl.String).alias("code")),
    "ids empty": frame(pl.lit(None, pl.Int64).alias("subject_id")),
    "codes unknown": frame(("x" + pl.col("code")).alias("code")),
    "no rows": lambda path: pl.read_parquet(path).head(0).write_parquet(path),
}
MIMIC3 = {
    ("ICUSTAYS", "impossible date"): cell("INTIME", "2120-02-31 10:00:00"),
    ("ICUSTAYS", "duplicate id"): rows(lambda table: [*table, table[1]]),
    ("PATIENTS", "impossible date"): cell("DOB", "2050-13-14 00:00:00"),
    ("PATIENTS", "born after the stay"): cell("DOB", "2190-01-01 00:00:00"),
    ("PATIENTS", "far past"): cell("DOB", "1000-01-01 00:00:00"),
    ("ADMISSIONS", "label not 0 or 1"): cell("HOSPITAL_EXPIRE_FLAG", "7"),
    ("ADMISSIONS", "time zone"): cell("DISCHTIME", "2120-02-01 10:00:00+02:00"),
    ("CHARTEVENTS", "text in a number"): cell("VALUENUM", "high"),
    ("CHARTEVENTS", "column missing"): without("ERROR"),
    ("LABEVENTS", "ids as float"): column("HADM_ID", lambda value: value and value + ".0"),
    ("NOTEEVENTS", "impossible date"): cell("CHARTDATE", "2120-02-31"),
    ("NOTEEVENTS", "column renamed"): renamed("TEXT", "BODY"),
    ("NOTEEVENTS", "swapped with another"): replaced_by("ADMISSIONS.csv.gz"),
}
EICU = {
    ("patient", "text in a number"): cell("unitdischargeoffset", "long"),
    ("patient", "impossible age"): cell("age", "400"),
    ("patient", "age in words"): cell("age", "old"),
    ("patient", "negative hours"): cell("unitdischargeoffset", "-90"),
    ("patient", "duplicate id"): rows(lambda table: [*table, table[1]]),
    ("patient", "label neither Alive nor Expired"): cell("hospitaldischargestatus", "Unsure"),
    ("patient", "column renamed"): renamed("uniquepid", "person"),
    ("vitalPeriodic", "text in a number"): cell("heartrate", "fast"),
    ("vitalPeriodic", "offset as float"): cell("observationoffset", "1.5"),
    ("lab", "column missing"): without("labresult"),
    ("nurseCharting", "column missing"): without("nursingchartvalue"),
}
TABLES = {
    ("dynamic", "impossible date"): cell("event_time", "2150-02-31 10:00:00"),
    ("dynamic", "time zone"): cell("event_time", "2150-03-02 10:00:00Z"),
    ("dynamic", "code empty"): cell("code", ""),
    ("dynamic", "patient empty"): cell("patient_id", ""),
    ("dynamic", "NaN"): column("value", lambda value: "NaN"),
    ("dynamic", "patient unknown"): cell("patient_id", "P0"),
    ("static", "age out of range"): cell("age", "130"),
    ("static", "sex as word"): cell("sex", "female"),
    ("static", "duplicate id"): rows(lambda table: [*table, table[1]]),
    ("label", "label not 0 or 1"): cell("label_value", "3"),
    ("label", "label 0.5"): cell("label_value", "0.5"),
    ("label", "known in the window"): cell("label_time", "2100-01-01 00:00:00"),
    ("label", "patient lost"): rows(lambda table: [table[0], *table[2:]]),
}


def _of(source: str, folder: str, suffix: str, damages: dict[tuple[str, str], Damage]) -> list[Corruption]:
    return [
        Corruption(f"{folder}/{name}{suffix}", kind, damage, "convert", config=f"{source}.toml")
        for (name, kind), damage in damages.items()
    ]


CORRUPTIONS = [
    *_of("mimic3", "mimic3", ".csv.gz", {("ICUSTAYS", kind): damage for kind, damage in ZIPPED.items()} | MIMIC3),
    *_of(
        "mimic3",
        "mimic3",
        ".csv.gz",
        {("NOTEEVENTS", kind): ZIPPED[kind] for kind in ("truncated gzip", "header only")},
    ),
    *_of("eicu", "eicu", ".csv.gz", {("patient", kind): damage for kind, damage in ZIPPED.items()} | EICU),
    *_of("eicu", "eicu", ".csv.gz", {("lab", kind): damage for kind, damage in ZIPPED.items()}),
    *_of("meds", "meds/data/train", ".parquet", {("0", kind): damage for kind, damage in PARQUET.items()}),
    *_of(
        "tables",
        "tables_source",
        ".csv",
        {("dynamic", kind): damage for kind, damage in GENERAL.items() if "CRLF" not in kind} | TABLES,
    ),
]
