"""Names the process that holds a lock on a file or folder, as far as the system tells (only Linux does)."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

LOCKS = Path("/proc/locks")


def holder(paths: Iterable[Path]) -> str:
    """`` (process 123)`` for the other process that holds a lock on one of ``paths``, to be put after a name; else nothing."""
    inodes = set()
    for path in paths:
        with suppress(OSError):
            inodes.add(str(path.stat().st_ino))
    with suppress(OSError):
        for line in LOCKS.read_text().splitlines():
            words = line.split()
            if "->" in words or len(words) < 6:  # a process that waits for the lock
                continue
            process, place = words[4:6]
            if place.rpartition(":")[2] in inodes and process not in ("0", "-1", str(os.getpid())):
                return f" (process {process})"
    return ""
