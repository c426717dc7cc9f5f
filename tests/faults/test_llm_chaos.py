"""A language model's endpoint that fails in every way an endpoint can, under runs that are killed: nothing is lost, paid twice or
told to anybody."""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from emerge_ehr.datasets.sources.synthetic.knowledge_graph import load_graph
from tests import in_process
from tests.chat_server import Body, ChatServer, Fault, copying_model, question
from tests.faults.conftest import TALLY
from tests.places import MAIN

KEY = "sk-0123456789abcdef"
CONCURRENCY = 8
CONFIG = """
dataset = "synthetic"
run_name = "chaos"
[paths]
raw_dir = "data/raw/synthetic"
kg_dir = "data/kg/synthetic"
[source]
name = "synthetic"
stays = {stays}
[cohort]
min_stay_hours = 24.0
[download]
primekg = "none"
[llm]
entity_backend = "openai_compatible"
summary_backend = "openai_compatible"
api_base_url = "http://127.0.0.1/v1"
api_key_env = "TEST_KEY"
concurrency = 8
timeout_seconds = 2.0
retries = 5
"""
ERROR = json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}", "code": KEY}})
WRONG = json.dumps({"entities": [{"text": 3, "status": "perhaps"}], "statements": [{"text": [], "evidence": "S1"}]})
TWICE = '{"entities": [{"text": "sepsis", "status": "present"}], "entities": [], "statements": [], "statements": []}'
CUT = (
    '{"entities": [{"text": "sepsis", "status": "present"}, {"te", "statements": [{"text": "Ill.", "evidence": ["P1"]}'
)
PAGE = f"<html><body><h1>502</h1><pre>Authorization: Bearer {KEY}</pre></body></html>"


def completion(content: object, **usage: object) -> bytes:
    choice = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    return json.dumps({"choices": [choice], "usage": usage}).encode()


FAULTS = {
    "429": Fault(status=429),
    "429 with Retry-After": Fault(status=429, headers=(("Retry-After", "0"),)),
    "429 with a date": Fault(status=429, headers=(("Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT"),)),
    "429 with nonsense": Fault(status=429, headers=(("Retry-After", "soon"),)),
    "500": Fault(status=500),
    "502": Fault(status=502, body=PAGE, headers=(("Content-Type", "text/html"),)),
    "503": Fault(status=503),
    "503 with Retry-After": Fault(status=503, headers=(("Retry-After", "0"),)),
    "504": Fault(status=504),
    "dropped": Fault(drop=True),
    "cut off amid the body": Fault(partial=True),
    "slow": Fault(seconds=0.5),
    "no answer in time": Fault(seconds=2.5, drop=True),
    "page instead of an answer": Fault(instead=PAGE.encode(), headers=(("Content-Type", "text/html"),)),
    "another type": Fault(headers=(("Content-Type", "image/png"),)),
    "claims to be compressed": Fault(instead=b"not gzip", headers=(("Content-Encoding", "gzip"),)),
    "empty body": Fault(instead=b""),
    "not JSON": Fault(instead=b'{"choices": [{'),
    "not UTF-8": Fault(instead=b"\xff\xfe\xfa"),
    "nested without end": Fault(instead=b"[" * 200_000),
    "another object": Fault(instead=b'{"object": "list", "data": []}'),
    "error inside 200": Fault(instead=ERROR.encode()),
    "no choices": Fault(instead=b'{"choices": []}'),
    "endless": Fault(instead=completion("x" * (5 << 20))),
    "prose": Fault(content="I cannot help with that."),
    "long prose": Fault(content="I cannot help with that. " * 20_000),
    "empty content": Fault(content=""),
    "refused by a filter": Fault(content="", finish_reason="content_filter"),
    "cut off at the bound": Fault(content='{"entities": [', finish_reason="length"),
    "cut off without a word": Fault(content=CUT),
    "wrong schema": Fault(content=WRONG),
    "key twice": Fault(content=TWICE),
    "half a character": Fault(content='{"entities": "\ud83d", "statements": "\ud83d"}'),
    "deep content": Fault(content="[" * 50_000 + "]" * 50_000),
    "400": Fault(status=400, body=ERROR),
    "content filter": Fault(status=400, body='{"error": {"message": "Note: SECRET", "code": "content_filter"}}'),
}


class Chaos:
    """A ``share`` of requests is faulty, every kind in turn."""

    def __init__(self, share: float, seed: int) -> None:
        self.injected: Counter[str] = Counter()
        self._share, self._draw = share, random.Random(seed)
        self._lock = threading.Lock()

    def __call__(self, n: int, body: Body) -> Fault | None:
        with self._lock:
            if self._draw.random() >= self._share:
                return None
            kind = list(FAULTS)[self.injected.total() % len(FAULTS)]
            self.injected[kind] += 1
            return FAULTS[kind]


def command(stage: str) -> list[str]:
    return [sys.executable, str(MAIN), "--config", "chaos.toml", "--stage", stage, "--verbose"]


def environment() -> dict[str, str]:
    return {**os.environ, "TEST_KEY": KEY}


def run(folder: Path, stage: str) -> str:
    done = in_process.run(folder, *command(stage)[2:], TEST_KEY=KEY)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def fresh(converted: Path, folder: Path, server: ChatServer) -> Path:
    """A copy of the converted hospital whose config asks ``server``."""
    shutil.copytree(converted, folder)
    config = (folder / "chaos.toml").read_text()
    (folder / "chaos.toml").write_text(config.replace("http://127.0.0.1/v1", server.url))
    return folder


