"""Fetches files over HTTP so that a file under its final name is always whole and verified.

Bytes go to ``<name>.part``; a cut connection is resumed from there by a range request. Only what has the announced size and
checksum is renamed. What was fetched stands in ``download.json`` beside the files.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter
from tqdm import tqdm

from src.config import Download, UserError
from src.datasets.artefacts import first_line, read_json, write_json

log = logging.getLogger(__name__)
MANIFEST = "download.json"
LONGEST_WAIT_SECONDS = 60.0
FIRST_WAIT_SECONDS = 0.5
CONTACT_ATTEMPTS = 3
CHUNK = 1 << 20
T = TypeVar("T")


@dataclass(frozen=True)
class RemoteFile:
    """One file to fetch. ``name`` is relative to the target folder; ``size`` in bytes where the site announces it."""

    name: str
    url: str
    algorithm: str
    checksum: str
    version: str
    size: int | None = None


class _TransientError(Exception):
    """A fault that may pass; ``seconds`` is the server's own wish."""

    def __init__(self, message: str, seconds: float | None = None) -> None:
        super().__init__(message)
        self.seconds = seconds


class _UnreachableError(_TransientError):
    """No connection came about at all."""


def client(settings: Download) -> httpx.Client:
    """An HTTP client that follows redirects only to the same scheme or to https; TLS is verified."""
    timeout = httpx.Timeout(settings.read_timeout_seconds, connect=settings.connect_timeout_seconds)
    hooks = {"request": [_refuse_downgrade(set())]}
    headers = {"User-Agent": "emerge-ehr/0.1", "Accept-Encoding": "identity"}
    return httpx.Client(timeout=timeout, follow_redirects=True, max_redirects=5, headers=headers, event_hooks=hooks)


def _refuse_downgrade(seen: set[str]) -> Callable[[httpx.Request], None]:
    def check(request: httpx.Request) -> None:
        if request.url.scheme == "http" and "https" in seen:
            raise UserError(f"{request.url}: refused: a redirect from https to http")
        seen.add(request.url.scheme)

    return check


def get(web: httpx.Client, url: str, settings: Download, where_by_hand: Path) -> bytes:
    """A small file (a listing), whole.

    Raises:
        UserError: the site cannot be reached or does not have it.
    """

    def once() -> bytes:
        try:
            response = web.get(url)
        except httpx.TransportError as error:
            raise _UnreachableError(first_line(error)) from error
        _check_status(response)
        return response.content

    return _with_retries(once, url, settings, where_by_hand)


def fetch_all(web: httpx.Client, files: Sequence[RemoteFile], target: Path, settings: Download) -> None:
    """Fetch what is not there and verified already, and keep the manifest.

    Raises:
        UserError: a file cannot be fetched, or is not what was announced.
    """
    manifest = read_manifest(target)
    for file in files:
        _refuse_traversal(file.name)
        path = target / file.name
        if path.is_file() and _is_whole(path, file):
            log.info("%s: there and verified", path)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            _fetch(web, file, path, settings)
        known = manifest.get(file.name, {})
        if known.get("checksum") != file.checksum:
            fetched = datetime.now(UTC).isoformat(timespec="seconds")
            manifest[file.name] = {**asdict(file), "size": path.stat().st_size, "fetched": fetched}
            aside = target / f"{MANIFEST}.part"
            write_json(aside, manifest)
            aside.replace(target / MANIFEST)


def read_manifest(target: Path) -> dict[str, Any]:
    """What was fetched into ``target`` before: name -> url, version, size, checksum, time."""
    path = target / MANIFEST
    return dict(read_json(path, "download")) if path.is_file() else {}


def verified(target: Path, names: Sequence[str]) -> bool:
    """Whether all ``names`` are there as the manifest has them, so that no request is needed."""
    manifest = read_manifest(target)
    fields = ("name", "url", "algorithm", "checksum", "version", "size")
    return all(
        name in manifest
        and (target / name).is_file()
        and _is_whole(target / name, RemoteFile(**{field: manifest[name][field] for field in fields}))
        for name in names
    )


