"""Finished pieces of work on disk, so that a run that was stopped goes on where it was.

A piece is filed under what it is of: the run's settings, inputs and code, and the piece's own items. The folder goes when the
run's artefacts are published.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.config import Config
from src.datasets.artefacts import checksum, replacing
from src.datasets.compute.cluster import SOURCE
from src.datasets.compute.work import Answer, Work
from src.fields import to_dict

# Settings that decide no answer.
ELSEWHERE = (
    *("compute", "paths", "run_name", "seeds", "resume", "offline", "download"),
    *("model", "baseline", "training", "evaluation", "report"),
)


@dataclass(frozen=True)
class Kept:
    """The pieces of one run, in ``folder``."""

    folder: Path

    def holds(self, work: Work[Any, Any, Any]) -> bool:
        """Whether any piece of this work may be here."""
        return (self.folder / work.name).is_dir()

    def find(self, work: Work[Any, Any, Answer], items: bytes, number: int) -> list[Answer] | None:
        """The ``number`` answers to a piece, if they are here and whole."""
        path = self._path(work.name, items)
        try:
            answers = work.answers.from_bytes(path.read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return answers if len(answers) == number else None

    def put(self, work: Work[Any, Any, Any], items: bytes, answers: bytes) -> None:
        """Keep the answers to a piece."""
        path = self._path(work.name, items)
        if not path.parent.is_dir():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # they repeat what notes say
        with replacing(path) as aside:
            aside.write_bytes(answers)

    def remove(self) -> None:
        """They have done their service."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, name: str, items: bytes) -> Path:
        return self.folder / name / hashlib.sha256(items).hexdigest()[:32]


def of_run(config: Config, graph: Mapping[Path, str]) -> Kept:
    """The pieces of this config over this knowledge graph, by this version of the code; ``graph``: its files' SHA-256."""
    settings = {key: value for key, value in to_dict(config).items() if key not in ELSEWHERE}
    code = [checksum(path) for path in sorted(SOURCE.rglob("*.py"))]
    whole = json.dumps([settings, sorted(graph.values()), code], sort_keys=True)
    name = hashlib.sha256(whole.encode()).hexdigest()[:24]
    return Kept(config.paths.cache_dir / "pieces" / name)
