"""Publishes a set of files together or not at all, and locks a folder so that only one process writes into it.

``publish`` writes the files into ``.incoming``. Once they are complete, this folder is renamed to ``.publishing`` (atomically)
and its files are moved into place. A run that is killed before the rename leaves the old files as they were. What a run that is
killed after the rename has left is finished by ``finish_interrupted``, which every stage calls for the folders that it opens.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from emerge_ehr.fields import UserError
from emerge_ehr.storage.artefacts import naming
from emerge_ehr.storage.holders import holder

INCOMING, PUBLISHING = ".incoming", ".publishing"
OUTDATED = ".outdated"  # a list in these folders: what to remove before the new files are moved into place


@contextmanager
def publish(folder: Path, outdated: Sequence[str] = ()) -> Iterator[Path]:
    """Yield a folder to write into; its files appear together in ``folder`` if the block ends without an error, else not at all.

    ``outdated``: names of files and folders in ``folder`` that are removed before the new files are moved into place.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        finish_interrupted(folder)
        incoming = folder / INCOMING
        shutil.rmtree(incoming, ignore_errors=True)
        incoming.mkdir()
        try:
            with naming(folder):
                yield incoming
                if outdated:
                    (incoming / OUTDATED).write_text("\n".join(outdated), "utf-8")
                for path in incoming.rglob("*"):
                    if path.is_file():
                        _flush_to_disk(path)
            incoming.rename(folder / PUBLISHING)
        except BaseException:
            shutil.rmtree(incoming, ignore_errors=True)
            with suppress(OSError):  # the folder holds other files, or a disk is mounted there
                folder.rmdir()
            raise
        finish_interrupted(folder)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a lock on ``folder`` while the block runs; the lock is on the folder itself and ends with the process.

    Raises:
        UserError: another process holds the lock.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise UserError(
            f"{folder}: another run is writing there{holder([folder])}; wait for it, or choose another folder"
        ) from None
    finally:
        os.close(descriptor)


def finish_interrupted(folder: Path) -> None:
    """Move into place the files that an interrupted ``publish`` had already completed.

    A stage calls this when it opens a folder; functions that read do not move files.
    """
    publishing = folder / PUBLISHING
    if not publishing.is_dir():
        return
    _remove_outdated(folder, publishing / OUTDATED)
    for path in sorted(publishing.rglob("*")):
        if path.is_file():
            target = folder / path.relative_to(publishing)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
    shutil.rmtree(publishing)


def remove_others(folder: Path, pattern: str, kept: Sequence[Path]) -> None:
    """Remove the folders in ``folder`` that match ``pattern`` and are not ``kept``: other settings made them."""
    for path in folder.glob(pattern):
        if path.is_dir() and path not in kept:
            shutil.rmtree(path)


def _remove_outdated(folder: Path, record: Path) -> None:
    """Remove what the list ``record`` names, then the list itself.

    New files are moved into place only after the list is gone, so that none of them is removed.
    """
    if not record.is_file():
        return
    for name in record.read_text("utf-8").splitlines():
        path = folder / name
        if "/" in name or name.startswith("."):
            continue  # ``publish`` writes no such name: the folder may come from somebody else
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    record.unlink()


def _flush_to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
