"""Files of an open PhysioNet project, checked against its ``SHA256SUMS.txt``."""

import logging
from collections.abc import Sequence
from pathlib import Path

from src.config import Download, UserError
from src.datasets import fetch
from src.datasets.fetch import RemoteFile

log = logging.getLogger(__name__)
SUMS = "SHA256SUMS.txt"


def download(project: str, version: str, files: Sequence[str], target: Path, settings: Download, offline: bool) -> None:
    """Bring ``files`` of ``project``/``version`` into ``target``; no request where all are there and verified.

    Raises:
        UserError: offline and something is missing, the site cannot be reached, or a file is not what it announces.
    """
    if offline:
        _check_offline(files, target)
        return
    if fetch.verified(target, files):
        log.info("%s: all %d files there and verified", target, len(files))
        return
    base = f"{settings.physionet_url.rstrip('/')}/{project}/{version}"
    with fetch.client(settings) as web:
        sums = parse_sums(fetch.get(web, f"{base}/{SUMS}", settings, target).decode("utf-8", "replace"))
        if unlisted := [name for name in files if name not in sums]:
            raise UserError(f"{base}/{SUMS}: does not list {unlisted[0]}; check source.project and source.version")
        wanted = [RemoteFile(name, f"{base}/{name}", "sha256", sums[name], version) for name in files]
        fetch.fetch_all(web, wanted, target, settings)


def parse_sums(text: str) -> dict[str, str]:
    """``SHA256SUMS.txt`` -> file name -> checksum.

    >>> parse_sums("ab12 hosp/a.csv.gz")
    {'hosp/a.csv.gz': 'ab12'}
    """
    pairs = (line.split(maxsplit=1) for line in text.splitlines() if line.strip())
    return {name.strip().lstrip("*").removeprefix("./"): checksum for checksum, name in pairs}


def _check_offline(files: Sequence[str], target: Path) -> None:
    missing = [name for name in files if not (target / name).is_file()]
    needed = [
        name
        for name in missing
        if name.endswith((".csv.gz", ".csv")) and not (target / name.removesuffix(".gz")).is_file()
    ]
    if needed:
        raise UserError(f"offline, and missing in {target}: {', '.join(needed)}")
    if not fetch.verified(target, files):
        log.warning("%s: files were put there by hand; their checksums were not verified", target)
