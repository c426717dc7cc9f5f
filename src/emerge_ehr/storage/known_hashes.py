"""SHA-256 of big inputs, remembered by path, size and times of change, so that a gigabyte is not hashed at every start."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from emerge_ehr.fields import UserError
from emerge_ehr.storage import artefacts

log = logging.getLogger(__name__)
Stamp = list[int]


def stamp(path: Path) -> Stamp:
    """Size, and nanoseconds of the last change of content and of the file's entry: copying times along changes the latter."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def recall(memory: Path, paths: Sequence[Path]) -> list[str] | None:
    """The hashes of ``paths`` as remembered in the file ``memory``; None if one is unknown or has changed."""
    known = _read(memory)
    found = [known.get(str(path.resolve())) for path in paths]
    if any(entry is None or entry[0] != stamp(path) for entry, path in zip(found, paths, strict=True)):
        return None
    return [entry[1] for entry in found if entry]


def hashing(memory: Path, paths: Sequence[Path]) -> Callable[[], list[str]]:
    """Start hashing in the background. The returned function waits for it, remembers and returns the hashes.

    Raises:
        UserError: from the returned function, if a file has changed meanwhile.
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
    """Path -> stamp and hash; empty where the file is missing or damaged: it is only a memory."""
    try:
        entries = artefacts.read_json(memory, "preprocess").items()
        return {path: (list(known), str(value)) for path, (known, value) in entries}
    except (UserError, AttributeError, TypeError, ValueError):
        return {}
