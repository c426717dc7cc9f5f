"""Remembers the SHA-256 of large inputs by path, size and times of change, so that they are not hashed at every start."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from emerge_ehr.fields import UserError
from emerge_ehr.storage import artefacts

log = logging.getLogger(__name__)
Stamp = list[int]


def stamp(path: Path) -> Stamp:
    """The file's size, and the times in nanoseconds when its content and its metadata last changed.

    The latter differs even for a copy that keeps the modification time.
    """
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def recall(memory: Path, paths: Sequence[Path]) -> list[str] | None:
    """The hashes of ``paths`` that the file ``memory`` holds; None if one is not in it or its file has changed."""
    known = _read(memory)
    entries = [known.get(str(path.resolve())) for path in paths]
    if any(entry is None or entry[0] != stamp(path) for entry, path in zip(entries, paths, strict=True)):
        return None
    return [entry[1] for entry in entries if entry]


def hashing(memory: Path, paths: Sequence[Path]) -> Callable[[], list[str]]:
    """Start hashing ``paths`` in the background. The returned function waits for the hashes and saves them in ``memory``.

    Raises:
        UserError: by the returned function, if a file has changed while it was read.
    """
    before = [stamp(path) for path in paths]
    outcome = artefacts.hashing(paths)

    def finish() -> list[str]:
        hashes = list(outcome().values())
        for path, known in zip(paths, before, strict=True):
            if stamp(path) != known:
                raise UserError(f"{path}: changed while it was read; wait until it is complete and run again")
        entries = {str(path.resolve()): [s, h] for path, s, h in zip(paths, before, hashes, strict=True)}
        try:
            with artefacts.replacing(memory) as aside:
                artefacts.write_json(aside, {**_read(memory), **entries})
        except OSError as error:
            log.warning("%s cannot be written, so the next run hashes again (%s)", memory, error)
        return hashes

    return finish


def _read(memory: Path) -> dict[str, tuple[Stamp, str]]:
    """Path -> stamp and hash; empty where the file is missing or damaged, since the hashes can be computed again."""
    try:
        entries = artefacts.read_json(memory, "preprocess").items()
        return {path: (list(known), str(value)) for path, (known, value) in entries}
    except (UserError, AttributeError, TypeError, ValueError):
        return {}
