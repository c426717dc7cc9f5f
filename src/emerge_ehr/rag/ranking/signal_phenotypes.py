"""Which phenotypes an abnormal signal shows: a table of three columns, checked."""

import csv
from collections.abc import Mapping
from pathlib import Path

from emerge_ehr.fields import UserError

COLUMNS = ("signal", "direction", "phenotype")


def read(path: Path) -> Mapping[tuple[str, str], list[str]]:
    """(signal, direction) -> names of phenotypes. A graph need not have them all: ontologies rename them.

    Raises:
        UserError: the file is missing or is not such a table.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError:
        raise UserError(f"{path}: cannot be read; retrieval.phenotypes_file is a CSV: {','.join(COLUMNS)}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a UTF-8 CSV: {error}") from None
    shown: dict[tuple[str, str], list[str]] = {}
    for number, row in enumerate(rows):
        if set(row) != set(COLUMNS) or not all(row.values()) or row["direction"] not in ("high", "low"):
            raise UserError(f"{path} row {number + 2}: expected {','.join(COLUMNS)}, none empty, direction high or low")
        shown.setdefault((row["signal"], row["direction"]), []).append(row["phenotype"])
    if not shown:
        raise UserError(f"{path}: holds no row; expected the columns {','.join(COLUMNS)}")
    return shown
