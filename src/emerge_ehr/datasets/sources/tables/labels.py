"""``label.csv``: the outcomes of the records, and which of their times are dates."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from emerge_ehr.datasets import dates
from emerge_ehr.datasets.sources._raw.raw_csv import collect, scan
from emerge_ehr.datasets.sources.tables.fields import parsed
from emerge_ehr.datasets.sources.tables.records import DAY
from emerge_ehr.fields import UserError
from emerge_ehr.storage import schema
from emerge_ehr.storage.ids import id_text
from emerge_ehr.storage.table_files import read_table


@dataclass(frozen=True)
class Outcomes:
    """The rows of ``label.csv``, with any number as value.

    ``dated``: how many have a date only, which was moved to the end of its day; ``codes``: those that always have.
    """

    table: pl.DataFrame
    dated: int = 0
    codes: tuple[str, ...] = ()

    def ends(self, chosen: Sequence[str]) -> pl.DataFrame:
        """The rows that may end a record: of the ``chosen`` outcomes, or of all if none is chosen."""
        return self.table.filter(pl.col("label_code").is_in(list(chosen))) if chosen else self.table


def known_times(folder: Path, chosen: Sequence[str], dated: Collection[str]) -> Outcomes:
    """When the ``chosen`` outcomes of new records were known, by ``label.csv``; nothing else in it is looked at.

    A row without a time, as of an outcome that is still unknown, is passed over. ``dated``: the codes that have dates.

    Raises:
        UserError: a column is missing, or a time is none.
    """
    path = folder / schema.LABEL.file
    rows = collect(scan(path, dict.fromkeys(("patient_id", "label_time", "label_code"), pl.String)), path)
    rows = rows.with_columns(id_text(pl.col("patient_id"))).filter(pl.col("label_code").is_in(list(chosen)))
    rows = parsed(rows, "label_time", path)
    return _by_day(rows.filter(pl.col("patient_id").is_not_null() & pl.col("label_time").is_not_null()), dated)


def outcomes(folder: Path, *, by_day: bool) -> Outcomes:
    """Read ``label.csv`` in ``folder``.

    ``by_day``: records end with their measurements or with a day, so that an outcome with a date only was known at the end of
    that day. Otherwise it may have been known from the beginning of the day on.

    Raises:
        UserError: the file does not fit, or a record has two rows of one label code.
    """
    path = folder / schema.LABEL.file
    columns = tuple(
        replace(column, kind="text") if column.name == "label_time" else replace(column, low=None, high=None)
        for column in schema.LABEL.columns
    )
    labels = read_table(folder, replace(schema.LABEL, columns=columns, key=()))
    labels = parsed(labels.with_columns(id_text(pl.col("patient_id"))), "label_time", path)
    twice = labels.select(schema.LABEL.key).is_duplicated()
    if twice.any():
        row = twice.arg_true()[1]
        patient, code = labels.select(schema.LABEL.key).row(row)
        raise UserError(
            f"{path} row {row + 2}: patient_id '{patient}' has another row of label_code '{code}'; one outcome per record is "
            "predicted, not one per time: keep one of the rows, or make a record of each time"
        )
    labels = labels.select(*schema.LABEL.names, "label_time bare")
    return _by_day(labels, None) if by_day else Outcomes(labels.drop("label_time bare"))


def _by_day(labels: pl.DataFrame, known: Collection[str] | None) -> Outcomes:
    """The labels, dates among whose times are moved to the end of their day; ``known`` as in ``dates.found``."""
    counted = labels.rename({"label_code": "code"}).group_by("code")
    found = dates.found(counted.agg(dates.counted(pl.col("label_time bare"), "label_time")), known)
    midnight = dates.is_midnight("label_time")
    dated = midnight & (pl.col("label_time bare") | pl.col("label_code").is_in(list(found.codes)))
    moved = pl.when(dated).then(pl.col("label_time") + DAY).otherwise("label_time").alias("label_time")
    return Outcomes(labels.with_columns(moved).drop("label_time bare"), found.rows, found.codes)
