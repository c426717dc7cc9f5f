"""Splits the samples by person, so that no person is in two splits. The seed decides, and outcomes are spread in proportion."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from emerge_ehr.config import Split
from emerge_ehr.fields import UserError
from emerge_ehr.storage.artefacts import first_line
from emerge_ehr.storage.csv_rows import refuse_bare_returns, refuse_ragged
from emerge_ehr.storage.ids import id_text, respelt

# what files call the splits: MEDS, and others
NAMES = {"train": "train", "tuning": "val", "val": "val", "validation": "val", "held_out": "test", "test": "test"}


def split_by_subject(patients: pl.DataFrame, rule: Split, rng: np.random.Generator) -> dict[str, list[str]]:
    """Split the samples: ``train``/``val``/``test`` -> patient ids, in the table's order.

    ``patients`` has ``patient_id, subject_id, positive``. Persons with a positive sample and persons without one are shuffled
    separately and divided in the same proportions (stratified by person). A class of three persons or more is in every split.
    """
    persons = patients.group_by("subject_id").agg(pl.col("positive").max()).sort("subject_id")
    assigned: dict[str, str] = {}
    for positive in (0, 1):
        names = persons.filter(pl.col("positive") == positive)["subject_id"].to_list()
        order = rng.permutation(len(names))
        for part, block in zip(("train", "val", "test"), np.split(order, _cuts(len(names), rule)), strict=True):
            assigned |= {names[index]: part for index in block}
    return _parts(patients, assigned)


def fold_by_subject(patients: pl.DataFrame, rule: Split, number: int, rng: np.random.Generator) -> dict[str, list[str]]:
    """The split of fold ``number``, from 1, of ``rule.folds``; with 0, that of the model of all patients, whose test is empty.

    ``patients``, and how outcomes are spread, are as for ``split_by_subject``. The persons of the fold are its test split; the
    others are divided into training and validation in the proportion of the rule. ``rng`` must be in the same state for all
    folds, so that they hold different persons.
    """
    persons = patients.group_by("subject_id").agg(pl.col("positive").max()).sort("subject_id")
    assigned: dict[str, str] = {}
    dealt = 0  # the second class goes on where the first has ended, so that the folds are of about the same size
    for positive in (1, 0):
        names = persons.filter(pl.col("positive") == positive)["subject_id"].to_list()
        order = [names[index] for index in rng.permutation(len(names))]
        fold = [(dealt + place) % rule.folds + 1 for place in range(len(order))]
        dealt += len(order)
        rest = [name for name, own in zip(order, fold, strict=True) if own != number]
        cut = _cuts_in_two(len(rest), rule)
        assigned |= dict.fromkeys(order, "test") | dict.fromkeys(rest[:cut], "train") | dict.fromkeys(rest[cut:], "val")
    return _parts(patients, assigned)


def split_by_file(patients: pl.DataFrame, path: Path) -> dict[str, list[str]]:
    """The split that the table ``subject_id, split`` at ``path`` gives the persons; others in it are passed over.

    Raises:
        UserError: it does not fit, lacks a person, gives one person two splits, or leaves a split empty.
    """
    table = _split_file(path)
    unknown = table.filter(~pl.col("split").is_in(list(NAMES)).fill_null(value=False))
    of_cohort = table.join(patients, on="subject_id", how="semi")
    if unknown.join(patients, on="subject_id", how="semi").height:
        person, name = unknown.join(patients, on="subject_id", how="semi").select("subject_id", "split").row(0)
        raise UserError(
            f"{path}: the split of subject_id {person} is {name!r}; it must be one of {', '.join(NAMES)} (the names of MEDS are "
            "train, tuning and held_out)"
        )
    assigned = {person: NAMES[name] for person, name in of_cohort.select("subject_id", "split").rows()}
    if len(assigned) < of_cohort.n_unique():
        twice = of_cohort.unique().filter(pl.col("subject_id").is_duplicated())["subject_id"][0]
        raise UserError(f"{path}: subject_id {twice} is in two splits; a person belongs to one")
    persons = patients["subject_id"].unique().sort()
    if missing := persons.filter(~persons.is_in(list(assigned))).to_list():
        if alike := respelt(pl.Series(missing), table["subject_id"]):
            person, other = alike[0]
            raise UserError(
                f"{path}: subject_id {person} of the cohort is {other} in it: {len(alike)} of {persons.len()} ids differ by "
                "leading zeros or case alone; write them as the tables have them"
            )
        raise UserError(
            f"{path}: {len(missing)} of {persons.len()} persons of the cohort are not in it, such as subject_id {missing[0]}; "
            "add them, or leave out split.file"
        )
    parts = _parts(patients, assigned)
    if empty := [name for name, ids in parts.items() if not ids]:
        raise UserError(
            f"{path}: no person of the cohort is in the {empty[0]} split; name persons for train, tuning and held_out"
        )
    return parts


def _split_file(path: Path) -> pl.DataFrame:
    """``subject_id, split`` of a CSV or Parquet file, as text.

    Raises:
        UserError: it cannot be read, lacks one of them or has it twice, or holds lists in it.
    """
    if path.is_dir():
        raise UserError(f"{path}: split.file is a folder; name the file of the table subject_id, split")
    try:
        if path.suffix.lower() == ".parquet":
            table = pl.read_parquet(path, glob=False)
        else:
            refuse_bare_returns(path)
            table = pl.read_csv(path, infer_schema=False, glob=False, truncate_ragged_lines=True)
            refuse_ragged(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path}: split.file cannot be read: {first_line(error)}") from None
    for name in ("subject_id", "split"):
        if name not in table.columns:
            raise UserError(f"{path}: split.file has no column '{name}'; it has: {', '.join(table.columns)}")
        if f"{name}_duplicated_0" in table.columns:
            raise UserError(f"{path}: split.file has two columns '{name}'; remove one")
        if table.schema[name].is_nested():
            raise UserError(f"{path}: split.file holds {table.schema[name]} in '{name}'; give one value in each row")
    return table.select(id_text(pl.col("subject_id").cast(pl.String)), pl.col("split").cast(pl.String)).unique()


def _parts(patients: pl.DataFrame, assigned: Mapping[str, str]) -> dict[str, list[str]]:
    """Each part's samples, in the table's order; ``assigned`` names the part of each person."""
    parts: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for patient, subject in patients.select("patient_id", "subject_id").rows():
        parts[assigned[subject]].append(patient)
    return parts


def _cuts_in_two(count: int, rule: Split) -> int:
    """The position where training ends if there is no test share; with two persons or more, each of the two gets one.

    >>> _cuts_in_two(100, Split()), _cuts_in_two(2, Split()), _cuts_in_two(1, Split())
    (88, 1, 1)
    """
    if count < 2:
        return count
    return min(max(1, round(count * rule.train / (rule.train + rule.validation))), count - 1)


def _cuts(count: int, rule: Split) -> list[int]:
    """The positions where train and validation end; each of the three splits gets a person if there are at least three.

    >>> _cuts(100, Split()), _cuts(3, Split()), _cuts(1, Split())
    ([70, 80], [1, 2], [1, 1])
    """
    if count < 3:
        return [min(1, count), min(1, count)] if count < 2 else [1, 1]
    train = min(max(1, round(count * rule.train)), count - 2)
    validation = min(max(1, round(count * rule.validation)), count - train - 1)
    return [train, train + validation]
