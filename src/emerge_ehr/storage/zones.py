"""One clock per column of times: those that state a zone, which is UTC, and those that state none are not mixed.

A zone is dropped when a time is read, since the calendar is the source's own. Where only some times of a column state one, it is
unknown how many hours lie between them and the others. Dates without a time of day state nothing.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from emerge_ehr.fields import UserError

LENGTH = len("YYYY-MM-DD HH:MM:SS")
# Z, UTC, GMT or an offset of zero, as database clients and pandas append it
ZERO_OFFSET = r"(?i)\s*(?:z|(?:utc|gmt)?[+-]00:?(?:00)?|utc|gmt)$"
BARE = r"[Tt ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?$"
MIXED = re.compile(r"two clocks in column '([^']*)': '([^']*)' and '([^']*)'")
REMEDY = "it is unknown how many hours lie between them: write all times by one clock, and all with UTC or all without a zone"
Column = tuple[Path, pl.LazyFrame, str]  # the file, its rows, and the column's name there


def stated(text: pl.Expr) -> pl.Expr:
    """Whether the text of a time states its zone; null where it is a date without a zone, of another zone, or nothing.

    >>> texts = ["2150-01-02 03:04Z", "2150-01-02T03:04+00", "2150-01-02 03:04:05", "2150-01-02 03:04+02:00", "2150-01-02", None]
    >>> pl.DataFrame({"time": texts}).select(stated(pl.col("time"))).to_series().to_list()
    [True, True, False, None, None, None]
    """
    time = text.str.strip_chars()
    zoned = time.str.contains(ZERO_OFFSET)
    return pl.when(zoned | time.str.contains(BARE)).then(zoned)


def one_clock(name: str, time: pl.Expr) -> pl.Expr:
    """The ``time`` that was read from the text column ``name``; the query fails where some state a zone and others do not.

    ``mixed`` makes a line of the error. What was read before is remembered, since a large table comes in batches.
    """
    seen: dict[bool, str] = {}  # an example of each kind

    def look(columns: Sequence[pl.Series]) -> pl.Series:
        times, texts = columns
        usual = times.is_not_null() & (texts.str.len_bytes() == LENGTH)
        usual &= ~(texts.str.ends_with("+00") | texts.str.ends_with("-00"))
        if usual.any():  # nearly all texts are; they state no zone
            seen.setdefault(False, str(texts.filter(usual)[0]))
        others = texts.filter(times.is_not_null() & ~usual).to_frame("text")
        kinds = others.with_columns(stated(pl.col("text")).alias("zoned")).drop_nulls().unique("zoned")
        for text, zoned in kinds.rows():
            seen.setdefault(zoned, text)
        if len(seen) > 1:
            raise pl.exceptions.ComputeError(f"two clocks in column '{name}': '{seen[True]}' and '{seen[False]}'")
        return times

    checked = pl.map_batches([time, pl.col(name)], look, return_dtype=pl.Datetime("us"), is_elementwise=True)
    return checked.alias(name)


def mixed(path: Path, error: BaseException) -> UserError | None:
    """The error for a column of ``path`` with times of both kinds, with a row of each; None if ``error`` is another."""
    found = MIXED.search(str(error))
    if found is None:
        return None
    name, *examples = found.groups()
    zoned, bare = [
        _first_row(path, name, kind) or repr(text.strip()) for kind, text in zip((True, False), examples, strict=True)
    ]
    return UserError(f"{path}: {name} has times with a zone ({zoned}) and times without one ({bare}); {REMEDY}")


def _first_row(path: Path, name: str, kind: bool) -> str:
    """The first row of a CSV whose time is of that ``kind``, in words; "" where it cannot be looked up."""
    if not path.name.lower().endswith((".csv", ".csv.gz")):
        return ""
    try:
        rows = pl.scan_csv(path, infer_schema=False, glob=False)
        wanted = [column for column in rows.collect_schema().names() if column.lower() == name.lower()]
        rows = rows.select(pl.col(column).alias("text") for column in wanted).with_row_index("row")
        first = rows.filter(stated(pl.col("text")) == kind).head(1).collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError):  # an archive that is damaged further on
        return ""
    return f"row {first['row'][0] + 2}: {first['text'][0].strip()!r}" if first.height else ""


def refuse_two_clocks(columns: Iterable[Column]) -> None:
    """Check that all columns go by one clock: texts by the first time of day among them.

    Raises:
        UserError: one states a zone and another does not.
    """
    seen: dict[bool, str] = {}
    for path, rows, name in columns:
        if (found := first(rows, name)) is not None:
            zoned, example = found
            seen.setdefault(zoned, f"{name} of {path} ({example})")
    if len(seen) > 1:
        raise UserError(f"{seen[True]} states a zone, and {seen[False]} none; {REMEDY}")


def first(rows: pl.LazyFrame, name: str) -> tuple[bool, str] | None:
    """Whether the times of a column state a zone, and the text or type that shows it; None where none has a time of day."""
    stored = rows.collect_schema()[name]
    if isinstance(stored, pl.Datetime):
        return stored.time_zone is not None, f"stored in {stored.time_zone or 'no zone'}"
    if stored != pl.String:
        return None
    texts = rows.select(pl.col(name).alias("text"), stated(pl.col(name)).alias("zoned")).drop_nulls().head(1)
    try:
        found = texts.collect(engine="streaming").rows()
    except (pl.exceptions.PolarsError, OSError):  # which the reader itself refuses
        return None
    return (found[0][1], repr(found[0][0].strip())) if found else None