def processed(folder: Path) -> dict[str, bytes]:
    place = folder / "data/processed/synthetic/mortality"
    return {
        path.relative_to(place).as_posix(): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()
    }


def stored(folder: Path) -> int:
    """Answers in the cache."""
    path = folder / "data/cache/llm.sqlite"
    if not path.exists():
        return 0
    cache = sqlite3.connect(path, timeout=30)
    try:
        found: int = cache.execute("SELECT COUNT(*) FROM answers").fetchone()[0]
    finally:
        cache.close()
    return found


def killed_after(folder: Path, server: ChatServer, requests: int, output: Path) -> bool:
    """Start the stage and kill it when the server has seen so many requests; whether it was still running."""
    with output.open("ab") as file:
        process = subprocess.Popen(command("preprocess"), cwd=folder, stdout=file, stderr=file, env=environment())
        while len(server.requests) < requests and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        ended: int = process.wait()
    server.settled()
    return ended == -signal.SIGKILL


def without_chaos(model: Callable[[Body], str], folder: Path, stays: int) -> tuple[Path, dict[str, bytes], list[Body]]:
    """The converted hospital, and what becomes of it where the endpoint never fails: the artefacts, and every request."""
    converted, server = folder / "converted", ChatServer(model)
    converted.mkdir()
    (converted / "chaos.toml").write_text(CONFIG.format(stays=stays))
    for stage in ("download", "convert"):
        run(converted, stage)
    calm = fresh(converted, folder / "calm", server)
    run(calm, "preprocess")
    server.close()
    return converted, processed(calm), server.requests


def key_kept(server: ChatServer, folder: Path) -> list[Path]:
    """Assert that the key was sent with each request and is in no file below ``folder``, nor what the endpoint said of a note.
    Returns the files that were looked into."""
    assert all(sent["Authorization"] == f"Bearer {KEY}" for sent in server.headers)
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert len(written) > 50
    assert not [path for path in written if KEY.encode() in path.read_bytes() or b"SECRET" in path.read_bytes()]
    return written


def without_failures(table: bytes) -> pl.DataFrame:
    return pl.read_csv(table, infer_schema=False).filter(pl.col("failures") == "[]")


@pytest.fixture(scope="module")
def model() -> Callable[[Body], str]:
    return copying_model(*(disease.name for disease in load_graph().diseases), "sepsis", "CHF", "AKI", "COPD")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stays", "kills"),
    [(60, 2), pytest.param(1150, 5, marks=pytest.mark.full)],  # of which some are too short for the cohort
)
def test_every_patient_ends_with_a_result_or_a_recorded_failure_and_nothing_is_paid_twice(
    model: Callable[[Body], str], tmp_path: Path, stays: int, kills: int
) -> None:
    converted, undisturbed, asked = without_chaos(model, tmp_path, stays)
    chaos = Chaos(0.3, seed=stays)
    server = ChatServer(model, chaos)
    folder, output = fresh(converted, tmp_path / "chaos", server), tmp_path / "output"
    draw, lost, survived = random.Random(stays), [], 0
    for moment in sorted(draw.sample(range(len(asked)), kills)):
        survived += killed_after(folder, server, moment, output)
        assert not (folder / "data/processed").exists()
        lost.append(server.paid.total() - stored(folder) - sum(lost))
    with output.open("a") as file:
        file.write(run(folder, "preprocess"))
    server.settled()
    ended = processed(folder)
    records = pl.read_csv(ended["rag_records.csv"], infer_schema=False)
    failed = records.filter(pl.col("failures") != "[]")

    # every patient
    expected = pl.read_csv(undisturbed["rag_records.csv"], infer_schema=False)
    assert records["patient_id"].to_list() == expected["patient_id"].to_list()
    assert all(json.loads(told) for told in failed["failures"]) and survived == kills
    intact = without_failures(ended["rag_records.csv"])
    assert intact.equals(expected.join(intact, on="patient_id", how="semi", maintain_order="left"))
    assert failed.height or ended == undisturbed

    # what arrived and was not stored was on its way at a kill; nothing else was asked for again
    assert all(0 <= count <= CONCURRENCY for count in lost), lost
    assert server.paid.total() == stored(folder) + sum(lost)
    again = sum(count - 1 for count in server.answered.values() if count > 1)
    assert again <= sum(lost)

    # the failures mend
    server.fault = lambda n, body: None
    with output.open("a") as file:
        file.write(run(folder, "preprocess"))
    server.settled()
    assert processed(folder) == undisturbed
    assert sum(count - 1 for count in server.answered.values()) == again
    calm = {question(body) for body in asked}
    assert calm <= server.answered.keys()
    # whose entities failed was asked for a summary without them, which is another question
    assert len(server.answered.keys() - calm) <= failed.height

    assert output in key_kept(server, tmp_path)
    server.close()
    assert len(chaos.injected) == len(FAULTS) or chaos.injected.total() < len(FAULTS)
    TALLY["LLM faults injected"] += chaos.injected.total()
    TALLY["LLM patients"] += records.height
    TALLY["LLM patients with a recorded failure under faults"] += failed.height
    TALLY["LLM answers lost in flight at a kill"] += sum(lost)
    TALLY["kills survived"] += kills
