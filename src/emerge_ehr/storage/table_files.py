"""Reads and writes all tables: a CSV or, where ``Table.parts`` names a folder, parquet parts (``parquet_parts``) in it.

Tables are typed and checked when they are read. A reader takes the format that is there, and the same rows give the same
artefacts in either. A table that may be larger than memory is read lazily: as a query over ``scan_table``, or in ``batches``.
"""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from emerge_ehr.config import TableFormat
from emerge_ehr.fields import UserError, plural
from emerge_ehr.storage import parquet_parts, zones
from emerge_ehr.storage.artefacts import first_line
from emerge_ehr.storage.csv_rows import refuse_bare_returns, refuse_ragged, where_not_utf8
from emerge_ehr.storage.ids import id_text
from emerge_ehr.storage.nothing import may_say_nothing
from emerge_ehr.storage.schema import EVERY_TABLE, LARGEST, Column, Table
from emerge_ehr.storage.sexes import known_sex
from emerge_ehr.storage.times import NOT_A_TIME, TIME_FORMAT, parse_time
from emerge_ehr.storage.twins import refuse_differing

RULES = {
    "text": "is empty",
    "id": "is empty or a word for nothing",
    "sex": "is not one of F, M",
    "number": "is not a number",
    "time": NOT_A_TIME,
}
BATCH = 1 << 18  # rows of a query's result in memory at once
PART = 1 << 20  # the least number of rows per part
ROW = "row in the file"
Append = Callable[[pl.DataFrame], None]


def place(folder: Path, table: Table) -> Path:
    """The path of the table in ``folder``: its CSV or its folder of parts, whichever is there; that of the CSV if neither is.

    Raises:
        UserError: both are there, or the CSV and an archive of other content.
    """
    csv, parts = folder / table.file, folder / table.parts
    if csv.is_file() and (archive := folder / f"{table.file}.gz").is_file():
        refuse_differing(csv, archive)
    if not table.parts or not parts.is_dir():
        return csv
    if csv.exists() or csv.is_symlink():
        raise UserError(f"{csv}: stands beside {parts.name}/, which holds the same table in parts; remove one of them")
    return parts


def files(folder: Path, table: Table) -> list[Path]:
    """The files of the table in ``folder``: its CSV or its parts; none where the table is missing.

    Raises:
        UserError: CSV and parts are both there, or there is something other than parts among these.
    """
    where = place(folder, table)
    if where.is_dir() and where.name == table.parts:
        return parquet_parts.listed(where)
    return [where] if where.is_file() else []


def all_files(folder: Path) -> list[Path]:
    """The files of all tables that are in ``folder``.

    Raises:
        UserError: as ``files``.
    """
    return [path for table in EVERY_TABLE for path in files(folder, table)]


def write_table(table: pl.DataFrame, path: Path) -> None:
    """Write a CSV with the project's time format."""
    table.write_csv(path, datetime_format=TIME_FORMAT)


@contextmanager
def appending(folder: Path, table: Table, form: TableFormat) -> Iterator[Append]:
    """Yield a function that appends rows to a table, which may be larger than memory.

    Every parquet part but the last holds at least ``PART`` rows, and rows that are appended together are in the same part.
    """
    names = [column.name for column in table.columns]
    if form == "csv":
        with (folder / table.file).open("wb") as file:
            file.write(f"{','.join(names)}\n".encode())
            yield lambda rows: rows.select(names).write_csv(file, include_header=False, datetime_format=TIME_FORMAT)
        return
    (folder / table.parts).mkdir()
    waiting: list[pl.DataFrame] = []
    written = 0

    def write() -> None:
        nonlocal written
        part = io.BytesIO()  # so that Python writes the file, and reports a full disk as for any other file
        pl.concat(waiting).write_parquet(part)
        (folder / table.parts / f"part-{written:05d}.parquet").write_bytes(part.getbuffer())
        written += 1
        waiting.clear()

    def append(rows: pl.DataFrame) -> None:
        waiting.append(rows.select(names))
        if sum(block.height for block in waiting) >= PART:
            write()

    yield append
    if waiting:
        write()


