"""A grid on a real Ray of this machine: the bytes of local worker processes, also when a worker is killed."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from emerge_ehr.comparison.grid import load
from emerge_ehr.comparison.points import points
from emerge_ehr.storage.holders import holder
from tests.comparison.conftest import BASE, GRID, benchmark, command

pytest.importorskip("ray")
Done = tuple[Path, subprocess.CompletedProcess[str]]
ON_RAY = '[compute]\nbackend = "ray"\nworkers = 2\n'


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def kill_one_that_trains(folder: Path, grid: subprocess.Popen[bytes]) -> None:
    """By the lock that a training run holds; after its first epoch."""
    while grid.poll() is None:
        for epoch in folder.glob("runs/small/*/seed_*/.training/epoch-*"):
            training = re.search(r"process (\d+)", holder([epoch.parent]))
            if training:
                os.kill(int(training[1]), signal.SIGKILL)
                return
        time.sleep(0.002)
    raise AssertionError((folder / "said").read_text())


@pytest.mark.slow
def test_a_grid_on_ray_gives_the_bytes_of_local_workers_though_one_is_killed(done: Done, prepared: Path) -> None:
    (prepared / "base.toml").write_text(BASE + ON_RAY)
    with (prepared / "said").open("wb") as said:
        grid = subprocess.Popen(
            command("small.toml"),
            cwd=prepared,
            stdout=said,
            stderr=said,
            env=os.environ | {"PYTHONWARNINGS": "default"},
        )
        try:
            kill_one_that_trains(prepared, grid)
            assert grid.wait(timeout=240) == 0, (prepared / "said").read_text()
        finally:
            grid.kill()
            grid.wait()  # else a failure is followed by one of pytest's own, of a process left behind
    assert "preparing" not in (prepared / "said").read_text()
    assert files(prepared / "runs") == files(done[0] / "runs")
    (prepared / "base.toml").write_text(BASE)
    again = benchmark(prepared, "small.toml")
    assert "6 runs, of which 6 have ended before" in again.stderr


def test_where_runs_are_trained_makes_no_point_another(work_folder: Path) -> None:
    (work_folder / "small.toml").write_text(GRID + '[axes.place]\n"here" = {}\n"there" = { compute.backend = "ray" }\n')
    assert len(points(load(Path("small.toml")), Path("small.toml"))) == 3


@pytest.mark.slow
def test_a_failing_run_on_ray_is_told_as_one_of_here(prepared: Path) -> None:
    (prepared / "base.toml").write_text(BASE + ON_RAY)
    (prepared / "faulty.toml").write_text(
        'base = "base.toml"\nseeds = [1]\n[axes.method]\n'
        '"bad" = { training = { learning_rate = 1e30, gradient_clip = 1e30 } }\n'
        '"good" = { baseline = "logistic_regression" }\n'
    )
    failed = benchmark(prepared, "faulty.toml", expected=2)
    assert "1 of 2 runs failed" in failed.stderr and "bad/seed_1: epoch 1: the loss is not finite" in failed.stderr


def test_credentialed_records_of_a_grid_go_to_no_cluster_without_leave(work_folder: Path) -> None:
    asked = '[compute]\nbackend = "ray"\naddress = "10.0.0.1:6379"\n'
    (work_folder / "base.toml").write_text("credentialed = true\n" + BASE + asked)
    (work_folder / "small.toml").write_text(GRID)
    refused = benchmark(work_folder, "small.toml", expected=2)
    assert "set compute.allow_cluster = true" in refused.stderr and "Traceback" not in refused.stderr
