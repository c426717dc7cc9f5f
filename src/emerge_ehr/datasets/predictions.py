"""Prediction times that a task brings: of which person, and when, a risk is predicted, and what the outcome was.

They are read from parquet files in the label schema of MEDS 0.4, whoever wrote them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, final

import polars as pl

from emerge_ehr.fields import UserError
from emerge_ehr.storage.artefacts import first_line
from emerge_ehr.storage.meds_predictions import sample_id

KEY = ("subject_id", "prediction_time")
KINDS = (pl.Int64(), pl.Datetime("us"), pl.Boolean())
OTHER_VALUES = ("integer_value", "float_value", "categorical_value")

UNTIMED, UNLABELLED = "labels without a person or a prediction time", "labels without a boolean_value"
# What a definition lacks of which aces-cli writes such labels alone
HINTS = {
    UNTIMED: "give the window that ends at the prediction time an index_timestamp",
    UNLABELLED: "give the window of the outcome a label that is a predicate",
}


@dataclass(frozen=True)
class PredictionTimes:
    """``table``: ``subject_id`` (Int64), ``prediction_time``, ``boolean_value`` and ``patient_id``, each sample once.

    ``counts``: the rows left out on the way, by reason; ``warnings`` for the user.
    """

    table: pl.DataFrame
    counts: Mapping[str, int]
    warnings: tuple[str, ...] = ()


class Predictions(Protocol):
    """The prediction times of a task, and how its one outcome is called."""

    @property
    def code(self) -> str:
        """The outcome's ``label_code``."""

    def files(self) -> list[Path]:
        """The files that decide them; all of them exist."""

    def read(self) -> PredictionTimes:
        """The prediction times.

        Raises:
            UserError: there are none, or a file does not fit.
        """


@final
@dataclass(frozen=True)
class LabelFiles:
    """The parquet files of ``folder``, which is named in the config as ``key``.

    ``told_as``: what messages call the folder, by default its path.
    """

    folder: Path
    code: str
    key: str = "[task] labels"
    told_as: str = ""

    def files(self) -> list[Path]:
        """The files, whatever folders they lie in."""
        paths = [self.folder] if self.folder.is_file() else sorted(self.folder.rglob("*.parquet"))
        if not paths:
            raise UserError(
                f"{self.folder}: has no .parquet; {self.key} names the folder of labels in the MEDS schema, as aces-cli "
                "writes them (subject_id, prediction_time, boolean_value)"
            )
        return paths

    def read(self) -> PredictionTimes:
        """The rows of all files."""
        return self._read

    @cached_property
    def _read(self) -> PredictionTimes:
        tables = [_labels(path) for path in self.files()]
        return once(pl.concat(tables), self.told_as or str(self.folder))


def once(rows: pl.DataFrame, where: str) -> PredictionTimes:
    """Each prediction time once, with its outcome; those without one, or with both, are left out and counted.

    >>> when = pl.Series("prediction_time", ["2150-01-01 08:00:00"] * 3).str.to_datetime(time_unit="us")
    >>> rows = pl.DataFrame({"subject_id": [1, 1, 2], "prediction_time": when, "boolean_value": [True, True, None]})
    >>> found = once(rows, "labels")
    >>> found.table["patient_id"].to_list(), sum(found.counts.values())
    (['1-21500101T080000'], 2)

    Raises:
        UserError: none is left.
    """
    empty = rows.filter(pl.any_horizontal(pl.col(KEY).is_null()))
    rows = rows.drop_nulls(KEY)
    unlabelled = rows.filter(pl.col("boolean_value").is_null())
    labelled = rows.drop_nulls("boolean_value")
    distinct = labelled.unique(maintain_order=True)
    both = distinct.filter(pl.struct(KEY).is_duplicated())
    table = distinct.join(both, on=KEY, how="anti").sort(KEY)
    counts = {
        UNTIMED: empty.height,
        UNLABELLED: unlabelled.height,
        "labels that stand twice, the second left out": labelled.height - distinct.height,
        "labels of one prediction time that contradict each other, all left out": both.height,
    }
    if not table.height:
        told = "; ".join(f"{reason}: {count}" for reason, count in counts.items() if count) or "no row"
        nobody = "aces-cli writes none where no person fits the definition"
        remedy = next((hint for reason, hint in HINTS.items() if counts[reason]), nobody)
        raise UserError(f"{where}: no label is left ({told}); {remedy}")
    doubts = {reason: count for reason, count in counts.items() if count}
    warnings = (f"{where}: " + "; ".join(f"{reason}: {count}" for reason, count in doubts.items()),) if doubts else ()
    return PredictionTimes(table.with_columns(sample_id().alias("patient_id")), counts, warnings)


def _labels(path: Path) -> pl.DataFrame:
    """``subject_id, prediction_time, boolean_value`` of one file of labels."""
    try:
        table = pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path}: not a readable parquet file: {first_line(error)}; get it again") from None
    _refuse_other_columns(path, table)
    if not table.height:  # of a shard in which nobody fits the definition
        return pl.DataFrame(schema=dict(zip((*KEY, "boolean_value"), KINDS, strict=True)))
    try:
        return table.select(pl.col(name).cast(kind) for name, kind in zip((*KEY, "boolean_value"), KINDS, strict=True))
    except pl.exceptions.PolarsError as error:
        raise UserError(f"{path}: an id or a time is out of range: {first_line(error)}; get the file again") from None


def _refuse_other_columns(path: Path, table: pl.DataFrame) -> None:
    present = table.schema
    for name in KEY:
        if name not in present:
            raise UserError(
                f"{path}: no column '{name}'; labels in the schema of MEDS 0.4 were expected; it has: {', '.join(present)}"
            )
    time = present["prediction_time"]
    empty = not table.height or time == pl.Null
    if not present["subject_id"].is_integer() or not (empty or isinstance(time, pl.Datetime)):
        kinds = f"{present['subject_id']} and {time}"
        raise UserError(f"{path}: subject_id and prediction_time are {kinds}; MEDS has an integer and a Datetime")
    if isinstance(time, pl.Datetime) and time.time_zone:
        raise UserError(f"{path}: prediction_time is in the time zone {time.time_zone}; MEDS has times without a zone")
    kind = present.get("boolean_value", pl.Null)
    if kind not in (pl.Boolean, pl.Null) and table["boolean_value"].null_count() < table.height:
        raise UserError(f"{path}: boolean_value is stored as {kind}; MEDS has a Boolean: write true and false")
    if kind != pl.Boolean and table.height:
        others = _filled(table, [name for name in OTHER_VALUES if name in present])
        told = f"it has {', '.join(others)}" if others else "it has no value"
        raise UserError(
            f"{path}: no boolean_value ({told}); EMERGE predicts what happens or does not, no classes and no amounts: "
            "give the window of the outcome a label that is a predicate"
        )


def _filled(table: pl.DataFrame, names: Sequence[str]) -> list[str]:
    return [name for name in names if table[name].null_count() < table.height]
