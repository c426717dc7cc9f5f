"""Fetches files over HTTP: resumes where a transfer broke off, retries, and keeps a file only if its checksum fits.

A file grows as ``NAME.part`` in its folder and is renamed to ``NAME`` once size and checksum are verified.
"""

import contextlib
import hashlib
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import httpx
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential_jitter

from emerge_ehr.config import Download
from emerge_ehr.fetch.http_answers import (
    MismatchError,
    RemoteFile,
    SiteBusyError,
    SiteUnreachableError,
    check_status,
    fits,
    is_untrusted,
    public,
    refuse_downgrade,
    total_size,
    validator,
)
from emerge_ehr.fields import UserError
from emerge_ehr.progress import bar
from emerge_ehr.storage.artefacts import naming

if TYPE_CHECKING:
    from hashlib import _Hash

log = logging.getLogger(__name__)
USER_AGENT = "emerge-ehr/0.1"
BACKOFF_SECONDS = 0.5  # the first pause, doubled at each retry
LONGEST_PAUSE_SECONDS = 60.0  # however long the back-off or the server's Retry-After would be
FIRST_CONTACT_SECONDS = 22.0  # until a host counts as unreachable, retries and name look-ups included
FIRST_CONTACT_RETRIES = 2
MAX_REDIRECTS = 5
MAX_LISTING_BYTES = 64 << 20
CHUNK_BYTES = 1 << 20
RESERVE_BYTES = 1 << 30  # left free on the disk by an answer of unknown length

R = TypeVar("R")


class Site:
    """One HTTP site while a stage fetches from it. ``advice``, what else the user can do, ends its error messages."""

    def __init__(self, client: httpx.Client, retries: int, advice: str) -> None:
        self._client = client
        self._retries = retries
        self._advice = advice
        self._validators: dict[str, str] = {}

    def text(self, url: str) -> str:
        """A small text, such as a listing. It is the first contact with the site, so this gives up early.

        Raises:
            SiteUnreachableError: no connection within ``FIRST_CONTACT_SECONDS``.
            UserError: any other failure.
        """
        deadline = time.monotonic() + FIRST_CONTACT_SECONDS

        def attempt() -> str:
            nonlocal deadline
            try:
                return _within(deadline - time.monotonic(), lambda: self._read(url))
            except SiteBusyError as busy:  # the host answers, so it is worth waiting for
                deadline = time.monotonic() + FIRST_CONTACT_SECONDS + (busy.pause or LONGEST_PAUSE_SECONDS)
                raise

        return self._retry(attempt, url, FIRST_CONTACT_RETRIES)

    def fetch(self, remote: RemoteFile, folder: Path) -> None:
        """Fetch ``remote`` into ``folder`` and verify it; a file of that name is replaced.

        Raises:
            MismatchError: size or checksum differ, twice.
            UserError: the server refuses, or the connection fails more often than the retries allow.
        """
        path = folder / remote.name
        part = path.with_name(f"{path.name}.part")
        path.parent.mkdir(parents=True, exist_ok=True)
        log.info("fetching %s from %s", remote.name, httpx.URL(remote.url).host)
        try:
            self._retry(lambda: self._transfer(remote, part), remote.url, self._retries)
        except MismatchError as mismatch:
            part.unlink(missing_ok=True)
            log.warning("%s; fetching it once more from the start", mismatch)
            try:
                self._retry(lambda: self._transfer(remote, part), remote.url, self._retries)
            except MismatchError as again:
                part.unlink(missing_ok=True)
                raise MismatchError(f"{again}; refused twice; try another day, or {self._advice}") from None
        part.replace(path)
        _sync(path.parent)
        log.info("fetched %s (%.1f MB)", remote.name, path.stat().st_size / 1e6)

    def _retry(self, attempt: Callable[[], R], url: str, connect_retries: int) -> R:
        def stop(state: RetryCallState) -> bool:
            failed_to_connect = isinstance(_failure(state), httpx.ConnectError | httpx.ConnectTimeout)
            limit = min(connect_retries, self._retries) if failed_to_connect else self._retries
            return state.attempt_number > limit or is_untrusted(_failure(state))

        def announce(state: RetryCallState) -> None:
            pause = state.next_action.sleep if state.next_action else 0.0
            log.warning("%s: %s; trying again in %.1f s", public(url), _reason(_failure(state)), pause)

        kinds = retry_if_exception_type((SiteBusyError, httpx.TransportError))
        try:
            return Retrying(retry=kinds, stop=stop, wait=_pause, before_sleep=announce, reraise=True)(attempt)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            if is_untrusted(error):
                raise UserError(
                    f"{httpx.URL(url).host}: its certificate is not trusted ({_reason(error)}), so it may be somebody else; "
                    f"refused; if your network has an authority of its own, name its file in SSL_CERT_FILE; or {self._advice}"
                ) from None
            raise SiteUnreachableError(
                f"cannot reach {httpx.URL(url).host} ({_reason(error)}); {self._advice}"
            ) from None
        except (SiteBusyError, httpx.RequestError, httpx.InvalidURL) as error:
            tried = f"{public(url)}: {_reason(error)}"
            raise UserError(
                f"{tried}; run again later to resume (what has arrived is kept); or {self._advice}"
            ) from None

    def _read(self, url: str) -> str:
        with self._client.stream("GET", url) as response:
            check_status(response, self._advice)
            content = bytearray()
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > MAX_LISTING_BYTES:
                    raise MismatchError(f"{public(url)}: longer than {MAX_LISTING_BYTES} bytes; a listing was expected")
        return content.decode("utf-8", errors="replace")

    def _transfer(self, remote: RemoteFile, part: Path) -> None:
        """One attempt to append to ``part`` the bytes that it lacks; returns once the whole file is verified."""
        digest, have = _digest_of(part, remote.algorithm)
        if have and digest.hexdigest() == remote.checksum:
            return
        if have and remote.size is not None and have >= remote.size:
            part.unlink()
            digest, have = _empty(remote.algorithm), 0
        with self._client.stream("GET", remote.url, headers=self._range(remote.url, have)) as response:
            check_status(response, self._advice)
            if not fits(response, have):
                part.unlink(missing_ok=True)
                raise SiteBusyError("the server cannot resume there; starting over", pause=0.0)
            if response.status_code == 200:
                digest, have = _empty(remote.algorithm), 0
            self._validators[remote.url] = validator(response)
            total = total_size(remote, response, have)
            have = _write(response, part, digest, have, total)
        if total is not None and have < total:
            raise httpx.RemoteProtocolError(f"cut off after {have} of {total} bytes")
        if digest.hexdigest() != remote.checksum:
            raise MismatchError(
                f"{remote.name}: {remote.algorithm} {remote.checksum} was expected, {digest.hexdigest()} came ({have} bytes)"
            )

    def _range(self, url: str, have: int) -> dict[str, str]:
        if not have:
            return {}
        validator = self._validators.get(url)
        return {"Range": f"bytes={have}-"} | ({"If-Range": validator} if validator else {})


