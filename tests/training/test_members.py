"""Several members: how their patients are divided, and that a run of them is one run."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray

from emerge_ehr.compute import local
from emerge_ehr.config import Config
from emerge_ehr.fields import Component, UserError
from emerge_ehr.models import input_table
from emerge_ehr.storage.dataset import load_dataset
from emerge_ehr.training import inputs, loop, members, train, trained

Prepare = Callable[..., Config]


def of_three(config: Config, **changed: Any) -> Config:
    return dataclasses.replace(config, training=dataclasses.replace(config.training, members=3), **changed)


def test_a_person_is_in_one_fold_and_positives_are_spread() -> None:
    generator = np.random.default_rng(0)
    subjects = [f"s{number}" for number in generator.integers(0, 250, 600)]
    label = (generator.random(600) < 0.2).astype(np.float32)
    fold = members.folds(subjects, label, 5, seed=1)
    assert set(fold.tolist()) == set(range(5))
    by_person = pl.DataFrame({"subject": subjects, "fold": fold}).group_by("subject").agg(pl.col("fold").n_unique())
    assert by_person["fold"].max() == 1
    for number in range(5):
        assert abs((fold == number).mean() - 0.2) < 0.03 and abs(label[fold == number].mean() - label.mean()) < 0.05
    assert (members.folds(subjects, label, 5, seed=1) == fold).all()
    assert (members.folds(subjects, label, 5, seed=2) != fold).any()


def test_too_few_positives_are_divided_by_persons_alone_and_too_few_persons_are_refused() -> None:
    label = np.array([1.0, *[0.0] * 19], np.float32)
    fold = members.folds([str(number) for number in range(20)], label, 5, seed=0)
    assert np.bincount(fold).tolist() == [4] * 5
    with pytest.raises(UserError, match=r"training.members = 5: there are only 3 persons"):
        members.folds(["a", "b", "c", "a"], label[:4], 5, seed=0)


def logit(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.log(probability / (1 - probability))
    return found


def test_the_risk_is_the_mean_of_the_members_logits_and_no_member_judges_whom_it_was_trained_on(
    prepared: Prepare,
) -> None:
    config = of_three(prepared(patients=100, max_epochs=4))
    train.run(config)
    run, dataset = trained.load(config.run_dir), load_dataset(config.processed_dir)
    rows = pl.read_csv(config.run_dir / "predictions.csv")
    batches = {name: inputs.mapped(dataset, name).whole() for name in ("train", "val", "test")}
    each = {
        name: torch.stack([loop.predict(member, batch, 32) for member in run.members])[..., 0].double().numpy()  # type: ignore[arg-type]
        for name, batch in batches.items()
    }
    told = {name: logit(rows.filter(pl.col("split") == name)["y_prob"].to_numpy()) for name in ("val", "test")}
    np.testing.assert_allclose(told["test"], each["test"].mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(logit(run.probability(batches["test"])[:, 0]), each["test"].mean(axis=0), atol=1e-5)
    ids = [*dataset.split["train"], *dataset.split["val"]]
    label = torch.cat([batches["train"].label, batches["val"].label])[:, 0].numpy()
    fold = members.folds(ids, label, 3, config.seed)[len(dataset.split["train"]) :]
    assert len(set(fold.tolist())) == 3
    np.testing.assert_allclose(told["val"], each["val"][fold, np.arange(len(fold))], atol=1e-5)


def test_the_members_differ_and_the_run_folder_has_the_checkpoints_and_epochs_of_each(prepared: Prepare) -> None:
    config = of_three(prepared(patients=60))
    train.run(config)
    weights = [(config.run_dir / f"checkpoints/member_{n}/best.safetensors").read_bytes() for n in (1, 2, 3)]
    assert len(set(weights)) == 3
    history = pl.read_csv(config.run_dir / "history.csv")
    metrics = json.loads((config.run_dir / "metrics.json").read_text())
    assert history["member"].unique(maintain_order=True).to_list() == [1, 2, 3]
    assert metrics["epochs"] == history.height and len(metrics["best_epoch_of_members"]) == 3
    train.run(dataclasses.replace(config, training=dataclasses.replace(config.training, members=1)))
    assert {path.name for path in (config.run_dir / "checkpoints").iterdir()} == {
        *("best.safetensors", "best_state.safetensors", "last.safetensors", "last_state.safetensors")
    }


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_stopped_in_the_second_member_and_resumed_it_ends_bit_identical(
    prepared: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = of_three(prepared(patients=60))
    train.run(config)
    expected = contents(config.run_dir)
    stopped = dataclasses.replace(config, run_name="stopped")
    whole, trained_epochs = loop._train_epoch, []

    def counted(*arguments: Any) -> float:
        if len(trained_epochs) == 5:  # of three epochs each
            raise KeyboardInterrupt
        trained_epochs.append(1)
        return whole(*arguments)

    monkeypatch.setattr(loop, "_train_epoch", counted)
    with pytest.raises(KeyboardInterrupt):
        train.run(stopped)
    monkeypatch.setattr(loop, "_train_epoch", lambda *arguments: (trained_epochs.append(1), whole(*arguments))[1])
    train.run(dataclasses.replace(stopped, resume=True))
    assert len(trained_epochs) == 9  # no epoch that had ended was trained again
    found = contents(stopped.run_dir)
    named = {"config.json", "manifest.json"}
    assert found.keys() == expected.keys()
    assert {name: found[name] for name in found.keys() - named} == {
        name: expected[name] for name in found.keys() - named
    }


def test_a_method_that_fits_itself_has_members_too(prepared: Prepare) -> None:
    config = of_three(prepared(patients=100), baseline=Component("gradient_boosting", {"rounds": 20}))
    train.run(config)
    run = trained.load(config.run_dir)
    batch = inputs.mapped(run.dataset, "test").whole()
    table = input_table.of_batch(batch, ["ehr"])
    mean = torch.stack([member.logits(table) for member in run.members]).mean(dim=0)  # type: ignore[union-attr,operator]
    rows = pl.read_csv(config.run_dir / "predictions.csv").filter(pl.col("split") == "test")
    np.testing.assert_allclose(rows["y_prob"].to_numpy(), mean[:, 0].double().sigmoid().numpy(), atol=1e-6)


def test_the_extremes_are_those_of_the_members_and_their_mean_is_the_risk(prepared: Prepare) -> None:
    config = of_three(prepared(patients=60))
    train.run(config)
    run = trained.load(config.run_dir)
    batch = inputs.mapped(run.dataset, "test").whole()
    each = torch.stack([loop.predict(member, batch, 32) for member in run.members])  # type: ignore[arg-type]
    torch.testing.assert_close(run.of_members(batch), each)
    assert (run.together(each) == run.probability(batch)).all()


def test_members_trained_at_a_time_are_those_trained_one_after_the_other(
    prepared: Prepare, caplog: pytest.LogCaptureFixture
) -> None:
    config = of_three(prepared(patients=60))
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # so that each process has as many
    try:
        train.run(config)
        files = {path: path.read_bytes() for path in sorted(config.run_dir.rglob("*")) if path.is_file()}
        at_once = dataclasses.replace(config.training, processes=2)
        caplog.set_level("INFO")
        train.run(dataclasses.replace(config, training=at_once))
    finally:
        torch.set_num_threads(before)
    assert not any(message.startswith("epoch") for message in caplog.messages)  # no epoch was trained here
    assert {path: path.read_bytes() for path in sorted(config.run_dir.rglob("*")) if path.is_file()} == files


def test_a_process_that_dies_is_told_and_its_run_resumes(prepared: Prepare, monkeypatch: pytest.MonkeyPatch) -> None:
    config = of_three(prepared(patients=60))
    several = dataclasses.replace(config, training=dataclasses.replace(config.training, processes=2))
    ask = local.Helper.ask
    with monkeypatch.context() as patch:

        def dying(helper: local.Helper, items: bytes) -> bytes:
            if items == b"[2]":
                helper.process.kill()
            return ask(helper, items)

        patch.setattr(local.Helper, "ask", dying)
        with pytest.raises(UserError, match=r"training.processes: a worker process died; .* Lower training.processes"):
            train.run(several)
    train.run(dataclasses.replace(config, resume=True))  # one member after the other, which gives the same
    resumed = (config.run_dir / "predictions.csv").read_bytes()
    train.run(config)
    assert (config.run_dir / "predictions.csv").read_bytes() == resumed


def test_where_members_cannot_be_trained_at_a_time_it_is_said(
    prepared: Prepare, caplog: pytest.LogCaptureFixture
) -> None:
    config = of_three(prepared(), baseline=Component("logistic_regression"))
    config = dataclasses.replace(config, training=dataclasses.replace(config.training, processes=2))
    train.run(config)
    assert "training.processes has no effect" in caplog.text
