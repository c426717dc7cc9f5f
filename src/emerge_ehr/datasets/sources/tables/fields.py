"""How ids, times and columns stand in a user's own tables."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl

from emerge_ehr.datasets.sources._raw.raw_csv import collect, header
from emerge_ehr.datasets.sources.tables.records import STAY_TIMES
from emerge_ehr.fields import UserError
from emerge_ehr.storage import schema, zones
from emerge_ehr.storage.ids import id_text
from emerge_ehr.storage.nothing import may_say_nothing
from emerge_ehr.storage.table_files import read_table
from emerge_ehr.storage.times import NOT_A_TIME, has_no_time_of_day, parse_time

TYPES = {"number": pl.Float64(), "time": pl.Datetime("us"), "text": pl.String()}


def time_of(name: str) -> pl.Expr:
    """The times in a text column, in whole seconds, as the tables that ``convert`` writes have them."""
    return parse_time(name).dt.truncate("1s")


def parsed(table: pl.DataFrame, name: str, path: Path) -> pl.DataFrame:
    """The table with its text column ``name`` as times, and with ``<name> bare``: whether the text is a date only.

    Raises:
        UserError: a text is not a time.
    """
    times, bare = collect(table.lazy().select(time_of(name)), path).to_series(), has_no_time_of_day(pl.col(name))
    wrong = times.is_null() & table.select(~may_say_nothing(pl.col(name).fill_null("").str.strip_chars())).to_series()
    if wrong.any():
        row = wrong.arg_true()[0]
        raise UserError(f"{path} row {row + 2}: {name} {table[name][row]!r} {NOT_A_TIME}; mend it")
    return table.with_columns(bare.alias(f"{name} bare")).with_columns(times)


def times_in(path: Path) -> Iterator[zones.Column]:
    """The columns of times of a table, as they are written."""
    rows = pl.scan_csv(path, infer_schema=False, glob=False)
    names = {column.name for table in schema.TABLES for column in table.columns if column.kind == "time"}
    for name in header(path):
        if name.lower() in names | {*STAY_TIMES, *STAY_TIMES.values()}:
            yield path, rows, name


def small_table(folder: Path, table: schema.Table, kinds: Mapping[str, schema.Kind]) -> pl.DataFrame:
    """Read ``patient_id, subject_id`` (where the schema has it) and the columns ``kinds`` of a table with a row per patient.

    The columns ``kinds`` may be missing, and are null then. Their names may be in upper or lower case.

    Raises:
        UserError: the table does not fit, or a patient stands twice.
    """
    path = folder / table.file
    present = {name.lower(): name for name in reversed(header(path))}
    written = {name: present.get(name) for name in kinds}
    meanings = {column.name: column for column in table.columns}
    columns = [meanings[name] for name in ("patient_id", "subject_id") if name in meanings]
    for name, its_name in written.items():
        if its_name is not None:
            meaning = meanings.get(name, schema.Column(name, kinds[name], "optional"))
            columns.append(replace(meaning, name=its_name, kind=kinds[name], nullable=True, choices=()))
    typed = read_table(folder, replace(table, columns=tuple(columns)))
    typed = typed.rename({its_name: name for name, its_name in written.items() if its_name is not None})
    absent = [pl.lit(None, TYPES[kinds[name]]).alias(name) for name, its_name in written.items() if its_name is None]
    typed = typed.with_columns(absent).with_columns(id_text(pl.col("patient_id")))
    twice = typed["patient_id"].is_duplicated()
    if twice.any():
        row = twice.arg_true()[1]
        patient = typed["patient_id"][row]
        raise UserError(f"{path} row {row + 2}: patient_id '{patient}' stands twice; remove one of the rows")
    return typed.select(*(name for name in ("patient_id", "subject_id") if name in meanings), *kinds)
