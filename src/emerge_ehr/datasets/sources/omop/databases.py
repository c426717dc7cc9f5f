"""Reads tables of one DuckDB or SQLite file in batches of rows, as texts, so that no table has to fit in memory."""

import importlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, final

import polars as pl
from polars.io.plugins import register_io_source

from emerge_ehr.fields import UserError
from emerge_ehr.storage.artefacts import first_line

SUFFIXES = (".duckdb", ".sqlite", ".sqlite3", ".db")
BATCH, CHUNK = (
    50_000,
    500_000,
)  # rows of a query, and rows of a table of DuckDB among which those of a query are looked for
MEMORY = "1GB"  # of DuckDB, which would keep in memory what it has read
INSTALL = "it needs duckdb: pip install 'emerge-ehr[omop]', or uv sync --extra omop"
LISTED = {
    "duckdb": "select table_catalog, table_schema, table_name, column_name, data_type from information_schema.columns "
    "where table_catalog = current_catalog() order by ordinal_position",
    "sqlite": "select '', 'main', m.name, c.name, c.type from sqlite_master m, pragma_table_info(m.name) c "
    "where m.type in ('table', 'view') order by c.cid",
}
ZONED = "TIMESTAMP WITH TIME ZONE"  # of DuckDB, which would write it by the clock of this machine
AS_UTC = "cast(make_timestamp(epoch_us(\"{}\")) as varchar) || 'Z'"
STORED = "select 1 from duckdb_tables() where database_name = '{}' and schema_name = '{}' and table_name = '{}'"


class Place(NamedTuple):
    """Where a table is in a database, as it is written. A database and its schema may have one name, so that both are said."""

    catalog: str
    schema: str
    table: str


@final
@dataclass(frozen=True)
class Database:
    """The database in ``path``, of whose schemas ``schema`` is read, or the only one that has a table of a name."""

    path: Path
    schema: str

    @cached_property
    def columns(self) -> Mapping[Place, Mapping[str, str]]:
        """Every table -> its columns and their types.

        Raises:
            UserError: the file is no such database, or cannot be read.
        """
        found: dict[Place, dict[str, str]] = {}
        for batch in self._batches(LISTED[self._kind]):
            for *place, column, kind in batch:
                found.setdefault(Place(*place), {})[column] = kind
        return found

    def table(self, name: str) -> Place | None:
        """The table of that name, in any case.

        Raises:
            UserError: several schemas have one.
        """
        places = [place for place in self.columns if place.table.lower() == name]
        places = [place for place in places if not self.schema or place.schema.lower() == self.schema.lower()]
        if len(places) > 1:
            schemas = ", ".join(sorted(place.schema for place in places))
            raise UserError(f"{self.path}: table {name} is in several schemas ({schemas}); set source.schema to one")
        return places[0] if places else None

    def scan(self, table: Place, columns: Mapping[str, str], only: Mapping[str, Sequence[int]]) -> pl.LazyFrame:
        """Columns (name -> as it is written) as texts, of the rows whose columns in ``only`` have one of the numbers."""
        schema = pl.Schema(dict.fromkeys(columns, pl.String()))

        def batches(
            with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
        ) -> Iterator[pl.DataFrame]:
            wanted = schema.names() if with_columns is None else with_columns
            roots = [] if predicate is None else predicate.meta.root_names()
            names = [name for name in schema.names() if name in {*wanted, *roots}]
            for batch in self._frames(table, {name: columns[name] for name in names}, columns, only):
                rows = batch if predicate is None else batch.filter(predicate)
                rows = rows.select(wanted) if n_rows is None else rows.select(wanted).head(n_rows)
                n_rows = None if n_rows is None else n_rows - rows.height
                yield rows
                if n_rows == 0:
                    return

        return register_io_source(batches, schema=schema)

    def first_time(self, table: Place, written: str) -> str | None:
        """The text of the first time of day in a column, named as it is written; None where it has none."""
        text = self._text(table, written)
        query = f"select {text} from {_quoted(table)} where {text} like '%:%' limit 1"
        found = [row[0] for batch in self._batches(query) for row in batch]
        return found[0] if found else None

    def _text(self, table: Place, written: str) -> str:
        """A column as text: a time in UTC says so."""
        return AS_UTC.format(written) if self.columns[table][written] == ZONED else f'cast("{written}" as varchar)'

    def _frames(
        self, table: Place, chosen: Mapping[str, str], columns: Mapping[str, str], only: Mapping[str, Sequence[int]]
    ) -> Iterator[pl.DataFrame]:
        """The ``chosen`` columns (name -> as it is written) of a table, some rows at a time."""
        texts = ", ".join(f'{self._text(table, written)} as "{name}"' for name, written in chosen.items()) or "''"
        place = _quoted(table)
        where = [
            f'cast("{columns[name]}" as bigint) in ({", ".join(map(str, numbers)) or "null"})'
            for name, numbers in only.items()
        ]
        query = f"select {texts} from {place} where {' and '.join(where) or 'true'}"
        if self._kind == "sqlite" or not self._is_stored(table):  # a view has no numbers of rows
            schema = pl.Schema(dict.fromkeys(chosen, pl.String()))
            for rows in self._batches(query):
                yield pl.DataFrame(rows, schema=schema, orient="row")
            return
        with self._telling(), closing(self._connect()) as connection:
            last = connection.execute(f"select max(rowid) from {place}").fetchall()[0][0]
            for first in range(0, 0 if last is None else last + 1, CHUNK):
                part = f"{query} and rowid >= {first} and rowid < {first + CHUNK}"
                yield pl.DataFrame(connection.sql(part)).cast(pl.String)

    def _is_stored(self, table: Place) -> bool:
        """Whether a table of DuckDB is one, not a view."""
        found = [row for batch in self._batches(STORED.format(*table)) for row in batch]
        return bool(found)

    @cached_property
    def _kind(self) -> str:
        with self.path.open("rb") as file:
            start = file.read(16)
        if start.startswith(b"SQLite format 3"):
            return "sqlite"
        if start[8:12] == b"DUCK":
            return "duckdb"
        raise UserError(f"{self.path}: neither a DuckDB nor a SQLite database; get the file again")

    def _connect(self) -> Any:
        if self._kind == "sqlite":
            return sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False)
        return self._duckdb().connect(str(self.path), read_only=True, config={"memory_limit": MEMORY})

    def _duckdb(self) -> Any:
        try:
            return importlib.import_module("duckdb")
        except ImportError:
            raise UserError(f"{self.path}: {INSTALL}") from None

    def _batches(self, query: str) -> Iterator[list[tuple[Any, ...]]]:
        """The rows of a query, some at a time."""
        with self._telling(), closing(self._connect()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute(query)
            while rows := cursor.fetchmany(BATCH):
                yield rows

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Make one line of an error of the database.

        Raises:
            UserError: the database cannot be read.
        """
        error_of = sqlite3.Error if self._kind == "sqlite" else self._duckdb().Error
        try:
            yield
        except error_of as error:
            raise UserError(f"{self.path}: cannot be read: {first_line(error)}; get the file again") from None


def _quoted(table: Place) -> str:
    return ".".join(f'"{part}"' for part in table if part)
