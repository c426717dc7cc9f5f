"""Reads the shards of a MEDS dataset (0.4: ``data/**/*.parquet``) one by one; their columns and faults may differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast, final

import polars as pl

from emerge_ehr.datasets.sources._raw.raw_csv import collect
from emerge_ehr.fields import UserError
from emerge_ehr.signals.unit_forms import UNIT_COLUMNS
from emerge_ehr.storage.artefacts import first_line
from emerge_ehr.storage.ids import id_text

REQUIRED = ("subject_id", "time", "code")
ICU_IDS = ("icustay_id", "stay_id")
Patterns = tuple[str, ...]


@final
@dataclass(frozen=True)
class Shards:
    """The shards of the dataset in ``raw_dir``. A pattern is a code in which ``*`` stands for any text.

    ``admission_id``: the column that is read as ``hadm_id``, if there is one.
    """

    raw_dir: Path
    admission_id: str = "hadm_id"

    @cached_property
    def frames(self) -> dict[Path, pl.LazyFrame]:
        """Path -> ``subject_id, time, code, numeric_value, text_value, unit, hadm_id, stay_id``; null where a shard lacks it.

        Times are naive; those of shards in several time zones are the times of the first shard's zone.

        Raises:
            UserError: there is no shard, or one is not a parquet file of MEDS; or only some state a time zone.
        """
        data = self.raw_dir / "data"
        paths = sorted(data.rglob("*.parquet")) if data.is_dir() else []
        if not paths:
            names = sorted(path.name for path in self.raw_dir.iterdir())[:8] if self.raw_dir.is_dir() else []
            raise UserError(
                f"{data}: has no .parquet; paths.raw_dir must be the root of a MEDS dataset, with data/ "
                f"(there: {', '.join(names) or 'nothing'})"
            )
        zones = _zones(paths)
        return {path: _scan(path, next(iter(zones.values())), self.admission_id) for path in paths}

    @cached_property
    def codes(self) -> pl.Series:
        """All codes, read from the shards themselves, because ``metadata/codes.parquet`` need not list all of them."""
        shards = [collect(rows.select("code").unique(), path) for path, rows in self.frames.items()]
        return pl.concat(shards)["code"].drop_nulls().unique().sort()

    def matching(self, patterns: Patterns, *, any_case: bool = False) -> pl.DataFrame:
        """``code, tail`` of the codes that match; ``tail`` is the part of the code from the first ``*`` on, or the whole code."""
        tables = [pl.DataFrame(schema={"code": pl.String, "tail": pl.String})]
        for pattern in patterns:
            literal = [pl.escape_regex(part) for part in pattern.split("*")]
            codes = self.codes.filter(self.codes.str.contains(f"(?s{'i' if any_case else ''})^{'.*'.join(literal)}$"))
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


def _zones(paths: Sequence[Path]) -> dict[Path, str | None]:
    """The time zone of each shard, None where it states none.

    Raises:
        UserError: some state one and others do not, so that it is unknown how many hours lie between their times.
    """
    zones = {path: cast(pl.Datetime, _stored(path)["time"]).time_zone for path in paths}
    bare = [path for path, zone in zones.items() if zone is None]
    if bare and len(bare) < len(zones):
        path, zone = next((path, zone) for path, zone in zones.items() if zone)
        raise UserError(
            f"{bare[0]}: its times have no time zone, while those of {path} are in {zone}; write all shards with the same"
        )
    return zones


def _stored(path: Path) -> pl.Schema:
    """The columns of a shard with their types.

    Raises:
        UserError: it is not a parquet file of MEDS.
    """
    try:
        present = pl.scan_parquet(path, glob=False).collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path}: not a readable parquet file: {first_line(error)}; get it again") from None
    for name in REQUIRED:
        if name not in present:
            raise UserError(f"{path}: no column '{name}'; MEDS 0.4 was expected; it has: {', '.join(present)}")
    if not present["subject_id"].is_integer() or not isinstance(present["time"], pl.Datetime):
        kinds = f"{present['subject_id']} and {present['time']}"
        raise UserError(f"{path}: subject_id and time are {kinds}; MEDS has an integer and a Datetime")
    return present


def _scan(path: Path, zone: str | None, admission_id: str) -> pl.LazyFrame:
    present = _stored(path)
    stay, unit = (next((name for name in names if name in present), "") for names in (ICU_IDS, UNIT_COLUMNS))
    time = pl.col("time") if zone is None else pl.col("time").dt.convert_time_zone(zone).dt.replace_time_zone(None)
    return pl.scan_parquet(path, glob=False).select(
        pl.col("subject_id").cast(pl.Int64),
        time.cast(pl.Datetime("us")),
        pl.col("code").cast(pl.String),
        _optional("numeric_value", present).cast(pl.Float64).alias("numeric_value"),
        _optional("text_value", present).cast(pl.String).alias("text_value"),
        _optional(unit, present).cast(pl.String).alias("unit"),
        _id(admission_id, present).alias("hadm_id"),
        _id(stay, present).alias("stay_id"),
    )


def _optional(column: str, present: Mapping[str, pl.DataType]) -> pl.Expr:
    return pl.col(column) if column in present else pl.lit(None)


def _id(column: str, present: Mapping[str, pl.DataType]) -> pl.Expr:
    """An id as text, read as in all tables; one stored as a float becomes a whole number first, and 0 and -1 are none."""
    number = _optional(column, present)
    if column in present and present[column].is_float():
        number = number.cast(pl.Int64)
    text = id_text(number.cast(pl.String))
    return pl.when(~text.is_in(["0", "-1"])).then(text)
