"""Two files for one table, as a CSV beside its archive: which of them is right, nobody can tell if they differ."""

import functools
import gzip
import zlib
from pathlib import Path
from typing import BinaryIO, cast

from emerge_ehr.fields import UserError

COMPARED = 1 << 20  # bytes that are compared at once


def refuse_differing(path: Path, *others: Path) -> None:
    """Check that the files hold the same text, unzipped.

    Raises:
        UserError: one differs from the first.
    """
    for other in others:
        if not _alike(path.absolute(), other.absolute(), _state(path), _state(other)):
            raise UserError(f"{path}: stands beside {other.name}, whose content differs; remove the one that is wrong")


def opened(path: Path) -> BinaryIO:
    """The file's text in bytes, unzipped."""
    return cast("BinaryIO", gzip.open(path, "rb")) if path.suffix.lower() == ".gz" else path.open("rb")


def _state(path: Path) -> tuple[int, int]:
    """What changes when the file does: its size and the time of its last change."""
    return path.stat().st_size, path.stat().st_mtime_ns


@functools.lru_cache(maxsize=64)
def _alike(path: Path, other: Path, state: tuple[int, int], other_state: tuple[int, int]) -> bool:
    """Whether two files hold the same text; remembered while their states are the same."""
    try:
        with opened(path) as file, opened(other) as other_file:
            while block := file.read(COMPARED):
                if block != other_file.read(COMPARED):
                    return False
            return not other_file.read(1)
    except (OSError, EOFError, zlib.error):
        return False
