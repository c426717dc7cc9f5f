"""Reads the shards of a MEDS dataset (0.4: ``data/**/*.parquet``) one by one; their columns and faults may differ."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import final

import polars as pl

from emerge_ehr.datasets.sources._raw.raw_csv import collect
from emerge_ehr.fields import UserError
from emerge_ehr.storage.artefacts import first_line

REQUIRED = ("subject_id", "time", "code")
ICU_IDS = ("icustay_id", "stay_id")
Patterns = tuple[str, ...]


@final
@dataclass(frozen=True)
class Shards:
    """The shards of the dataset in ``raw_dir``. A pattern is a code in which ``*`` stands for any text."""

    raw_dir: Path

    @cached_property
    def frames(self) -> dict[Path, pl.LazyFrame]:
        """Path -> ``subject_id, time, code, numeric_value, text_value, hadm_id, stay_id``; null where a shard lacks the column.

        Raises:
            UserError: there is no shard, or one is not a parquet file of MEDS.
        """
        data = self.raw_dir / "data"
        paths = sorted(data.rglob("*.parquet")) if data.is_dir() else []
        if not paths:
            names = sorted(path.name for path in self.raw_dir.iterdir())[:8] if self.raw_dir.is_dir() else []
            raise UserError(
                f"{data}: has no .parquet; paths.raw_dir must be the root of a MEDS dataset, with data/ "
                f"(there: {', '.join(names) or 'nothing'})"
            )
        return {path: _scan(path) for path in paths}

    @cached_property
    def codes(self) -> pl.Series:
        """All codes, read from the shards themselves, because ``metadata/codes.parquet`` need not list all of them."""
        shards = [collect(rows.select("code").unique(), path) for path, rows in self.frames.items()]
        return pl.concat(shards)["code"].drop_nulls().unique().sort()

    def matching(self, patterns: Patterns) -> pl.DataFrame:
        """``code, tail`` of the codes that match; ``tail`` is the part of the code from the first ``*`` on, or the whole code."""
        tables = [pl.DataFrame(schema={"code": pl.String, "tail": pl.String})]
        for pattern in patterns:
            literal = [pl.escape_regex(part) for part in pattern.split("*")]
            codes = self.codes.filter(self.codes.str.contains(f"(?s)^{'.*'.join(literal)}$"))
            start = pattern.index("*") if "*" in pattern else 0
            tables.append(pl.DataFrame({"code": codes, "tail": codes.str.slice(start)}))
        return pl.concat(tables).unique("code", keep="first", maintain_order=True)

    def rows(self, patterns: Mapping[str, Patterns], *more: str) -> pl.DataFrame:
        """All rows whose codes match: ``kind`` (the pattern's key), ``subject_id, time, code, tail, hadm_id, stay_id, *more``."""
        kinds = [self.matching(wanted).with_columns(pl.lit(kind).alias("kind")) for kind, wanted in patterns.items()]
        codes = pl.concat(kinds).lazy()
        columns = ("kind", "subject_id", "time", "code", "tail", "hadm_id", "stay_id", *more)
        matched = [collect(rows.join(codes, on="code").select(columns), path) for path, rows in self.frames.items()]
        return pl.concat(matched).sort("subject_id", "time", "code", nulls_last=True, maintain_order=True)


def _scan(path: Path) -> pl.LazyFrame:
    try:
        rows = pl.scan_parquet(path, glob=False)
        present = rows.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path}: not a readable parquet file: {first_line(error)}; get it again") from None
    for name in REQUIRED:
        if name not in present:
            raise UserError(f"{path}: no column '{name}'; MEDS 0.4 was expected; it has: {', '.join(present)}")
    if not present["subject_id"].is_integer() or not isinstance(present["time"], pl.Datetime):
        kinds = f"{present['subject_id']} and {present['time']}"
        raise UserError(f"{path}: subject_id and time are {kinds}; MEDS has an integer and a Datetime")
    stay = next((name for name in ICU_IDS if name in present), "")
    return rows.select(
        pl.col("subject_id").cast(pl.Int64),
        pl.col("time").dt.replace_time_zone(None).cast(pl.Datetime("us")),
        pl.col("code").cast(pl.String),
        _optional("numeric_value", present).cast(pl.Float64).alias("numeric_value"),
        _optional("text_value", present).cast(pl.String).alias("text_value"),
        _id("hadm_id", present).alias("hadm_id"),
        _id(stay, present).alias("stay_id"),
    )


def _optional(column: str, present: Mapping[str, pl.DataType]) -> pl.Expr:
    return pl.col(column) if column in present else pl.lit(None)


def _id(column: str, present: Mapping[str, pl.DataType]) -> pl.Expr:
    """An id as text; an id stored as a float becomes a whole number first."""
    number = _optional(column, present)
    if column in present and present[column].is_float():
        number = number.cast(pl.Int64)
    return number.cast(pl.String)
