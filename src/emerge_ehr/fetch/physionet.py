"""Files of a PhysioNet project, verified against the project's ``SHA256SUMS.txt``."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from emerge_ehr.config import Download
from emerge_ehr.fetch.http_answers import RemoteFile, SiteUnreachableError
from emerge_ehr.fetch.record import DownloadRecord, require, safe
from emerge_ehr.fetch.site import Site, open_site
from emerge_ehr.fields import UserError
from emerge_ehr.storage.artefacts import replacing

log = logging.getLogger(__name__)
SUMS = "SHA256SUMS.txt"
OPEN = ("mimic-iv-demo", "mimiciii-demo", "eicu-crd-demo")  # open to everyone, without a data use agreement


def verified(project: str, folder: Path) -> frozenset[str]:
    """The SHA-256 of the files of an open project that ``download`` verified against the project's list, for ``folder``.

    The record of the downloads says so, and nothing else does: a list of checksums beside the files can be made by anybody.
    Whether a file is one of these is for the caller to compare. Empty if the project is not open, or nothing was downloaded.
    """
    if project not in OPEN:
        return frozenset()
    entries = DownloadRecord(folder, project).entries()
    return frozenset(str(entry.get("checksum")) for entry in entries if entry.get("algorithm") == "sha256")


def download(project: str, version: str, files: Sequence[str], target: Path, settings: Download, offline: bool) -> None:
    """Download ``files`` (paths within the project) into ``target``; files that are there and verified are left alone.

    Raises:
        UserError: offline and files are missing; or the site cannot be reached, refuses, or sends damaged files.
    """
    record = DownloadRecord(target, project, version)
    base = f"{settings.physionet_url.rstrip('/')}/{project}/{version}"
    if offline:
        require(files, record, _sums_on_disk(target, base, project, version))
        return
    pending = [name for name in files if not record.recorded(name)]
    if not pending:
        log.info("%s %s: %d files are there and verified in %s", project, version, len(files), target)
        return
    advice = f"put {', '.join(pending)} into {target} by hand; `make demo` needs no download"
    with open_site(settings, advice) as site:
        try:
            text = site.text(f"{base}/{SUMS}")
        except SiteUnreachableError as unreachable:
            on_disk = _sums_on_disk(target, base, project, version)
            if not all(record.present(name, on_disk.get(name)) for name in pending):
                raise
            log.warning("%s; all files are there, so going on without", unreachable)
            return
        listed = read_sums(text, base, project, version)
        with replacing(target / SUMS) as aside:  # kept beside the files, for later checks offline
            aside.write_text(text, "utf-8")
        _download_listed(pending, listed, record, site)


def read_sums(text: str, base: str, project: str, version: str) -> dict[str, RemoteFile]:
    """The files named in ``text``, whose lines are ``sha256 path``, by path.

    Raises:
        UserError: a line has another form, or a path leads out of the folder.
    """
    files = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        match = re.fullmatch(r"([0-9a-fA-F]{64})\s+\*?(\S.*?)\s*", line)
        if match is None:
            raise UserError(f"{project} {version} {SUMS} line {number}: {line[:80]!r} is not 'sha256 path'")
        name = safe(match[2], f"{project} {version} {SUMS} line {number}")
        files[name] = RemoteFile(name, f"{base}/{name}", project, version, "sha256", match[1].lower())
    return files


def _download_listed(names: Sequence[str], listed: dict[str, RemoteFile], record: DownloadRecord, site: Site) -> None:
    unlisted = [name for name in names if name not in listed]
    if unlisted:
        raise UserError(f"{record.dataset} {record.version}: {SUMS} does not list {', '.join(unlisted)}")
    for name in names:
        if record.adopt(listed[name]) or record.present(name, listed[name]):
            continue
        site.fetch(listed[name], record.folder)
        record.add(listed[name])


def _sums_on_disk(target: Path, base: str, project: str, version: str) -> dict[str, RemoteFile]:
    path = target / SUMS
    return read_sums(path.read_text("utf-8", errors="replace"), base, project, version) if path.is_file() else {}
