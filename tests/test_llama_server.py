"""The whole pipeline with a real language model, served on this machine by llama-cpp-python (make llama;
docs/llm_servers.md), and with a tiny one that transformers serves."""

import gzip
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from tests.llama_server import LlamaServer, assembled, free_port
from tests.places import MAIN
from tests.transformers_server import TransformersServer, tiny_chat_model

CONFIG = """
dataset = "synthetic"
run_name = "llm"
[paths]
raw_dir = "data/raw/synthetic"
kg_dir = "data/kg/synthetic"
[source]
name = "synthetic"
stays = 12
[cohort]
min_stay_hours = 24.0
[download]
primekg = "none"
[model]
hidden_size = 16
experts = []
[training]
members = 1
max_epochs = 1
bootstrap_resamples = 5
[entities]
window_characters = 1500
overlap_characters = 100
[llm]
entity_backend = "openai_compatible"
timeout_seconds = 300.0
retries = 1
fallback_to_rules = true
"""


def run(folder: Path, *arguments: str, expected: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, str(MAIN), "--config", "llm.toml", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
        env={**os.environ, "DEEPSEEK_API_KEY": ""},
    )
    assert done.returncode == expected, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return assembled(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def server(model_file: Path) -> Iterator[LlamaServer]:
    started = LlamaServer(model_file, free_port(), context=4096)
    started.wait()
    yield started
    started.kill()


def hospital(folder: Path, shortened: bool) -> Path:
    """Twelve converted stays. ``shortened``: each with the begin of one note, so that a model on few cores reads them soon."""
    folder.mkdir(exist_ok=True)
    (folder / "llm.toml").write_text(CONFIG)
    run(folder, "--stage", "download")
    if shortened:
        path = folder / "data/raw/synthetic/note/notes.csv.gz"
        notes = pl.read_csv(path, infer_schema=False).filter(pl.col("note_type") == "Admission note")
        path.write_bytes(gzip.compress(notes.with_columns(pl.col("text").str.head(120)).write_csv().encode()))
    run(folder, "--stage", "convert")
    return folder


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hospital(tmp_path_factory.mktemp("llama"), shortened=True)


def fresh(
    converted: Path, folder: Path, server: LlamaServer | TransformersServer, *settings: str, tokens: int = 16
) -> Path:
    """A copy of the converted hospital that asks the server for at most so many tokens; ``settings``: more lines of ``[llm]``."""
    shutil.copytree(converted, folder)
    lines = [f'api_base_url = "{server.url}"', f"max_output_tokens = {tokens}", *settings]
    (folder / "llm.toml").write_text(CONFIG + "\n".join(lines) + "\n")
    return folder


@pytest.mark.full
@pytest.mark.parametrize("mode", ["auto", "object", "none"])
def test_a_real_server_is_asked_in_every_mode_that_it_knows_and_the_run_ends_in_metrics(
    server: LlamaServer, converted: Path, tmp_path: Path, mode: str
) -> None:
    folder = fresh(converted, tmp_path / "run", server, f'json_mode = "{mode}"')
    said = run(folder, "--stage", "preprocess")
    run(folder, "--stage", "train")
    assert json.loads((folder / "runs/llm/metrics.json").read_text())
    stored = sqlite3.connect(folder / "data/cache/llm.sqlite")
    findings = stored.execute("SELECT server, json_extract(manner, '$.form') FROM findings").fetchall()
    stored.close()
    assert len(rows(folder)) >= 10
    assert findings == ([("llama-cpp-python 0.3.36", "object")] if mode == "auto" else [])
    refused = "Input should be 'text' or 'json_object'; from now on: answers as a JSON object, without a schema"
    assert said.count(refused) == (mode == "auto")


@pytest.mark.full
def test_a_form_that_the_server_does_not_know_ends_the_run_with_its_words(
    server: LlamaServer, converted: Path, tmp_path: Path
) -> None:
    folder = fresh(converted, tmp_path / "run", server, 'json_mode = "schema"')
    said = run(folder, "--stage", "preprocess", expected=2)
    assert (
        "HTTP 500 (internal_server_error): response_format.type: Input should be 'text' or 'json_object'"
        in said.splitlines()[-1]
    )


@pytest.mark.full
def test_killed_in_mid_run_and_started_again_the_run_goes_on(model_file: Path, converted: Path, tmp_path: Path) -> None:
    server = LlamaServer(model_file, free_port(), context=4096)
    server.wait()
    folder = fresh(converted, tmp_path / "run", server)
    config = (folder / "llm.toml").read_text()
    (folder / "llm.toml").write_text(config.replace("fallback_to_rules = true", "fallback_to_rules = false"))
    process = subprocess.Popen(
        [sys.executable, str(MAIN), "--config", "llm.toml", "--stage", "preprocess"],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "DEEPSEEK_API_KEY": ""},
    )
    deadline = time.monotonic() + 1200
    while len(rows(folder)) < 3 and time.monotonic() < deadline:
        time.sleep(0.2)
    server.kill()
    _, said = process.communicate(timeout=600)
    assert process.returncode == 2 and "no connection" in said.splitlines()[-1], said
    before = rows(folder)
    again = LlamaServer(model_file, free_port(), context=4096)
    again.wait()
    (folder / "llm.toml").write_text(config.replace(server.url, again.url))
    run(folder, "--stage", "preprocess")
    again.kill()
    assert before < rows(folder) and len(before) >= 3
    run(folder, "--stage", "train")
    assert json.loads((folder / "runs/llm/metrics.json").read_text())
    records = next(folder.rglob("rag_records.csv"))
    assert pl.read_csv(records, infer_schema=False).height >= 10


@pytest.mark.full
def test_notes_that_do_not_fit_its_context_are_read_in_shorter_windows(model_file: Path, tmp_path: Path) -> None:
    server = LlamaServer(model_file, free_port(), context=512)  # a multiple of 256: others fail within the server
    server.wait()
    converted = hospital(tmp_path / "long", shortened=False)
    folder = fresh(converted, tmp_path / "run", server, "price_output = 1e6", "max_cost = 1.0", tokens=64)
    said = run(folder, "--stage", "preprocess", expected=2)  # one answer to a half is enough to see
    server.kill()
    assert "do not fit the model's context and are read in halves" in said
    assert "llm.max_cost = 1 is reached" in said.splitlines()[-1]


@pytest.mark.full
def test_a_model_of_random_weights_that_transformers_serves_answers_nothing_of_use_and_the_run_ends_in_metrics(
    converted: Path, tmp_path: Path
) -> None:
    model = tiny_chat_model(tmp_path / "tiny")
    server = TransformersServer(model, free_port())
    server.wait()
    folder = fresh(converted, tmp_path / "run", server, f'model = "{model}"')
    said = run(folder, "--stage", "preprocess")
    run(folder, "--stage", "train")
    server.kill()
    assert json.loads((folder / "runs/llm/metrics.json").read_text())
    assert "12 of 12 questions (100 %) have no usable answer" in said and len(rows(folder)) >= 12


def rows(folder: Path) -> set[tuple[str, str]]:
    """The stored answers."""
    path = folder / "data/cache/llm.sqlite"
    if not path.exists():
        return set()
    stored = sqlite3.connect(path)
    answers = set(stored.execute("SELECT key, content FROM answers").fetchall())
    stored.close()
    return answers
