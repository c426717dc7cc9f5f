"""Reads HTTP answers: which are final, which deserve another attempt, and how many bytes they announce."""

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
    """The bytes that arrived do not match the announced size or checksum."""


class SiteBusyError(Exception):
    """An answer after which another attempt may succeed; ``pause``: seconds to wait first, None if the server names none."""

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
    """Whether a connection failed because the host's certificate is not trusted, or belongs to another host."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def refuse_downgrade(response: httpx.Response) -> None:
    """Check that a redirect leads to https, or keeps the scheme.

    Raises:
        UserError: it leads from https to another scheme.
    """
    if response.has_redirect_location:
        target = response.url.join(response.headers["location"])
        if target.scheme not in ("https", response.url.scheme):
            raise UserError(
                f"{public(str(response.url))}: redirects from {response.url.scheme} to {target.scheme}; refused"
            )


def check_status(response: httpx.Response, advice: str) -> None:
    """Check that the status is 200, 206 or 416.

    Raises:
        SiteBusyError: another attempt may succeed.
        UserError: none will.
    """
    status, url = response.status_code, public(str(response.url))
    if status in BUSY:
        raise SiteBusyError(f"HTTP {status}", retry_after(response.headers.get("Retry-After", "")))
    if status in (401, 403):
        raise UserError(f"{url}: HTTP {status}: access is restricted; {advice}")
    if status not in (200, 206, 416):
        raise UserError(f"{url}: HTTP {status}; check [download] and the project's name and version, or {advice}")


def retry_after(value: str) -> float | None:
    """The seconds to wait that ``Retry-After`` gives as a number or a date (RFC 9110, 10.2.3); None for anything else.

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
    """The value for If-Range: a strong ETag, or the date of change; weak ETags are not allowed (RFC 9110, 13.1.5)."""
    etag: str = response.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else str(response.headers.get("Last-Modified", ""))


def fits(response: httpx.Response, have: int) -> bool:
    """Whether the answer is the whole file, or the range that begins after ``have`` bytes."""
    if response.status_code == 206:
        return bool(have) and str(response.headers.get("Content-Range", "")).startswith(f"bytes {have}-")
    return response.status_code == 200


def total_size(remote: RemoteFile, response: httpx.Response, have: int) -> int | None:
    """The announced size of the whole file in bytes; None if neither listing nor answer gives it.

    Raises:
        MismatchError: listing and answer disagree.
    """
    length = str(response.headers.get("Content-Length", ""))
    total = have + int(length) if length.isdigit() else None
    if total is not None and remote.size is not None and total != remote.size:
        raise MismatchError(f"{remote.name}: {remote.size} bytes were expected, the server announces {total}")
    return remote.size if total is None else total
