"""The service as a user runs it: a process that listens at 127.0.0.1."""

import copy
import html
import importlib.util
import json
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

from emerge_ehr.config import Config
from emerge_ehr.fields import UserError
from emerge_ehr.prediction import predict, serve
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

    def predict(self, body: Any) -> httpx.Response:
        content = body if isinstance(body, str | bytes) else json.dumps(body)
        return httpx.post(f"{self.url}/predict", content=content, headers=JSON, timeout=60)


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


@pytest.fixture(scope="module")
def patients(hospital: Config) -> list[dict[str, Any]]:
    """Six of the hospital's patients, as requests name them."""
    folder = hospital.table_dir
    tables = {
        name: pl.read_csv(folder / f"{name}.csv", infer_schema=False)
        for name in ("cohort", "static", "dynamic", "notes")
    }
    persons = tables["cohort"].join(tables["static"], on="patient_id").head(6)
    of = {name: tables[name].partition_by("patient_id", as_dict=True) for name in ("dynamic", "notes")}
    return [
        {
            "patient_id": row["patient_id"],
            "age": float(row["age"]),
            "sex": row["sex"],
            "window_start": row["window_start"],
            "window_end": row["window_end"],
            "measurements": [
                {"time": one["event_time"], "code": one["code"], "value": float(one["value"])}
                for one in of["dynamic"][row["patient_id"],].iter_rows(named=True)
            ],
            "notes": [
                {"time": one["note_time"], "type": one["note_type"], "text": one["text"]}
                for one in of["notes"][row["patient_id"],].iter_rows(named=True)
            ],
        }
        for row in persons.iter_rows(named=True)
    ]


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
    answered = service.predict({"patients": patients[::-1]}).json()
    assert [one["patient_id"] for one in answered["predictions"]] == named[::-1]
    by_id = {one["patient_id"]: one for one in answered["predictions"]}
    for one in written:
        theirs = by_id[one["patient_id"]]
        assert theirs["summary"] == one["summary"] and theirs["statements"] == one["statements"]
        for left, right in zip(theirs["risks"], one["risks"], strict=True):
            assert left["y_prob"] == pytest.approx(right["y_prob"], abs=1e-6)
            assert left["contributions"] == pytest.approx(right["contributions"], abs=1e-6)


@pytest.mark.slow
def test_requests_at_once_are_answered_as_each_alone_and_health_meanwhile(
    service: Service, patients: list[dict[str, Any]]
) -> None:
    alone = [service.predict({"patients": [patient]}).content for patient in patients]
    with ThreadPoolExecutor(8) as pool:
        together = [pool.submit(service.predict, {"patients": [patient]}) for patient in patients * 2]
        assert httpx.get(f"{service.url}/health").json()["status"] == "ok"
        assert [one.result().content for one in together] == alone * 2


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
        (lambda p: p["notes"][0].update(text="\ud800"), "half a character"),
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
    for body in ("{", "[" * 50_000, b"\xff", "null"):
        assert service.predict(body).status_code in (400, 422)
    assert httpx.post(f"{service.url}/predict", content="{}", headers={"content-type": "text/plain"}).status_code == 422
    assert httpx.get(f"{service.url}/predict").status_code == 405


def test_a_body_over_the_limit_is_refused_and_the_service_goes_on(
    service: Service, patients: list[dict[str, Any]]
) -> None:
    assert service.predict(b" " * (17 * 2**20)).status_code == 413

    def endless() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * 2**20

    assert httpx.post(f"{service.url}/predict", content=endless(), headers=JSON).status_code == 413
    assert service.predict({"patients": patients[:1]}).status_code == 200


def test_markup_stays_text_and_nothing_of_a_request_is_logged(service: Service, patients: list[dict[str, Any]]) -> None:
    def mark(patient: dict[str, Any]) -> None:
        patient["patient_id"] = "<script>alert('secret')</script>"
        patient["notes"] = [{"text": "Confidential <img src=x onerror=alert(1)> pneumonia."}]

    answer = service.predict(changed(patients, mark))
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json()["predictions"][0]["patient_id"] == "<script>alert('secret')</script>"
    assert "notes carry no time" in answer.json()["warnings"][0]
    httpx.get(f"{service.url}/health?patient=secret")
    logged = "".join(service.log)
    assert "1 patients in" in logged
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
    assert {"/predict", "/health"} == set(described["paths"])


def test_a_web_page_cannot_reach_the_service_by_a_name_of_its_own(service: Service) -> None:
    assert httpx.get(f"{service.url}/health", headers={"host": "attacker.example"}).status_code == 400


def test_a_wrong_address_and_a_missing_library_are_told(emerge: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError) as refusal:
            serve.run(emerge.run_dir, "127.0.0.1", port, offline=True)
    expected = f"--host 127.0.0.1 --port {port}: cannot listen there (Address already in use); choose others"
    assert str(refusal.value) == expected
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


def test_another_host_than_this_machine_is_warned_of(
    emerge: Trained, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def interrupted(server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(uvicorn.Server, "run", interrupted)
    for host, warned in (("127.0.0.1", False), ("0.0.0.0", True)):
        serve.run(emerge.run_dir, host, 0, offline=True)
        assert ("no authentication" in caplog.text and "no TLS" in caplog.text) == warned
