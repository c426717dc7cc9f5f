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

from emerge_ehr import command_line
from emerge_ehr.comparison import benchmark as stage
from emerge_ehr.comparison import folder, preparation
from emerge_ehr.config import load as load_config
from emerge_ehr.fields import UserError
from emerge_ehr.storage import publishing
from emerge_ehr.training.trained import load
from tests.comparison.conftest import GRID, benchmark, command

Done = tuple[Path, subprocess.CompletedProcess[str]]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_runs_share_artefacts_whichever_servers_answered(work_folder: Path) -> None:
    def place(llm: str) -> Path:
        (work_folder / "x.toml").write_text(Path("base.toml").read_text() + f"[llm]\n{llm}\n")
        return preparation.placed(load_config(work_folder / "x.toml")).processed_dir

    asking = 'summary_backend = "openai_compatible"\n'
    one, two = (
        'api_base_url = "http://127.0.0.1:1/v1"\n',
        'api_base_url = ["http://127.0.0.1:2/v1", "http://127.0.0.1:3/v1"]\n',
    )
    assert place(asking + one) == place(asking + two + "concurrency = 64\ntimeout_seconds = 9.0")
    assert (
        len(
            {
                place(asking + one + more)
                for more in ("", 'model = "x"', "temperature = 0.5", "fallback_to_rules = true")
            }
        )
        == 4
    )
    assert place(one) == place('model = "x"') != place(asking + one)


def test_every_run_is_a_run_folder_and_the_results_hold_what_they_report(done: Done) -> None:
    runs = done[0] / "runs/small"
    results = pl.read_csv(runs / "results.csv")
    assert results["run"].n_unique() == 2 * 3  # the regression reads no notes
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


