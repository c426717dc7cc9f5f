"""What is removed: the asked share, from training patients only, and the more the larger the share."""

import dataclasses
from datetime import datetime

import numpy as np
import polars as pl
import pytest

from emerge_ehr.config import Sparsity
from emerge_ehr.preprocess.inputs.tables import CheckedTables
from emerge_ehr.preprocess.sparsity import thin
from emerge_ehr.signals import hourly as tensors

PATIENTS = [f"p{n:03d}" for n in range(120)]
SPLIT = {"train": PATIENTS[:80], "val": PATIENTS[80:96], "test": PATIENTS[96:]}
SHARES = (0.0, 0.25, 0.5, 0.75, 0.9)


@pytest.fixture(scope="module")
def tables() -> CheckedTables:
    """Two stays a person; one person in five died; 3 notes and about 100 measured hours a stay."""
    generator = np.random.default_rng(0)
    cohort = pl.DataFrame({"patient_id": PATIENTS, "subject_id": [f"s{n // 2}" for n in range(120)]}).with_columns(
        positive=(pl.int_range(pl.len()) % 10 == 0).cast(pl.Int64)
    )
    value = generator.normal(size=(120, 48, 4)).astype(np.float32)
    value[generator.random(value.shape) < 0.5] = np.nan
    notes = pl.DataFrame(
        [(patient, datetime(2100, 1, 1, n), "note", f"text {n}") for patient in PATIENTS for n in range(3)],
        schema=["patient_id", "note_time", "note_type", "text"],
        orient="row",
    )
    hourly = tensors.Hourly(value, np.full(120, 48), ("a", "b", "c", "d"))
    nothing = np.zeros((120, 1), dtype=np.float32)
    return CheckedTables(cohort, (), hourly, notes, ("y",), nothing, nothing, {}, [])


def inside(split: str) -> np.ndarray:
    return np.isin(PATIENTS, SPLIT[split])


def test_nothing_asked_nothing_changes(tables: CheckedTables) -> None:
    after, split = thin(tables, SPLIT, Sparsity(), 42)
    assert split == SPLIT and after.hourly is tables.hourly and after.notes.equals(tables.notes) and not after.warnings


def test_patients_go_by_person_from_training_only_dead_and_living_alike_and_nested(tables: CheckedTables) -> None:
    subject = dict(tables.cohort.select("patient_id", "subject_id").rows())
    positive = dict(tables.cohort.select("patient_id", "positive").rows())
    before = set(SPLIT["train"])
    for share in SHARES:
        _, split = thin(tables, SPLIT, Sparsity(patients=share), 42)
        kept = set(split["train"])
        assert (split["val"], split["test"]) == (SPLIT["val"], SPLIT["test"])
        assert split["train"] == [patient for patient in SPLIT["train"] if patient in kept]
        assert kept <= before
        assert not {subject[patient] for patient in kept} & {subject[p] for p in set(SPLIT["train"]) - kept}
        assert len(kept) == 2 * (32 - round(share * 32) + max(1, 8 - round(share * 8)))
        assert sum(positive[patient] for patient in kept) == max(1, 8 - round(share * 8))
        before = kept


@pytest.mark.parametrize("splits", ["train", "all"])
def test_notes_go_at_the_asked_share_and_nested(tables: CheckedTables, splits: str) -> None:
    affected = set(SPLIT["train"]) if splits == "train" else set(PATIENTS)
    before = set(tables.notes.rows())
    for share in (*SHARES, 1.0):
        after, split = thin(tables, SPLIT, Sparsity(notes=share, splits=splits), 42)
        kept = set(after.notes.rows())
        assert split == SPLIT and kept <= before
        whole = [row for row in tables.notes.rows() if row[0] not in affected]
        assert all(row in kept for row in whole)
        assert len(kept) == len(whole) + 3 * len(affected) - round(share * 3 * len(affected))
        before = kept


@pytest.mark.parametrize("splits", ["train", "all"])
def test_measurements_go_at_the_asked_share_and_nested(tables: CheckedTables, splits: str) -> None:
    original = tables.hourly.value.copy()
    rows = inside("train") if splits == "train" else np.ones(120, dtype=bool)
    before = ~np.isnan(original)
    total = int(before[rows].sum())
    for share in SHARES:
        after, _ = thin(tables, SPLIT, Sparsity(measurements=share, splits=splits), 42)
        kept = ~np.isnan(after.hourly.value)
        assert (before | ~kept).all()
        assert int(kept[rows].sum()) == total - round(share * total)
        np.testing.assert_array_equal(after.hourly.value[~rows], original[~rows])
        np.testing.assert_array_equal(after.hourly.value[kept], original[kept])
        before = kept
    np.testing.assert_array_equal(tables.hourly.value, original)


def test_the_kinds_do_not_change_each_others_draw_and_the_seed_decides(tables: CheckedTables) -> None:
    rule = Sparsity(patients=0.5, notes=0.5, measurements=0.5)
    both, split = thin(tables, SPLIT, rule, 42)
    again, _ = thin(tables, SPLIT, rule, 42)
    assert both.notes.equals(again.notes) and both.hourly.value.tobytes() == again.hourly.value.tobytes()
    alone, _ = thin(tables, SPLIT, dataclasses.replace(rule, patients=0.0, measurements=0.0), 42)
    assert both.notes.equals(alone.notes)
    other, other_split = thin(tables, SPLIT, rule, 43)
    assert not both.notes.equals(other.notes) and split != other_split
    assert both.warnings == [
        "sparsity: 50% of the training patients removed",
        "sparsity: 50% of the notes of training patients removed",
        "sparsity: 50% of the measured hours of training patients removed",
    ]
