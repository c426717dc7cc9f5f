"""Every script in benchmarks/ still runs to its end, on as little data as it takes. What it measures is not looked at."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from emerge_ehr.datasets.sources.synthetic.knowledge_graph import load_graph, write_graph
from emerge_ehr.storage.schema import EVALUATED
from tests import small_hospital
from tests.places import MAIN, ROOT, SHARED

BENCHMARKS = ROOT / "benchmarks"
# Scripts that need nothing but a folder to write to, here FOLDER, with the words that they print last
ALONE = {
    "accelerator": ("--device cpu", "embedding on cpu"),
    "hours": ("--seeds 1 --stays 300 --members 2 --folder FOLDER", "the most telling block"),
    "attributions": ("--seeds 1 --stays 300 --members 2 --folder FOLDER", "attention, networks alone"),
    "bootstrap": ("--patients 400 --resamples 20 --loop 5 --rounds 1", "scikit-learn"),
    "convert": ("--stays 40 --repeats 1 --folder FOLDER", "emerge convert"),
    "evidence": ("--seeds 1 --stays 300 --members 2 --folder FOLDER", "of 5 are planted"),
    "coverage": (
        "--seeds 1 --stays 500 --members 2 --splits 2 --coverage 0.6 --least 20 --folder FOLDER",
        "hospital 1",
    ),
    "faithfulness": ("", "set aside"),
    "harder": ("--stays 300 --read 20", "site b, long notes"),
    "horizons": ("--seeds 1 --stays 300 --members 2 --methods network --folder FOLDER", "mean"),
    "lacking": ("--seeds 1 --stays 300 --members 2 --folder FOLDER", "slope of the former"),
    "landmarks": ("--seeds 1 --stays 300 --hours 6 48 --members 2 --folder FOLDER", "mean"),
    "llm": ("--requests 40 --patients 20", "ms per patient"),
    "llm_endpoints": ("--seconds 0.2 --latencies 0.05 --concurrency 2 --endpoints 1", "1"),
    "mimic4_files": ("--stays 20 --output FOLDER", ""),
    "rivals": ("--seeds 1 --stays 300 --members 2 --folder FOLDER", "out of fold"),
    "tensors": ("--stays 60 --folder FOLDER", "parquet"),
    "train": ("--stays 200 --epochs 1", "plain PyTorch loop"),
    "training_memory": ("--gigabytes 0.01", "floor"),
}
WITH_OPEN_DATA = {
    "entities": ("--data DATA --megabytes 0.02", "MB/s"),
    "halves": (
        "--data DATA --halves mimic3 --repeats 1 --folds 2 --members 2 --folder FOLDER",
        "network minus gradient boosting",
    ),
    "linking": ("accuracy --kg DATA/primekg-open --ncbi DATA/ncbi-disease/NCBIdevelopset_corpus.txt", "chosen on"),
    "linking_titles": ("accuracy --data DATA", "held out"),
    "scale": ("--kg DATA/primekg-open --stays 60 --characters 400 --largest 1", "one site"),
}
PEER = """
import json, sys
print(json.dumps({"name": "a peer that denies all"}))
for line in sys.stdin:
    mention = json.loads(line)
    assert mention["text"][mention["start"]:mention["end"]]
    print(json.dumps({"status": "negated"}))
