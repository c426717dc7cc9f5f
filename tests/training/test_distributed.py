"""Two processes under torchrun: the same model as one process, within numerical noise."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from src.config import Config

Prepare = Callable[..., Config]
ROOT = Path(__file__).resolve().parents[2]


def rows(folder: str, name: str) -> list[dict[str, str]]:
    with (Path(folder) / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def run(toml: str, *launcher: str, name: str, stage: str = "train") -> subprocess.CompletedProcess[str]:
    # without dropout: each process draws its own. 83 training patients leave a batch of odd size and a last one of three
    text = toml.replace('run_name = "toy"', f'run_name = "{name}"').replace("max_epochs = 25", "max_epochs = 4")
    text = text.replace("heads = 2", "heads = 2\ndropout = 0.0\ntext_dropout = 0.0").replace(
        "batch_size = 32", "batch_size = 41"
    )
    Path(f"{name}.toml").write_text(text + 'class_weights = "balanced"\n')
    command = [*launcher, str(ROOT / "src" / "main.py"), "--stage", stage, "--config", f"{name}.toml"]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)


def test_two_processes_give_the_metrics_of_one(prepared: Prepare, toy_toml: str) -> None:
    prepared(patients=139)
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    alone, together = run(toy_toml, sys.executable, name="alone"), run(toy_toml, *torchrun, name="together")
    assert alone.returncode == together.returncode == 0, together.stderr
    assert together.stdout.count("AUROC") == 1
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


def test_several_processes_may_only_train(prepared: Prepare, toy_toml: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared()
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = run(toy_toml, sys.executable, name="alone", stage="preprocess")
    assert done.returncode == 2 and "--stage train only" in done.stderr
