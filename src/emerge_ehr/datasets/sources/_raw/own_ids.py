"""Compares the ids of the tables of a user's own: rows of patients that nobody knows, and ids that are spelt differently."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from emerge_ehr.datasets.sources._raw.raw_csv import collect, scan
from emerge_ehr.fields import UserError
from emerge_ehr.storage.ids import id_text, without_zeros


def compared(
    dynamic: pl.DataFrame, dynamic_path: Path, paths: Sequence[Path], patients: pl.Series, known_by: str
) -> dict[str, int]:
    """The rows of the tables that are of others than the ``patients``, and those without an id, which are blank, counted.

    ``dynamic``: the number of ``rows`` per ``patient_id`` of the measurements in ``dynamic_path``; the other tables are at
    ``paths``. ``known_by`` names the table that says who the patients are.

    Raises:
        UserError: as ``rows_of_others``.
    """
    counted = {dynamic_path: dynamic, **{path: _counted(path) for path in paths}}
    others = rows_of_others(counted, patients, known_by)
    blank = {
        f"blank rows of {path.name}": int(table.filter(pl.col("patient_id").is_null())["rows"].sum())
        for path, table in counted.items()
    }
    return {reason: count for reason, count in blank.items() if count} | {
        f"rows of {name} of patients that are not in {known_by}": count for name, (count, _) in others.items() if count
    }


def _counted(path: Path) -> pl.DataFrame:
    ids = scan(path, {"patient_id": pl.String}).select(id_text(pl.col("patient_id")).alias("patient_id"))
    return collect(ids.group_by("patient_id").agg(pl.len().alias("rows")), path)


def rows_of_others(
    tables: Mapping[Path, pl.DataFrame], patients: pl.Series, known_by: str
) -> dict[str, tuple[int, int]]:
    """File name -> how many of its rows are of others than the ``patients``, and how many it has.

    Rows without an id are blank lines, or refused elsewhere.

    ``tables``: path -> ``patient_id, rows``, the number of its rows per patient. ``known_by`` names the tables that say who the
    patients are.

    Raises:
        UserError: an id is that of a patient but for leading zeros. Whether it is the same patient, nobody can tell.
    """
    spelt = pl.DataFrame({"known": patients}).with_columns(without_zeros(pl.col("known")).alias("plain"))
    others = {}
    for path, counted in tables.items():
        strange = counted.drop_nulls().filter(~pl.col("patient_id").is_in(patients.implode()))
        near = strange.with_columns(without_zeros(pl.col("patient_id")).alias("plain")).join(spelt, on="plain")
        if near.height:
            patient, known = near.sort("patient_id", "known").select("patient_id", "known").row(0)
            raise UserError(
                f"{path}: patient_id '{patient}' is not in {known_by}, which has '{known}'; write ids one way in all tables, or "
                f"remove the rows of {near['patient_id'].n_unique()} such patients"
            )
        others[path.name] = (int(strange["rows"].sum()), int(counted["rows"].sum()))
    return others
