"""Faults of a user's own measurements in parts of parquet, read by stage preprocess and by predict."""

from datetime import datetime
from typing import Any

import polars as pl

from tests.faults.bad_input.any_file import ANY_FILE
from tests.faults.bad_input.damage import (
    Damage,
    archived,
    parquet,
    replaced_by,
    written,
)
from tests.faults.bad_input.fault import SAME, Cases, faults, handled, refused, some

PREDICT = ("--run", "run", "--tables", "parts", "--output", "risks.csv")


def cell(name: str, value: Any) -> Damage:
    """The first row's."""
    first = pl.int_range(pl.len()) == 0
    return parquet(lambda t: t.with_columns(pl.when(first).then(pl.lit(value)).otherwise(name).alias(name)))


def stored(**kinds: Any) -> Damage:
    return parquet(lambda t: t.cast(kinds))


def texts(form: str) -> Damage:
    return parquet(lambda t: t.with_columns(pl.col("event_time").dt.strftime(form)))


PART: Cases = {
    "cut off": (archived(lambda b: b[:-100]), refused("not a readable parquet file")),
    "first half": (archived(lambda b: b[: len(b) // 2]), refused("not a readable parquet file")),
    "second half": (archived(lambda b: b[len(b) // 2 :]), refused("not a readable parquet file")),
    "zeros inside": (archived(lambda b: b[:80] + bytes(400) + b[480:]), refused("not a readable parquet file")),
    "zeros in the footer": (
        archived(lambda b: b[:-300] + bytes(100) + b[-200:]),
        refused("not a readable parquet file"),
    ),
    "footer of a length beyond the file": (
        archived(lambda b: b[:-8] + b"\xff\xff\xff\x7fPAR1"),
        refused("not a readable parquet file"),
    ),
    "a CSV": (written("patient_id,event_time,code,value\n1,2150-01-01,x,1\n"), refused("not a readable parquet file")),
    "a pickle": (written(b"\x80\x04cposix\nsystem\n(S'touch executed'\ntR."), refused("not a readable parquet file")),
    "no rows": (parquet(lambda t: t.head(0)), handled("patients have no measurement")),
    "no columns": (parquet(lambda t: t.select()), refused("no column 'patient_id'")),
    "column missing": (parquet(lambda t: t.drop("value")), refused("no column 'value'")),
    "column in upper case": (parquet(lambda t: t.rename({"code": "CODE"})), refused("no column 'code'")),
    "extra column": (parquet(lambda t: t.with_columns(remark=pl.lit("x"))), SAME),
    "reordered columns": (parquet(lambda t: t.select(reversed(t.columns))), SAME),
    "rows in another order": (parquet(lambda t: t.reverse()), SAME),
    "every row twice": (parquet(lambda t: pl.concat([t, t])), SAME),
    "the other part again": (replaced_by("a.parquet"), handled("patients have no measurement")),
    "ids as whole numbers": (stored(patient_id=pl.Int64), SAME),
    "ids as floats": (stored(patient_id=pl.Float64), refused("patient_id is stored as Float64")),
    "codes as categories": (stored(code=pl.Categorical), SAME),
    "codes in lists": (
        parquet(lambda t: t.with_columns(pl.concat_list("code"))),
        refused("code is stored as List(String)"),
    ),
    "values as text": (stored(value=pl.String), refused("value is stored as String; it must be a number")),
    "values as booleans": (
        parquet(lambda t: t.with_columns(pl.col("value") > 0)),
        refused("value is stored as Boolean"),
    ),
    "times in milliseconds": (stored(event_time=pl.Datetime("ms")), SAME),
    "times as numbers": (stored(event_time=pl.Int64), refused("event_time is stored as Int64")),
    "times as text": (texts("%Y-%m-%d %H:%M:%S"), SAME),
    "times as other text": (texts("%d.%m.%Y %H:%M"), refused("is not a time")),
    "times of a zone": (
        parquet(lambda t: t.with_columns(pl.col("event_time").dt.replace_time_zone("Europe/Berlin"))),
        refused("it must be a time without a zone"),
    ),
    "value null": (cell("value", None), refused("row 1: value is empty")),
    "NaN": (cell("value", float("nan")), refused("row 1: value 'NaN' is not a number")),
    "infinity": (cell("value", float("-inf")), refused("row 1: value '-inf' is not a number")),
    "huge number": (cell("value", 1e300), refused("row 1: value '1e+300' is not a number")),
    "time null": (cell("event_time", None), refused("row 1: event_time is empty")),
    "far future": (
        cell("event_time", datetime(9999, 12, 31)),
        refused("1 row outside the observation window", names="parts/dynamic"),
    ),
    "patient null": (cell("patient_id", None), refused("row 1: patient_id is empty")),
    "patient unknown": (cell("patient_id", "0"), refused("patient_id '0' is not in cohort.csv", names="parts/dynamic")),
    "code empty": (cell("code", ""), refused("row 1: code is empty")),
    "code unknown": (cell("code", "heart rate "), handled("'heart rate ' is a feature of its own")),
}
BESIDE: Cases = {
    "beside the parts": (written("patient_id,event_time,code,value\n"), refused("stands beside dynamic/")),
}
MARKER: Cases = {
    "beside the parts": (written(b""), SAME),
}
FAULTS = [
    *faults(
        "preprocess",
        "parts/dynamic/b.parquet",
        ANY_FILE | PART,
        {
            "emptied": refused("not a readable parquet file"),
            "missing": handled("patients have no measurement"),
            "a folder": refused("not a *.parquet file"),
            "a link to itself": refused("not a *.parquet file"),
        },
        config="parts.toml",
    ),
    *faults(
        "predict",
        "parts/dynamic/b.parquet",
        some(ANY_FILE, "missing", "emptied", "a folder")
        | some(PART, "zeros inside", "column missing", "value null", "patient unknown"),
        {
            "missing": handled("patients have no measurement"),
            "emptied": refused("not a readable parquet file"),
            "a folder": refused("not a *.parquet file"),
        },
        options=PREDICT,
    ),
    *faults("preprocess", "parts/dynamic.csv", BESIDE, config="parts.toml"),
    *faults(
        "preprocess",
        "parts/dynamic/more.csv",
        BESIDE,
        {
            "beside the parts": refused("not a *.parquet file"),
        },
        config="parts.toml",
    ),
    *faults("preprocess", "parts/dynamic/_SUCCESS", MARKER, config="parts.toml"),
]
