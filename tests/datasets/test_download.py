"""Stage download against a real HTTP server that imitates PhysioNet and Dataverse, and misbehaves on request."""

import dataclasses
import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from emerge_ehr.config import Config, Download, Paths
from emerge_ehr.datasets import download
from emerge_ehr.fetch import dataverse, physionet
from emerge_ehr.fetch import site as fetch
from emerge_ehr.fetch.http_answers import SiteUnreachableError
from emerge_ehr.fields import Component, UserError
from tests.places import MAIN

BODY = bytes(range(256)) * 4000  # about 1 MB
SUMS = "/files/mimic-iv-demo/2.2/SHA256SUMS.txt"
CHART = "/files/mimic-iv-demo/2.2/icu/chartevents.csv.gz"
STAYS = "/files/mimic-iv-demo/2.2/icu/icustays.csv.gz"
LISTING = "/api/datasets/:persistentId/"
Answer = Callable[["Handler"], None]


class FakeSites(ThreadingHTTPServer):
    """``files`` by path; ``faults`` by path are answered first, one a request; ``requests`` is the log."""

    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[Answer]] = {}
        self.requests: list[tuple[str, dict[str, str], int]] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up (it read enough to refuse) is part of the play; other errors are shown."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def asked(self, path: str) -> list[tuple[dict[str, str], int]]:
        """Headers of the requests for ``path``, and the body bytes sent for each."""
        return [(headers, sent) for asked, headers, sent in self.requests if asked == path]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: FakeSites

    def do_GET(self) -> None:
        faults = self.server.faults.get(self.key, [])
        (faults.pop(0) if faults else whole_or_range)(self)

    @property
    def key(self) -> str:
        path, _, query = self.path.partition("?")
        return self.path if query == "format=original" else path

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None, send: int | None = None) -> None:
        """``body``, of which only ``send`` bytes go out before the connection is cut."""
        self.server.requests.append((self.key, dict(self.headers.items()), len(body) if send is None else send))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "ETag": '"one"', **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:send])
        self.close_connection = send is not None

    def log_message(self, *_: Any) -> None:
        pass


