"""What the fault tests share: a small generated hospital, stages as processes, and the tally printed at the end.

Tests marked ``full`` are left out of the ordinary run; ``make test-all`` runs them too.
"""

import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from src.main import PIPELINE

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
dataset = "synthetic"
run_name = "small"
[paths]
raw_dir = "data/raw/synthetic"
kg_dir = "data/kg/synthetic"
[source]
name = "synthetic"
stays = 220
[download]
primekg = "none"
[model]
hidden_size = 16
[training]
max_epochs = 4
bootstrap_resamples = 50
"""
OUTPUTS = {
    "download": ("data/raw/synthetic", "data/kg/synthetic"),
    "convert": ("data/tables/synthetic/mortality",),
    "preprocess": ("data/processed/synthetic/mortality", "data/cache"),
    "train": ("runs/small",),
}
TALLY: Counter[str] = Counter()


def command(stage: str) -> list[str]:
    return [sys.executable, str(ROOT / "src" / "main.py"), "--config", "small.toml", "--stage", stage]


def run(stage: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(stage), cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder``, but for the one that remembers times of change."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "hashes.json"
    }


@dataclass(frozen=True)
class Hospital:
    """A finished pipeline in ``folder``: what was there ``before`` each stage, and what the stage had made ``after``."""

    folder: Path

    def whole(self, into: Path) -> Path:
        """A copy of all of it."""
        work = into / "work"
        shutil.copytree(self.folder, work)
        return work

    def before(self, stage: str, into: Path) -> Path:
        """A copy in which ``stage`` has not run, but all before it have."""
        work = self.whole(into)
        stages = list(PIPELINE)
        for later in stages[stages.index(stage) :]:
            for name in OUTPUTS.get(later, ()):
                shutil.rmtree(work / name, ignore_errors=True)
        return work

    def after(self, stage: str) -> dict[str, bytes]:
        """The bytes of what ``stage`` makes."""
        return {
            f"{name}/{path}": content
            for name in OUTPUTS[stage]
            for path, content in contents(self.folder / name).items()
        }


@pytest.fixture(scope="session")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    folder = tmp_path_factory.mktemp("hospital")
    (folder / "small.toml").write_text(CONFIG)
    for stage in OUTPUTS:
        done = run(stage, folder)
        assert done.returncode == 0, done.stderr
    return Hospital(folder)


def made(work: Path, stage: str) -> dict[str, bytes]:
    """What there is of ``stage`` in ``work``."""
    return {f"{name}/{path}": content for name in OUTPUTS[stage] for path, content in contents(work / name).items()}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if TALLY:
        terminalreporter.section("faults")
        for what, count in sorted(TALLY.items()):
            terminalreporter.write_line(f"{count} {what}")
