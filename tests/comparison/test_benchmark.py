"""The stage as a user runs it, on a hospital of 220 stays."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from src.comparison import benchmark as stage
from src.datasets import artefacts
from src.fields import UserError
from src.training.trained import load
from tests.comparison.conftest import benchmark, command

Done = tuple[Path, subprocess.CompletedProcess[str]]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_run_is_a_run_folder_and_the_results_hold_what_they_report(done: Done) -> None:
    runs = done[0] / "runs/small"
    results = pl.read_csv(runs / "results.csv")
    assert results["run"].n_unique() == 2 * 2 * 2
    for row in results.iter_rows(named=True):
        metrics = json.loads((done[0] / row["run"] / "metrics.json").read_text())
        found = metrics["splits"][row["split"]][row["label"]]["metrics"][row["metric"]]
        assert (row["value"], row["low"], row["high"]) == (found["value"], found["low"], found["high"])
        assert row["run"].endswith(f"seed_{row['seed']}") and metrics["seed"] == row["seed"]
    assert {row["removed_notes"] for row in results.iter_rows(named=True)} == {0.0, 1.0}


def test_parquet_and_csv_hold_the_same(done: Done) -> None:
    runs = done[0] / "runs/small"
    assert_frame_equal(pl.read_parquet(runs / "results.parquet"), pl.read_csv(runs / "results.csv"), check_dtypes=False)


def test_what_runs_share_is_made_once(done: Done) -> None:
    log = done[1].stderr
    assert (log.count("convert: "), log.count("preprocess: ")) == (1, 2)
    shared = done[0] / "data/benchmark"
    assert (len(list((shared / "tables").iterdir())), len(list((shared / "processed").iterdir()))) == (1, 2)


def test_without_notes_no_training_summary_tells_a_disease_and_the_test_patients_lose_nothing(done: Done) -> None:
    whole, thinned = sorted(
        (done[0] / "data/benchmark/processed").iterdir(),
        key=lambda folder: json.loads((folder / "metadata.json").read_text())["settings"]["sparsity"]["notes"],
    )
    split = json.loads((whole / "split.json").read_text())
    assert split == json.loads((thinned / "split.json").read_text())
    before, after = (pl.read_csv(folder / "rag_records.csv", infer_schema=False) for folder in (whole, thinned))
    training = pl.col("patient_id").is_in(split["train"])
    assert set(after.filter(training)["nodes"]) == {"[]"} and set(after.filter(training)["entities"]) == {"[]"}
    assert set(before.filter(training)["nodes"]) != {"[]"}
    columns = ["patient_id", "entities", "nodes", "summary"]
    assert_frame_equal(before.filter(~training).select(columns), after.filter(~training).select(columns))


def test_a_run_of_a_grid_can_be_asked_again(done: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(done[0])
    trained = load(Path("runs/small/EMERGE/seed_2"))
    assert trained.config.seed == 2 and trained.dataset.metadata["seed"] == 42


def test_started_again_nothing_is_trained_and_no_byte_changes(done: Done) -> None:
    before = files(done[0])
    again = benchmark(done[0], "small.toml")
    assert "8 of which have ended" in again.stderr.replace("of which 8 have", "8 of which have")
    assert files(done[0]) == before


def test_one_worker_gives_the_bytes_of_two(done: Done, prepared: Path) -> None:
    grid = prepared / "small.toml"
    grid.write_text(grid.read_text().replace("workers = 2", "workers = 1"))
    benchmark(prepared, "small.toml")
    assert files(prepared / "runs") == files(done[0] / "runs")


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_stopped_its_workers_end_and_started_again_it_continues_to_the_same_bytes(
    done: Done, prepared: Path, sign: signal.Signals, code: int
) -> None:
    with subprocess.Popen(
        command("small.toml"),
        cwd=prepared,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        while not (first := list(prepared.glob("runs/small/*/*/manifest.json"))):
            time.sleep(0.02)
            assert process.poll() is None
        os.kill(process.pid, sign)
        assert process.wait(timeout=20) == code
    deadline = time.monotonic() + 20
    while lives(process.pid):
        assert time.monotonic() < deadline, "workers outlive the grid"
        time.sleep(0.05)
    assert not (prepared / "runs/small/results.csv").exists()
    stamp = first[0].stat().st_mtime_ns
    benchmark(prepared, "small.toml")
    assert first[0].stat().st_mtime_ns == stamp
    assert files(prepared / "runs") == files(done[0] / "runs")


def lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_failing_run_is_recorded_the_others_go_on_and_mended_it_alone_is_trained(prepared: Path) -> None:
    grid = prepared / "faulty.toml"
    grid.write_text(
        'base = "base.toml"\nseeds = [1]\nworkers = 1\n[axes.method]\n'
        '"bad" = { training = { learning_rate = 1e30, gradient_clip = 1e30 } }\n'
        '"good" = { baseline = "logistic_regression" }\n'
    )
    failed = benchmark(prepared, "faulty.toml", expected=2)
    assert "1 of 2 runs failed" in failed.stderr and "bad/seed_1: epoch 1: the loss is not finite" in failed.stderr
    results = pl.read_csv(prepared / "runs/faulty/results.csv")
    bad = results.filter(pl.col("method") == "bad")
    assert bad.height == 1 and "not finite" in bad["failed"][0] and bad["value"][0] is None
    assert results.filter(pl.col("method") == "good")["failed"].null_count() == results.height - 1
    assert "1 of 2 runs failed" in (prepared / "runs/faulty/table.md").read_text()
    good = prepared / "runs/faulty/good/seed_1/manifest.json"
    stamp = good.stat().st_mtime_ns
    grid.write_text(grid.read_text().replace("1e30", "1e-3"))
    benchmark(prepared, "faulty.toml")
    assert good.stat().st_mtime_ns == stamp
    assert pl.read_csv(prepared / "runs/faulty/results.csv")["failed"].null_count() > results.height - 1


def test_a_dry_run_lists_runs_by_what_they_share_and_writes_nothing(workplace: Path) -> None:
    from tests.comparison.conftest import GRID

    (workplace / "small.toml").write_text(GRID)
    printed = benchmark(workplace, "small.toml", "--dry-run").stdout
    assert printed.startswith("small: 8 runs; tables: 1, preprocessed: 2\n")
    assert printed.count("(to do: convert, preprocess)") == 2 and printed.count("seed_") == 8
    assert sorted(path.name for path in workplace.iterdir()) == ["base.toml", "small.toml"]


def test_two_processes_do_not_run_one_grid(workplace: Path) -> None:
    from tests.comparison.conftest import GRID

    (workplace / "small.toml").write_text(GRID)
    held = Path("runs/small/.benchmark")
    held.mkdir(parents=True)
    with artefacts.locked(held), pytest.raises(UserError, match="another run is writing there"):
        stage.run(Path("small.toml"), dry_run=False, offline=False)
