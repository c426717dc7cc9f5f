"""Parses times as tables and raw files write them."""

import polars as pl

TIME_FORMAT = "%Y-%m-%d %H:%M:%S"


def parse_time(name: str) -> pl.Expr:
    """Parse a text column as Datetime; null where it is unreadable.

    Seconds may be missing, ``T`` may stand between date and time, and a bare date means midnight.
    """
    text = pl.col(name).str.strip_chars().str.replace("T", " ", literal=True)
    first = text.str.to_datetime(TIME_FORMAT, strict=False, time_unit="us")
    rest = pl.when(first.is_null()).then(text)  # only these few texts: three more attempts at every row would be slow
    formats = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M")
    times = [rest.str.to_datetime(form, strict=False, time_unit="us") for form in formats]
    return pl.coalesce(first, *times, rest.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))).alias(name)
