"""Keeps computed embeddings on disk: an SQLite file per encoder, with a row per text, found by the text's hash.

A finished batch is stored in one transaction, so a run that is killed loses no finished batch. Several processes may read and
write the file (write-ahead log); the first vector stored for a text stays, and all processes use it. Every row has a checksum: a
damaged row is computed again, and a file that is no longer a database is moved aside and replaced by a new one.
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
from emerge_ehr.storage.sqlite_file import connect, waiting

log = logging.getLogger(__name__)
T = TypeVar("T")
Vectors = NDArray[np.float32]
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
TABLE = "CREATE TABLE IF NOT EXISTS vectors (text BLOB PRIMARY KEY, vector BLOB, checksum INTEGER) WITHOUT ROWID"
QUERY_SIZE = 500  # keys in one statement; old versions of SQLite allow 999 parameters


@dataclass(frozen=True)
class EmbeddingStore:
    """The store in the file at ``path``, of vectors of ``width`` D."""

    path: Path
    width: int

    def known(self, keys: Sequence[bytes]) -> set[bytes]:
        """Those of ``keys`` whose vectors are stored and undamaged."""
        return set(self._rows(keys))

    def read(self, keys: Sequence[bytes]) -> Vectors:
        """``[len(keys), D]``; a ``KeyError`` if a key is not stored."""
        rows = self._rows(keys)
        vectors = [rows[key] for key in keys]
        return np.stack(vectors) if vectors else np.zeros((0, self.width), dtype=np.float32)

    def write(self, keys: Sequence[bytes], vectors: Vectors) -> None:
        """Store ``vectors [len(keys), D]``, all or none; keys that are stored already keep their vector."""
        blobs = [row.tobytes() for row in np.ascontiguousarray(vectors, dtype="<f4")]
        rows = [(key, blob, zlib.crc32(blob)) for key, blob in zip(keys, blobs, strict=True)]

        def insert(connection: sqlite3.Connection) -> None:
            connection.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?, ?)", rows)

        self._with_connection(insert)

    def _rows(self, keys: Sequence[bytes]) -> dict[bytes, Vectors]:
        distinct = list(dict.fromkeys(keys))
        return self._with_connection(lambda connection: self._select(connection, distinct))

    def _select(self, connection: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, Vectors]:
        """The stored vectors by key; damaged rows are deleted."""
        vectors: dict[bytes, Vectors] = {}
        damaged: list[bytes] = []
        for at in range(0, len(keys), QUERY_SIZE):
            block = keys[at : at + QUERY_SIZE]
            marks = ",".join("?" * len(block))
            for key, blob, checksum in connection.execute(f"SELECT * FROM vectors WHERE text IN ({marks})", block):
                if len(blob) == 4 * self.width and zlib.crc32(blob) == checksum:
                    vectors[bytes(key)] = np.frombuffer(blob, dtype="<f4")
                else:
                    damaged.append(key)
        if damaged:
            log.warning("%s: %d damaged rows, computed again", self.path, len(damaged))
            connection.executemany("DELETE FROM vectors WHERE text = ?", [(key,) for key in damaged])
        return vectors

    def _with_connection(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do ``work`` in one transaction; if the file is damaged, move it aside and do the work in a new one."""
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
        with suppress(FileNotFoundError):  # another process has moved it
            self.path.replace(aside)
        for suffix in ("-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        with _connected(self.path) as connection:
            return work(connection)


@contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)  # runs on open and on other records share it
    connection = connect(path, TABLE)
    try:
        # SQLite refuses a reader that begins to write in mid-transaction.
        waiting(path, lambda: connection.execute("BEGIN IMMEDIATE"))
        with connection:
            yield connection
    finally:
        connection.close()


def open_store(cache_dir: Path, encoder: Mapping[str, Any], width: int) -> EmbeddingStore:
    """The store of an encoder; ``encoder`` describes it by everything that decides its vectors, and nothing else."""
    described = json.dumps({**encoder, "width": width}, sort_keys=True)
    name = hashlib.sha256(described.encode()).hexdigest()[:24]
    return EmbeddingStore(cache_dir / "embeddings" / f"{name}.sqlite", width)


def key(prefix: str, text: str) -> bytes:
    """The key that a text's vector is stored under: the hash of the text and of the prefix put before it."""
    return hashlib.sha256(f"{len(prefix)} {prefix}{text}".encode()).digest()
