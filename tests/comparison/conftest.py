import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.places import MAIN

BASE = """
dataset = "synthetic"
run_name = "base"
[paths]
raw_dir = "data/raw/synthetic"
kg_dir = "data/kg/synthetic"
[source]
name = "synthetic"
stays = 220
[download]
primekg = "none"
[model]
hidden_size = 8
experts = []
[training]
members = 1
max_epochs = 2
bootstrap_resamples = 20
"""
GRID = """
base = "base.toml"
seeds = [1, 2]
workers = 2
[axes.method]
"EMERGE" = {}
"log. regr. & co" = { baseline = "logistic_regression" }
[sparsity]
notes = [1.0]
"""


@pytest.fixture
def work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a base config."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.toml").write_text(BASE)
    return tmp_path


def command(grid: str, *options: str) -> list[str]:
    return [sys.executable, str(MAIN), "--stage", "benchmark", "--config", grid, *options]


def benchmark(folder: Path, grid: str, *options: str, expected: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONWARNINGS"}
    done = subprocess.run(
        command(grid, *options), cwd=folder, capture_output=True, text=True, timeout=300, check=False, env=environment
    )
    assert done.returncode == expected, done.stderr
    return done


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A grid run to its end by two workers: its folder and what was printed. Read it only."""
    folder = tmp_path_factory.mktemp("grid")
    (folder / "base.toml").write_text(BASE)
    (folder / "small.toml").write_text(GRID)
    return folder, benchmark(folder, "small.toml")


@pytest.fixture
def prepared(done: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path) -> Path:
    """The same folder before anything was trained."""
    folder = tmp_path / "work"
    shutil.copytree(done[0], folder, ignore=lambda path, names: ["runs"] if Path(path) == done[0] else [])
    return folder
