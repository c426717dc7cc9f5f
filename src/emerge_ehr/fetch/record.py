"""Keeps account of a folder of downloads: ``download.json`` beside the files, and checks of the files against checksums."""

import datetime
import json
import logging
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from emerge_ehr.fetch.http_answers import RemoteFile, public
from emerge_ehr.fields import UserError
from emerge_ehr.storage.artefacts import checksum, replacing, write_json

log = logging.getLogger(__name__)
MANIFEST = "download.json"
ALTERNATIVES = {".tab": ".csv", ".csv": ".tab", ".csv.gz": ".csv"}  # forms of a table, both of which the readers take


class DownloadRecord:
    """The manifest of one dataset's files in ``folder``; written whole or not at all, and only when it changes."""

    def __init__(self, folder: Path, dataset: str, version: str | None = None) -> None:
        self.folder = folder
        self.dataset = dataset
        self.version = version
        self._content = _read(folder / MANIFEST)

    @property
    def listing(self) -> dict[str, Any]:
        """The site's listing as kept by ``keep_listing``; empty if there is none."""
        listing = self._content["listings"].get(self.dataset, {})
        return listing if isinstance(listing, dict) else {}

    def keep_listing(self, listing: Mapping[str, Any]) -> None:
        """Remember the site's listing, so that a later run can verify files without asking the site."""
        self._content["listings"][self.dataset] = dict(listing)
        self._save()

    def entries(self) -> list[dict[str, Any]]:
        """The entries of the dataset's files, of any version."""
        entries = self._content["files"].values()
        return [entry for entry in entries if isinstance(entry, dict) and entry.get("dataset") == self.dataset]

    def add(self, remote: RemoteFile) -> None:
        """Enter a verified file into the manifest. A file already there with that checksum keeps its entry."""
        if self._checksum(remote.name) == (remote.algorithm, remote.checksum):
            return
        self._content["files"][remote.name] = {
            "url": public(remote.url),
            "dataset": remote.dataset,
            "version": remote.version,
            "size": (self.folder / remote.name).stat().st_size,
            "algorithm": remote.algorithm,
            "checksum": remote.checksum,
            "fetched": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        self._save()

    def adopt(self, remote: RemoteFile) -> bool:
        """Whether the file is there and fits ``remote``, whoever brought it; if so, enter it into the manifest."""
        path = self.folder / remote.name
        fitting = path.is_file() and checksum(path, remote.algorithm) == remote.checksum
        if fitting:
            self.add(remote)
        return fitting

    def recorded(self, name: str) -> bool:
        """Whether the file, or its other form, is there and unchanged since it was entered into the manifest."""
        return any(self._intact(form) for form in forms(name))

    def present(self, name: str, remote: RemoteFile | None) -> bool:
        """Whether the file, or its other form, is there and does not contradict a known checksum.

        ``remote`` is what the site announces, if known. A file that was put there by hand and whose checksum nobody knows is
        accepted with a warning.
        """
        return any((self.folder / form).is_file() and self._acceptable(form, name, remote) for form in forms(name))

    def _acceptable(self, form: str, name: str, remote: RemoteFile | None) -> bool:
        path = self.folder / form
        if self._intact(form):
            return True
        if remote is not None and checksum(path, remote.algorithm) == remote.checksum:
            return True
        if self._checksum(form) is not None or (remote is not None and form == name):
            log.warning("%s does not fit its checksum", path)
            return False
        log.warning("%s was put there by hand and its checksum is not known: taken as it is", path)
        return True

    def _checksum(self, name: str) -> tuple[str, str] | None:
        entry = self._content["files"].get(name)
        if not isinstance(entry, dict) or entry.get("dataset") != self.dataset:
            return None
        if self.version is not None and entry.get("version") != self.version:
            return None
        return str(entry.get("algorithm")), str(entry.get("checksum"))

    def _intact(self, name: str) -> bool:
        recorded = self._checksum(name)
        path = self.folder / name
        if recorded is None or not path.is_file() or path.stat().st_size != self._content["files"][name].get("size"):
            return False
        return checksum(path, recorded[0]) == recorded[1]

    def _save(self) -> None:
        if self._content == _read(self.folder / MANIFEST):
            return
        with replacing(self.folder / MANIFEST) as aside:
            write_json(aside, self._content)


def forms(name: str) -> tuple[str, ...]:
    """The name, and the name that the same table has in its other form, if it has one.

    >>> forms("kg.csv"), forms("icu/icustays.csv.gz"), forms("README.txt")
    (('kg.csv', 'kg.tab'), ('icu/icustays.csv.gz', 'icu/icustays.csv'), ('README.txt',))
    """
    for suffix in (".csv.gz", ".csv", ".tab"):
        if name.endswith(suffix):
            return name, name.removesuffix(suffix) + ALTERNATIVES[suffix]
    return (name,)


def require(names: Collection[str], record: DownloadRecord, known: Mapping[str, RemoteFile]) -> None:
    """Check that all files are there, as ``--offline`` demands; ``known``: what the site announced of them, by name.

    Raises:
        UserError: files are missing or damaged; the message lists all of them.
    """
    missing = [name for name in names if not record.present(name, known.get(name))]
    if missing:
        raise UserError(
            f"offline, and {len(missing)} of {len(names)} files of {record.dataset} are missing or damaged "
            f"in {record.folder}: {', '.join(missing)}; put them there, or run without --offline"
        )


def safe(name: str, where: str) -> str:
    """``name``, if a file of that name may be written below the data folder; ``where`` opens the error message.

    Raises:
        UserError: it is absolute, leads out of the folder, or is the name of one of our own files.
    """
    path = PurePosixPath(name)
    climbs = path.is_absolute() or ".." in path.parts or not path.parts or any(c in name for c in "\\:\0\n\r")
    if climbs or path.name == MANIFEST or path.suffix == ".part":
        raise UserError(
            f"{where}: lists the file {name!r}, which cannot be written below the data folder under that name; refused"
        )
    return str(path)


def _read(path: Path) -> dict[str, dict[str, Any]]:
    empty: dict[str, dict[str, Any]] = {"files": {}, "listings": {}}
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return empty
    except (json.JSONDecodeError, UnicodeDecodeError):
        content = None
    if isinstance(content, dict) and all(isinstance(content.get(key), dict) for key in empty):
        return content
    log.warning("%s is not a manifest of downloads; starting a new one", path)
    return empty
