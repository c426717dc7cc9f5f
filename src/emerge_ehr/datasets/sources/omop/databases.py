"""Reads tables of one DuckDB or SQLite file in batches of rows, as texts, so that no table has to fit in memory."""

import importlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, final

import polars as pl
from polars.io.plugins import register_io_source

from emerge_ehr.fields import UserError
from emerge_ehr.storage.artefacts import first_line

SUFFIXES = (".duckdb", ".sqlite", ".sqlite3", ".db")
BATCH = 50_000  # rows
INSTALL = "it needs duckdb: pip install 'emerge-ehr[omop]', or uv sync --extra omop"
LISTED = {
    "duckdb": "select table_catalog, table_schema, table_name, column_name from information_schema.columns "
    "where table_catalog = current_catalog() order by ordinal_position",
    "sqlite": "select '', 'main', m.name, c.name from sqlite_master m, pragma_table_info(m.name) c "
    "where m.type in ('table', 'view') order by c.cid",
}


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
    def columns(self) -> Mapping[Place, list[str]]:
        """Every table -> its columns.

        Raises:
            UserError: the file is no such database, or cannot be read.
        """
        found: dict[Place, list[str]] = {}
        for batch in self._batches(LISTED[self._kind]):
            for *place, column in batch:
                found.setdefault(Place(*place), []).append(column)
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
        chosen = ", ".join(f'cast("{written}" as varchar)' for written in columns.values())
        place = ".".join(f'"{part}"' for part in table if part)
        where = [f'"{columns[name]}" in ({", ".join(map(str, numbers)) or "null"})' for name, numbers in only.items()]
        query = f"select {chosen} from {place}" + (f" where {' and '.join(where)}" if where else "")
        schema = pl.Schema(dict.fromkeys(columns, pl.String()))

        def batches(
            with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
        ) -> Iterator[pl.DataFrame]:
            for rows in self._batches(query):
                batch = pl.DataFrame(rows, schema=schema, orient="row")
                batch = batch if predicate is None else batch.filter(predicate)
                batch = batch if with_columns is None else batch.select(with_columns)
                if n_rows is not None:
                    batch = batch.head(n_rows)
                    n_rows -= batch.height
                yield batch
                if n_rows == 0:
                    return

        return register_io_source(batches, schema=schema)

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
        return self._duckdb().connect(str(self.path), read_only=True)

    def _duckdb(self) -> Any:
        try:
            return importlib.import_module("duckdb")
        except ImportError:
            raise UserError(f"{self.path}: {INSTALL}") from None

    def _batches(self, query: str) -> Iterator[list[tuple[Any, ...]]]:
        """The rows of a query, some at a time.

        Raises:
            UserError: the database cannot be read.
        """
        errors: tuple[type[Exception], ...] = (sqlite3.Error,)
        if self._kind == "duckdb":
            errors = (self._duckdb().Error,)
        try:
            with closing(self._connect()) as connection, closing(connection.cursor()) as cursor:
                cursor.execute(query)
                while rows := cursor.fetchmany(BATCH):
                    yield rows
        except errors as error:
            raise UserError(f"{self.path}: cannot be read: {first_line(error)}; get the file again") from None
