"""Reads HTTP answers: which are final, which are worth another try, and how many bytes they announce."""

import email.utils
import ssl
import time
from dataclasses import dataclass

import httpx

from emerge_ehr.fields import UserError

BUSY = (408, 425, 429, 500, 502, 503, 504)


class SiteUnreachableError(UserError):
    """No connection could be made to the host."""


class MismatchError(UserError):
    """What came is not what was announced."""


class SiteBusyError(Exception):
    """An answer worth another try, after ``pause`` seconds where the server (or the case) says how long."""

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.pause = pause


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch: ``name`` is its path below the folder, ``size`` in bytes (None: not announced in advance)."""

    name: str
    url: str
    dataset: str
    version: str
    algorithm: str
    checksum: str
    size: int | None = None


def public(url: str) -> str:
    """The URL without user name, password and query, for logs and manifests."""
    try:
        return str(httpx.URL(url).copy_with(userinfo=b"", query=None))
    except httpx.InvalidURL:
        return "a malformed URL (see [download] in the config)"


def is_untrusted(error: BaseException | None) -> bool:
    """Whether a connection failed because nobody vouches for the host's certificate, or it is another host's."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def refuse_downgrade(response: httpx.Response) -> None:
    """Lets a redirect lead to https or to the same scheme.

    Raises:
        UserError: it leads elsewhere.
    """
    if response.has_redirect_location:
        target = response.url.join(response.headers["location"])
        if target.scheme not in ("https", response.url.scheme):
            raise UserError(
                f"{public(str(response.url))}: redirects from {response.url.scheme} to {target.scheme}; refused"
            )


def check_status(response: httpx.Response, advice: str) -> None:
    """Passes 200, 206 and 416.

    Raises:
        SiteBusyError: another try may help.
        UserError: it will not.
    """
    status, url = response.status_code, public(str(response.url))
    if status in BUSY:
        raise SiteBusyError(f"HTTP {status}", retry_after(response.headers.get("Retry-After", "")))
    if status in (401, 403):
        raise UserError(f"{url}: HTTP {status}: access is restricted; {advice}")
    if status not in (200, 206, 416):
        raise UserError(f"{url}: HTTP {status}; check [download] and the project's name and version, or {advice}")


def retry_after(value: str) -> float | None:
    """Seconds, from a number or a date (RFC 9110, 10.2.3); None for anything else.

    >>> retry_after("120"), retry_after("soon"), retry_after("²")
    (120.0, None, None)
    """
    if value.strip().isdecimal() and value.isascii():
        return float(value)
    try:
        return email.utils.parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None


def validator(response: httpx.Response) -> str:
    """A strong ETag or the date of change; If-Range takes no weak ones (RFC 9110, 13.1.5)."""
    etag: str = response.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else str(response.headers.get("Last-Modified", ""))


def fits(response: httpx.Response, have: int) -> bool:
    """Whether the answer is the whole file, or the range that begins after ``have`` bytes."""
    if response.status_code == 206:
        return bool(have) and str(response.headers.get("Content-Range", "")).startswith(f"bytes {have}-")
    return response.status_code == 200


def total_size(remote: RemoteFile, response: httpx.Response, have: int) -> int | None:
    """Bytes the whole file will have, as announced; None if nobody says.

    Raises:
        MismatchError: listing and answer disagree.
    """
    length = str(response.headers.get("Content-Length", ""))
    total = have + int(length) if length.isdigit() else None
    if total is not None and remote.size is not None and total != remote.size:
        raise MismatchError(f"{remote.name}: {remote.size} bytes were expected, the server announces {total}")
    return remote.size if total is None else total