def test_started_again_nothing_is_trained_and_no_byte_changes(
    done: Done, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = files(done[0])
    monkeypatch.chdir(done[0])
    with caplog.at_level("INFO"):
        stage.run(Path("small.toml"), dry_run=False, offline=False)
    assert "6 runs, of which 6 have ended before" in caplog.text and "preparing" not in caplog.text
    assert files(done[0]) == before


def start(folder: Path) -> subprocess.Popen[bytes]:
    """The grid by one worker, in a process group of its own; returns when its first run has ended."""
    grid = folder / "small.toml"
    grid.write_text(grid.read_text().replace("workers = 2", "workers = 1"))
    with (folder / "stderr").open("wb") as said:
        process = subprocess.Popen(
            command("small.toml"), cwd=folder, start_new_session=True, stdout=subprocess.DEVNULL, stderr=said
        )
    while not list(folder.glob("runs/small/*/*/manifest.json")):
        time.sleep(0.02)
        assert process.poll() is None
    return process


def workers_end(group: int) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow
def test_killed_and_started_again_it_continues_and_one_worker_gives_the_bytes_of_two(
    done: Done, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with start(prepared) as process:
        process.kill()
    assert workers_end(process.pid)
    assert not (prepared / "runs/small/results.csv").exists()
    first = min(prepared.glob("runs/small/*/*/manifest.json"), key=lambda path: path.stat().st_mtime_ns)
    stamp = first.stat().st_mtime_ns
    monkeypatch.chdir(prepared)
    stage.run(Path("small.toml"), dry_run=False, offline=False)
    assert first.stat().st_mtime_ns == stamp
    assert files(prepared / "runs") == files(done[0] / "runs")


@pytest.mark.slow
def test_interrupted_it_ends_its_workers_and_exits_with_130(prepared: Path) -> None:
    with start(prepared) as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
    assert workers_end(process.pid)
    assert (prepared / "stderr").read_text().endswith("interrupted\n")
    assert not (prepared / "runs/small/results.csv").exists()


@pytest.mark.slow
def test_a_failing_run_is_recorded_the_others_go_on_and_mended_it_alone_is_trained(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(prepared)
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
    stage.run(Path("faulty.toml"), dry_run=False, offline=False)
    assert good.stat().st_mtime_ns == stamp
    assert pl.read_csv(prepared / "runs/faulty/results.csv")["failed"].null_count() > results.height - 1


def test_a_dry_run_lists_runs_by_what_they_share_and_writes_nothing(
    work_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (work_folder / "small.toml").write_text(GRID)
    stage.run(Path("small.toml"), dry_run=True, offline=False)
    printed = capsys.readouterr().out
    assert printed.startswith("small: 6 runs; tables: 1, preprocessed: 2\n")
    assert printed.count("(to do: convert, preprocess)") == 2 and printed.count("seed_") == 6
    assert sorted(path.name for path in work_folder.iterdir()) == ["base.toml", "small.toml"]


def test_two_processes_do_not_run_one_grid(work_folder: Path) -> None:
    (work_folder / "small.toml").write_text(GRID)
    held = Path("runs/small/.benchmark")
    held.mkdir(parents=True)
    with publishing.locked(held), pytest.raises(UserError, match="another run is writing there"):
        stage.run(Path("small.toml"), dry_run=False, offline=False)


def two_methods(folder: Path) -> Path:
    """A grid of two runs of a moment, and a plot."""
    grid = folder / "two.toml"
    grid.write_text(
        'base = "base.toml"\nseeds = [1]\nworkers = 1\nmetrics = ["auroc", "brier", "calibration_slope"]\n[axes.method]\n'
        '"one" = { baseline = "logistic_regression" }\n"two" = { training.max_epochs = 1 }\n'
    )
    return grid


@pytest.mark.slow
def test_a_finished_run_that_lost_a_file_is_trained_again(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(prepared)
    two_methods(prepared)
    stage.run(Path("two.toml"), dry_run=False, offline=False)
    before = files(prepared / "runs/two")
    for name in ("one/seed_1/predictions.csv", "two/seed_1/metrics.json"):
        (prepared / "runs/two" / name).unlink()
    stage.run(Path("two.toml"), dry_run=False, offline=False)
    assert files(prepared / "runs/two") == before


@pytest.mark.slow
def test_what_a_smaller_grid_has_no_more_goes_and_runs_that_are_no_part_of_it_are_told(
    prepared: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(prepared)
    grid = two_methods(prepared)
    stage.run(Path("two.toml"), dry_run=False, offline=False)
    own = prepared / "runs/two"
    (own / "of_mine.svg").write_text("")
    assert (own / "ablation.svg").is_file() and "no longer part of the grid" not in caplog.text
    grid.write_text(
        "".join(line for line in grid.read_text().splitlines(keepends=True) if not line.startswith('"two"'))
    )
    stage.run(Path("two.toml"), dry_run=False, offline=False)
    assert not (own / "ablation.svg").exists() and not (own / "ablation.png").exists()
    assert (own / "of_mine.svg").exists() and (own / "two/seed_1/manifest.json").is_file()
    assert "no longer part of the grid (delete them if unwanted): two/seed_1" in caplog.text


def test_a_folder_belongs_to_one_grid_file(work_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (work_folder / "other").mkdir()
    for path in (work_folder / "small.toml", work_folder / "other/small.toml"):
        path.write_text(GRID)
    own = Path("runs/small")
    own.mkdir(parents=True)
    folder.claim(own, Path("small.toml"))
    stage.run(work_folder / "small.toml", dry_run=True, offline=False)  # the same file, by another path
    for dry_run in (True, False):
        with pytest.raises(
            UserError, match=r"other/small.toml: runs/small holds the results of the grid small.toml; give"
        ):
            stage.run(Path("other/small.toml"), dry_run=dry_run, offline=False)
    Path("other/small.toml").write_text('name = "another"\n' + GRID)
    stage.run(Path("other/small.toml"), dry_run=True, offline=False)
    assert "another: 6 runs" in capsys.readouterr().out
    (own / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match="runs/small is the folder of a run"):
        stage.run(Path("small.toml"), dry_run=True, offline=False)


def test_a_programmers_mistake_in_a_preparation_leaves_results_and_no_lock(
    work_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (work_folder / "small.toml").write_text(GRID)
    results = Path("runs/small/results.csv")
    results.parent.mkdir(parents=True)
    results.write_text("earlier")

    def mistake(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(preparation, "_make", mistake)
    for _ in range(2):  # the second is not kept out by the first
        with pytest.raises(ZeroDivisionError):
            stage.run(Path("small.toml"), dry_run=False, offline=False)
    assert sorted(path.name for path in results.parent.iterdir()) == ["grid.json", "results.csv"]
    assert results.read_text() == "earlier"


@pytest.mark.parametrize(
    ("stage_name", "given", "refused"),
    [
        ("benchmark", ["--config", "x", "--seed", "1"], "--seed"),
        ("benchmark", ["--config", "x", "--seeds", "1", "2"], "--seeds"),
        ("benchmark", ["--config", "x", "--resume"], "--resume"),
        ("predict", ["--run", "x", "--tables", "x", "--output", "x", "--seed", "1"], "--seed"),
        ("serve", ["--run", "x", "--resume"], "--resume"),
        ("compare", ["--runs", "x", "y", "--offline"], "--offline"),
        ("train", ["--config", "x", "--output", "y"], "--output"),
    ],
)
def test_an_option_that_the_stage_would_ignore_is_refused(
    stage_name: str, given: list[str], refused: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        command_line.arguments(["--stage", stage_name, *given])
    assert f"error: {refused} does not go with --stage {stage_name}, which takes --" in capsys.readouterr().err
