"""Both language-model backends by the command line, against a server on 127.0.0.1 that does everything a server may do."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from emerge_ehr.datasets.sources.synthetic.knowledge_graph import load_graph
from tests import in_process
from tests.chat_server import Body, ChatServer, Fault, chaos, copying_model
from tests.places import MAIN

Serve = Callable[..., ChatServer]
CONFIG = """
dataset = "synthetic"
run_name = "llm"
[paths]
raw_dir = "data/raw/synthetic"
kg_dir = "data/kg/synthetic"
[source]
name = "synthetic"
stays = 100
[cohort]
min_stay_hours = 24.0
[download]
primekg = "none"
[llm]
entity_backend = "openai_compatible"
summary_backend = "openai_compatible"
retries = 4
price_input = 1.0
price_output = 2.0
"""
KEY = {"DEEPSEEK_API_KEY": "sk-secret-key"}
ARTEFACTS = ("emerge_dataset.npz", "metadata.json", "split.json", "rag_records.csv")


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(MAIN), "--config", "llm.toml", *arguments]


def run(folder: Path, *arguments: str, expected: int = 0) -> subprocess.CompletedProcess[str]:
    done = in_process.run(folder, "--config", "llm.toml", *arguments, **KEY)
    assert done.returncode == expected, done.stderr
    return done


def environment() -> dict[str, str]:
    return {**os.environ, **KEY}


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llm")
    (folder / "llm.toml").write_text(CONFIG)
    for stage in ("download", "convert"):
        run(folder, "--stage", stage)
    return folder


@pytest.fixture(scope="module")
def model() -> Callable[[Body], str]:
    return copying_model(*(disease.name for disease in load_graph().diseases), "sepsis", "CHF", "AKI", "COPD")


def fresh(converted: Path, folder: Path, *servers: ChatServer) -> Path:
    """A copy of the converted hospital whose config asks the servers."""
    shutil.copytree(converted, folder)
    urls = [server.url for server in servers]
    (folder / "llm.toml").write_text(f"{CONFIG}api_base_url = {json.dumps(urls if len(urls) > 1 else urls[0])}\n")
    return folder


def processed(folder: Path) -> dict[str, bytes]:
    place = folder / "data/processed/synthetic/mortality"
    return {name: (place / name).read_bytes() for name in ARTEFACTS}


@dataclass(frozen=True)
class Calm:
    """A run that nothing disturbed: where it is, what it wrote, how many requests of each prompt it took."""

    folder: Path
    files: dict[str, bytes]
    requests: dict[str, int]
    sent: str


@pytest.fixture(scope="module")
def calm(converted: Path, model: Callable[[Body], str], tmp_path_factory: pytest.TempPathFactory) -> Calm:
    server = ChatServer(model)
    folder = fresh(converted, tmp_path_factory.mktemp("calm") / "run", server)
    run(folder, "--stage", "preprocess")
    server.close()
    files = processed(folder)
    run(folder, "--stage", "preprocess")  # the server is gone: all answers are stored
    assert processed(folder) == files
    entities = sum("[begin excerpt" in body["messages"][1]["content"] for body in server.requests)
    return Calm(
        folder,
        files,
        {"entities.v1": entities, "summary.v1": len(server.requests) - entities},
        json.dumps(server.requests),
    )


@pytest.fixture(scope="module")
def undisturbed(calm: Calm) -> dict[str, bytes]:
    return calm.files


@pytest.mark.slow
def test_both_backends_write_records_with_their_name_and_an_account(undisturbed: dict[str, bytes]) -> None:
    records = pl.read_csv(undisturbed["rag_records.csv"], infer_schema=False)
    assert set(records["entity_backend"]) == set(records["summary_backend"]) == {"openai_compatible"}
    assert set(records["failures"]) == {"[]"} and records["nodes"].str.len_chars().max() > 50
    metadata = json.loads(undisturbed["metadata.json"])
    usage = metadata["llm"]["usage"]
    assert metadata["llm"]["endpoint"] == "127.0.0.1" and metadata["llm"]["credentialed"] is False
    assert usage["summary.v1"]["answers"] > 50 and usage["entities.v1"]["cost"] > 0
    assert metadata["rag"]["share_of_statements_supported"] > 0.97


@pytest.mark.slow
def test_nothing_that_names_a_patient_is_sent(calm: Calm) -> None:
    cohort = pl.read_csv(calm.folder / "data/tables/synthetic/mortality/cohort.csv", infer_schema=False)
    names = {str(name) for key in ("patient_id", "subject_id", "hadm_id", "stay_id") for name in cohort[key]}
    assert len(names) > 100 and not [name for name in names if name in calm.sent]


@pytest.mark.slow
def test_killed_and_restarted_nothing_is_paid_twice_and_the_artefacts_are_the_same(
    converted: Path, model: Callable[[Body], str], serve: Serve, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    server = serve(model, lambda n, body: Fault(seconds=20, drop=True) if n >= 40 else None)
    folder = fresh(converted, tmp_path / "run", server)
    process = subprocess.Popen(
        command("--stage", "preprocess"), cwd=folder, stderr=subprocess.DEVNULL, env=environment()
    )
    wait_for_answers(folder / "data/cache/llm.sqlite", 40)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (folder / "data/processed").exists()
    server.fault = lambda n, body: None
    run(folder, "--stage", "preprocess")
    assert set(server.paid.values()) == {1}
    assert processed(folder) == undisturbed


def wait_for_answers(path: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if path.exists():
            cache = sqlite3.connect(path)
            try:
                if cache.execute("SELECT COUNT(*) FROM answers").fetchone()[0] >= count:
                    return
            except sqlite3.OperationalError:
                pass  # not made yet
            finally:
                cache.close()
        time.sleep(0.05)
    raise AssertionError("the answers did not come")


@pytest.mark.slow
def test_over_three_endpoints_one_of_which_dies_amid_the_run_the_artefacts_are_those_of_one(
    converted: Path, model: Callable[[Body], str], serve: Serve, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    servers = [serve(model), serve(model, lambda n, body: Fault(die=True) if n >= 10 else None), serve(model)]
    folder = fresh(converted, tmp_path / "run", *servers)
    done = run(folder, "--stage", "preprocess", "--verbose")
    assert processed(folder) == undisturbed
    assert all(server.paid.total() > 5 for server in servers)
    assert sum((server.paid for server in servers), Counter()).most_common(1)[0][1] == 1
    assert done.stderr.count("set aside") == 1 and "answers of this run by endpoint: 127.0.0.1:" in done.stderr
    other = fresh(converted, tmp_path / "other", *(serve(model) for _ in servers))
    run(other, "--stage", "preprocess")
    assert processed(other) == undisturbed
    turned = (
        CONFIG
        + 'api_base_url = "http://127.0.0.1:9/v1"\n[training]\nmembers = 1\nmax_epochs = 1\nbootstrap_resamples = 5\n'
    )
    (other / "llm.toml").write_text(turned)
    run(other, "--stage", "train")  # other endpoints make nothing stale


@pytest.mark.slow
def test_when_every_endpoint_is_dead_the_run_ends_in_one_line_and_the_next_goes_on(
    converted: Path, model: Callable[[Body], str], serve: Serve, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    servers = [serve(model, lambda n, body: Fault(die=True) if n >= 15 else None) for _ in range(2)]
    folder = fresh(converted, tmp_path / "run", *servers)
    config = (folder / "llm.toml").read_text()
    (folder / "llm.toml").write_text(config.replace("retries = 4", "retries = 0"))
    done = run(folder, "--stage", "preprocess", expected=2)
    assert done.stderr.count("error:") == 1 and done.stderr.splitlines()[-1].count("127.0.0.1:") == 2
    assert not (folder / "data/processed").exists()
    kept, alive = sum((server.paid for server in servers), Counter()), serve(model)
    assert kept
    (folder / "llm.toml").write_text(config.split("api_base_url")[0] + f'api_base_url = "{alive.url}"\n')
    run(folder, "--stage", "preprocess")
    assert processed(folder) == undisturbed and not kept.keys() & alive.paid.keys()


@pytest.mark.slow
def test_chaos_ends_in_the_same_artefacts(
    converted: Path, model: Callable[[Body], str], serve: Serve, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    server = serve(model, chaos(0.5))
    folder = fresh(converted, tmp_path / "run", server)
    done = run(folder, "--stage", "preprocess", "--verbose")
    assert processed(folder) == undisturbed
    assert max(server.paid.values()) == 1
    everything = f"{done.stdout}{done.stderr}".encode()
    everything += b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert b"sk-secret-key" not in everything and b"SECRET" not in everything


@pytest.mark.slow
def test_a_patient_without_an_answer_is_a_recorded_failure_and_mends_at_the_next_run(
    converted: Path, model: Callable[[Body], str], serve: Serve, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    def some(n: int, body: Body) -> Fault | None:
        return Fault(content="no") if len(body["messages"][1]["content"].split("\n\nAnswer ")[0]) % 10 == 0 else None

    server = serve(model, some)
    folder = fresh(converted, tmp_path / "run", server)
    done = run(folder, "--stage", "preprocess")
    records = pl.read_csv(processed(folder)["rag_records.csv"], infer_schema=False)
    failed = records.filter(pl.col("failures") != "[]")
    assert 0 < failed.height < records.height and "the next run asks again what failed" in done.stderr
    assert failed["failures"].str.contains("it holds no JSON object").all()
    server.fault = lambda n, body: None
    run(folder, "--stage", "preprocess")
    assert processed(folder) == undisturbed and max(server.paid.values()) == 1


@pytest.mark.slow
def test_drafts_within_thoughts_change_no_record_and_the_metadata_tell_how_answers_were_read(
    converted: Path, model: Callable[[Body], str], serve: Serve, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    def thinking(body: Body) -> str:
        answer = model(body)
        draft = answer.replace('"present"', '"negated"')[:-1] + ', "sure": false}'
        return f"<think>Let me see.</think><think>Draft {draft} but is it denied?</think>{answer}"

    folder = fresh(converted, tmp_path / "run", serve(thinking))
    run(folder, "--stage", "preprocess")
    assert processed(folder)["rag_records.csv"] == undisturbed["rag_records.csv"]
    for usage in json.loads(processed(folder)["metadata.json"])["llm"]["usage"].values():
        assert usage["read"] == {"thoughts cut": usage["answers"]} and usage["failures"] == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "finish_reason", "advice"),
    [
        ("The patient is unwell.", "stop", "llm.json_mode"),
        ("<think>Let me see. {}", "stop", "llm.extra_body"),
        ('{"entities": [', "length", "llm.max_output_tokens"),
        ("I'm sorry, but I can't help with that.", "stop", "llm.model"),
    ],
)
def test_a_model_that_answers_nonsense_ends_the_run_in_one_line_that_says_what_to_change(
    converted: Path, serve: Serve, tmp_path: Path, answer: str, finish_reason: str, advice: str
) -> None:
    server = serve(lambda body: answer, lambda n, body: Fault(finish_reason=finish_reason))
    folder = fresh(converted, tmp_path / "run", server)
    done = run(folder, "--stage", "preprocess", expected=2)
    assert done.stderr.count("error:") == 1 and advice in done.stderr.splitlines()[-1]
    assert len(server.requests) < 40 and not (folder / "data/processed").exists()


@pytest.mark.slow
def test_a_larger_share_of_failures_than_configured_ends_the_run(
    converted: Path, model: Callable[[Body], str], serve: Serve, tmp_path: Path
) -> None:
    def some(n: int, body: Body) -> Fault | None:
        return Fault(content="no") if len(body["messages"][1]["content"].split("\n\nAnswer ")[0]) % 10 == 0 else None

    folder = fresh(converted, tmp_path / "run", serve(model, some))
    with (folder / "llm.toml").open("a") as file:
        file.write("max_failures = 0.01\n")
    done = run(folder, "--stage", "preprocess", expected=2)
    assert (
        "have no usable answer: no JSON object" in done.stderr.splitlines()[-1]
        and "llm.max_failures = 0.01" in done.stderr
    )
    assert not (folder / "data/processed").exists()


@pytest.mark.slow
def test_the_fallback_is_marked_and_only_used_if_configured(
    converted: Path, model: Callable[[Body], str], serve: Serve, tmp_path: Path
) -> None:
    server = serve(model)
    server.close()
    folder = fresh(converted, tmp_path / "run", server)
    impatient = (folder / "llm.toml").read_text().replace("retries = 4", "retries = 0")
    (folder / "llm.toml").write_text(impatient)
    done = run(folder, "--stage", "preprocess", expected=2)
    assert done.stderr.count("error:") == 1 and "no connection" in done.stderr.splitlines()[-1]
    assert not (folder / "data/processed").exists()
    (folder / "llm.toml").write_text(f"{impatient}fallback_to_rules = true\n")
    run(folder, "--stage", "preprocess")
    records = pl.read_csv(processed(folder)["rag_records.csv"], infer_schema=False)
    assert set(records.filter(pl.col("entities") != "[]")["entity_backend"]) == {"rules"}
    assert set(records["summary_backend"]) == {"template"}
    assert records["failures"].str.contains("no connection").all()


@pytest.mark.slow
def test_a_dry_run_sends_nothing_writes_nothing_and_estimates_well(
    converted: Path, model: Callable[[Body], str], serve: Serve, calm: Calm, tmp_path: Path
) -> None:
    server = serve(model)
    folder = fresh(converted, tmp_path / "run", server)
    before = set(folder.rglob("*"))
    done = run(folder, "--stage", "preprocess", "--dry-run")
    made = {path.relative_to(folder).as_posix() for path in set(folder.rglob("*")) - before}
    assert not server.requests and all(path.startswith("data/cache") for path in made)  # the graph's index, if any
    assert "data/cache/llm.sqlite" not in made
    *lines, total = done.stdout.splitlines()
    for line, (prompt, requests) in zip(lines, calm.requests.items(), strict=True):
        assert line.startswith(f"{prompt}: 0 answers are stored, {requests} requests would be sent")
    assert total.startswith("in all about ")
    done = run(calm.folder, "--stage", "preprocess", "--dry-run")
    assert done.stdout.count("0 requests would be sent") == 2 and processed(calm.folder) == calm.files


@pytest.mark.slow
def test_interrupted_it_ends_in_one_line(
    converted: Path, model: Callable[[Body], str], serve: Serve, tmp_path: Path
) -> None:
    server = serve(model, lambda n, body: Fault(seconds=20, drop=True) if n >= 5 else None)
    folder = fresh(converted, tmp_path / "run", server)
    process = subprocess.Popen(
        command("--stage", "preprocess"), cwd=folder, stderr=subprocess.PIPE, text=True, env=environment()
    )
    wait_for_answers(folder / "data/cache/llm.sqlite", 5)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=15)
    assert process.returncode == 130 and said.splitlines()[-1] == "interrupted" and "Traceback" not in said
