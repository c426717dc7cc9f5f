"""Corruptions of the measurements of a user's own in parts of parquet, read by stage preprocess and by predict."""

from datetime import datetime
from typing import Any

import polars as pl

from tests.faults.corruption import Corruption
from tests.faults.damage import (
    FILES,
    Damage,
    archived,
    parquet,
    replaced_by,
    written,
)

PREDICT = ("--run", "run", "--tables", "parts", "--output", "risks.csv")


def cell(name: str, value: Any) -> Damage:
    """The first row's."""
    first = pl.int_range(pl.len()) == 0
    return parquet(lambda t: t.with_columns(pl.when(first).then(pl.lit(value)).otherwise(name).alias(name)))


def stored(**kinds: Any) -> Damage:
    return parquet(lambda t: t.cast(kinds))


def texts(form: str) -> Damage:
    return parquet(lambda t: t.with_columns(pl.col("event_time").dt.strftime(form)))


DAMAGES: dict[str, Damage] = {
    **FILES,
    "cut off": archived(lambda b: b[:-100]),
    "first half": archived(lambda b: b[: len(b) // 2]),
    "second half": archived(lambda b: b[len(b) // 2 :]),
    "zeros inside": archived(lambda b: b[:80] + bytes(400) + b[480:]),
    "zeros in the footer": archived(lambda b: b[:-300] + bytes(100) + b[-200:]),
    "footer of a length beyond the file": archived(lambda b: b[:-8] + b"\xff\xff\xff\x7fPAR1"),
    "a CSV": written("patient_id,event_time,code,value\n1,2150-01-01,x,1\n"),
    "a pickle": written(b"\x80\x04cposix\nsystem\n(S'touch executed'\ntR."),
    "no rows": parquet(lambda t: t.head(0)),
    "no columns": parquet(lambda t: t.select()),
    "column missing": parquet(lambda t: t.drop("value")),
    "column in upper case": parquet(lambda t: t.rename({"code": "CODE"})),
    "extra column": parquet(lambda t: t.with_columns(remark=pl.lit("x"))),
    "reordered columns": parquet(lambda t: t.select(reversed(t.columns))),
    "rows in another order": parquet(lambda t: t.reverse()),
    "every row twice": parquet(lambda t: pl.concat([t, t])),
    "the other part again": replaced_by("a.parquet"),
    "ids as whole numbers": stored(patient_id=pl.Int64),
    "ids as floats": stored(patient_id=pl.Float64),
    "codes as categories": stored(code=pl.Categorical),
    "codes in lists": parquet(lambda t: t.with_columns(pl.concat_list("code"))),
    "values as text": stored(value=pl.String),
    "values as booleans": parquet(lambda t: t.with_columns(pl.col("value") > 0)),
    "times in milliseconds": stored(event_time=pl.Datetime("ms")),
    "times as numbers": stored(event_time=pl.Int64),
    "times as text": texts("%Y-%m-%d %H:%M:%S"),
    "times as other text": texts("%d.%m.%Y %H:%M"),
    "times of a zone": parquet(lambda t: t.with_columns(pl.col("event_time").dt.replace_time_zone("UTC"))),
    "value null": cell("value", None),
    "NaN": cell("value", float("nan")),
    "infinity": cell("value", float("-inf")),
    "huge number": cell("value", 1e300),
    "time null": cell("event_time", None),
    "far future": cell("event_time", datetime(9999, 12, 31)),
    "patient null": cell("patient_id", None),
    "patient unknown": cell("patient_id", "0"),
    "code empty": cell("code", ""),
    "code unknown": cell("code", "heart rate "),
}
OF_PREDICT = ("missing", "emptied", "a folder", "zeros inside", "column missing", "value null", "patient unknown")
CORRUPTIONS = [
    *(Corruption("parts/dynamic/b.parquet", k, d, "preprocess", config="parts.toml") for k, d in DAMAGES.items()),
    *(Corruption("parts/dynamic/b.parquet", k, DAMAGES[k], "predict", options=PREDICT) for k in OF_PREDICT),
    *(
        Corruption(f"parts/{name}", kind, damage, "preprocess", config="parts.toml")
        for name, kind, damage in (
            ("dynamic.csv", "beside the parts", written("patient_id,event_time,code,value\n")),
            ("dynamic/more.csv", "beside the parts", written("patient_id,event_time,code,value\n")),
            ("dynamic/_SUCCESS", "beside the parts", written(b"")),
        )
    ),
]
