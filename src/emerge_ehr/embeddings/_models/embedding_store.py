"""Embeddings that were already computed, on disk: one SQLite file an encoder, one row a text, filed by the text's hash.

A finished batch is stored in one transaction, so a killed run keeps what it did. Several processes may read and write the file
(write-ahead log); the first vector stored for a text stays, and is what everyone gets. Every row carries a checksum: a row
that does not fit is computed again, and a file that is no longer a database is put aside and begun anew.
"""

import hashlib
import json
import logging
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.fields import UserError
from emerge_ehr.storage.sqlite_file import connect

log = logging.getLogger(__name__)
T = TypeVar("T")
Vectors = NDArray[np.float32]
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
TABLE = "CREATE TABLE IF NOT EXISTS vectors (text BLOB PRIMARY KEY, vector BLOB, checksum INTEGER) WITHOUT ROWID"
QUERY_SIZE = 500  # host parameters a statement may have in old SQLite versions: 999


@dataclass(frozen=True)
class EmbeddingStore:
    """The file at ``path``; ``width`` is D."""

    path: Path
    width: int

    def known(self, keys: Sequence[bytes]) -> set[bytes]:
        """Those of ``keys`` that are stored and undamaged."""
        return set(self._rows(keys))

    def read(self, keys: Sequence[bytes]) -> Vectors:
        """``[len(keys), D]``; a key that is not there is a ``KeyError``."""
        rows = self._rows(keys)
        found = [rows[key] for key in keys]
        return np.stack(found) if found else np.zeros((0, self.width), dtype=np.float32)

    def write(self, keys: Sequence[bytes], vectors: Vectors) -> None:
        """All of them or none."""
        blobs = [row.tobytes() for row in np.ascontiguousarray(vectors, dtype="<f4")]
        rows = [(key, blob, zlib.crc32(blob)) for key, blob in zip(keys, blobs, strict=True)]

        def insert(connection: sqlite3.Connection) -> None:
            connection.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?, ?)", rows)

        self._with_connection(insert)

    def _rows(self, keys: Sequence[bytes]) -> dict[bytes, Vectors]:
        wanted = list(dict.fromkeys(keys))
        return self._with_connection(lambda connection: self._select(connection, wanted))

    def _select(self, connection: sqlite3.Connection, wanted: Sequence[bytes]) -> dict[bytes, Vectors]:
        found: dict[bytes, Vectors] = {}
        damaged: list[bytes] = []
        for at in range(0, len(wanted), QUERY_SIZE):
            some = wanted[at : at + QUERY_SIZE]
            marks = ",".join("?" * len(some))
            for key, blob, checksum in connection.execute(f"SELECT * FROM vectors WHERE text IN ({marks})", some):
                if len(blob) == 4 * self.width and zlib.crc32(blob) == checksum:
                    found[bytes(key)] = np.frombuffer(blob, dtype="<f4")
                else:
                    damaged.append(key)
        if damaged:
            log.warning("%s: %d damaged rows, computed again", self.path, len(damaged))
            connection.executemany("DELETE FROM vectors WHERE text = ?", [(key,) for key in damaged])
        return found

    def _with_connection(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do ``work`` in one transaction; on a damaged file begin a new one and do it there."""
        try:
            with _connected(self.path) as connection:
                return work(connection)
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF not in DAMAGED:
                raise UserError(
                    f"{self.path}: {error}; free the disk or mend permissions, or delete the file"
                ) from None
        aside = self.path.with_suffix(".damaged")
        log.warning("%s: damaged, moved to %s; its embeddings are computed again", self.path, aside.name)
        with suppress(FileNotFoundError):  # another process was faster
            self.path.replace(aside)
        for suffix in ("-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        with _connected(self.path) as connection:
            return work(connection)


@contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = connect(path, TABLE)
    try:
        connection.execute("BEGIN IMMEDIATE")  # a reader that turns writer in mid-transaction would be refused
        with connection:
            yield connection
    finally:
        connection.close()


def open_store(cache_dir: Path, encoder: Mapping[str, Any], width: int) -> EmbeddingStore:
    """The store of the encoder that ``encoder`` describes: all that decides its vectors, and nothing else."""
    described = json.dumps({**encoder, "width": width}, sort_keys=True)
    name = hashlib.sha256(described.encode()).hexdigest()[:24]
    return EmbeddingStore(cache_dir / "embeddings" / f"{name}.sqlite", width)


def key(prefix: str, text: str) -> bytes:
    """What a text is filed under: the hash of it and of what is put before it."""
    return hashlib.sha256(f"{len(prefix)} {prefix}{text}".encode()).digest()
