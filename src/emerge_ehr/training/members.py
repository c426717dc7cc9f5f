"""Members: a method is fitted several times, and their logits are averaged.

Training and validation patients are divided into folds of persons. Each member is trained on all folds but one, and stopped (or
given its penalty) on that one. So all of these patients train most of the members, and no member is chosen on the few patients of
one validation split alone. One early-stopped network on a few hundred patients is a lottery; the mean of several is not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from emerge_ehr.fields import UserError, plural
from emerge_ehr.training import results
from emerge_ehr.training.patients import Patients, joined, subset


@dataclass(frozen=True)
class Member:
    """What one member is fitted on: the patients ``train``, and ``validation``, of a fold of its own.

    ``folder``: its checkpoints' place in the run folder's; "" for a single member, which is fitted on the splits themselves.
    ``fold``: the rows of ``validation`` among the patients of the training split followed by those of the validation split.
    """

    number: int
    folder: str
    seed: int
    train: Patients
    validation: Patients
    fold: Tensor


def name(number: int) -> str:
    """The folder of the member with this number, from 1."""
    return f"member_{number}"


def divided(train: Patients, validation: Patients, subjects: Sequence[str], count: int, seed: int) -> list[Member]:
    """``count`` members for the patients of the two splits, whose persons are ``subjects``: those of ``train`` come first.

    Raises:
        UserError: there are fewer persons than members.
    """
    if count == 1:
        return [Member(1, "", seed, train, validation, len(train) + torch.arange(len(validation)))]
    both = joined(train, validation)
    fold = folds(subjects, both.label[:, 0].numpy(), count, seed)
    members = []
    for number in range(1, count + 1):
        out = torch.from_numpy(fold == number - 1)
        inside, outside = (torch.nonzero(rows)[:, 0] for rows in (~out, out))
        own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        members.append(Member(number, name(number), own, subset(both, inside), subset(both, outside), outside))
    return members


def folds(subjects: Sequence[str], label: NDArray[np.float32], count: int, seed: int) -> NDArray[np.int64]:
    """The fold [N] of each patient: all of a person in one, with about the same share of positives in each.

    Raises:
        UserError: there are fewer persons than folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    persons = len(set(subjects))
    if persons < count:
        raise UserError(
            f"training.members = {count}: there are only {plural(persons, 'person')} to divide; set fewer members"
        )
    fold = np.zeros(len(subjects), np.int64)
    # where fewer positives than folds are left, the labels cannot be spread, and persons alone are divided
    spread = label if min(label.sum(), len(label) - label.sum()) >= count else np.zeros_like(label)
    divide = StratifiedGroupKFold(count, shuffle=True, random_state=seed % 2**32)
    for number, (_, out) in enumerate(divide.split(np.zeros(len(fold)), spread, list(subjects))):
        fold[out] = number
    return fold


def persons(patient_id: Sequence[str], patients: pl.DataFrame | None) -> list[str]:
    """The person of each sample by ``patients``, which is patients.csv; without it, each is another person's."""
    return list(patient_id) if patients is None else results.aligned(patient_id, patients)["subject_id"].to_list()