def whole_or_range(handler: Handler) -> None:
    body = handler.server.files.get(handler.key)
    if body is None:
        handler.answer(404, b"")
        return
    asked = handler.headers.get("Range")
    if asked is None:
        handler.answer(200, body)
        return
    start = int(asked.removeprefix("bytes=").rstrip("-"))
    if start >= len(body):
        handler.answer(416, b"", {"Content-Range": f"bytes */{len(body)}"})
        return
    handler.answer(206, body[start:], {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"})


def cut_after(count: int) -> Answer:
    return lambda handler: handler.answer(200, handler.server.files[handler.key], send=count)


def status(code: int, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler: handler.answer(code, b"", named)


def ignore_range(handler: Handler) -> None:
    handler.answer(200, handler.server.files[handler.key])


def send(body: bytes) -> Answer:
    return lambda handler: handler.answer(200, body)


@pytest.fixture(autouse=True)
def _no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "BACKOFF_SECONDS", 0.01)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def site() -> Iterator[FakeSites]:
    with FakeSites() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def demo(site: FakeSites) -> FakeSites:
    """PhysioNet with two files."""
    site.files |= {CHART: BODY, STAYS: b"stays"}
    lines = [
        f"{hashlib.sha256(site.files[path]).hexdigest()} {path.removeprefix('/files/mimic-iv-demo/2.2/')}\n"
        for path in (CHART, STAYS)
    ]
    site.files[SUMS] = "".join(lines).encode()
    return site


TABLE = b"node_index\tmondo_name\n1\tasthma\n"
UPLOAD = b"node_index,mondo_name\n1,asthma\n"
KG_FILES = {
    1: ("README.txt", b"read me"),
    2: ("disease_features.tab", TABLE),
    3: ("kg.csv", BODY),
    4: ("nodes.tab", b"a\tb\n"),
}


def entry(number: int, name: str, body: bytes, **more: Any) -> dict[str, Any]:
    md5 = hashlib.md5(body).hexdigest()
    return {"label": name, "dataFile": {"id": number, "filename": name, "filesize": len(body), "md5": md5} | more}


def offer(site: FakeSites, entries: list[dict[str, Any]]) -> None:
    version = {"versionNumber": 2, "versionMinorNumber": 1, "files": entries}
    site.files[LISTING] = json.dumps({"status": "OK", "data": {"latestVersion": version}}).encode()


@pytest.fixture
def primekg(site: FakeSites) -> FakeSites:
    """Dataverse with four files."""
    site.files |= {f"/api/access/datafile/{number}": body for number, (_, body) in KG_FILES.items()}
    offer(site, [entry(number, name, body) for number, (name, body) in KG_FILES.items()])
    return site


def settings(site: FakeSites, **more: Any) -> Download:
    return Download(physionet_url=f"{site.url}/files", dataverse_url=site.url, **more)


def get_demo(site: FakeSites, target: Path, offline: bool = False, names: tuple[str, ...] = ("chartevents",)) -> None:
    files = [f"icu/{name}.csv.gz" for name in names]
    physionet.download("mimic-iv-demo", "2.2", files, target, settings(site), offline)


def on_disk(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_files_arrive_whole_and_are_noted_in_the_manifest(demo: FakeSites, tmp_path: Path) -> None:
    get_demo(demo, tmp_path, names=("chartevents", "icustays"))
    assert (tmp_path / "icu/chartevents.csv.gz").read_bytes() == BODY
    assert on_disk(tmp_path) == ["SHA256SUMS.txt", "download.json", "icu/chartevents.csv.gz", "icu/icustays.csv.gz"]
    noted = json.loads((tmp_path / "download.json").read_text())["files"]["icu/chartevents.csv.gz"]
    assert noted["url"] == demo.url + CHART and noted["version"] == "2.2" and noted["size"] == len(BODY)
    assert (noted["algorithm"], noted["checksum"]) == ("sha256", hashlib.sha256(BODY).hexdigest())
    assert all(headers["User-Agent"] == "emerge-ehr/0.1" for _, headers, _ in demo.requests)


def test_a_second_run_asks_nothing_and_leaves_the_manifest_as_it_was(demo: FakeSites, tmp_path: Path) -> None:
    get_demo(demo, tmp_path)
    before = (tmp_path / "download.json").read_bytes()
    demo.requests.clear()
    get_demo(demo, tmp_path)
    assert not demo.requests and (tmp_path / "download.json").read_bytes() == before


def test_a_cut_connection_is_resumed_with_a_range(demo: FakeSites, tmp_path: Path) -> None:
    demo.faults[CHART] = [cut_after(600_000)]
    get_demo(demo, tmp_path)
    (_, first), (headers, second) = demo.asked(CHART)
    start = int(headers["Range"].removeprefix("bytes=").rstrip("-"))
    assert 0 < start <= first and second == len(BODY) - start and headers["If-Range"] == '"one"'
    assert (tmp_path / "icu/chartevents.csv.gz").read_bytes() == BODY


def test_a_part_left_by_an_earlier_run_is_resumed(demo: FakeSites, tmp_path: Path) -> None:
    (tmp_path / "icu").mkdir()
    (tmp_path / "icu/chartevents.csv.gz.part").write_bytes(BODY[:1000])
    get_demo(demo, tmp_path)
    ((headers, sent),) = demo.asked(CHART)
    assert headers["Range"] == "bytes=1000-" and sent == len(BODY) - 1000
    assert (tmp_path / "icu/chartevents.csv.gz").read_bytes() == BODY


@pytest.mark.parametrize("left", [b"\0" * 1000, BODY + b"too long"], ids=["other content", "beyond the end"])
def test_a_part_of_something_else_is_started_over(demo: FakeSites, tmp_path: Path, left: bytes) -> None:
    (tmp_path / "icu").mkdir()
    (tmp_path / "icu/chartevents.csv.gz.part").write_bytes(left)
    get_demo(demo, tmp_path)
    assert (tmp_path / "icu/chartevents.csv.gz").read_bytes() == BODY


def test_a_server_that_ignores_the_range_sends_the_whole_again(demo: FakeSites, tmp_path: Path) -> None:
    demo.faults[CHART] = [cut_after(600_000), ignore_range]
    get_demo(demo, tmp_path)
    assert (tmp_path / "icu/chartevents.csv.gz").read_bytes() == BODY


def test_a_range_that_begins_elsewhere_is_not_appended(demo: FakeSites, tmp_path: Path) -> None:
    wrong: Answer = lambda handler: handler.answer(206, BODY[5:], {"Content-Range": f"bytes 5-/{len(BODY)}"})  # noqa: E731
    demo.faults[CHART] = [cut_after(600_000), wrong]
    get_demo(demo, tmp_path)
    assert (tmp_path / "icu/chartevents.csv.gz").read_bytes() == BODY


@pytest.mark.parametrize("path", [SUMS, CHART])
@pytest.mark.parametrize(
    "faults",
    [[status(429, Retry_After="0")], [status(503), status(503)]],
    ids=["429 with Retry-After", "503 twice"],
)
def test_a_busy_server_is_asked_again(demo: FakeSites, tmp_path: Path, path: str, faults: list[Answer]) -> None:
    demo.faults[path] = list(faults)
    get_demo(demo, tmp_path)
    assert len(demo.asked(path)) == len(faults) + 1


def test_retry_after_is_waited_for_but_not_for_ever(
    demo: FakeSites, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo.faults[CHART] = [status(429, Retry_After="1")]
    began = time.monotonic()
    get_demo(demo, tmp_path)
    assert time.monotonic() - began >= 1
    monkeypatch.setattr(fetch, "LONGEST_PAUSE_SECONDS", 0.1)
    demo.faults[STAYS] = [status(503, Retry_After="86400")]
    began = time.monotonic()
    get_demo(demo, tmp_path, names=("icustays",))
    assert time.monotonic() - began < 1


def test_after_the_last_retry_the_part_is_kept_for_the_next_run(demo: FakeSites, tmp_path: Path) -> None:
    demo.faults[CHART] = [cut_after(300_000)] + [status(500, Retry_After="0")] * 6
    with pytest.raises(UserError, match="HTTP 500"):
        get_demo(demo, tmp_path)
    assert not (tmp_path / "icu/chartevents.csv.gz").exists()
    assert (tmp_path / "icu/chartevents.csv.gz.part").stat().st_size > 0
    demo.faults.clear()
    get_demo(demo, tmp_path)
    assert demo.asked(CHART)[-1][0]["Range"] != "bytes=0-"


def test_a_wrong_checksum_is_refused_after_one_more_try(demo: FakeSites, tmp_path: Path) -> None:
    wrong = b"\1" * len(BODY)
    demo.files[CHART] = wrong
    with pytest.raises(UserError) as caught:
        get_demo(demo, tmp_path)
    assert len(demo.asked(CHART)) == 2 and "icu/chartevents.csv.gz" in str(caught.value)
    assert hashlib.sha256(BODY).hexdigest() in str(caught.value)
    assert hashlib.sha256(wrong).hexdigest() in str(caught.value)
    assert on_disk(tmp_path) == ["SHA256SUMS.txt"]


def test_a_file_damaged_once_on_the_way_is_fetched_again(demo: FakeSites, tmp_path: Path) -> None:
    demo.faults[CHART] = [send(b"\1" * len(BODY))]
    get_demo(demo, tmp_path)
    assert (tmp_path / "icu/chartevents.csv.gz").read_bytes() == BODY


def test_a_file_changed_on_disk_is_fetched_again(demo: FakeSites, tmp_path: Path) -> None:
    get_demo(demo, tmp_path)
    (tmp_path / "icu/chartevents.csv.gz").write_bytes(b"broken")
    get_demo(demo, tmp_path)
    assert (tmp_path / "icu/chartevents.csv.gz").read_bytes() == BODY


def test_a_file_put_there_by_hand_is_verified_and_not_fetched(demo: FakeSites, tmp_path: Path) -> None:
    (tmp_path / "icu").mkdir()
    (tmp_path / "icu/chartevents.csv.gz").write_bytes(BODY)
    get_demo(demo, tmp_path)
    assert not demo.asked(CHART) and "icu/chartevents.csv.gz" in (tmp_path / "download.json").read_text()


def test_a_missing_project_says_what_to_check(demo: FakeSites, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"HTTP 404.*by hand"):
        physionet.download("no-such", "1.0", ["a.csv.gz"], tmp_path, settings(demo), False)


@pytest.mark.parametrize("name", ["../evil.csv", "/etc/evil.csv", "icu/../../evil.csv", "icu\\evil.csv"])
def test_a_listed_name_that_leaves_the_folder_is_refused(site: FakeSites, tmp_path: Path, name: str) -> None:
    site.files[SUMS] = f"{'0' * 64} {name}\n".encode()
    with pytest.raises(UserError, match="refused"):
        get_demo(site, tmp_path / "data")
    offer(site, [entry(1, name, b"evil")])
    with pytest.raises(UserError, match="refused"):
        dataverse.download_primekg(tmp_path / "data", settings(site, primekg="full"), False)
    assert on_disk(tmp_path) == []


def test_redirects_are_followed_but_bounded_and_never_to_another_scheme(demo: FakeSites, tmp_path: Path) -> None:
    demo.faults[CHART] = [status(302, Location="/mirror")]
    demo.files["/mirror"] = BODY
    get_demo(demo, tmp_path)
    assert (tmp_path / "icu/chartevents.csv.gz").read_bytes() == BODY
    demo.faults[STAYS] = [status(302, Location=STAYS)] * 20
    with pytest.raises(UserError, match=r"(?i)redirects"):
        get_demo(demo, tmp_path, names=("icustays",))
    demo.faults[STAYS] = [status(302, Location="ftp://127.0.0.1/x")]
    with pytest.raises(UserError, match="from http to ftp; refused"):
        get_demo(demo, tmp_path, names=("icustays",))


def test_credentials_in_the_address_are_used_and_never_shown(
    demo: FakeSites, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="emerge_ehr")
    address = f"{demo.url}/files".replace("http://", "http://ann:secret@")
    demo.faults[CHART] = [status(503, Retry_After="0")]
    files = ["icu/chartevents.csv.gz"]
    physionet.download("mimic-iv-demo", "2.2", files, tmp_path, Download(physionet_url=address), False)
    assert demo.asked(CHART)[0][0]["Authorization"].startswith("Basic ")
    assert "HTTP 503" in caplog.text and "secret" not in (tmp_path / "download.json").read_text()
    assert not any("secret" in r.getMessage() for r in caplog.records if r.name.startswith("emerge_ehr"))


def test_a_folder_that_cannot_be_written_is_an_os_error(demo: FakeSites, tmp_path: Path) -> None:
    (tmp_path / "icu").write_text("a file where the folder should be")
    with pytest.raises(OSError) as caught:
        get_demo(demo, tmp_path)
    assert caught.value.filename


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_leaves_nothing_under_the_final_name(demo: FakeSites, tmp_path: Path) -> None:
    (tmp_path / "icu").mkdir()
    (tmp_path / "icu/icustays.csv.gz.part").symlink_to("/dev/full")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetch, "_digest_of", lambda path, algorithm: (hashlib.new(algorithm), 0))
        with pytest.raises(OSError, match=r"No space left.*icustays"):
            get_demo(demo, tmp_path, names=("icustays",))
    assert not (tmp_path / "icu/icustays.csv.gz").exists()


@pytest.mark.parametrize(
    "choice, names",
    [
        ("standard", ["README.txt", "disease_features.tab", "kg.csv"]),
        ("lightweight", ["README.txt", "disease_features.tab"]),
        ("full", ["README.txt", "disease_features.tab", "kg.csv", "nodes.tab"]),
    ],
)
def test_the_sets_of_primekg(primekg: FakeSites, tmp_path: Path, choice: str, names: list[str]) -> None:
    dataverse.download_primekg(tmp_path, settings(primekg, primekg=choice), False)
    assert on_disk(tmp_path) == sorted([*names, "download.json"])
    before = (tmp_path / "download.json").read_bytes()
    assert json.loads(before)["files"]["README.txt"]["version"] == "2.1"
    primekg.requests.clear()
    dataverse.download_primekg(tmp_path, settings(primekg, primekg=choice), False)
    dataverse.download_primekg(tmp_path, settings(primekg, primekg=choice), True)
    assert not primekg.requests and (tmp_path / "download.json").read_bytes() == before


@pytest.mark.parametrize("sizes", [{"originalFileSize": len(UPLOAD)}, {}], ids=["size listed", "size not listed"])
def test_an_ingested_table_whose_checksum_is_the_uploads_is_fetched_as_uploaded(
    primekg: FakeSites, tmp_path: Path, sizes: dict[str, int]
) -> None:
    ingested = entry(2, "disease_features.tab", UPLOAD, originalFileFormat="text/csv", **sizes)
    ingested["dataFile"]["filesize"] = len(TABLE)
    offer(primekg, [entry(1, *KG_FILES[1]), ingested])
    primekg.files["/api/access/datafile/2?format=original"] = UPLOAD
    chosen = settings(primekg, primekg="lightweight")
    dataverse.download_primekg(tmp_path, chosen, False)
    assert on_disk(tmp_path) == ["README.txt", "disease_features.csv", "download.json"]
    primekg.requests.clear()
    dataverse.download_primekg(tmp_path, chosen, False)
    assert not primekg.requests


def test_a_damaged_ingested_table_is_refused_in_both_forms(primekg: FakeSites, tmp_path: Path) -> None:
    offer(primekg, [entry(1, *KG_FILES[1]), entry(2, "disease_features.tab", b"?" * len(TABLE), UNF="UNF:6:x==")])
    primekg.files["/api/access/datafile/2?format=original"] = UPLOAD
    with pytest.raises(UserError, match="md5"):
        dataverse.download_primekg(tmp_path, settings(primekg, primekg="lightweight"), False)
    assert on_disk(tmp_path) == ["README.txt", "download.json"]


def test_a_csv_put_there_by_hand_counts_for_the_tab(
    primekg: FakeSites, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "disease_features.csv").write_bytes(UPLOAD)
    dataverse.download_primekg(tmp_path, settings(primekg), False)
    assert not primekg.asked("/api/access/datafile/2") and not (tmp_path / "disease_features.tab").exists()
    assert "put there by hand" in caplog.text


def test_a_file_longer_than_announced_is_refused(primekg: FakeSites, tmp_path: Path) -> None:
    primekg.files["/api/access/datafile/3"] = BODY + b"more"
    with pytest.raises(UserError, match=r"kg\.csv: \d+ bytes were expected"):
        dataverse.download_primekg(tmp_path, settings(primekg), False)
    assert not (tmp_path / "kg.csv").exists() and not (tmp_path / "kg.csv.part").exists()


@pytest.mark.parametrize("answer", [b"<html>", b"{}", b'{"data": {"latestVersion": {"files": 3}}}'])
def test_an_answer_that_is_no_listing_is_one_line(site: FakeSites, tmp_path: Path, answer: bytes) -> None:
    site.files[LISTING] = answer
    with pytest.raises(UserError, match="listing"):
        dataverse.download_primekg(tmp_path, settings(site), False)


def test_offline_lists_all_that_is_missing_and_where_it_belongs(site: FakeSites, tmp_path: Path) -> None:
    config = Config(
        dataset="demo",
        run_name="demo",
        paths=Paths(raw_dir=tmp_path / "raw", kg_dir=tmp_path / "kg"),
        source=Component("mimic4", {"project": "mimic-iv-demo", "version": "2.2"}),
        offline=True,
        download=settings(site),
    )
    with pytest.raises(UserError) as caught:
        download.run(config)
    message = str(caught.value)
    for word in (
        "icu/chartevents.csv.gz",
        "hosp/patients.csv.gz",
        str(tmp_path / "raw"),
        "kg.csv",
        str(tmp_path / "kg"),
    ):
        assert word in message
    assert not site.requests and "\n" not in message and on_disk(tmp_path) == []


def test_offline_verifies_what_has_a_checksum_and_takes_the_rest_with_a_warning(
    demo: FakeSites, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "icu").mkdir()
    (tmp_path / "icu/chartevents.csv.gz").write_bytes(b"by hand")
    get_demo(demo, tmp_path, offline=True)
    assert "put there by hand" in caplog.text
    (tmp_path / "SHA256SUMS.txt").write_bytes(demo.files[SUMS])
    with pytest.raises(UserError, match=r"missing or damaged.*icu/chartevents\.csv\.gz"):
        get_demo(demo, tmp_path, offline=True)
    (tmp_path / "icu/chartevents.csv.gz").write_bytes(BODY)
    get_demo(demo, tmp_path, offline=True)
    assert not demo.requests


@pytest.mark.parametrize("choice", ["standard", "full"])
def test_offline_needs_primekgs_data_but_not_its_readme(site: FakeSites, tmp_path: Path, choice: str) -> None:
    (tmp_path / "disease_features.csv").write_bytes(UPLOAD)
    with pytest.raises(UserError, match=r"1 of 2 files .*: kg\.csv;"):
        dataverse.download_primekg(tmp_path, settings(site, primekg=choice), True)
    (tmp_path / "kg.csv").write_bytes(b"by hand")
    dataverse.download_primekg(tmp_path, settings(site, primekg=choice), True)
    assert not site.requests


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_without_network_files_put_by_hand_are_enough(tmp_path: Path) -> None:
    nowhere = Download(physionet_url=f"http://127.0.0.1:{closed_port()}")
    with pytest.raises(SiteUnreachableError, match=r"cannot reach 127\.0\.0\.1"):
        physionet.download("p", "1", ["a.csv.gz"], tmp_path, nowhere, False)
    (tmp_path / "a.csv.gz").write_bytes(b"by hand")
    physionet.download("p", "1", ["a.csv.gz"], tmp_path, nowhere, False)


def test_a_server_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "FIRST_CONTACT_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        chosen = Download(dataverse_url=f"http://127.0.0.1:{silent.getsockname()[1]}", read_timeout_seconds=0.5)
        with pytest.raises(SiteUnreachableError, match="no answer within"):
            dataverse.download_primekg(tmp_path, chosen, False)
        time.sleep(0.5)  # until the abandoned request has timed out and closed its socket


def test_the_command_line_says_in_one_line_that_a_host_is_unreachable(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        f'dataset = "demo"\nrun_name = "demo"\n[paths]\nraw_dir = "{tmp_path}/raw"\nkg_dir = "{tmp_path}/kg"\n'
        f'[download]\nphysionet_url = "http://127.0.0.1:{closed_port()}/files"\n'
        '[source]\nname = "mimic4"\nproject = "mimic-iv-demo"\nversion = "2.2"\n'
    )
    command = [sys.executable, str(MAIN), "--stage", "download", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=dict(os.environ), check=False)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2 and len(errors) == 1 and "Traceback" not in done.stderr
    for word in ("cannot reach 127.0.0.1", f"{tmp_path}/raw", "icu/chartevents.csv.gz", "make demo"):
        assert word in errors[0]


def test_the_stage_runs_both_sites(demo: FakeSites, primekg: FakeSites, tmp_path: Path) -> None:
    config = Config(
        dataset="demo",
        run_name="demo",
        paths=Paths(raw_dir=tmp_path / "raw", kg_dir=tmp_path / "kg"),
        source=Component("mimic4", {"project": "mimic-iv-demo", "version": "2.2"}),
        download=settings(demo),
    )
    with pytest.raises(UserError, match="does not list"):
        download.run(config)
    for folder, names in {
        "hosp": "patients admissions labevents diagnoses_icd d_icd_diagnoses procedures_icd d_icd_procedures",
        "icu": "icustays chartevents d_items",
    }.items():
        demo.files |= {f"/files/mimic-iv-demo/2.2/{folder}/{n}.csv.gz": n.encode() for n in names.split()}
    prefix = "/files/mimic-iv-demo/2.2/"
    offered = {path.removeprefix(prefix): body for path, body in demo.files.items() if path.startswith(prefix)}
    lines = [f"{hashlib.sha256(b).hexdigest()}  {p}\n" for p, b in offered.items() if p != "SHA256SUMS.txt"]
    demo.files[SUMS] = "".join(lines).encode()
    download.run(config)
    assert (tmp_path / "kg" / "kg.csv").read_bytes() == BODY
    primekg.requests.clear()
    download.run(dataclasses.replace(config, offline=True))
    assert not primekg.requests


def test_the_example_graph_is_written_without_a_download_and_never_into_another_graph(tmp_path: Path) -> None:
    folder = tmp_path / "example"
    for _ in range(2):
        download.write_example(folder)
        assert sorted(path.name for path in folder.iterdir()) == ["disease_features.csv", "kg.csv"]
    before = (folder / "kg.csv").read_bytes()
    (folder / "kg.csv").unlink()
    download.write_example(folder)
    assert (folder / "kg.csv").read_bytes() == before
    (folder / "kg.csv").write_text("relation\n")
    with pytest.raises(UserError, match=r"kg.csv: not of the example graph .* set another paths.kg_dir"):
        download.write_example(folder)
    assert (folder / "kg.csv").read_text() == "relation\n"
