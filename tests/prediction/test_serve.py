"""The service as a user runs it: a process that listens at 127.0.0.1."""

import asyncio
import copy
import hashlib
import html
import importlib.util
import json
import logging
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
import uvicorn
from fastapi.testclient import TestClient

from emerge_ehr.config import Config
from emerge_ehr.fields import UserError
from emerge_ehr.prediction import connections, limits, predict, predictor, requests, serve
from emerge_ehr.prediction.predictor import Answer, Predictor
from emerge_ehr.prediction.service import build
from emerge_ehr.prediction.turns import Turns
from emerge_ehr.preprocess.inputs.tables import CheckedTables
from emerge_ehr.storage import schema
from emerge_ehr.training.trained import Trained
from tests.places import MAIN

JSON = {"content-type": "application/json"}


@dataclass
class Service:
    """A running service; ``log``: what it wrote."""

    process: subprocess.Popen[str]
    url: str
    log: list[str]
    reader: threading.Thread

    def predict(self, body: Any, query: str = "") -> httpx.Response:
        content = body if isinstance(body, str | bytes) else json.dumps(body)
        return httpx.post(f"{self.url}/predict{query}", content=content, headers=JSON, timeout=60)


def start(run: Path, *arguments: str) -> Service:
    command = [sys.executable, str(MAIN), "--stage", "serve", "--run", str(run), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    log: list[str] = []
    for line in process.stdout:
        log.append(line)
        if found := re.search(r"at (http://\S+)", line):
            service = Service(process, found[1], log, threading.Thread(target=log.extend, args=(process.stdout,)))
            service.reader.start()
            return service
    raise AssertionError("".join(log))


def stop(service: Service) -> int:
    """As Ctrl-C does."""
    service.process.send_signal(signal.SIGINT)
    status = service.process.wait(timeout=30)
    service.reader.join()
    assert service.process.stdout is not None
    service.process.stdout.close()
    return status


@pytest.fixture(scope="module")
def service(emerge: Trained) -> Iterator[Service]:
    found = start(emerge.run_dir, "--port", "0")
    yield found
    assert stop(found) == 0
    assert "stopped" in found.log[-1] and "Traceback" not in "".join(found.log)


def test_the_service_says_what_the_stage_predict_writes(
    service: Service, patients: list[dict[str, Any]], emerge: Trained, hospital: Config, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    named = [patient["patient_id"] for patient in patients]
    for table in (schema.COHORT, schema.STATIC, schema.DYNAMIC, schema.NOTES):
        rows = pl.read_csv(hospital.table_dir / table.file, infer_schema=False)
        rows.filter(pl.col("patient_id").is_in(named)).write_csv(own / table.file)
    predict.run(emerge.run_dir, own, tmp_path / "risks.csv", offline=True)
    written = [json.loads(line) for line in (tmp_path / "risks.evidence.jsonl").read_text().splitlines()]
    answered = service.predict({"patients": patients[::-1]}, "?explain=true").json()
    assert [one["patient_id"] for one in answered["predictions"]] == named[::-1]
    by_id = {one["patient_id"]: one for one in answered["predictions"]}
    for one in written:
        theirs = by_id[one["patient_id"]]
        assert theirs["summary"] == one["summary"] and theirs["statements"] == one["statements"]
        for left, right in zip(theirs["risks"], one["risks"], strict=True):
            assert left["y_prob"] == pytest.approx(right["y_prob"], abs=1e-6)
            assert left["contributions"] == pytest.approx(right["contributions"], abs=1e-6)


def risks(answer: httpx.Response) -> list[float]:
    assert answer.status_code == 200, answer.text
    return [one["y_prob"] for patient in answer.json()["predictions"] for one in patient["risks"]]


def test_without_an_explanation_the_risks_are_the_same_and_nothing_is_left_out_of_the_evidence(
    service: Service, patients: list[dict[str, Any]]
) -> None:
    short, long = (service.predict({"patients": patients}, query) for query in ("", "?explain=true"))
    assert risks(short) == pytest.approx(risks(long), abs=1e-6)
    for one, other in zip(short.json()["predictions"], long.json()["predictions"], strict=True):
        assert one["risks"][0]["contributions"] == {} and set(other["risks"][0]["contributions"])
        assert (one["summary"], one["lacking"]) == (other["summary"], other["lacking"])
    assert service.predict({"patients": patients}, "?explain=perhaps").status_code == 422


def test_requests_at_once_are_answered_as_each_alone_and_health_meanwhile(
    service: Service, patients: list[dict[str, Any]]
) -> None:
    odd = changed(patients[1:2], lambda patient: patient["measurements"][0].update(code="lactose"))
    bare = changed(patients[2:3], lambda patient: patient.update(measurements=[], notes=[]))
    bodies = [odd, bare, *({"patients": [patient]} for patient in patients)]
    alone = [service.predict(body) for body in bodies]
    with ThreadPoolExecutor(8) as pool:
        together = [pool.submit(service.predict, body) for body in bodies * 2]
        assert httpx.get(f"{service.url}/health").json()["status"] == "ok"
        answered = [one.result() for one in together]
    assert [answer.status_code for answer in answered] == [422, 200, *[200] * len(patients)] * 2
    for one, other in zip(alone * 2, answered, strict=True):
        left, right = one.json(), other.json()
        assert left.get("warnings") == right.get("warnings") and left.get("detail") == right.get("detail")
        if one.status_code == 200:
            assert [p["patient_id"] for p in left["predictions"]] == [p["patient_id"] for p in right["predictions"]]
            assert risks(one) == pytest.approx(risks(other), abs=1e-6)


def test_a_patient_without_measurements_is_answered_alone_and_told(
    service: Service, patients: list[dict[str, Any]]
) -> None:
    answer = service.predict(changed(patients, lambda patient: patient.update(measurements=[])))
    assert answer.status_code == 200 and "ehr" in answer.json()["predictions"][0]["lacking"]
    assert "1 patient has no measurement" in " ".join(answer.json()["warnings"])


def changed(patients: list[dict[str, Any]], change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    body = {"patients": copy.deepcopy(patients[:1])}
    change(body["patients"][0])
    return body


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda p: p["measurements"][0].update(value=float("nan")), "finite number"),
        (lambda p: p["measurements"][0].update(value=float("inf")), "finite number"),
        (lambda p: p["measurements"][0].update(value="7.4"), "valid number"),
        (
            lambda p: p["measurements"][0].update(code="<i>lactate</i>"),
            "code '<i>lactate</i>' is not one of the signals",
        ),
        (lambda p: p["measurements"][0].update(time="2199-01-01T00:00:00"), "outside the observation window"),
        (lambda p: p["measurements"][0].update(time="2150-01-01T00:00:00Z"), "timezone"),
        (lambda p: p["notes"][0].update(time="2199-01-01T00:00:00"), "written after the observation window"),
        (lambda p: p["notes"][0].update(text="\ud800"), "unicode string"),
        (lambda p: p.update(window_end="2199-01-01T00:00:00"), "is not 48 h long"),
        (lambda p: p.update(age=-1), "greater than or equal to 0"),
        (lambda p: p.update(sex="X"), "'F' or 'M'"),
        (lambda p: p.update(patient_id=""), "at least 1 character"),
        (lambda p: p.update(label=1), "Extra inputs are not permitted"),
        (lambda p: p.pop("window_start"), "required"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(
    service: Service, patients: list[dict[str, Any]], change: Callable[[dict[str, Any]], Any], expected: str
) -> None:
    answer = service.predict(changed(patients, change))
    assert answer.status_code == 422 and expected in json.dumps(answer.json(), ensure_ascii=False)


def test_a_patient_twice_nobody_too_many_and_no_json_are_refused(
    service: Service, patients: list[dict[str, Any]]
) -> None:
    twice = service.predict({"patients": patients[:1] * 2})
    assert twice.status_code == 422 and "stands twice" in twice.text
    assert service.predict({"patients": []}).status_code == 422
    assert service.predict({"patients": [{}] * 257}).status_code == 422
    for body in ("{", "[" * 50_000, b"\xff", "null", '{"patients": ' + "9" * 5000 + "}"):
        assert service.predict(body).status_code == 422
    assert httpx.post(f"{service.url}/predict", content="{}", headers={"content-type": "text/plain"}).status_code == 415
    assert httpx.get(f"{service.url}/predict").status_code == 405


def test_a_body_over_the_limit_is_refused_and_the_service_goes_on(
    service: Service, patients: list[dict[str, Any]]
) -> None:
    assert service.predict(b" " * (17 * 2**20)).status_code == 413
    assert 'status="413"' in httpx.get(f"{service.url}/metrics").text, "what the framework refuses is counted too"

    def endless() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * 2**20

    assert httpx.post(f"{service.url}/predict", content=endless(), headers=JSON).status_code == 413
    assert service.predict({"patients": patients[:1]}).status_code == 200


HOSTILE = {
    "empty measurements": ('{"patients": [{"measurements": [' + ", ".join(["{}"] * 100_000) + "]}]}", "required"),
    "more parts than a body may have": (
        '{"patients": [' + ", ".join(["[]"] * 500_000) + "]}",
        "more than 400000 objects",
    ),
    "more keys than an object may have": (
        "{" + ", ".join(f'"k{n}": 1' for n in range(50_000)) + "}",
        "more than 30 keys",
    ),
    "a key twice": ('{"patients": [], "patients": []}', "'patients' stands twice"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_body_is_refused_in_a_few_words(service: Service, kind: str) -> None:
    body, told = HOSTILE[kind]
    answer = service.predict(body)
    assert answer.status_code == 422 and told in json.dumps(answer.json(), ensure_ascii=False)
    assert len(answer.content) < 2000


def test_a_note_of_half_a_million_characters_is_the_longest(service: Service, patients: list[dict[str, Any]]) -> None:
    answer = service.predict(changed(patients, lambda patient: patient["notes"][0].update(text="x" * 500_001)))
    assert answer.status_code == 422 and "500000" in answer.text


def test_which_model_runs_and_what_it_did_is_told(
    service: Service, patients: list[dict[str, Any]], emerge: Trained
) -> None:
    version = httpx.get(f"{service.url}/version").json()
    assert version["model"] == hashlib.sha256((emerge.run_dir / "manifest.json").read_bytes()).hexdigest()
    assert version["labels"] == emerge.label_names and version["emerge-ehr"]
    assert httpx.get(f"{service.url}/ready").json() == {"waiting": 0}

    def counted(name: str) -> float:
        shown = httpx.get(f"{service.url}/metrics")
        assert shown.headers["content-type"].startswith("text/plain")
        found = re.search(rf"^{re.escape(name)} (\S+)$", shown.text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    names = ('emerge_requests_total{status="200"}', 'emerge_requests_total{status="422"}', "emerge_patients_total")
    before = [counted(name) for name in names]
    service.predict({"patients": patients[:2]})
    service.predict("{}")
    assert [counted(name) for name in names] == [before[0] + 1, before[1] + 1, before[2] + 2]


def test_markup_stays_text_and_nothing_of_a_request_is_logged(service: Service, patients: list[dict[str, Any]]) -> None:
    def mark(patient: dict[str, Any]) -> None:
        patient["patient_id"] = "<script>alert('secret')</script>"
        patient["notes"] = [{"text": "Confidential <img src=x onerror=alert(1)> pneumonia."}]

    answer = service.predict(changed(patients, mark))
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json()["predictions"][0]["patient_id"] == "<script>alert('secret')</script>"
    assert "1 note carries no time" in answer.json()["warnings"][0]
    httpx.get(f"{service.url}/health?patient=secret")
    logged = "".join(service.log)
    assert "1 patient answered" in logged
    assert not [word for word in ("secret", "Confidential", "lactate", "pneumonia") if word in logged]


def test_the_page_of_the_api_fetches_nothing_and_its_example_is_accepted(service: Service) -> None:
    page = httpx.get(f"{service.url}/docs")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "which predicts the risk of in-hospital death" in page.text
    assert not re.search(r"(?:https?:)?//|<script|<link|<img", page.text)
    example = html.unescape(re.findall(r"<pre>(.*?)</pre>", page.text, re.DOTALL)[0])
    assert service.predict(example).status_code == 200
    described = httpx.get(f"{service.url}/openapi.json").json()
    assert described["components"]["schemas"]["Patient"]["additionalProperties"] is False
    assert {"/predict", "/health", "/ready", "/version", "/metrics"} == set(described["paths"])


def test_a_web_page_cannot_reach_the_service_by_a_name_of_its_own(service: Service) -> None:
    assert httpx.get(f"{service.url}/health", headers={"host": "attacker.example"}).status_code == 400


def test_a_wrong_address_and_a_missing_library_are_told(emerge: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError) as refusal:
            serve.run(emerge.run_dir, "127.0.0.1", port, offline=True)
    expected = f"--host 127.0.0.1 --port {port}: cannot listen there (Address already in use); choose others"
    assert str(refusal.value) == expected
    monkeypatch.setenv("EMERGE_API_KEY", "a-key-of-many-characters")
    for host, port, expected in (
        ("192.0.2.1", 0, "cannot listen there"),
        ("no.such.host.invalid", 0, "cannot listen there"),
        ("127.0.0.1", 70000, "--port 70000: must lie between 0 and 65535"),
    ):
        with pytest.raises(UserError, match=expected):
            serve.run(emerge.run_dir, host, port, offline=True)
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "fastapi" else real(name))
    with pytest.raises(UserError, match="--stage serve needs fastapi: uv sync --extra serve"):
        serve.run(emerge.run_dir, "127.0.0.1", 0, offline=True)


def test_beyond_this_machine_a_key_is_demanded_and_the_lack_of_tls_is_told(
    emerge: Trained, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def interrupted(server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(uvicorn.Server, "run", interrupted)
    monkeypatch.delenv("EMERGE_API_KEY", raising=False)
    with pytest.raises(UserError, match="set the environment variable EMERGE_API_KEY"):
        serve.run(emerge.run_dir, "0.0.0.0", 0, offline=True)
    for key in ("short", "with blanks in it and long"):
        monkeypatch.setenv("EMERGE_API_KEY", key)
        with pytest.raises(UserError, match="16 ASCII characters"):
            serve.run(emerge.run_dir, "127.0.0.1", 0, offline=True)
    monkeypatch.setenv("EMERGE_API_KEY", "a-key-of-many-characters")
    for host, warned in (("127.0.0.1", False), ("0.0.0.0", True)):
        serve.run(emerge.run_dir, host, 0, offline=True)
        assert ("without TLS" in caplog.text) == warned


@pytest.fixture(scope="module")
def ready(emerge: Trained) -> Predictor:
    return predictor.load(emerge.run_dir, offline=True)


def test_with_a_key_only_health_and_readiness_are_open(ready: Predictor, patients: list[dict[str, Any]]) -> None:
    key = "a-key-of-many-characters"
    client = TestClient(build(ready, ["*"], key))
    assert client.get("/health").status_code == client.get("/ready").status_code == 200
    for path in ("/version", "/metrics", "/docs", "/openapi.json"):
        assert client.get(path).status_code == 401
    body = json.dumps({"patients": patients[:1]})
    for headers in ({}, {"x-api-key": "another"}, {"authorization": "Bearer "}, {"authorization": f"Basic {key}"}):
        refused = client.post("/predict", content=body, headers={**JSON, **headers})
        assert refused.status_code == 401 and "Authorization: Bearer" in refused.json()["detail"]
    for headers in ({"x-api-key": key}, {"authorization": f"Bearer {key}"}):
        assert client.post("/predict", content=body, headers={**JSON, **headers}).status_code == 200


def test_who_has_gone_is_passed_over_and_those_who_wait_share_a_turn(
    ready: Predictor, patients: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [requests.read(json.dumps({"patients": [patient]}).encode()) for patient in patients]
    computed: list[int] = []
    answers = Predictor.answers

    def counting(self: Predictor, tables: CheckedTables, *, explain: bool = True) -> Iterator[Answer]:
        computed.append(tables.cohort.height)
        return answers(self, tables, explain=explain)

    monkeypatch.setattr(Predictor, "answers", counting)

    async def all_at_once() -> list[Any]:
        turns = Turns(ready)
        waiting = [turns.enter(one, explain=False) for one in asked]
        waiting[1].cancel()
        assert turns.patients == len(patients)
        return await asyncio.gather(*waiting, return_exceptions=True)

    answered = asyncio.run(all_at_once())
    assert isinstance(answered[1], asyncio.CancelledError) and computed == [len(patients) - 1]
    for patient, answer in zip(patients, answered, strict=True):
        if not isinstance(answer, asyncio.CancelledError):
            assert answer[0][0]["patient_id"] == patient["patient_id"]


def test_too_many_who_wait_are_told_to_ask_again(
    ready: Predictor, patients: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Turns, "full", property(lambda self: True))
    client = TestClient(build(ready, ["*"]))
    answer = client.post("/predict", json={"patients": patients[:1]})
    assert answer.status_code == client.get("/ready").status_code == 503
    assert answer.headers["retry-after"] == "1"


@pytest.fixture
def impatient(ready: Predictor, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """A service that waits for a fifth of a second: its host and port."""
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.2)
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.2)
    server = uvicorn.Server(
        uvicorn.Config(build(ready, ["*"]), http=connections.Connection, lifespan="off", log_config=None)
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            server.should_exit = True
            thread.join(timeout=30)


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (b"", b""),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\n", b""),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{", b"408"),
    ],
)
def test_a_client_that_sends_nothing_more_is_hung_up_on(
    impatient: tuple[str, int], sent: bytes, answered: bytes
) -> None:
    with socket.create_connection(impatient, timeout=30) as client:
        client.sendall(sent)
        received = b""
        while part := client.recv(4096):
            received += part
    assert received[:12].endswith(answered) and (answered or not received)


def test_a_flood_of_lines_is_counted_instead(caplog: pytest.LogCaptureFixture) -> None:
    few = limits.FewLines()
    records = [logging.LogRecord("x", logging.INFO, "", 0, "%d patients answered", (n,), None) for n in range(500)]
    kept = [record for record in records if few.filter(record)]
    assert len(kept) <= 2 * limits.LINES_A_SECOND
    few.second = -1
    last = logging.LogRecord("x", logging.INFO, "", 0, "%d patients answered", (1,), None)
    assert few.filter(last) and f"({few.dropped or 500 - len(kept)} lines before it were left out)" in last.getMessage()
