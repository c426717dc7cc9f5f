"""Reads and checks the small tables of words that options name, such as clinical terms: a CSV of a few columns."""

import csv
from collections.abc import Sequence
from pathlib import Path

from emerge_ehr.fields import UserError
from emerge_ehr.storage.csv_rows import where_not_utf8


def read(path: Path, option: str, needed: Sequence[str], others: Sequence[str] = ()) -> list[dict[str, str]]:
    """The rows of the table at ``path``: a value for every column in ``needed``, and the columns in ``others`` if it has them.

    ``option``: the config key that names the file, for messages.

    Raises:
        UserError: the file cannot be read, has no row, lacks a column or a needed value, or has a column too many.
    """
    expected = f"expected the columns {','.join(needed)}" + (f" (and {','.join(others)})" if others else "")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); {option} is a CSV: {','.join(needed)}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a UTF-8 CSV: {error}{where_not_utf8(path, error)}") from None
    if not rows:
        raise UserError(f"{path}: holds no row; {expected}")
    for number, row in enumerate(rows, 2):
        if not set(needed) <= set(row) <= {*needed, *others} or not all(row[name] for name in needed):
            raise UserError(f"{path} row {number}: {expected}; {','.join(needed)} must not be empty")
    return rows
