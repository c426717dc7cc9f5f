"""What the user is told where memory is lacking, a disk is full, or another process holds a cache."""

import errno
import logging
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from emerge_ehr import cli, memory
from emerge_ehr.embeddings._models.embedding_store import open_store
from emerge_ehr.fields import UserError
from emerge_ehr.llm.cache import Cache, ChatAnswer
from emerge_ehr.storage import sqlite_file
from emerge_ehr.storage.holders import holder
from tests.places import MAIN

FULL = Path("/dev/full")
HOLD = """
import fcntl, sqlite3, sys, time
if sys.argv[2] == "sqlite":
    held = sqlite3.connect(sys.argv[1], isolation_level=None)
    held.execute("BEGIN EXCLUSIVE")
else:
    held = open(sys.argv[1], "w")
    fcntl.flock(held, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(float(sys.argv[3]))
"""


@pytest.mark.parametrize(
    ("stage", "kilobytes"), [("convert", 90_000), ("train", 600_000), ("all", 1_000_000), ("predict", 1_000_000)]
)
def test_a_limit_in_which_nothing_can_be_loaded_is_one_line(stage: str, kilobytes: int, tmp_path: Path) -> None:
    given = "--run r --tables t --output o.csv" if stage == "predict" else "--config c.toml"
    command = f"ulimit -v {kilobytes}; exec {sys.executable} {MAIN} --stage {stage} {given}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and not done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: not enough memory") and f"ulimit -v allows this process {kilobytes} KiB" in line


ERRORS = [
    MemoryError(),
    MemoryError("Unable to allocate 7.3 GiB for an array"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried to"),
    RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    RuntimeError("std::bad_alloc"),
    RuntimeError("can't start new thread"),
    ImportError("libtorch_cpu.so: failed to map segment from shared object"),
    OSError(errno.ENOMEM, "Cannot allocate memory", "runs/small"),
    SystemError("error return without exception set"),
]


@pytest.mark.parametrize("error", ERRORS, ids=str)
@pytest.mark.parametrize("wrapped", [False, True])
def test_any_librarys_lack_of_memory_is_one_line(
    error: Exception, wrapped: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(options: object) -> int:
        if wrapped:
            raise ValueError("this came of it") from error
        raise error

    monkeypatch.setattr(cli, "run", fail)
    assert cli.main(["--config", "c.toml"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: not enough memory (") and "None" not in line


def test_a_programmers_mistake_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(options: object) -> int:
        raise KeyError("a column")

    monkeypatch.setattr(cli, "run", fail)
    with pytest.raises(KeyError):
        cli.main(["--config", "c.toml"])
    assert memory.lacking(KeyError("memory")) is None


def test_memory_that_is_lacking_in_a_stage_is_one_line_and_leaves_no_tables(tmp_path: Path) -> None:
    code = f"""
        import sys
        sys.path.insert(0, {str(MAIN.parent)!r})
        import numpy as np
        from emerge_ehr import cli
        from emerge_ehr.datasets.convert import run as convert
        convert.table_files.write_table = lambda *given: np.ones(1 << 46)
        sys.exit(cli.main(["--config", "c.toml", "--stage", sys.argv[1]]))
    """
    (tmp_path / "c.toml").write_text(
        'dataset = "d"\nrun_name = "r"\n[paths]\nraw_dir = "raw"\nkg_dir = "kg"\n[source]\nname = "synthetic"\nstays = 40\n'
        '[download]\nprimekg = "none"\n'
    )
    for stage, status in (("download", 0), ("convert", 2)):
        command = [sys.executable, "-c", textwrap.dedent(code), stage]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr and done.stderr.splitlines()[-1].startswith(
        "error: not enough memory (Unable"
    )
    assert not list((tmp_path / "data").rglob("*.*"))


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_a_full_output_is_named_as_far_as_it_has_a_name(small_pipeline: Path) -> None:
    command = [sys.executable, str(MAIN), "--stage", "compare", "--runs", "runs/small", "runs/small"]
    with FULL.open("w") as full:
        done = subprocess.run(command, cwd=small_pipeline, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line == "error: an output without a name, such as the terminal or a pipe: No space left on device"
    with FULL.open("w") as full:  # where not even this can be told, the status tells it
        done = subprocess.run(command, cwd=small_pipeline, stdout=full, stderr=full, text=True, check=False)
    assert done.returncode == 2


class Holding:
    """Another process that holds the file for so many seconds."""

    def __init__(self, path: Path, kind: str, seconds: float) -> None:
        command = [sys.executable, "-c", HOLD, str(path), kind, str(seconds)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "held\n"

    def __enter__(self) -> int:
        return self.process.pid

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def store(folder: Path) -> Path:
    made = open_store(folder, {"model": "m"}, 4)
    assert made.known([b"key"]) == set()
    return made.path


def use(path: Path, kind: str) -> None:
    """Write into the cache."""
    if kind == "embeddings":
        assert open_store(path.parents[1], {"model": "m"}, 4).known([b"key"]) == set()
    else:
        Cache(path).store("key", 0, "p", "m", 1, ChatAnswer("{}", "stop", 1, 1))


@pytest.mark.parametrize("kind", ["embeddings", "answers"])
def test_who_holds_a_cache_is_told_at_once_and_it_is_waited_for(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "TELL_SECONDS", 0.1)
    path = store(tmp_path) if kind == "embeddings" else tmp_path / "llm.sqlite"
    Cache(tmp_path / "llm.sqlite")
    with caplog.at_level(logging.WARNING), Holding(path, "sqlite", 1.5) as pid:
        use(path, kind)
    (line,) = [record.message for record in caplog.records]
    assert line.startswith(f"{path}: held by another process (process {pid}); waiting")


@pytest.mark.parametrize("kind", ["embeddings", "answers"])
def test_a_cache_that_is_not_given_back_is_one_line_with_its_holder(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "TELL_SECONDS", 0.1)
    monkeypatch.setattr(sqlite_file, "WAIT_SECONDS", 0.5)
    path = store(tmp_path) if kind == "embeddings" else tmp_path / "llm.sqlite"
    Cache(tmp_path / "llm.sqlite")
    with (
        Holding(path, "sqlite", 60) as pid,
        pytest.raises(UserError, match=rf"\(process {pid}\) for 0 s; wait") as error,
    ):
        use(path, kind)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_who_asks_the_language_model_meanwhile_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = Cache(tmp_path / "llm.sqlite")
    with caplog.at_level(logging.WARNING), Holding(tmp_path / "llm.sqlite.lock", "flock", 1.0) as pid, cache.alone():
        pass
    assert f"another run is asking (process {pid}); waiting" in caplog.text


def test_a_damaged_cache_is_not_taken_for_one_that_is_held(tmp_path: Path) -> None:
    (tmp_path / "llm.sqlite").write_bytes(b"no database" * 500)
    began = time.monotonic()
    with pytest.raises(UserError, match="not a usable cache"):
        Cache(tmp_path / "llm.sqlite")
    assert time.monotonic() - began < 5


def test_a_lock_of_ones_own_names_nobody(tmp_path: Path) -> None:
    held = sqlite3.connect(tmp_path / "own.sqlite", isolation_level=None)
    held.execute("BEGIN EXCLUSIVE")
    assert holder([tmp_path / "own.sqlite", tmp_path / "missing"]) == ""
    held.close()
