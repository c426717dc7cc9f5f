"""Damaged, foreign and malicious inputs: one line that says what and where, or handled and said so; nothing is executed."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emerge_ehr.cli import main
from tests.faults.bad_input import (
    any_file,
    artefacts,
    caches,
    checkpoints,
    config,
    downloads,
    finished,
    graph,
    parts,
    raw_files,
    runs,
    sources,
    tables,
)
from tests.faults.bad_input.fault import Clean, Fault, Outcome, judge
from tests.faults.bad_input.fault import clean as read_clean
from tests.faults.conftest import TALLY
from tests.places import MAIN

INPUTS = (raw_files, sources, downloads, tables, parts, graph, config, artefacts, checkpoints, caches, runs)
FAULTS = [fault for module in INPUTS for fault in module.FAULTS]
AS_PROCESSES = FAULTS[:: len(FAULTS) // 6]
GENERAL = {**any_file.ANY_CSV, **any_file.ANY_FILE, **any_file.ANY_GZIP}


def sample(faults: list[Fault]) -> set[str]:
    """Names of a few, in which every file and every general kind of damage occurs."""
    chosen: dict[str, str] = {}
    kinds: set[str] = set()
    for fault in faults:
        if fault.kind in GENERAL and fault.kind not in kinds and fault.input not in chosen:
            chosen[fault.input] = fault.name
            kinds.add(fault.kind)
    for fault in faults:
        chosen.setdefault(fault.input, fault.name)
    left = {fault.kind: fault.name for fault in faults if fault.kind in GENERAL.keys() - kinds}
    return {*chosen.values(), *left.values()}


def alike(faults: list[Fault]) -> set[str]:
    """Names of those whose like is in two others: the same general damage before the same stage ends in the same way in two other
    files. Which two differs from kind to kind, so that every file has its turn."""
    groups: dict[tuple[str, str, Outcome], list[str]] = {}
    for fault in faults:
        if fault.kind in GENERAL:
            groups.setdefault((fault.stage, fault.kind, fault.outcome), []).append(fault.name)
    left: set[str] = set()
    for number, names in enumerate(groups.values()):
        start = number % len(names)
        left.update((names[start:] + names[:start])[2:])
    return left


def parameters(faults: list[Fault]) -> list[object]:
    """For ``parametrize``: all but the sample are marked ``slow``, and those that are alike ``full``."""
    in_gate, in_full = sample(faults), alike(faults)

    def marks(fault: Fault) -> list[pytest.MarkDecorator]:
        if fault.name in in_gate:
            return []
        return [pytest.mark.full if fault.name in in_full else pytest.mark.slow]

    return [pytest.param(fault, id=fault.name, marks=marks(fault)) for fault in faults]


@pytest.fixture(scope="session")
def pipeline(once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    def build(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            finished.build(folder)

    return once("bad_input", build)


@pytest.fixture(scope="session")
def clean(pipeline: Path) -> Clean:
    return read_clean(pipeline)


@pytest.fixture(scope="session")
def copy(clean: Clean, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the pipeline that one fault after the other damages; a copy each is ten times the writing."""
    return shutil.copytree(clean.folder, tmp_path_factory.mktemp("copy") / "work", symlinks=True)


@pytest.fixture
def work(clean: Clean, copy: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The copy, which is the current folder and is mended after the fault."""
    monkeypatch.chdir(copy)
    yield copy
    clean.mend(copy)


@pytest.mark.parametrize("fault", parameters(FAULTS))
def test_bad_input_is_refused_in_one_line_or_handled_and_said_so(
    fault: Fault,
    work: Path,
    clean: Clean,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def run(argv: list[str]) -> tuple[int, str, str]:
        caplog.clear()
        try:
            code = main(argv)
        except SystemExit as end:  # argparse
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return code, printed.err, printed.out + caplog.text

    caplog.set_level("INFO")
    judge(fault, work, clean, run)
    TALLY["faults tried"] += 1
    TALLY[f"faults {fault.outcome.kind}"] += 1


@pytest.mark.slow
@pytest.mark.parametrize("fault", AS_PROCESSES, ids=lambda fault: fault.name)
def test_so_it_is_for_a_real_process(fault: Fault, work: Path, clean: Clean) -> None:
    def run(argv: list[str]) -> tuple[int, str, str]:
        command = [sys.executable, str(MAIN), *argv]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=120, check=False)
        return done.returncode, done.stderr, done.stdout

    judge(fault, work, clean, run)


def test_no_fault_is_listed_twice() -> None:
    names = [fault.name for fault in FAULTS]
    assert len(set(names)) == len(names) > 300, [name for name in names if names.count(name) > 1]