@contextlib.contextmanager
def open_site(settings: Download, advice: str) -> Iterator[Site]:
    """A ``Site`` for the block, at whose end its connections are closed."""
    with httpx.Client(
        timeout=httpx.Timeout(settings.read_timeout_seconds, connect=settings.connect_timeout_seconds),
        # identity: ranges and announced sizes count the file's bytes, not those of a compressed answer
        headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
        follow_redirects=True,
        max_redirects=MAX_REDIRECTS,
        event_hooks={"response": [refuse_downgrade]},
    ) as client:
        yield Site(client, settings.retries, advice)


def _digest_of(path: Path, algorithm: str) -> tuple["_Hash", int]:
    """A hash that has read the file, and the file's size in bytes; without a file, an empty hash and 0."""
    digest, size = _empty(algorithm), 0
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return digest, size


def _empty(algorithm: str) -> "_Hash":
    return hashlib.new(algorithm, usedforsecurity=False)


def _within(seconds: float, call: Callable[[], R]) -> R:
    """The result of ``call()`` within so many seconds.

    It runs in a daemon thread: a name look-up, or a host with many addresses, does not respect httpx's time-outs.
    """
    future: Future[R] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except (UserError, SiteBusyError, httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        return future.result(timeout=max(seconds, 0.01))
    except TimeoutError:
        raise httpx.ConnectTimeout(f"no answer within {FIRST_CONTACT_SECONDS:.0f} s") from None


def _failure(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _reason(error: BaseException | None) -> str:
    return str(error) or type(error).__name__


def _pause(state: RetryCallState) -> float:
    error = _failure(state)
    if isinstance(error, SiteBusyError) and error.pause is not None:
        return min(max(error.pause, 0.0), LONGEST_PAUSE_SECONDS)
    growing = wait_exponential_jitter(multiplier=BACKOFF_SECONDS, max=LONGEST_PAUSE_SECONDS / 2, jitter=BACKOFF_SECONDS)
    return growing(state)


def _write(response: httpx.Response, part: Path, digest: "_Hash", have: int, total: int | None) -> int:
    """Append the answer to ``part``, which holds ``have`` bytes, and to ``digest``; the number of bytes it then holds."""
    room = _room(part, have, total)
    shown = bar(title=part.stem, unit="B", total=total, done=have, scale=True)
    with shown, naming(part), part.open("ab" if have else "wb") as file:
        for chunk in response.iter_raw():
            have += len(chunk)
            if total is not None and have > total:
                raise MismatchError(f"{part.stem}: {total} bytes were announced, more came")
            if have > room:
                part.unlink()
                raise UserError(
                    f"{part}: its length was not announced, and after {have} bytes the disk is almost full; free some space "
                    "and run again"
                )
            digest.update(chunk)
            file.write(chunk)
            shown.update(len(chunk))
        file.flush()
        os.fsync(file.fileno())
    return have


def _room(part: Path, have: int, total: int | None) -> int:
    """The number of bytes that ``part`` may grow to.

    Raises:
        UserError: the announced length does not fit on the disk.
    """
    free = shutil.disk_usage(part.parent).free
    if total is not None and total - have > free:
        raise UserError(f"{part}: {total} bytes were announced, but only {free} are free on that disk; free some space")
    return max(have + free - RESERVE_BYTES, 0) if total is None else total


def _sync(folder: Path) -> None:
    """Make a rename in ``folder`` survive a power cut, where the system allows a folder to be opened."""
    with contextlib.suppress(PermissionError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