def digest(path: Path, algorithm: str) -> str:
    """The file's checksum, streamed."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _is_whole(path: Path, file: RemoteFile) -> bool:
    if file.size is not None and path.stat().st_size != file.size:
        return False
    return digest(path, file.algorithm) == file.checksum


def _refuse_traversal(name: str) -> None:
    if Path(name).is_absolute() or ".." in Path(name).parts or "\\" in name:
        raise UserError(f"the site lists a file named '{name}', which would leave the target folder: refused")


def _fetch(web: httpx.Client, file: RemoteFile, path: Path, settings: Download) -> None:
    part = path.with_name(f"{path.name}.part")
    for _ in range(2):
        _with_retries(lambda: _continue(web, file, part), file.url, settings, path)
        found = digest(part, file.algorithm)
        if found == file.checksum:
            with part.open("rb") as written:
                os.fsync(written.fileno())
            part.replace(path)
            return
        part.unlink()
        log.warning("%s: wrong %s, fetching it once more", file.name, file.algorithm)
    raise UserError(
        f"{file.url}: {file.algorithm} is {found}, expected {file.checksum}; nothing was kept. Try again or use a mirror"
    )


def _continue(web: httpx.Client, file: RemoteFile, part: Path) -> None:
    """One request for what is still missing, appended to ``part``."""
    have = part.stat().st_size if part.is_file() else 0
    if file.size is not None and have >= file.size:
        if have == file.size:
            return
        part.unlink()
        have = 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    try:
        with web.stream("GET", file.url, headers=headers) as response:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.unlink()
                raise _TransientError("the server refused to resume")
            _check_status(response)
            resumed = response.status_code == httpx.codes.PARTIAL_CONTENT
            _append(response, file, part, have if resumed else 0)
    except httpx.TransportError as error:
        kind = _UnreachableError if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout) else _TransientError
        raise kind(first_line(error)) from error


def _append(response: httpx.Response, file: RemoteFile, part: Path, have: int) -> None:
    announced = int(response.headers.get("Content-Length", 0))
    total = file.size or (announced + have if announced else None)
    bar = tqdm(total=total, initial=have, desc=file.name, unit="B", unit_scale=True, unit_divisor=1024, disable=None)
    with bar, part.open("ab" if have else "wb") as out:
        for block in response.iter_bytes(CHUNK):
            have += len(block)
            if total is not None and have > total:
                raise UserError(f"{file.url}: sends more than the {total} bytes it announced: refused")
            out.write(block)
            bar.update(len(block))
    if total is not None and have < total:
        raise _TransientError(f"the connection ended after {have} of {total} bytes")


def _check_status(response: httpx.Response) -> None:
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS or response.status_code >= 500:
        raise _TransientError(f"HTTP {response.status_code}", _retry_after(response))
    if response.is_error:
        raise UserError(
            f"{response.url}: HTTP {response.status_code} {response.reason_phrase}; check the URL in [download]"
        )


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds, or a date, as RFC 9110 section 10.2.3 has it."""
    value = response.headers.get("Retry-After", "")
    try:
        return float(value) if value.isdigit() else (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError):
        return None


def _with_retries(action: Callable[[], T], url: str, settings: Download, where_by_hand: Path) -> T:
    backoff = wait_exponential_jitter(initial=FIRST_WAIT_SECONDS, max=LONGEST_WAIT_SECONDS)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        wished = error.seconds if isinstance(error, _TransientError) else None
        return backoff(state) if wished is None else min(max(wished, 0.0), LONGEST_WAIT_SECONDS)

    def stop(state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        limit = (
            min(CONTACT_ATTEMPTS, settings.retries + 1)
            if isinstance(error, _UnreachableError)
            else settings.retries + 1
        )
        return stop_after_attempt(limit)(state)

    try:
        return Retrying(retry=retry_if_exception_type(_TransientError), wait=wait, stop=stop, reraise=True)(action)
    except _UnreachableError as error:
        host = httpx.URL(url).host
        raise UserError(
            f"cannot reach {host} ({error}); put the files into {where_by_hand} by hand and use --offline; "
            "`make demo` needs no download"
        ) from None
    except _TransientError as error:
        raise UserError(
            f"{url}: gave up after {settings.retries + 1} attempts: {error}; run it again to resume"
        ) from None