def scan_table(folder: Path, table: Table) -> pl.LazyFrame:
    """The table in ``folder`` as a lazy frame with typed columns; a field that is empty or unreadable is null.

    ``read_table`` and ``refuse_unreadable`` say where such fields are. A CSV's columns that the schema does not list are text.

    Raises:
        UserError: a file or a column is missing.
    """
    where = place(folder, table)
    if where.name == table.parts:
        listed = parquet_parts.listed(where)
        parts = [parquet_parts.scan(part, table) for part in listed]
        times = [column.name for column in table.columns if column.kind == "time"]
        for name in times if len(parts) > 1 else ():
            zones.refuse_two_clocks((path, part, name) for path, part in zip(listed, parts, strict=True))
        return pl.concat([part.select(parquet_parts.typed(part, table)) for part in parts])
    return _scan_csv(where, table).with_columns(_cast(column) for column in table.columns)


def _scan_csv(path: Path, table: Table) -> pl.LazyFrame:
    """The CSV as a lazy frame whose columns are all text, without blank rows, as spreadsheets write them at the end.

    Raises:
        UserError: the file or a column is missing, or a row has too few or too many fields.
    """
    if not path.is_file():
        state = "not a file" if path.exists() or path.is_symlink() else "missing"
        raise UserError(f"{path}: {state}; run --stage {table.stage}, or put your own table there")
    refuse_bare_returns(path)
    try:
        raw = pl.scan_csv(path, infer_schema=False, null_values="", glob=False)
        present = raw.collect_schema().names()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _unreadable(path, error) from None
    missing = [column.name for column in table.columns if column.name not in present]
    if missing:
        hint = "; fields must be separated by commas" if len(present) == 1 else ""
        raise UserError(f"{path}: no column '{missing[0]}'; it has: {', '.join(present)}{hint}")
    if twice := [name for name in present if f"{name}_duplicated_0" in present]:
        raise UserError(f"{path}: two columns are named '{twice[0]}'; remove or rename one")
    refuse_ragged(path, remedy="mend it or make it again")
    return raw.filter(~pl.all_horizontal(pl.all().is_null()))


def collect_table(frame: pl.LazyFrame, path: Path, *, every_column: bool = False) -> pl.DataFrame:
    """Run a query over ``scan_table`` in streaming mode. ``path`` is the table's ``place``, for messages.

    With ``every_column``, columns that the query does not need are read as well, so that a row with too many fields is noticed.

    Raises:
        UserError: the file is damaged.
    """
    try:
        return frame.collect(engine="streaming", optimizations=pl.QueryOptFlags(projection_pushdown=not every_column))
    except parquet_parts.DAMAGED as error:
        raise _unreadable(path, error) from None


def batches(frame: pl.LazyFrame, path: Path) -> Iterator[pl.DataFrame]:
    """As ``collect_table``, but yields the rows in batches of about ``BATCH``, in any order."""
    try:
        yield from frame.collect_batches(chunk_size=BATCH, maintain_order=False, engine="streaming")
    except parquet_parts.DAMAGED as error:
        raise _unreadable(path, error) from None


def read_table(folder: Path, table: Table) -> pl.DataFrame:
    """The table in ``folder``, typed and checked against its schema.

    Raises:
        UserError: a file or a column is missing, a field is empty or unreadable (its row is named), or a key occurs twice.
    """
    path = place(folder, table)
    frame = scan_table(folder, table)
    refuse_unreadable(folder, table)
    typed = collect_table(frame, path)
    if table.key and typed.select(table.key).is_duplicated().any():
        row = typed.select(table.key).is_duplicated().arg_true()[0]
        twice = ", ".join(str(value) for value in typed.select(table.key).row(row))
        raise UserError(f"{path} row {row + 2}: {' and '.join(table.key)} {twice} stands twice; remove one of the rows")
    return typed


def refuse_two_clocks(folder: Path, tables: Sequence[Table]) -> None:
    """Check that the times of those of the tables that are there go by one clock.

    Raises:
        UserError: some state a zone and others do not; or a table cannot be read.
    """
    there = [(path, table) for table in tables for path in files(folder, table)]
    raw = [
        (path, table, parquet_parts.scan(path, table) if path.suffix == ".parquet" else _scan_csv(path, table))
        for path, table in there
    ]
    zones.refuse_two_clocks(
        (path, rows, column.name) for path, table, rows in raw for column in table.columns if column.kind == "time"
    )


def respelt(folder: Path, table: Table) -> int:
    """The number of rows of a CSV whose ids are written otherwise than they are read; 0 where the CSV is missing."""
    where = folder / table.file
    if not where.is_file():
        return 0
    changed = [
        id_text(pl.col(column.name)).is_not_null() & (id_text(pl.col(column.name)) != pl.col(column.name))
        for column in table.columns
        if column.kind == "id"
    ]
    return int(collect_table(_scan_csv(where, table).select(pl.any_horizontal(changed).sum()), where).item())


