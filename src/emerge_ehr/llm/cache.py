"""Keeps every answer that was paid for in one SQLite file, written as it arrives. Several processes may share the file."""

import fcntl
import logging
import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from emerge_ehr.fields import UserError
from emerge_ehr.storage.sqlite_file import connect

log = logging.getLogger(__name__)
MEMORY = ":memory:"
TABLE = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT, attempt INTEGER, prompt TEXT, model TEXT, characters INTEGER,
    content TEXT, finish_reason TEXT, prompt_tokens INTEGER, completion_tokens INTEGER,
    PRIMARY KEY (key, attempt)
) WITHOUT ROWID
"""


@dataclass(frozen=True)
class ChatAnswer:
    """An endpoint's answer: the message, the reason why it ended, and the tokens that the endpoint counted."""

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
                log.info("llm: another run is asking; waiting for it, since its answers may serve here")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def answers(self, key: str) -> list[ChatAnswer]:
        """All answers to a request, in order of arrival."""
        columns = "content, finish_reason, prompt_tokens, completion_tokens"
        with self._errors():
            rows = self._connection.execute(f"SELECT {columns} FROM answers WHERE key = ? ORDER BY attempt", (key,))
            return [ChatAnswer(*row) for row in rows]

    def store(self, key: str, attempt: int, prompt: str, model: str, characters: int, answer: ChatAnswer) -> None:
        """Store an answer; if another process has stored that attempt, its answer stays.

        When this returns, the answer survives the end of the process, but perhaps not a power failure.
        """
        row = (key, attempt, prompt, model, characters, answer.content, answer.finish_reason)
        with self._errors():
            self._connection.execute(
                "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, answer.prompt_tokens, answer.completion_tokens),
            )

    def experience(self, prompt: str, model: str) -> Experience | None:
        """The mean tokens of earlier answers; None if there are none."""
        columns = "SUM(prompt_tokens) * 1.0 / SUM(characters), AVG(completion_tokens)"
        query = f"SELECT {columns} FROM answers WHERE prompt = ? AND model = ?"
        with self._errors():
            means = self._connection.execute(query, (prompt, model)).fetchone()
        return Experience(*means) if means[0] else None

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
