"""PrimeKG's files from Harvard Dataverse, through its API.

The dataset's listing gives ids, sizes and MD5 sums. Dataverse turns uploaded tables into ``.tab`` files; the listed size and sum
are those of the stored ``.tab``, which is what a plain access request serves.
"""

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from src.config import Download, UserError
from src.datasets import fetch
from src.datasets.fetch import RemoteFile

log = logging.getLogger(__name__)
STANDARD = ("README.txt", "disease_features.tab", "kg.csv")


def download_primekg(target: Path, settings: Download, offline: bool) -> None:
    """Bring the set ``settings.primekg`` names into ``target``: ``standard``, ``lightweight`` (no kg.csv) or ``full``.

    Raises:
        UserError: offline and something is missing, the site cannot be reached, or a file is not what it announces.
    """
    wanted = tuple(name for name in STANDARD if settings.primekg != "lightweight" or name != "kg.csv")
    missing = [name for name in wanted if name != "README.txt" and not _present(target, name)]
    if offline:
        if missing:
            raise UserError(f"offline, and missing in {target}: {', '.join(missing)}")
        return
    if settings.primekg != "full" and not missing and _trusted(target, wanted):
        log.info("%s: PrimeKG is there", target)
        return
    base = settings.dataverse_url.rstrip("/")
    with fetch.client(settings) as web:
        listing = f"{base}/api/datasets/:persistentId/?persistentId={settings.primekg_doi}"
        files = parse_listing(fetch.get(web, listing, settings, target), listing, base)
        chosen = list(files.values()) if settings.primekg == "full" else list(_choose(files, wanted, listing))
        fetch.fetch_all(web, [file for file in chosen if not _by_hand(target, file.name)], target, settings)


def parse_listing(content: bytes, url: str, base: str) -> dict[str, RemoteFile]:
    """The dataset's latest version: file name -> what to fetch.

    Raises:
        UserError: the answer is not a Dataverse listing.
    """
    try:
        latest: Any = json.loads(content)["data"]["latestVersion"]
        version = f"{latest['versionNumber']}.{latest['versionMinorNumber']}"
        entries = [entry["dataFile"] for entry in latest["files"]]
        return {
            entry["filename"]: RemoteFile(
                entry["filename"],
                f"{base}/api/access/datafile/{entry['id']}",
                "md5",
                entry["md5"],
                version,
                entry["filesize"],
            )
            for entry in entries
        }
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"{url}: not a Dataverse dataset listing; check download.dataverse_url and primekg_doi"
        ) from None


def _choose(files: dict[str, RemoteFile], wanted: Iterable[str], url: str) -> Iterable[RemoteFile]:
    for name in wanted:
        found = next((files[variant] for variant in _variants(name) if variant in files), None)
        if found is None:
            raise UserError(f"{url}: lists no {name}; it has: {', '.join(sorted(files))}")
        yield found


def _variants(name: str) -> tuple[str, ...]:
    stem, _, suffix = name.rpartition(".")
    return (name, f"{stem}.{'csv' if suffix == 'tab' else 'tab'}") if suffix in ("csv", "tab") else (name,)


def _present(target: Path, name: str) -> bool:
    return any((target / variant).is_file() for variant in _variants(name))


def _by_hand(target: Path, name: str) -> bool:
    """The other form of a table (``.csv`` for ``.tab``) that the user put there stands for the listed one."""
    return not (target / name).is_file() and _present(target, name)


def _trusted(target: Path, wanted: Iterable[str]) -> bool:
    """All fetched earlier and unchanged, or put there by hand under the other name."""
    return all(fetch.verified(target, [name]) or _by_hand(target, name) for name in wanted)