"""
NEGEX = """line number\tCondition\tsentence\tnegation_status\ttemporality\texperiencer
1\tgout\tShe denies GOUT.\tNegated\tRecent\tPatient
2\tasthma\tASTHMA.\tAffirmed\tHistorical\tPatient
3\tno such words\tThe lungs are clear.\tAffirmed\tRecent\tPatient
"""
WITH_A_RUN = {
    "donors": ("--run runs/small --patients 4 --lenders 20 --draws 1", "chosen"),
    "note_encoders": ("--tables data/tables/synthetic/mortality", "difference from tfidf_svd"),
    "predict": ("--run runs/small", "times as long"),
    "serve": ("--run runs/small --clients 2 --seconds 0.5 --patients 4", "with explanations"),
}
WITH_A_GRAPH = {"knowledge_graph": ("--folder FOLDER --repeats 1 --patients 50", "retriev")}
WITH_A_GRID = {
    "ablation": ("runs/tiny", "note"),
    "true_risk": ("runs/tiny", "EMERGE"),
}
WITH_AN_EVALUATION = {"transfer": ("FOLDER --persons 50 --draws 5 --slope 0.6", "within 0.9 to 1.1")}
TOO_LARGE = {"primekg_files"}  # writes 1 GB
GRID = """
base = "small.toml"
seeds = [1]
[axes.method]
"EMERGE" = {}
"ehr + note" = { model.modalities = ["ehr", "note"] }
"ehr" = { model.modalities = ["ehr"] }
"note" = { model.modalities = ["note"] }
"""


def run(name: str, options: str, cwd: Path = ROOT, **places: Path) -> str:
    """What the script prints; it must end well and warn of nothing."""
    for word, place in places.items():
        options = options.replace(word, str(place))
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", f"benchmarks.{name}", *options.split()]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def test_each_script_is_tried_here() -> None:
    tried = {*ALONE, *WITH_OPEN_DATA, *WITH_A_RUN, *WITH_A_GRAPH, *WITH_A_GRID, *WITH_AN_EVALUATION, *TOO_LARGE}
    assert tried == {path.stem for path in BENCHMARKS.glob("*.py")}


@pytest.mark.full
@pytest.mark.parametrize("name", ALONE)
def test_alone(name: str, tmp_path: Path) -> None:
    options, words = ALONE[name]
    assert words.lower() in run(name, options, FOLDER=tmp_path).lower()


@pytest.mark.full
@pytest.mark.parametrize("name", WITH_OPEN_DATA)
def test_on_the_open_data(name: str, tmp_path: Path) -> None:
    if not (SHARED / "primekg-open").is_dir():
        pytest.skip(f"the open data are not at {SHARED}")
    options, words = WITH_OPEN_DATA[name]
    assert words.lower() in run(name, options, DATA=SHARED, FOLDER=tmp_path).lower()


@pytest.mark.full
def test_the_status_of_mentions_is_compared_with_a_peer_in_an_environment_of_its_own(tmp_path: Path) -> None:
    if not (SHARED / "primekg-open").is_dir():
        pytest.skip(f"the open data are not at {SHARED}")
    (tmp_path / "peer.py").write_text(PEER)
    (tmp_path / "negex.txt").write_text(NEGEX)
    options = "--data DATA --skip-speed --peer PYTHON FOLDER/peer.py --negex FOLDER/negex.txt"
    printed = run("entities", options, DATA=SHARED, PYTHON=Path(sys.executable), FOLDER=tmp_path)
    rows = [line.strip("| ").split(" | ") for line in printed.splitlines() if line.startswith("|")]
    negation = {(row[0], row[1]): row[-1] for row in rows}
    assert negation["NegEx test set", "a peer that denies all"] == "0.500, 1.000, 0.667"
    assert negation["NegEx test set", "rules, told the mention"] == "1.000, 1.000, 1.000"
    assert "1 of the NegEx test set are left out" in printed


@pytest.mark.full
@pytest.mark.parametrize("name", WITH_A_RUN)
def test_on_a_finished_run(name: str, small_pipeline: Path) -> None:
    options, words = WITH_A_RUN[name]
    assert words.lower() in run(name, options, small_pipeline).lower()


@pytest.mark.full
@pytest.mark.parametrize("name", WITH_AN_EVALUATION)
def test_on_an_evaluation(name: str, tmp_path: Path) -> None:
    rows = [f"{n},p{n // 2},evaluated,mortality,{int(n % 3 == 0)},{0.05 + n % 17 / 20}," for n in range(400)]
    (tmp_path / "predictions.csv").write_text("\n".join([",".join(EVALUATED.names), *rows]))
    options, words = WITH_AN_EVALUATION[name]
    assert words.lower() in run(name, options, FOLDER=tmp_path).lower()


@pytest.mark.full
@pytest.mark.parametrize("name", WITH_A_GRAPH)
def test_on_a_small_graph(name: str, tmp_path: Path) -> None:
    write_graph(load_graph(), tmp_path)
    options, words = WITH_A_GRAPH[name]
    assert words.lower() in run(name, options, FOLDER=tmp_path).lower()


@pytest.mark.full
def test_on_the_results_of_a_grid(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(small_hospital.CONFIG)
    (tmp_path / "tiny.toml").write_text(GRID)
    command = [sys.executable, str(MAIN), "--stage", "benchmark", "--config", "tiny.toml"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=600, check=True)
    for name, (options, words) in WITH_A_GRID.items():
        assert words.lower() in run(name, options, tmp_path).lower()
