"""PrimeKG's files from Harvard Dataverse, verified against the checksums of its listing.

Dataverse keeps an uploaded table ("ingested") as ``NAME.tab`` and offers the upload itself as ``?format=original``. Depending on
Dataverse's version and the file's age, the listed checksum is that of one or of the other (issues 5321 and 9501 of
IQSS/dataverse). So an ingested table is fetched as ``.tab``; if that contradicts the listing, the original is fetched. One of the
two must fit.
"""

import dataclasses
import json
import logging
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import httpx

from emerge_ehr.config import Download
from emerge_ehr.fetch.http_answers import MismatchError, RemoteFile, SiteUnreachableError
from emerge_ehr.fetch.record import DownloadRecord, forms, require, safe
from emerge_ehr.fetch.site import Site, open_site
from emerge_ehr.fields import UserError

log = logging.getLogger(__name__)
STANDARD = ("README.txt", "disease_features.tab", "kg.csv")
LIGHTWEIGHT = ("README.txt", "disease_features.tab")
ALGORITHMS = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-512": "sha512"}
ORIGINAL_SUFFIXES = {"text/csv": ".csv", "text/comma-separated-values": ".csv", "text/tsv": ".tsv"}


@dataclasses.dataclass(frozen=True)
class Listed:
    """A file of the listing; ``original`` is the upload behind an ingested table."""

    remote: RemoteFile
    original: RemoteFile | None = None


def download_primekg(target: Path, settings: Download, offline: bool) -> None:
    """Download the files that ``settings.primekg`` asks for into ``target``; files that are there and verified are left alone.

    Raises:
        UserError: offline and files are missing; or the site cannot be reached, refuses, or sends damaged files.
    """
    record = DownloadRecord(target, settings.primekg_doi)
    last_listed = read_listing(record.listing, settings) if record.listing else {}
    names = _names_to_fetch(settings, list(last_listed))
    announced = {name: last_listed[name].remote for name in names if name in last_listed}
    data = [name for name in names if not name.endswith(".txt")]  # the README may be missing
    if offline:
        require(data, record, announced)
        return
    if (last_listed or settings.primekg != "full") and all(record.recorded(name) for name in names):
        log.info("PrimeKG: %d files are there and verified in %s", len(names), target)
        return
    files = ", ".join(names) if last_listed or settings.primekg != "full" else "all files of the dataset"
    advice = f"put PrimeKG's {files} into {target} by hand; `make demo` needs no download"
    with open_site(settings, advice) as site:
        try:
            listing = _ask_listing(site, settings)
        except SiteUnreachableError as unreachable:
            if not all(record.present(name, announced.get(name)) for name in data):
                raise
            log.warning("%s; all data files are there, so going on without", unreachable)
            return
        listed = read_listing(listing, settings)
        for name in _names_to_fetch(settings, list(listed)):
            _download_listed(_find(listed, name, settings), record, site)
        record.keep_listing(listing)


def read_listing(listing: Any, settings: Download) -> dict[str, Listed]:
    """The files of a listing (Dataverse's ``latestVersion``), by name.

    Raises:
        UserError: it has another form, names a file twice, or a name leads out of the folder.
    """
    where = f"Dataverse's listing of {settings.primekg_doi}"
    files: dict[str, Listed] = {}
    try:
        version = f"{listing['versionNumber']}.{listing['versionMinorNumber']}"
        entries = [(entry, entry["dataFile"]) for entry in listing["files"]]
        for entry, data in entries:
            name = safe(str(entry.get("label") or data["filename"]), where)
            if name in files:
                raise UserError(f"{where}: two files are called {name}")
            files[name] = _listed(name, data, version, settings, where)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{where}: not of the known form ({type(error).__name__}: {error})") from None
    return files


def _listed(name: str, data: dict[str, Any], version: str, settings: Download, where: str) -> Listed:
    kind, value = "MD5", data.get("md5")
    if not value:
        kind, value = data["checksum"]["type"], data["checksum"]["value"]
    if kind not in ALGORITHMS:
        raise UserError(f"{where}: {name} has a checksum of kind {kind!r}; known: {', '.join(ALGORITHMS)}")
    url = f"{settings.dataverse_url.rstrip('/')}/api/access/datafile/{int(data['id'])}"
    checksum = str(value).lower()
    remote = RemoteFile(name, url, settings.primekg_doi, version, ALGORITHMS[kind], checksum, int(data["filesize"]))
    if not (data.get("originalFileFormat") or data.get("UNF") or data.get("tabularData")):
        return Listed(remote)
    suffix = ORIGINAL_SUFFIXES.get(str(data.get("originalFileFormat")), ".csv")
    original_name = safe(str(data.get("originalFileName") or PurePosixPath(name).with_suffix(suffix)), where)
    size = data.get("originalFileSize")
    original = dataclasses.replace(
        remote, name=original_name, url=f"{url}?format=original", size=None if size is None else int(size)
    )
    return Listed(remote, original)


def _ask_listing(site: Site, settings: Download) -> Any:
    query = httpx.QueryParams({"persistentId": settings.primekg_doi})
    url = f"{settings.dataverse_url.rstrip('/')}/api/datasets/:persistentId/?{query}"
    text = site.text(url)
    try:
        return json.loads(text)["data"]["latestVersion"]
    except (json.JSONDecodeError, KeyError, TypeError):
        raise UserError(
            f"{settings.dataverse_url}: its answer for {settings.primekg_doi} is not a listing; check download.dataverse_url "
            "and download.primekg_doi"
        ) from None


def _names_to_fetch(settings: Download, listed: Sequence[str]) -> Sequence[str]:
    if settings.primekg == "full":
        return listed or STANDARD  # before the first listing, at least these
    return LIGHTWEIGHT if settings.primekg == "lightweight" else STANDARD


def _find(listed: dict[str, Listed], name: str, settings: Download) -> Listed:
    for form in forms(name):
        if form in listed:
            return listed[form]
    raise UserError(f"{settings.primekg_doi}: its listing has no {name}; it has: {', '.join(sorted(listed))}")


def _download_listed(listed: Listed, record: DownloadRecord, site: Site) -> None:
    remote, original = listed.remote, listed.original
    if any(record.adopt(candidate) for candidate in (remote, original) if candidate is not None):
        return
    if record.present(remote.name, remote):
        return
    try:
        site.fetch(remote, record.folder)
        record.add(remote)
    except MismatchError as mismatch:
        if original is None:
            raise
        log.warning("%s; the listing describes the table as uploaded, so fetching that", mismatch)
        site.fetch(original, record.folder)
        record.add(original)
