"""What the fault tests share: copies of a finished pipeline, stages as processes, and the tally printed at the end."""

import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from emerge_ehr.stages import PIPELINE
from tests import in_process
from tests.places import MAIN

OUTPUTS = {
    "download": ("data/raw/synthetic", "data/kg/synthetic"),
    "convert": ("data/tables/synthetic/mortality",),
    "preprocess": ("data/processed/synthetic/mortality", "data/cache"),
    "train": ("runs/small",),
    "report": ("runs/small/report.html",),
}
TALLY: Counter[str] = Counter()


def command(stage: str) -> list[str]:
    return [sys.executable, str(MAIN), "--config", "small.toml", "--stage", stage]


def run(stage: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The stage, undisturbed, in this process."""
    return in_process.run(folder, *command(stage)[2:])


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
            for name in made(work, later):
                (work / name).unlink()
        return work

    def after(self, stage: str) -> dict[str, bytes]:
        """The bytes of what ``stage`` makes."""
        return made(self.folder, stage)


@pytest.fixture(scope="session")
def hospital(small_pipeline: Path) -> Hospital:
    return Hospital(small_pipeline)


def made(work: Path, stage: str) -> dict[str, bytes]:
    """What there is of ``stage`` in ``work``; the report lies in the folder of ``train``, but is none of its files."""
    own = {
        name: content
        for name, content in contents(work).items()
        if any(name == place or name.startswith(f"{place}/") for place in OUTPUTS[stage])
    }
    return own if stage == "report" else {name: own[name] for name in own if name not in OUTPUTS["report"]}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if TALLY:
        terminalreporter.section("faults")
        for what, count in sorted(TALLY.items()):
            terminalreporter.write_line(f"{count} {what}")
