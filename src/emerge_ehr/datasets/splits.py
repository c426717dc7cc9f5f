"""Splits the samples by person, so that no person is in two splits. The seed decides, and outcomes are spread in proportion."""

import numpy as np
import polars as pl

from emerge_ehr.config import Split


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
    parts: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for patient, subject in patients.select("patient_id", "subject_id").rows():
        parts[assigned[subject]].append(patient)
    return parts


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
