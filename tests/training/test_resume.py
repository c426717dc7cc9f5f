"""A training run that is stopped and goes on: the same bytes as one that was never stopped."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from emerge_ehr.config import Config
from emerge_ehr.fields import Component, UserError
from emerge_ehr.storage import publishing
from emerge_ehr.training import checkpoints, train
from tests.places import MAIN

Prepare = Callable[..., Config]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(MAIN), "--stage", "train", "--config", "toy.toml", *arguments]


def interrupted(config: Config, after: int) -> None:
    """Train, and stop as by Ctrl-C after so many epochs."""

    def keep(folder: Path, progress: checkpoints.Progress, mark: str) -> None:
        original(folder, progress, mark)
        if len(progress.history) == after:
            raise KeyboardInterrupt

    original = checkpoints.keep
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "keep", keep)
        with pytest.raises(KeyboardInterrupt):
            train.run(config)


@pytest.mark.parametrize("scheduler", ["constant", "cosine", "plateau"])
@pytest.mark.parametrize("after", [1, 4])
def test_a_resumed_run_ends_bit_identical(prepared: Prepare, scheduler: Any, after: int) -> None:
    config = prepared(patients=100, max_epochs=7)
    training = dataclasses.replace(config.training, scheduler=scheduler, learning_rate=0.05, patience=7)
    config = dataclasses.replace(config, training=training)
    train.run(config)
    whole = contents(config.run_dir)
    shutil.rmtree(config.run_dir)
    interrupted(config, after)
    assert not (config.run_dir / "metrics.json").exists()
    torch.rand(5)
    train.run(dataclasses.replace(config, resume=True))
    assert contents(config.run_dir) == whole


@pytest.mark.slow
def test_a_process_killed_at_any_moment_resumes_to_the_same_bytes(prepared: Prepare, toy_toml: str) -> None:
    prepared(patients=300)
    Path("toy.toml").write_text(toy_toml)
    subprocess.run(command(), check=True, capture_output=True, timeout=120)
    whole = contents(Path("runs/toy"))
    shutil.rmtree("runs")
    stopped = 0
    for seconds in (2.0, 2.6, 3.2):
        with subprocess.Popen(command("--resume"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 60
            while not list(Path("runs/toy/.training").glob("epoch-*")) and time.monotonic() < deadline:
                time.sleep(0.02)
            time.sleep(seconds - 2)
            os.kill(process.pid, signal.SIGKILL)
        stopped += Path("runs/toy/.training").is_dir()
    assert stopped
    subprocess.run(command("--resume"), check=True, capture_output=True, timeout=120)
    assert contents(Path("runs/toy")) == whole


def test_a_longer_run_goes_on_from_a_stopped_shorter_one(prepared: Prepare) -> None:
    config = prepared(patients=100, max_epochs=6)
    interrupted(config, 3)
    longer = dataclasses.replace(config, training=dataclasses.replace(config.training, max_epochs=8, patience=8))
    train.run(dataclasses.replace(longer, resume=True))
    resumed = contents(config.run_dir)
    shutil.rmtree(config.run_dir)
    train.run(longer)
    assert contents(config.run_dir) == resumed


def test_without_resume_a_stopped_run_starts_anew(prepared: Prepare) -> None:
    config = prepared(max_epochs=4)
    train.run(config)
    whole = contents(config.run_dir)
    interrupted(dataclasses.replace(config, seed=9), 2)
    train.run(config)
    assert contents(config.run_dir) == whole


def test_a_run_of_other_settings_is_not_continued(prepared: Prepare) -> None:
    config = prepared(max_epochs=4)
    interrupted(config, 2)
    with pytest.raises(UserError, match="other settings, data or library versions"):
        train.run(dataclasses.replace(config, seed=9, resume=True))


@pytest.mark.parametrize("file", ["last_state.safetensors", "best.safetensors", "progress.json"])
def test_a_damaged_checkpoint_is_one_line(prepared: Prepare, file: str) -> None:
    config = prepared(max_epochs=4)
    interrupted(config, 2)
    path = next(config.run_dir.glob(".training/epoch-*")) / file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"damaged .*without --resume"):
        train.run(dataclasses.replace(config, resume=True))


def test_resume_does_not_train_what_has_ended_and_refuses_what_ended_with_other_settings(
    prepared: Prepare, caplog: pytest.LogCaptureFixture
) -> None:
    config = dataclasses.replace(prepared(max_epochs=3), seeds=(0, 1))
    train.run(dataclasses.replace(config, seeds=(0,)))
    whole = contents(config.run_dir / "seed_0")
    with caplog.at_level("INFO"):
        train.run(dataclasses.replace(config, resume=True))
    assert caplog.text.count("has ended already") == 1 and contents(config.run_dir / "seed_0") == whole
    assert (config.run_dir / "seed_1" / "metrics.json").is_file()
    other = dataclasses.replace(config, training=dataclasses.replace(config.training, learning_rate=0.1), resume=True)
    with pytest.raises(UserError, match="holds a finished run of other settings"):
        train.run(other)


def test_a_baseline_that_fits_itself_does_not_resume_or_remove_anothers_run(prepared: Prepare) -> None:
    config = prepared(max_epochs=4)
    interrupted(config, 2)
    left = contents(config.run_dir)
    with pytest.raises(UserError, match="left by a run with other settings"):
        train.run(dataclasses.replace(config, baseline=Component("note_only"), resume=True))
    assert contents(config.run_dir) == left


def test_two_trainings_do_not_share_a_run_folder(prepared: Prepare) -> None:
    config = prepared(max_epochs=4)
    interrupted(config, 2)
    left = contents(config.run_dir)
    with (
        publishing.locked(config.run_dir / ".training"),
        pytest.raises(UserError, match="another run is writing there"),
    ):
        train.run(config)
    assert contents(config.run_dir) == left


def test_checkpoints_of_an_earlier_method_do_not_stay(prepared: Prepare) -> None:
    config = prepared(max_epochs=1)
    train.run(config)
    train.run(dataclasses.replace(config, baseline=Component("note_only")))
    assert [path.name for path in (config.run_dir / "checkpoints").iterdir()] == ["note_only.safetensors"]
