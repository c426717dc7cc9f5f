"""Opens a SQLite file that several processes may write at once: write-ahead log, and patience while another one has it."""

import sqlite3
from pathlib import Path

from tenacity import retry, retry_if_exception, stop_after_delay, wait_random

WAIT_SECONDS = 120.0


def _busy(error: BaseException) -> bool:
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY


# Of two processes that switch a new file to the write-ahead log, SQLite refuses one at once instead of letting it wait.
@retry(retry=retry_if_exception(_busy), wait=wait_random(0.01, 0.1), stop=stop_after_delay(WAIT_SECONDS), reraise=True)
def connect(place: Path | str, table: str) -> sqlite3.Connection:
    """A connection in autocommit mode, usable from any thread; ``table`` is the statement that makes a missing table.

    A finished transaction survives the end of the process, of whatever kind; the last ones may be lost with the power.

    Raises:
        sqlite3.DatabaseError: no database, or no room or right to write.
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
