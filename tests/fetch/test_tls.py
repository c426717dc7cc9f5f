"""Who is at the other end: certificates are verified against real HTTPS servers, and nothing can switch that off."""

import asyncio
import datetime
import fnmatch
import hashlib
import ipaddress
import shutil
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from emerge_ehr.config import Download
from emerge_ehr.embeddings._models import model_files
from emerge_ehr.fetch import physionet
from emerge_ehr.fetch import site as fetch
from emerge_ehr.fetch.http_answers import SiteUnreachableError
from emerge_ehr.fields import UserError
from emerge_ehr.llm.balance import Balance, Member
from emerge_ehr.llm.endpoint import Endpoint
from emerge_ehr.llm.pace import Pace

BODY = b"patients"
NOW = datetime.datetime.now(datetime.UTC)


class Site(BaseHTTPRequestHandler):
    requested: list[str]

    def do_GET(self) -> None:
        self.requested.append(self.path)
        listed = f"{hashlib.sha256(BODY).hexdigest()} a.csv.gz\n".encode()
        body = listed if self.path.endswith("SHA256SUMS.txt") else BODY
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """Says nothing: the tests expect the client to break off handshakes."""


def certificate(folder: Path, host: str, days: int) -> Path:
    """Certificate and key in one file, signed by itself, valid until in ``days``."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    address: x509.GeneralName = x509.DNSName(host)
    if host[0].isdigit():
        address = x509.IPAddress(ipaddress.ip_address(host))
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - datetime.timedelta(days=30))
        .not_valid_after(NOW + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    path = folder / f"{host}.{days}.pem"
    private = key.private_bytes(serialization.Encoding.PEM, form, plain)
    path.write_bytes(built.public_bytes(serialization.Encoding.PEM) + private)
    return path


@pytest.fixture
def https(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], tuple[str, list[str]]]]:
    """Starts a server with a certificate; returns its URL, and the list of the paths that are requested from it."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    running: list[tuple[Server, threading.Thread]] = []

    def start(pem: Path) -> tuple[str, list[str]]:
        requested: list[str] = []
        server = Server(("127.0.0.1", 0), type("Own", (Site,), {"requested": requested}))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        running.append((server, thread))
        return f"https://127.0.0.1:{server.server_port}", requested

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


def get(url: str, folder: Path) -> None:
    physionet.download("demo", "1", ["a.csv.gz"], folder, Download(physionet_url=f"{url}/files"), False)


CASES = {"signed by nobody": ("127.0.0.1", 30), "of another host": ("example.org", 30), "expired": ("127.0.0.1", -1)}


@pytest.mark.parametrize("case", CASES)
def test_a_certificate_that_nobody_vouches_for_is_refused_at_once(
    https: Callable[..., Any], case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = certificate(tmp_path, *CASES[case])
    if case != "signed by nobody":
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    url, requested = https(pem)
    with pytest.raises(
        UserError, match=r"127\.0\.0\.1: its certificate is not trusted .*refused.*SSL_CERT_FILE"
    ) as caught:
        get(url, tmp_path / "data")
    assert not isinstance(caught.value, SiteUnreachableError) and "\n" not in str(caught.value)
    assert not requested and not [path for path in tmp_path.rglob("*") if path.is_file() and path != pem]


def test_a_certificate_of_an_authority_the_user_named_is_accepted(
    https: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = certificate(tmp_path, "127.0.0.1", 30)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    url, requested = https(pem)
    get(url, tmp_path / "data")
    assert (tmp_path / "data/a.csv.gz").read_bytes() == BODY and len(requested) == 2


def test_no_note_is_sent_to_a_language_model_whose_certificate_is_not_trusted(
    https: Callable[..., Any], tmp_path: Path
) -> None:
    url, requested = https(certificate(tmp_path, "127.0.0.1", 30))

    async def ask() -> None:
        endpoint = Endpoint(httpx.URL(url), "sk-key", 5.0)
        balance = Balance([Member(endpoint, Pace(0, 0), 1)], retries=3)
        async with balance.opened():
            await balance.complete({"messages": ["a note"]}, 1)

    with pytest.raises(UserError, match=r"its certificate is not trusted; nothing was sent"):
        asyncio.run(ask())
    assert not requested


class Endless(BaseHTTPRequestHandler):
    """Lists a file, and sends bytes without end; announces a wrong length, or none."""

    announced: str | None

    def do_GET(self) -> None:
        listed = f"{hashlib.sha256(BODY).hexdigest()} a.csv.gz\n".encode()
        whole = self.path.endswith("SHA256SUMS.txt")
        self.send_response(200)
        length = str(len(listed)) if whole else self.announced
        if length:
            self.send_header("Content-Length", length)
        self.end_headers()
        try:
            self.wfile.write(listed)
            while not whole:
                self.wfile.write(b"\0" * 65536)
        except OSError:
            pass
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


@pytest.mark.parametrize("announced", [None, str(1 << 60)])
def test_an_answer_without_end_does_not_fill_the_disk(
    announced: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = 4 << 20
    monkeypatch.setattr(fetch, "RESERVE_BYTES", shutil.disk_usage(tmp_path).free - room)
    for name in ("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server(("127.0.0.1", 0), type("Own", (Endless,), {"announced": announced})) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        with pytest.raises(UserError, match=r"the disk is almost full|are free on that disk") as caught:
            get(f"http://127.0.0.1:{server.server_port}", tmp_path)
        server.shutdown()
    assert "\n" not in str(caught.value)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 1000  # what came of it is gone


def test_of_a_model_on_the_hub_no_code_and_no_other_pickle_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    calls: list[dict[str, Any]] = []

    def snapshot_download(model: str, **options: Any) -> str:
        calls.append(options)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(UserError, match="holds neither"):
        model_files.download("owner/model", "0" * 40, False, "encoder x")
    patterns = [pattern for options in calls for pattern in options["allow_patterns"]]
    for name in ("modeling_own.py", "own/code.py", "weights.pkl", "training_args.bin", "model.pt", "a.so", "setup.sh"):
        assert not any(fnmatch.fnmatch(name, pattern) for pattern in patterns), name
    assert all(options["revision"] == "0" * 40 for options in calls)
