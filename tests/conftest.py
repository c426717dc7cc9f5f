"""Paths and configs that tests share."""

import dataclasses
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from emerge_ehr.config import Config, Model, Training, load
from emerge_ehr.datasets.sources.synthetic.knowledge_graph import load_graph, write_graph
from emerge_ehr.storage.dataset import Dataset, load_dataset
from tests import small_hospital
from tests.chat_server import Body, ChatServer, Fault
from tests.places import MAIN, ROOT, SHARED

pytest_plugins = ["tests.tiny_models"]
Once = Callable[[str, Callable[[Path], None]], Path]

# Several processes run tests, and stages that tests start: with more threads than CPUs they would wait for each other.
# It is read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A busy machine may take a second for what takes a millisecond; and a test that passed must pass again.
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True)
hypothesis.settings.load_profile("steady")


@pytest.fixture(scope="session")
def demo_raw() -> Path:
    folder = SHARED / "mimic-iv-demo-2.2"
    if not folder.is_dir():
        pytest.skip(f"the MIMIC-IV demo is not at {folder}")
    return folder


@pytest.fixture(scope="session")
def demo_config(demo_raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Config]:
    """The demo's config with all it writes under a temporary folder."""
    out = tmp_path_factory.mktemp("demo")
    config = load(ROOT / "tests" / "configs" / "mimic4_demo_shared.toml")
    paths = dataclasses.replace(
        config.paths,
        raw_dir=demo_raw,
        kg_dir=SHARED / "primekg-open",
        table_dir=out / "tables",
        processed_dir=out / "processed",
        run_dir=out / "run",
        cache_dir=out / "cache",
    )
    yield dataclasses.replace(config, paths=paths)


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Gives the folder of a name, which is made once a session: by the process of pytest-xdist that asks first; the others wait.

    What is made there is only read: another process may read it at the same time.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def folder(name: str, make: Callable[[Path], None]) -> Path:
        made, ended = shared / name, shared / f"{name}.made"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not ended.exists():
                shutil.rmtree(made, ignore_errors=True)  # of one that failed
                made.mkdir()
                make(made)
                ended.touch()
        return made

    return folder


@pytest.fixture(scope="session")
def small_pipeline(once: Once) -> Path:
    """A folder with ``small.toml``, in which the command line has run every stage of it. Read it only."""
    return once("small_pipeline", run_small_pipeline)


def run_small_pipeline(folder: Path) -> None:
    (folder / "small.toml").write_text(small_hospital.CONFIG)
    command = [sys.executable, str(MAIN), "--config", "small.toml", "--stage", "all"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "AUROC" in done.stdout and done.stdout.endswith("report: runs/small/report.html\n")


@pytest.fixture(scope="session")
def mini_graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic default's knowledge graph."""
    folder = tmp_path_factory.mktemp("graph")
    write_graph(load_graph(), folder)
    return folder


@pytest.fixture
def trained(mini_graph: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, Path], Dataset]:
    """Takes a config, converted in ``folder``, through preprocess and train; a small model, a small graph."""

    def finish(config_file: Path, folder: Path) -> Dataset:
        from emerge_ehr.preprocess import run as preprocess
        from emerge_ehr.training import train

        monkeypatch.chdir(folder)
        config = load(config_file)
        config = dataclasses.replace(
            config,
            paths=dataclasses.replace(config.paths, kg_dir=mini_graph),
            model=Model(hidden_size=8, heads=2, experts=()),
            training=Training(members=1, max_epochs=2, bootstrap_resamples=20, accelerator="cpu"),
        )
        preprocess.run(config)
        train.run(config)
        assert (config.run_dir / "metrics.json").is_file()
        return load_dataset(config.processed_dir)

    return finish


@pytest.fixture
def serve() -> Iterator[Callable[..., ChatServer]]:
    """Starts chat-completions servers, and ends them."""
    servers: list[ChatServer] = []

    def start(
        model: Callable[[Body], str], fault: Callable[[int, Body], Fault | None] = lambda n, body: None
    ) -> ChatServer:
        servers.append(ChatServer(model, fault))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
