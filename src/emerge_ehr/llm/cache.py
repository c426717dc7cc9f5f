"""Keeps every answer that was paid for in one SQLite file, written as it arrives. Several processes may share the file."""

import fcntl
import json
import logging
import sqlite3
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emerge_ehr.fields import UserError
from emerge_ehr.llm.manner import Manner, recalled
from emerge_ehr.storage.holders import holder
from emerge_ehr.storage.sqlite_file import connect, waiting

log = logging.getLogger(__name__)
MEMORY = ":memory:"
TABLE = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT, attempt INTEGER, prompt TEXT, model TEXT, characters INTEGER,
    content TEXT, finish_reason TEXT, prompt_tokens INTEGER, completion_tokens INTEGER,
    PRIMARY KEY (key, attempt)
) WITHOUT ROWID
"""
# how servers want to be asked; ``server``: name and version, so that another version is asked anew
FINDINGS = """
CREATE TABLE IF NOT EXISTS findings (
    place TEXT, model TEXT, server TEXT, manner TEXT, seconds REAL,
    PRIMARY KEY (place, model, server)
) WITHOUT ROWID
"""
FINDING_SECONDS = 30 * 86400.0  # after which a server is asked anew, as few hosted ones say their version
TOO_LONG = "too_long"  # the ``finish_reason`` of a question that does not fit the model's context, and has no answer


@dataclass(frozen=True)
class ChatAnswer:
    """An endpoint's answer: the message's text, how it ended (``message.py``), and the tokens that the endpoint counted."""

    content: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Experience:
    """Means over the stored answers to a prompt: tokens per character of a question, and tokens of an answer."""

    tokens_per_character: float
    completion_tokens: float


class Cache:
    """The answers to each request, unusable ones too: whoever reads an answer decides whether it can be used."""

    def __init__(self, path: Path | None) -> None:
        """Open the file, or make it, readable for its owner only, as answers repeat what notes say. None: keep answers in memory.

        Raises:
            UserError: the file cannot be used.
        """
        self.place = str(path or MEMORY)
        with self._errors():
            if path:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch(mode=0o600)
            self._connection = connect(self.place, TABLE)
            self._execute(FINDINGS, ())
            weakref.finalize(self, self._connection.close)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A block in which no other process sends requests, so that an answer which two processes need is paid for once."""
        if self.place == MEMORY:
            yield
            return
        with self._errors(), Path(f"{self.place}.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                other = holder([Path(file.name)])
                log.warning("llm: another run is asking%s; waiting for it, since its answers may serve here", other)
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def answers(self, key: str) -> list[ChatAnswer]:
        """All answers to a request, in order of arrival."""
        columns = "content, finish_reason, prompt_tokens, completion_tokens"
        with self._errors():
            rows = self._execute(f"SELECT {columns} FROM answers WHERE key = ? ORDER BY attempt", (key,))
            return [ChatAnswer(*row) for row in rows]

    def store(self, key: str, attempt: int, prompt: str, model: str, characters: int, answer: ChatAnswer) -> None:
        """Store an answer; if another process has stored that attempt, its answer stays.

        When this returns, the answer survives the end of the process, but perhaps not a power failure.
        """
        row = (key, attempt, prompt, model, characters, answer.content, answer.finish_reason)
        with self._errors():
            self._execute(
                "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, answer.prompt_tokens, answer.completion_tokens),
            )

    def experience(self, prompt: str, model: str) -> Experience | None:
        """The mean tokens of earlier answers; None if there are none."""
        columns = "SUM(prompt_tokens) * 1.0 / SUM(characters), AVG(completion_tokens)"
        query = f"SELECT {columns} FROM answers WHERE prompt = ? AND model = ? AND finish_reason != '{TOO_LONG}'"
        with self._errors():
            means = self._execute(query, (prompt, model))[0]
        return Experience(*means) if means[0] else None

    def finding(self, place: str, model: str, server: str) -> Manner | None:
        """How the server under the URL ``place`` wants to be asked for the model; None if that is not known, or from long ago."""
        query = "SELECT manner FROM findings WHERE place = ? AND model = ? AND server = ? AND seconds > ?"
        with self._errors():
            rows = self._execute(query, (place, model, server, time.time() - FINDING_SECONDS))
        return recalled(json.loads(rows[0][0])) if rows else None

    def keep_finding(self, place: str, model: str, server: str, manner: Manner) -> None:
        """Keep how a server wants to be asked."""
        row = (place, model, server, json.dumps(manner.record()), time.time())
        with self._errors():
            self._execute("INSERT OR REPLACE INTO findings VALUES (?, ?, ?, ?, ?)", row)

    def _execute(self, statement: str, values: Sequence[object]) -> list[Any]:
        return waiting(self.place, lambda: self._connection.execute(statement, values).fetchall())

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise UserError(
                f"{self.place}: {error}; it must lie on a local disk with room where you may write"
            ) from None
        except sqlite3.DatabaseError as error:
            raise UserError(f"{self.place}: not a usable cache ({error}); move it away and run again") from None
