"""Fetches files over HTTP: resumed where they broke off, retried with patience, and kept only when the checksum fits.

A file grows as ``NAME.part`` beside its place and gets its name by ``os.replace`` after size and checksum were verified.
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
LONGEST_PAUSE_SECONDS = 60.0  # bounds the back-off and a server's Retry-After
FIRST_CONTACT_SECONDS = 22.0  # in all, retries and name look-ups included, until a host counts as unreachable
FIRST_CONTACT_RETRIES = 2
MAX_REDIRECTS = 5
MAX_LISTING_BYTES = 64 << 20
CHUNK_BYTES = 1 << 20
RESERVE_BYTES = 1 << 30  # of the disk, that an answer of unknown length must leave

R = TypeVar("R")


class Site:
    """One HTTP site while a stage fetches from it. ``advice`` ends the error line when it cannot be reached."""

    def __init__(self, client: httpx.Client, retries: int, advice: str) -> None:
        self._client = client
        self._retries = retries
        self._advice = advice
        self._validators: dict[str, str] = {}

    def text(self, url: str) -> str:
        """A small text, such as a listing: the first contact with the site, so it gives up early.

        Raises:
            SiteUnreachableError: no connection within ``FIRST_CONTACT_SECONDS``.
            UserError: any other failure.
        """
        deadline = time.monotonic() + FIRST_CONTACT_SECONDS

        def attempt() -> str:
            nonlocal deadline
            try:
                return _within(deadline - time.monotonic(), lambda: self._read(url))
            except SiteBusyError as busy:  # somebody is there
                deadline = time.monotonic() + FIRST_CONTACT_SECONDS + (busy.pause or LONGEST_PAUSE_SECONDS)
                raise

        return self._retry(attempt, url, FIRST_CONTACT_RETRIES)

    def fetch(self, remote: RemoteFile, folder: Path) -> None:
        """``remote`` under ``folder``, verified; a file of that name is replaced.

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
            raise UserError(f"{tried}; run again later, what came is kept and resumed; or {self._advice}") from None

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
        """One attempt: what ``part`` lacks, appended; returns when the whole was verified."""
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
            got = digest.hexdigest()
            raise MismatchError(
                f"{remote.name}: {remote.algorithm} {remote.checksum} was expected, {got} came ({have} bytes)"
            )

    def _range(self, url: str, have: int) -> dict[str, str]:
        if not have:
            return {}
        seen = self._validators.get(url)
        return {"Range": f"bytes={have}-"} | ({"If-Range": seen} if seen else {})


@contextlib.contextmanager
def open_site(settings: Download, advice: str) -> Iterator[Site]:
    """A ``Site`` whose connections are closed at the end."""
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
    """A hash that has seen the file, and the file's size; of nothing if there is no file."""
    digest, size = _empty(algorithm), 0
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return digest, size


def _empty(algorithm: str) -> "_Hash":
    return hashlib.new(algorithm, usedforsecurity=False)


def _within(seconds: float, call: Callable[[], R]) -> R:
    """``call()`` in a daemon thread, since neither a name look-up nor a host with many addresses heeds time-outs."""
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
    """Append the answer to ``part`` (from ``have`` on) and to ``digest``; the bytes there are now."""
    room = _room(part, have, total)
    shown = bar(what=part.stem, unit="B", total=total, done=have, scale=True)
    with shown, naming(part), part.open("ab" if have else "wb") as file:
        for chunk in response.iter_raw():
            have += len(chunk)
            if total is not None and have > total:
                raise MismatchError(f"{part.stem}: {total} bytes were announced, more came")
            if have > room:
                part.unlink()
                raise UserError(
                    f"{part}: its length was not announced, and {have} bytes leave no room on the disk; refused"
                )
            digest.update(chunk)
            file.write(chunk)
            shown.update(len(chunk))
        file.flush()
        os.fsync(file.fileno())
    return have


def _room(part: Path, have: int, total: int | None) -> int:
    """The bytes that ``part`` may grow to.

    Raises:
        UserError: it will be longer.
    """
    free = shutil.disk_usage(part.parent).free
    if total is not None and total - have > free:
        raise UserError(f"{part}: {total} bytes were announced, but only {free} are free on that disk")
    return max(have + free - RESERVE_BYTES, 0) if total is None else total


def _sync(folder: Path) -> None:
    """Make a rename in ``folder`` outlive a power cut, where the system lets a folder be opened."""
    with contextlib.suppress(PermissionError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
