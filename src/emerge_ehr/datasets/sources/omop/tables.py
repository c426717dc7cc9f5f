"""Finds the tables of the common data model in ``raw_dir``: a CSV or Parquet file each, or one DuckDB or SQLite file for all.

What the tables hold is typed alike, whatever they are read from. Names are read in any case.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import final

import polars as pl

from emerge_ehr.datasets.sources._raw import raw_csv
from emerge_ehr.datasets.sources._raw.number_fields import decimal
from emerge_ehr.datasets.sources._raw.raw_csv import header
from emerge_ehr.datasets.sources.omop.databases import SUFFIXES, Database
from emerge_ehr.fields import UserError, plural
from emerge_ehr.storage import zones
from emerge_ehr.storage.artefacts import first_line
from emerge_ehr.storage.csv_rows import refuse_ragged
from emerge_ehr.storage.ids import whole_number
from emerge_ehr.storage.times import strict_time

REQUIRED = ("person", "visit_occurrence", "measurement")
# Table -> what is lost without it
OPTIONAL = {
    "visit_detail": "ICU stays are those among the visits themselves, else stays are admissions",
    "observation": "scores that are charted there",
    "death": "deaths are those that a discharge tells of",
    "condition_occurrence": "task phenotyping",
    "note": "notes: that modality is masked",
    "concept": "measurements are known by the concept ids in the program's table alone, and ICD versions by the codes' form",
}
VISITS, VISIT_START = "visit_occurrence", "visit_start_datetime"
FORMS = (".csv", ".csv.gz", ".parquet")
Schema = Mapping[str, pl.DataType]
TIME, ID, NUMBER, TEXT = pl.Datetime("us"), pl.Int64(), pl.Float64(), pl.String()
READERS = {TIME: strict_time, ID: whole_number, NUMBER: decimal}


@final
@dataclass(frozen=True)
class Tables:
    """The tables in ``raw_dir``; ``schema`` is that of a database."""

    raw_dir: Path
    schema: str = ""
    _zones: dict[tuple[str, str], str | None] = field(default_factory=dict, init=False, compare=False)

    def check(self) -> None:
        """Check that the tables are there that a source cannot be without.

        Raises:
            UserError: one is missing.
        """
        for name in REQUIRED:
            if not self.has(name):
                there = ", ".join(sorted(path.name for path in self._present)[:8]) or "nothing"
                raise UserError(
                    f"{self.raw_dir}: no table {name} ({name}.csv, {name}.csv.gz, {name}.parquet, or a table of one DuckDB or "
                    f"SQLite file); there: {there}; check paths.raw_dir"
                )

    def missing(self) -> list[str]:
        """A warning of the optional tables that are not there, and what is lost with each."""
        lost = [f"{name} ({loss})" for name, loss in OPTIONAL.items() if not self.has(name)]
        return [f"{self.raw_dir}: tables that are not there: {'; '.join(lost)}"] if lost else []

    def paths(self) -> list[Path]:
        """The files that are read."""
        if self._database:
            return [self._database.path]
        return [path for name in (*REQUIRED, *OPTIONAL) if (path := self._file(name))]

    def path(self, name: str) -> Path:
        """The file that a table is in."""
        return self._database.path if self._database else self._file(name) or self.raw_dir / f"{name}.csv"

    def has(self, name: str) -> bool:
        """Whether there is a table of that name.

        Raises:
            UserError: there are several.
        """
        return (self._database.table(name) if self._database else self._file(name)) is not None

    def scan(
        self, name: str, columns: Schema, needed: Sequence[str], only: Mapping[str, Sequence[int]] | None = None
    ) -> pl.LazyFrame:
        """The ``columns`` of a table (in lower case -> type); those that it does not have are null, if they are not ``needed``.

        ``only``: columns that are needed -> the numbers of which a row must have one.

        Raises:
            UserError: a column that is needed is missing, or the table cannot be read.
        """
        names = self._names(name)
        written = {column.lower(): column for column in names}
        for column in needed:
            if column not in written:
                raise UserError(f"{self.path(name)}: table {name} has no column '{column}'; it has: {', '.join(names)}")
        there = {column: written[column] for column in columns if column in written}
        wanted = only or {}
        self._refuse_zones(name, [column for column in there if columns[column] == TIME])
        frame = self._raw(name, there, wanted)
        kinds = frame.collect_schema()
        for column in wanted:  # before the texts of other rows are read
            frame = frame.filter(_typed(column, ID, kinds[column]).is_in(list(wanted[column])))
        frame = frame.with_columns(_without_needless(kinds))
        return frame.select(_typed(column, kind, kinds.get(column)) for column, kind in columns.items())

    def _refuse_zones(self, name: str, columns: Sequence[str]) -> None:
        """Check that the times of a table's ``columns`` are in the zone of those of the visits, or like these in none.

        Raises:
            UserError: they are not, so that it is unknown how many hours lie between them.
        """
        expected = self._clock
        for column in columns if expected is not None else ():
            zone = self._zone(name, column)
            if zone is not None and zone != expected:
                raise UserError(
                    f"{self.path(name)}: {column} of {name} is in {zone or 'no time zone'}, while {VISIT_START} of {VISITS} is "
                    f"in {expected or 'none'}; write all times by one clock"
                )

    @cached_property
    def _clock(self) -> str | None:
        """The zone of the visits' times, "" for none; None where there is no time of day among them."""
        return self._zone(VISITS, VISIT_START) if self.has(VISITS) else None

    def _zone(self, name: str, column: str) -> str | None:
        """The zone that the times of a column state, "" for none: the type of a column says it, or the first text in it.

        None where the column is missing or has no time of day. A date is written without one, and is not looked at as text.
        """
        key = (name, column)
        if key not in self._zones:
            self._zones[key] = self._looked_up(name, column)
        return self._zones[key]

    def _looked_up(self, name: str, column: str) -> str | None:
        table = self._database and self._database.table(name)
        written = {its_name.lower(): its_name for its_name in self._names(name)}
        if column not in written:
            return None
        if self._database and table:
            text = self._database.first_time(table, written[column])
            rows = pl.LazyFrame({column: text}, schema={column: TEXT})
        else:
            rows = self._raw(name, {column: written[column]}, {})
        stored = rows.collect_schema()[column]
        if isinstance(stored, pl.Datetime):
            return "UTC" if stored.time_zone == "Etc/UTC" else stored.time_zone or ""
        found = zones.first(rows, column) if column.endswith("_datetime") else None
        return None if found is None else "UTC" * found[0]

    def _names(self, name: str) -> Sequence[str]:
        """The columns of a table as they are written."""
        table = self._database and self._database.table(name)
        return list(self._database.columns[table]) if self._database and table else self._columns(self.path(name))

    def _raw(self, name: str, columns: Mapping[str, str], only: Mapping[str, Sequence[int]]) -> pl.LazyFrame:
        """Columns of a table (name -> as it is written) as they are stored; of a database, of the rows that ``only`` chooses."""
        table = self._database and self._database.table(name)
        if self._database and table:
            return self._database.scan(table, columns, only)
        path = self.path(name)
        if path.suffix == ".parquet":
            return pl.scan_parquet(path, glob=False).select(pl.col(old).alias(new) for new, old in columns.items())
        return self._scan_csv(path, columns)

    def read(
        self, name: str, columns: Schema, needed: Sequence[str], only: Mapping[str, Sequence[int]] | None = None
    ) -> pl.DataFrame:
        """As ``scan``, in memory."""
        return raw_csv.collect(self.scan(name, columns, needed, only), self.path(name))

    def refuse_twice(self, rows: pl.DataFrame, key: str, name: str) -> None:
        """Refuse rows of a table of which two have one ``key``, or one has none.

        Raises:
            UserError: there are some.
        """
        twice = rows.filter(pl.col(key).is_duplicated() | pl.col(key).is_null())
        if twice.height:
            raise UserError(
                f"{self.path(name)}: {name} has {key} {twice[key][0]} twice, or a row without; mend {plural(twice.height, 'row')}"
            )

    def _scan_csv(self, path: Path, columns: Mapping[str, str]) -> pl.LazyFrame:
        """The columns of a CSV (name -> as it is written) as texts. Vocabularies come with tabs and unquoted."""
        if "\t" not in header(path)[0]:
            refuse_ragged(path)
            frame = pl.scan_csv(path, infer_schema=False, glob=False)
        else:
            frame = pl.scan_csv(path, infer_schema=False, glob=False, separator="\t", quote_char=None)
        return frame.select(pl.col(old).alias(new) for new, old in columns.items())

    def _columns(self, path: Path) -> list[str]:
        if path.suffix != ".parquet":
            names = header(path)
            return names[0].split("\t") if "\t" in names[0] else names
        try:
            return pl.scan_parquet(path, glob=False).collect_schema().names()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise UserError(f"{path}: not a readable parquet file: {first_line(error)}; get it again") from None

    @cached_property
    def _present(self) -> list[Path]:
        return sorted(path for path in self.raw_dir.iterdir() if path.is_file()) if self.raw_dir.is_dir() else []

    @cached_property
    def _database(self) -> Database | None:
        """The database that holds the tables, if there is one."""
        files = [path for path in self._present if path.suffix.lower() in SUFFIXES]
        if len(files) > 1:
            raise UserError(
                f"{self.raw_dir}: holds several databases ({files[0].name}, {files[1].name}); leave one there"
            )
        return Database(files[0], self.schema) if files else None

    def _file(self, name: str) -> Path | None:
        files = [path for path in self._present if path.name.lower() in {name + form for form in FORMS}]
        if len(files) > 1:
            raise UserError(f"{files[0]}: stands beside {files[1].name}; leave one file of table {name} there")
        return files[0] if files else None


def _without_needless(kinds: pl.Schema) -> list[pl.Expr]:
    """The texts of dates, null where the time is known: few are needed, and to read one takes longer than to read a time."""
    names = [name for name in kinds if name.endswith("_date") and kinds[name] == kinds.get(f"{name}time") == TEXT]
    return [
        pl.when((pl.col(f"{name}time").str.len_bytes() == 0).fill_null(value=True)).then(name).alias(name)
        for name in names
    ]


def _typed(name: str, kind: pl.DataType, stored: pl.DataType | None) -> pl.Expr:
    """A column as ``kind``, whatever it is stored as; null where the table does not have it."""
    if stored is None:
        return pl.lit(None, kind).alias(name)
    if stored == TEXT:
        return READERS[kind](name) if kind in READERS else pl.col(name)
    if kind == TIME and isinstance(stored, pl.Datetime) and stored.time_zone:
        return pl.col(name).dt.replace_time_zone(None).cast(TIME)
    return pl.col(name).cast(kind)
