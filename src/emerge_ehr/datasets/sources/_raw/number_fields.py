"""Reads columns of numbers in raw files, in which programs write words for nothing, and laboratories bounds."""

import polars as pl

from emerge_ehr.signals import numbers
from emerge_ehr.storage.nothing import may_say_nothing


def decimal(name: str) -> pl.Expr:
    """A text column as numbers; an empty field, a word for nothing such as ``NA``, and ``inf`` are null.

    Anything else fails the query, with Polars's error for a failed conversion (``raw_csv.unreadable`` makes a line of it).
    """
    plain = pl.col(name).cast(pl.Float64, strict=False)
    rest = pl.when(plain.is_null()).then(pl.col(name)).str.strip_chars()
    value = pl.coalesce(plain, pl.when(~may_say_nothing(rest)).then(rest).alias(name).cast(pl.Float64))
    return pl.when(value.is_finite()).then(value).alias(name)


def unread_decimal(name: str) -> pl.Expr:
    """Whether the text column holds something that ``decimal`` cannot read."""
    text = pl.col(name).str.strip_chars()
    return ~may_say_nothing(text) & text.cast(pl.Float64, strict=False).is_null()


def with_bounds_as_text(rows: pl.LazyFrame, number: str, text: str) -> pl.LazyFrame:
    """The column ``number`` as numbers; a bound in it, such as ``>600``, becomes the ``text`` where there is none.

    >>> rows = pl.LazyFrame({"valuenum": ["7.4", ">600", "NA"], "value": ["7.4", None, "12"]})
    >>> with_bounds_as_text(rows, "valuenum", "value").collect().rows()
    [(7.4, '7.4'), (None, '>600'), (None, '12')]
    """
    strange = pl.when(pl.col(number).cast(pl.Float64, strict=False).is_null()).then(number)  # of few rows
    bound = numbers.is_bound(strange)
    absent = pl.col(text).is_null() | (pl.col(text).str.strip_chars() == "")
    rows = rows.with_columns(
        pl.when(~bound).then(number).alias(number), pl.when(bound & absent).then(strange).otherwise(text).alias(text)
    )
    return rows.with_columns(decimal(number))
