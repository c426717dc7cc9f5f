"""Two processes under torchrun: the same model as one process, within numerical noise."""

import contextlib
import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from emerge_ehr import torchrun
from emerge_ehr.config import Config
from emerge_ehr.fields import UserError
from emerge_ehr.storage import artefacts, publishing
from tests import in_process
from tests.places import MAIN

Prepare = Callable[..., Config]
TORCHRUNS = {  # what it tells the first of two processes
    "RANK": "0",
    "WORLD_SIZE": "2",
    "LOCAL_RANK": "0",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
}
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


def rows(folder: str, name: str) -> list[dict[str, str]]:
    with (Path(folder) / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def written(toml: str, name: str, more: str = "") -> str:
    """The config of a run of this name."""
    # without dropout: each process draws its own. 83 training patients leave a batch of odd size and a last one of three
    text = toml.replace('run_name = "toy"', f'run_name = "{name}"').replace("max_epochs = 25", "max_epochs = 4")
    text = text.replace("heads = 2", "heads = 2\ndropout = 0.0\ntext_dropout = 0.0\nmodality_dropout = 0.0").replace(
        "batch_size = 32", "batch_size = 41"
    )
    Path(f"{name}.toml").write_text(text + 'class_weights = "balanced"\n' + more)
    return f"{name}.toml"


def run(toml: str, *launcher: str, name: str, stage: str = "train") -> subprocess.CompletedProcess[str]:
    command = [*launcher, str(MAIN), "--stage", stage, "--config", written(toml, name)]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)


@pytest.mark.slow
def test_two_processes_give_the_metrics_of_one(prepared: Prepare, toy_toml: str) -> None:
    prepared(patients=139)
    alone = in_process.run(Path(), "--stage", "train", "--config", written(toy_toml, "alone"))
    together = run(toy_toml, *TORCHRUN, name="together")
    assert alone.returncode == together.returncode == 0, together.stderr
    assert together.stdout.count("patients  positive") == 1
    for name in ("train_loss", "val_loss", "val_auroc", "val_auprc"):
        one, two = ([float(row[name]) for row in rows(f"runs/{run}", "history.csv")] for run in ("alone", "together"))
        assert np.allclose(one, two, atol=1e-4), name
    one, two = (
        [float(row["y_prob"]) for row in rows(f"runs/{run}", "predictions.csv")] for run in ("alone", "together")
    )
    assert np.allclose(one, two, atol=1e-4)
    metrics = [
        json.loads(Path(f"runs/{name}/metrics.json").read_text())["splits"]["test"] for name in ("alone", "together")
    ]
    for name, found in metrics[0]["mortality"]["metrics"].items():
        assert found["value"] == pytest.approx(metrics[1]["mortality"]["metrics"][name]["value"], abs=1e-3)


