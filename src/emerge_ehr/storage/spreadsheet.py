"""Texts in the CSVs that people open: none of them is a formula to a spreadsheet.

Ids and names come from the records, and a spreadsheet would run a field such as ``=HYPERLINK(...)``, or show ``+1`` as 1. Such a
text is written with an apostrophe before it, by which spreadsheets know a text, and read back without. Numbers are numbers.
"""

import re
from collections.abc import Sequence
from typing import Any

import polars as pl

# What begins a formula, also in full width and after blanks (some of which have no width); and what may begin another cell.
SIGN = r"[\s\x{200B}-\x{200D}\x{2060}\x{FEFF}]*[=+\-@＝＋－＠]"
FORMULA = rf"^'*(?:{SIGN}|[\t\r\n])"
INNER = rf";('*{SIGN})"  # in many countries, a semicolon begins the next cell
WRITTEN = rf";'('*{SIGN})"
_FORMULA, _INNER = (re.compile(re.sub(r"\\x\{(\w+)\}", r"\\u\1", form)) for form in (FORMULA, INNER))


def safe(text: str) -> str:
    """The text as it is written.

    >>> [safe(text) for text in ("=1+1", "-5", "'=x", "10006", "P-5", "'s", "a;=1")]
    ["'=1+1", "'-5", "''=x", '10006', 'P-5', "'s", "a;'=1"]
    """
    text = _INNER.sub(r";'\1", text)
    return f"'{text}" if _FORMULA.match(text) else text


def line(row: Sequence[Any]) -> str:
    """The row as a line of a CSV: None is an empty field, floats keep every digit, and texts are written safely.

    >>> print(line(["=a", "b, c", None, 0.1, -5]), end="")
    '=a,"b, c",,0.1,-5
    """
    return ",".join(_field(value) for value in row) + "\n"


def _field(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(float(value))
    text = safe(str(value)) if isinstance(value, str) else str(value)
    # Python's csv module leaves a carriage return unquoted, at which readers end the line.
    return '"' + text.replace('"', '""') + '"' if any(letter in text for letter in ',"\r\n') else text


def safe_texts(table: pl.DataFrame) -> pl.DataFrame:
    """The table with its texts as they are written."""
    text = pl.col(pl.String).str.replace_all(INNER, ";'${1}")
    return table.with_columns(pl.when(text.str.contains(FORMULA)).then("'" + text).otherwise(text).name.keep())


def plain_texts(table: pl.DataFrame) -> pl.DataFrame:
    """The table as it was before ``safe_texts``, or before its rows were written as ``line`` gives them.

    >>> plain_texts(pl.DataFrame({"id": ["'-5", "''=x", "'s", "7"]}))["id"].to_list()
    ['-5', "'=x", "'s", '7']
    """
    text = pl.col(pl.String)
    written = text.str.starts_with("'") & text.str.contains(FORMULA)
    plain = pl.when(written).then(text.str.slice(1)).otherwise(text)
    return table.with_columns(plain.str.replace_all(WRITTEN, ";${1}").name.keep())
