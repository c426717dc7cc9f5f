"""Patients in memory and patients on disk: the same batches, the same run."""

import dataclasses
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from emerge_ehr.config import Config
from emerge_ehr.fields import Component, UserError
from emerge_ehr.models.batch import SHAPES
from emerge_ehr.storage.dataset import load_dataset
from emerge_ehr.training import inputs, train
from emerge_ehr.training.patients import MappedPatients, batches

Prepare = Callable[..., Config]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def pieces(patients: int) -> dict[str, Any]:
    generator = np.random.default_rng(1)
    return {
        "note_tokens": generator.normal(size=(patients, 3, 5)).astype(np.float32),
        "note_tokens_mask": (generator.random((patients, 3)) > 0.3).astype(np.float32),
        "summary_tokens": generator.normal(size=(patients, 2, 5)).astype(np.float32),
        "summary_tokens_mask": np.ones((patients, 2), np.float32),
    }


def with_data(config: Config, data: Any) -> Config:
    return dataclasses.replace(config, training=dataclasses.replace(config.training, data=data, batch_size=7))


@pytest.mark.parametrize("fusion", ["token_level", "cross_attention"])
def test_a_run_has_the_same_bytes_whether_its_patients_are_in_memory_or_on_disk(prepared: Prepare, fusion: str) -> None:
    config = prepared(patients=50, **pieces(50))
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, fusion=Component(fusion)))
    train.run(with_data(config, "memory"))
    in_memory = contents(config.run_dir)
    train.run(with_data(config, "mapped"))
    assert contents(config.run_dir) == in_memory


def test_a_run_begun_in_memory_goes_on_from_disk(prepared: Prepare) -> None:
    config = prepared(patients=50, max_epochs=4)
    train.run(with_data(config, "memory"))
    again = with_data(dataclasses.replace(config, resume=True), "mapped")
    before = contents(config.run_dir)
    train.run(again)
    assert contents(config.run_dir) == before


@pytest.mark.parametrize("method", ["baseline", "experts"])
def test_a_method_that_fits_itself_is_the_same_from_disk_as_from_memory(prepared: Prepare, method: str) -> None:
    config, found = prepared(max_epochs=1), []
    if method == "baseline":
        config = dataclasses.replace(config, baseline=Component("logistic_regression"))
    else:
        both = ("gradient_boosting", "logistic_regression")
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, experts=both))
    for data in ("memory", "mapped"):
        train.run(with_data(config, data))
        found.append((config.run_dir / "predictions.csv").read_bytes())
    assert found[0] == found[1]


def test_auto_chooses_by_size_and_says_what(
    prepared: Prepare, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = prepared()
    dataset = load_dataset(config.processed_dir)
    with caplog.at_level("INFO"):
        assert not isinstance(inputs.parts(config, dataset)["val"], MappedPatients)
        size = sum(inputs.mapped(dataset, name).nbytes for name in ("train", "val", "test"))
        monkeypatch.setattr(inputs, "IN_MEMORY", size - 1)
        assert isinstance(inputs.parts(config, dataset)["val"], MappedPatients)
    assert "in memory" in caplog.text and "read from disk batch by batch" in caplog.text


def test_batches_from_disk_hold_the_patients_asked_for_in_order(prepared: Prepare) -> None:
    dataset = load_dataset(prepared(patients=50, **pieces(50)).processed_dir)
    patients = inputs.mapped(dataset, "train")
    parts = torch.split(torch.randperm(len(patients), generator=torch.Generator().manual_seed(0)), 8)
    row = {name: n for n, name in enumerate(dataset.patient_id.tolist())}
    for part, batch in zip(parts, batches(patients, parts), strict=True):
        rows = [row[dataset.split["train"][n]] for n in part.tolist()]
        for name in SHAPES:
            assert np.array_equal(getattr(batch, name).numpy(), getattr(dataset, name)[rows]), name


def test_reading_all_patients_batch_by_batch_keeps_no_more_than_a_batch(prepared: Prepare) -> None:
    tokens = np.zeros((40, 512, 1024), np.float32)  # 80 MiB
    dataset = load_dataset(
        prepared(
            note_embedding=np.zeros((40, 1024), np.float32), note_tokens=tokens, note_tokens_mask=tokens[:, :, 0]
        ).processed_dir
    )
    del tokens
    patients = inputs.mapped(dataset, "train")
    before = resident()
    most = max(resident() for _ in batches(patients, torch.split(torch.arange(len(patients)), 2)))
    assert most - before < 32 * 2**20


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_masks_of_other_shape_are_refused_from_disk_too(prepared: Prepare) -> None:
    config = prepared(ehr_mask=np.zeros((40, 5, 4), np.float32))
    with pytest.raises(UserError, match=r"Batch.ehr_mask: expected .*run --stage preprocess again"):
        train.run(with_data(config, "mapped"))
    assert not Path("runs/toy/metrics.json").exists()