def on_two_nodes(*configs: str) -> list[tuple[int, str, str]]:
    """An agent of torchrun for each of two nodes, with a config each: exit codes, what was printed, what was told."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    torchrun += ["--rdzv-backend", "c10d", "--rdzv-endpoint", place, "--rdzv-id", "1", "--local-addr", "127.0.0.1"]
    main = [str(MAIN), "--stage", "train", "--config"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    agents = [subprocess.Popen([*torchrun, *main, config], **pipes) for config in configs]
    try:
        said = [agent.communicate(timeout=120) for agent in agents]
    finally:
        for agent in agents:
            agent.kill()
    return [(agent.returncode, *told) for agent, told in zip(agents, said, strict=True)]


@pytest.mark.slow
def test_two_nodes_read_from_disk_and_give_the_model_of_one_process_the_same_each_time(
    prepared: Prepare, toy_toml: str
) -> None:
    prepared(patients=139)
    alone = in_process.run(Path(), "--stage", "train", "--config", written(toy_toml, "alone"))
    assert alone.returncode == 0, alone.stderr
    config = written(toy_toml, "nodes", 'data = "mapped"\n')
    runs = []
    for _ in range(2):
        ended = on_two_nodes(config, config)
        assert [code for code, _, _ in ended] == [0, 0], ended
        assert sum(printed.count("patients  positive") for _, printed, _ in ended) == 1
        assert sum(told.count("stage train") for _, _, told in ended) == 1
        runs.append({path: path.read_bytes() for path in sorted(Path("runs/nodes").rglob("*")) if path.is_file()})
        shutil.rmtree("runs/nodes")
    assert runs[0] == runs[1]
    Path("runs/nodes").mkdir()
    for path, content in runs[0].items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    one, two = (
        [float(row["y_prob"]) for row in rows(f"runs/{name}", "predictions.csv")] for name in ("alone", "nodes")
    )
    assert np.allclose(one, two, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("mistake", ["a run that others hold", "another config"])
def test_a_mistake_ends_both_nodes_at_once_with_one_line(mistake: str, prepared: Prepare, toy_toml: str) -> None:
    prepared()
    configs = [written(toy_toml, "nodes"), written(toy_toml, "nodes")]
    held = Path("runs/nodes/.training")
    held.mkdir(parents=True)
    if mistake == "another config":
        configs[1] = written(toy_toml.replace("max_epochs = 25", "max_epochs = 9"), "other")
    with publishing.locked(held) if mistake == "a run that others hold" else contextlib.nullcontext():
        ended = on_two_nodes(*configs)
    assert all(code != 0 for code, _, _ in ended)
    lines = [line for _, _, told in ended for line in told.splitlines() if line.startswith("error: ")]
    what = {"a run that others hold": "another run is writing", "another config": "give all nodes the same"}
    assert len(lines) == 1 and what[mistake] in lines[0], ended
    assert 'main.py", line' not in "".join(told for _, _, told in ended)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found by their environment")
def test_a_killed_process_ends_all_with_one_line_and_the_run_is_resumed_to_the_same_bytes(
    prepared: Prepare, toy_toml: str
) -> None:
    prepared()
    config = written(toy_toml.replace("max_epochs = 25", "max_epochs = 30"), "killed")
    command = [*TORCHRUN, str(MAIN), "--stage", "train", "--config", config]
    subprocess.run(command, check=True, capture_output=True, timeout=180)
    never_killed = artefacts.checksums(Path("runs"))
    shutil.rmtree("runs")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        while not list(Path("runs/killed/.training").glob("epoch-*")):
            assert running.poll() is None
        os.kill(second_process_of(running.pid), signal.SIGKILL)
        told = running.communicate(timeout=60)[1]
    assert running.returncode != 0 and not Path("runs/killed/metrics.json").exists()
    assert told.count("error: another process of this run was lost") == 1 and 'main.py", line' not in told
    subprocess.run([*command, "--resume"], check=True, capture_output=True, timeout=180)
    assert artefacts.checksums(Path("runs")) == never_killed


def second_process_of(agent: int) -> int:
    """The process that torchrun's ``agent`` gave rank 1."""
    children = Path(f"/proc/{agent}/task/{agent}/children").read_text().split()
    return next(int(pid) for pid in children if b"\0RANK=1\0" in Path(f"/proc/{pid}/environ").read_bytes())


def test_several_processes_may_only_train(prepared: Prepare, toy_toml: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared()
    for name, value in TORCHRUNS.items():
        monkeypatch.setenv(name, value)
    done = run(toy_toml, sys.executable, name="alone", stage="preprocess")
    assert done.returncode == 2 and "--stage train only" in done.stderr


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"RANK": "x"}, "RANK='x' in the environment is not a whole number"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE='two' in the environment is not a whole number"),
        ({"RANK": "5"}, "RANK=5 in the environment is not below WORLD_SIZE=2"),
        ({"MASTER_PORT": None}, "WORLD_SIZE=2 in the environment, but no MASTER_PORT"),
    ],
)
def test_an_environment_that_torchrun_did_not_make_is_refused(
    changed: dict[str, str | None], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**TORCHRUNS, **changed}.items():
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=re.escape(told)):
        torchrun.check()
