"""Splits persons, never stays: no person is in two splits, outcomes are spread in proportion, the seed decides."""

import numpy as np
import polars as pl

from emerge_ehr.config import Split


def split_by_subject(patients: pl.DataFrame, rule: Split, rng: np.random.Generator) -> dict[str, list[str]]:
    """``train``/``val``/``test`` -> patient ids, in the table's order.

    ``patients`` has ``patient_id, subject_id, positive``. Persons with any positive stay, and those without, are shuffled and
    cut apart at the same shares (stratified by person). Where a class has persons enough, every split gets one.
    """
    persons = patients.group_by("subject_id").agg(pl.col("positive").max()).sort("subject_id")
    assigned: dict[str, str] = {}
    for positive in (0, 1):
        names = persons.filter(pl.col("positive") == positive)["subject_id"].to_list()
        order = rng.permutation(len(names))
        for part, block in zip(("train", "val", "test"), np.split(order, _cuts(len(names), rule)), strict=True):
            assigned |= {names[index]: part for index in block}
    parts: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for patient, subject in patients.select("patient_id", "subject_id").rows():
        parts[assigned[subject]].append(patient)
    return parts


def _cuts(count: int, rule: Split) -> list[int]:
    """Where train and validation end; each of the three gets at least one person if there are three.

    >>> _cuts(100, Split()), _cuts(3, Split()), _cuts(1, Split())
    ([70, 80], [1, 2], [1, 1])
    """
    if count < 3:
        return [min(1, count), min(1, count)] if count < 2 else [1, 1]
    train = min(max(1, round(count * rule.train)), count - 2)
    validation = min(max(1, round(count * rule.validation)), count - train - 1)
    return [train, train + validation]
