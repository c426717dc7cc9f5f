"""Keeps finished pieces of work on disk, so that a run that was stopped continues where it was.

A piece is filed under the folder of the artefacts that it is for, under a hash of the run's settings, inputs, libraries, plugs
and code, and under a hash of its own items. When artefacts are published, all pieces for their folder are removed, of any
settings.
"""

import hashlib
import json
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emerge_ehr import decides
from emerge_ehr.compute.cluster import PACKAGE
from emerge_ehr.compute.work import Answer, Work
from emerge_ehr.config import Config
from emerge_ehr.storage.artefacts import checksum, replacing


@dataclass(frozen=True)
class Kept:
    """The pieces of one run, in ``folder``."""

    folder: Path

    def of(self, work: Work[Any, Any, Any]) -> set[str]:
        """The keys of this work's pieces that are on disk."""
        folder = self.folder / work.name
        return {path.name for path in folder.iterdir()} if work.kept and folder.is_dir() else set()

    def find(self, work: Work[Any, Any, Answer], key: str, number: int) -> list[Answer] | None:
        """The ``number`` answers to a piece; None if they are missing or damaged."""
        try:
            answers = work.answers.from_bytes((self.folder / work.name / key).read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return answers if len(answers) == number else None

    def put(self, work: Work[Any, Any, Any], key: str, answers: bytes) -> None:
        """Keep the answers to a piece."""
        path = self.folder / work.name / key
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as aside:
            aside.write_bytes(answers)


def key_of(items: bytes) -> str:
    """The key that a piece with these items is filed under.

    >>> key_of(b"[]")
    '4f53cda18c2baa0c0354bb5f9a3ecbe5'
    """
    return hashlib.sha256(items).hexdigest()[:32]


def of_run(config: Config, made_of: Any) -> Kept:
    """The pieces of this config, by this version of the code; ``made_of``: JSON of the inputs and libraries."""
    settings = decides.settings(config, lambda said: said.first in ("tables", "artefacts"))
    code = [checksum(path) for path in sorted(PACKAGE.rglob("*")) if path.is_file() and path.suffix != ".pyc"]
    return Kept(folder(config) / _name([settings, made_of, code]))


def folder(config: Config) -> Path:
    """The folder of the pieces for this config's artefacts; pieces repeat what notes say, so only its owner may read it."""
    return config.paths.cache_dir / "pieces" / _name(str(config.processed_dir.resolve()))


def remove(config: Config) -> None:
    """Remove the pieces for this config's artefacts, which are no longer needed."""
    shutil.rmtree(folder(config), ignore_errors=True)
    with suppress(OSError):  # it holds pieces for other artefacts, or does not exist
        folder(config).parent.rmdir()


def _name(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:24]
