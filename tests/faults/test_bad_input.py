"""Damaged, foreign and malicious inputs: one line that says what and where, or handled and said so; nothing is executed.

``expected.csv`` declares for each what comes of it, so that a change of behaviour is noticed.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import (
    of_artefacts,
    of_caches,
    of_checkpoints,
    of_config,
    of_downloads,
    of_graph,
    of_parts,
    of_raw_files,
    of_runs,
    of_sources,
    of_tables,
    ward,
)
from tests.faults.conftest import TALLY
from tests.faults.corruption import EXPECTED, Corruption, everything, execute, judge, parameters
from tests.places import MAIN

LISTS = (
    of_raw_files,
    of_sources,
    of_downloads,
    of_tables,
    of_parts,
    of_graph,
    of_config,
    of_artefacts,
    of_checkpoints,
    of_caches,
    of_runs,
)
CORRUPTIONS = [one for module in LISTS for one in module.CORRUPTIONS]
AS_PROCESSES = CORRUPTIONS[:: len(CORRUPTIONS) // 6]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ward")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        ward.build(folder)
    return folder


@pytest.fixture(scope="session")
def clean(finished: Path) -> dict[str, bytes]:
    return everything(finished)


@pytest.fixture
def work(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(finished, tmp_path / "work", symlinks=True)
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.mark.parametrize("corruption", parameters(CORRUPTIONS))
def test_bad_input_is_refused_in_one_line_or_handled_and_said_so(
    corruption: Corruption,
    work: Path,
    clean: dict[str, bytes],
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    judge(corruption, work, clean, lambda argv: execute(argv, capsys, caplog))
    TALLY["corruptions tried"] += 1
    TALLY[f"corruptions {corruption.expected.outcome}"] += 1


@pytest.mark.parametrize("corruption", AS_PROCESSES, ids=lambda one: one.name)
def test_so_it_is_for_a_real_process(corruption: Corruption, work: Path, clean: dict[str, bytes]) -> None:
    def run(argv: list[str]) -> tuple[int, str, str]:
        command = [sys.executable, str(MAIN), *argv]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, done.stderr, done.stdout

    judge(corruption, work, clean, run)


def test_every_declared_corruption_is_tried() -> None:
    assert EXPECTED.keys() == {one.name for one in CORRUPTIONS}
    assert len(CORRUPTIONS) > 300
