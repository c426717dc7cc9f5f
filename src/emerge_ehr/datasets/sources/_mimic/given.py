"""What was given or done in MIMIC's units: the rows of infusions and procedures, and which of them others correct."""

from collections.abc import Iterable
from pathlib import Path

import polars as pl

from emerge_ehr.datasets.sources._raw.raw_csv import header, scan

STATUS, CORRECTED = "statusdescription", "Rewritten"  # of a row that another one corrects


def rows(path: Path, ids: Iterable[str], texts: Iterable[str]) -> pl.LazyFrame:
    """The rows with their ``ids`` as numbers and the columns ``texts``, and ``corrected``: whether another row corrects them.

    A file without the column ``STATUS``, as CareVue's, corrects none.
    """
    status = [STATUS] if STATUS in {name.lower() for name in header(path)} else []
    found = scan(path, {**dict.fromkeys(ids, pl.Int64), **dict.fromkeys([*texts, *status], pl.String)})
    corrected = (pl.col(STATUS) == CORRECTED).fill_null(value=False) if status else pl.lit(value=False)
    return found.with_columns(corrected.alias("corrected")).drop(status)
