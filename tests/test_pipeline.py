"""The whole pipeline on a small synthetic hospital, by the command line, as a user runs it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from emerge_ehr.cli import main
from tests import in_process
from tests.places import MAIN
from tests.small_hospital import CONFIG


def run(folder: Path, *arguments: str, expected: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(MAIN), "--config", "small.toml", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == expected, done.stderr
    return done


@pytest.fixture(scope="module")
def folder(small_pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished pipeline; a test that changes it changes it back."""
    return shutil.copytree(small_pipeline, tmp_path_factory.mktemp("pipeline"), dirs_exist_ok=True)


def files(folder: Path) -> dict[Path, bytes]:
    """All, but for those that remember times of change."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "hashes.json")
    return {path: path.read_bytes() for path in found}


def test_all_promised_artefacts_are_there(folder: Path) -> None:
    tables = folder / "data/tables/synthetic/mortality"
    processed = folder / "data/processed/synthetic/mortality"
    names = ("dynamic.csv", "static.csv", "label.csv", "cohort.csv", "notes.csv")
    assert all((tables / name).is_file() for name in names)
    names = ("emerge_dataset.npz", "metadata.json", "split.json", "rag_records.csv", "patients.csv")
    assert all((processed / name).is_file() for name in names)
    names = (
        "metrics.json",
        "predictions.csv",
        "subgroups.csv",
        "history.csv",
        "config.json",
        "manifest.json",
        "checkpoints/best.safetensors",
    )
    assert all((folder / "runs/small" / name).is_file() for name in names)
    assert not [path for path in folder.rglob("*") if path.name.startswith(".") or path.suffix == ".part"]


def test_the_reported_auroc_is_that_of_the_predictions(folder: Path) -> None:
    metrics = json.loads((folder / "runs/small/metrics.json").read_text())
    predictions = pl.read_csv(folder / "runs/small/predictions.csv").filter(pl.col("split") == "test")
    expected = roc_auc_score(predictions["y_true"], predictions["y_prob"])
    assert np.isclose(metrics["splits"]["test"]["mortality"]["metrics"]["auroc"]["value"], expected, atol=1e-6)


@pytest.mark.slow
def test_two_runs_are_compared_by_the_command_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = CONFIG.replace('"small"', '"other"') + '[baseline]\nname = "logistic_regression"\n'
    (folder / "other.toml").write_text(other)
    monkeypatch.chdir(folder)
    assert main(["--config", "other.toml", "--stage", "train"]) == 0
    command = [
        sys.executable,
        str(MAIN),
        "--stage",
        "compare",
        "--runs",
        "runs/small",
        "runs/other",
    ]
    before = files(folder)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0 and "AUROC (DeLong)" in done.stdout and "test persons" in done.stdout, done.stderr
    assert files(folder) == before
    out = tmp_path / "c.csv"
    capsys.readouterr()
    assert main([*command[2:], "--output", str(out)]) == 0
    assert capsys.readouterr().out == f"{done.stdout}written to {out}\n" and len(pl.read_csv(out)) == 10
    (folder / "other.toml").unlink()


@pytest.mark.slow
def test_running_all_stages_again_changes_no_byte(folder: Path) -> None:
    before = files(folder)
    run(folder, "--stage", "all")
    assert files(folder) == before


@pytest.mark.slow
def test_a_killed_download_is_not_taken_for_a_complete_one(folder: Path) -> None:
    before = files(folder)
    record = folder / "data/raw/synthetic/generated.json"
    command = [sys.executable, str(MAIN), "--config", "small.toml", "--stage", "download"]
    for seconds in (0.4, 0.8):
        record.unlink(missing_ok=True)
        with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            time.sleep(seconds)
            os.kill(process.pid, signal.SIGKILL)
        if not record.exists():
            assert "--stage download" in run(folder, "--stage", "convert", expected=2).stderr
    run(folder, "--stage", "download")
    assert files(folder) == before


def test_train_without_artefacts_says_what_to_run_first(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(CONFIG)
    for stage, hint in (
        ("convert", "--stage download"),
        ("preprocess", "--stage download"),
        ("train", "--stage preprocess"),
        ("report", "no such run folder"),
    ):
        done = in_process.run(tmp_path, "--config", "small.toml", "--stage", stage)
        assert done.returncode == 2 and hint in done.stderr and "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["small.toml"]


@pytest.mark.slow
def test_another_training_takes_the_earlier_report_away(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = folder / "runs/small/report.html"
    before = files(folder)
    monkeypatch.chdir(folder)
    assert main(["--config", "small.toml", "--stage", "train", "--seed", "42"]) == 0
    assert report.is_file()
    (folder / "other.toml").write_text(CONFIG + "learning_rate = 0.01\n")
    assert main(["--config", "other.toml", "--stage", "train"]) == 0
    assert not report.exists()
    (folder / "other.toml").unlink()
    for stage in ("train", "report"):
        assert main(["--config", "small.toml", "--stage", stage]) == 0
    assert files(folder) == before
