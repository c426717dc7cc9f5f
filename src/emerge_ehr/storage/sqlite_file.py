"""Opens a SQLite file that several processes may write at once: with a write-ahead log, waiting while the file is locked."""

import sqlite3
from pathlib import Path

from tenacity import retry, retry_if_exception, stop_after_delay, wait_random

WAIT_SECONDS = 120.0


def _busy(error: BaseException) -> bool:
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


# When two processes switch a new file to the write-ahead log, SQLite refuses one immediately instead of letting it wait.
@retry(retry=retry_if_exception(_busy), wait=wait_random(0.01, 0.1), stop=stop_after_delay(WAIT_SECONDS), reraise=True)
def connect(place: Path | str, table: str) -> sqlite3.Connection:
    """Connect in autocommit mode, usable from any thread; ``table`` is the statement that creates the table if it is missing.

    Finished transactions survive if the process is killed; after a power failure the last ones may be lost.

    Raises:
        sqlite3.DatabaseError: the file is not a database, the disk is full, or it may not be written.
    """
    connection = sqlite3.connect(place, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(table)
    except BaseException:
        connection.close()
        raise
    return connection
