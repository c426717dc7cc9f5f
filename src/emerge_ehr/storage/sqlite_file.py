"""Opens a SQLite file that several processes may write at once: with a write-ahead log, waiting while the file is locked."""

import logging
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from emerge_ehr.fields import UserError
from emerge_ehr.storage.holders import holder

log = logging.getLogger(__name__)
T = TypeVar("T")
TELL_SECONDS = 1.0  # after which the user is told that another process holds the file
WAIT_SECONDS = 120.0


def waiting(place: Path | str, work: Callable[[], T]) -> T:
    """The result of ``work()``, which is tried again while another process holds the file at ``place``; the log says who does.

    Raises:
        UserError: the file is still held after ``WAIT_SECONDS``.
        sqlite3.DatabaseError: as ``work``.
    """
    began, told = time.monotonic(), False
    while True:
        try:
            return work()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
        waited = time.monotonic() - began
        if waited >= WAIT_SECONDS:
            raise UserError(
                f"{place}: held by another process{_holder(place)} for {WAIT_SECONDS:.0f} s; wait until it ends, or end it"
            ) from None
        if waited >= TELL_SECONDS and not told:
            told = True
            log.warning("%s: held by another process%s; waiting for up to %.0f s", place, _holder(place), WAIT_SECONDS)
        time.sleep(
            0.02
        )  # SQLite itself waits too, but not where two processes switch a new file to the write-ahead log


def _holder(place: Path | str) -> str:
    return holder(Path(f"{place}{suffix}") for suffix in ("", "-shm", "-wal"))


def connect(place: Path | str, table: str) -> sqlite3.Connection:
    """Connect in autocommit mode, usable from any thread; ``table`` is the statement that creates the table if it is missing.

    Finished transactions survive if the process is killed; after a power failure the last ones may be lost. A statement that
    finds the file held by another process fails after ``TELL_SECONDS``: run it by ``waiting``.

    Raises:
        UserError: another process holds the file for too long.
        sqlite3.DatabaseError: the file is not a database, the disk is full, or it may not be written.
    """
    return waiting(place, lambda: _connect(place, table))


def _connect(place: Path | str, table: str) -> sqlite3.Connection:
    connection = sqlite3.connect(place, timeout=TELL_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(table)
    except BaseException:
        connection.close()
        raise
    return connection