def refuse_unreadable(folder: Path, table: Table) -> None:
    """Check every field against the schema, in bounded memory.

    Raises:
        UserError: a file or a column is missing, or a field is empty or unreadable. The message names its row; the first row of
            a CSV is its header.
    """
    where = place(folder, table)
    if where.name == table.parts:
        for part in parquet_parts.listed(where):
            stored = parquet_parts.scan(part, table)
            typed, as_text = parquet_parts.typed(stored, table), parquet_parts.told(stored, table)
            _refuse_wrong(stored, typed, as_text, part, table, first=1)
        return
    typed, as_text = [_cast(column) for column in table.columns], [pl.col(column.name) for column in table.columns]
    _refuse_wrong(_scan_csv(where, table), typed, as_text, where, table, first=2)


def _refuse_wrong(
    raw: pl.LazyFrame, typed: Sequence[pl.Expr], told: Sequence[pl.Expr], path: Path, table: Table, first: int
) -> None:
    """Refuse the first field that breaks a rule of its column.

    ``raw`` is the table as it is stored; ``typed`` and ``told`` are its columns with their types, and as text. ``first`` is the
    number of the first row.
    """
    stored = [text.alias(_stored(column.name)) for text, column in zip(told, table.columns, strict=True)]
    rows = raw.select(*typed, *stored).with_row_index(ROW)
    checks = [(column, wrong, rule) for column in table.columns for wrong, rule in _rules(column)]
    aggregates = [
        aggregate
        for n, (_, wrong, _) in enumerate(checks)
        for aggregate in (wrong.sum().alias(f"{n} count"), pl.col(ROW).filter(wrong).min().alias(f"{n} first"))
    ]
    counted = collect_table(rows.select(aggregates), path, every_column=True)
    for n, (column, _, rule) in enumerate(checks):
        if count := counted[f"{n} count"].item():
            row = counted[f"{n} first"].item()
            text = collect_table(rows.select(_stored(column.name)).slice(row, 1), path).item()
            where, such = f"{path} row {row + first}: {column.name}", plural(count, "such row")
            if not (text or "").strip():
                raise UserError(f"{where} is empty ({column.meaning}); fill in or remove {such}")
            raise UserError(f"{where} {text[:80]!r} {rule}; mend {such}")


def _stored(name: str) -> str:
    return f"{name} as stored"


def _rules(column: Column) -> Iterator[tuple[pl.Expr, str]]:
    """Yield the ways in which a field may break the rules of its column, each with the words for it."""
    value, text = pl.col(column.name), pl.col(_stored(column.name))
    unreadable = value.is_null() & text.is_not_null() if column.nullable else value.is_null()
    if column.kind == "sex" or column.nullable:
        unreadable &= ~may_say_nothing(text.str.strip_chars())
    if column.kind == "text" and not column.nullable:
        unreadable |= (text.str.strip_chars() == "").fill_null(value=False)
    yield unreadable, f"{RULES[column.kind]} ({column.meaning})"
    if column.low is not None and column.high is not None:
        outside = (value < column.low) | (value > column.high)
        yield outside.fill_null(value=False), f"is outside {column.low:g}-{column.high:g} ({column.meaning})"
    if column.choices:
        other = value.is_not_null() & ~value.is_in(list(column.choices))
        yield other, f"is not one of {', '.join(column.choices)}"


def _cast(column: Column) -> pl.Expr:
    """Convert a column of a CSV from text to its type; null where that is impossible."""
    if column.kind == "number":
        number = pl.col(column.name).str.strip_chars().cast(pl.Float64, strict=False)
        return pl.when(number.abs() <= LARGEST).then(number).alias(column.name)
    if column.kind in ("id", "sex"):
        return (id_text if column.kind == "id" else known_sex)(pl.col(column.name)).alias(column.name)
    return parse_time(column.name) if column.kind == "time" else pl.col(column.name)


def _unreadable(path: Path, error: BaseException) -> UserError:
    if mixed := zones.mixed(path, error):
        return mixed
    if path.is_dir() or path.suffix == ".parquet":
        return parquet_parts.unreadable(path, error)
    where = where_not_utf8(path, error) if path.is_file() else ""
    return UserError(
        f"{path}: not a readable CSV: {first_line(error)}{where}; it must be UTF-8, with commas between fields; mend it or make "
        "it again"
    )
