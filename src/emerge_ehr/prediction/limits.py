"""What the service takes at once: bytes of one body, and of all that are being read."""

import logging
import time

LARGEST = 16 * 2**20  # bytes of a body
UNDER_WAY = 64 * 2**20  # bytes of all bodies that are being read and checked
BODY_SECONDS = 60.0  # for a body to arrive
LINES_A_SECOND = 5  # of the log


def length(stated: str | None) -> int:
    """The bytes that a body may have, by its header ``content-length``.

    >>> length("1200"), length(None) == length("no number") == LARGEST
    (1200, True)
    """
    return min(int(stated), LARGEST) if stated and stated.isascii() and stated.isdecimal() else LARGEST


class Budget:
    """The bytes that may still be read at once."""

    def __init__(self) -> None:
        self.left = UNDER_WAY

    def take(self, size: int) -> bool:
        """Whether so many bytes are left; they are taken then.

        >>> budget = Budget()
        >>> [budget.take(LARGEST) for _ in range(5)]
        [True, True, True, True, False]
        """
        if size > self.left:
            return False
        self.left -= size
        return True

    def give_back(self, size: int) -> None:
        """The bytes are read."""
        self.left += size


class FewLines(logging.Filter):
    """At most ``LINES_A_SECOND`` lines; the next line says how many were left out. A flood of requests must not fill a disk."""

    def __init__(self) -> None:
        super().__init__()
        self.second, self.lines, self.dropped = 0, 0, 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is logged."""
        if int(time.monotonic()) != self.second:
            self.second, self.lines = int(time.monotonic()), 0
        self.lines += 1
        if self.lines > LINES_A_SECOND:
            self.dropped += 1
            return False
        if self.dropped:
            record.msg, record.args = f"{record.getMessage()} ({self.dropped} lines before it were left out)", ()
            self.dropped = 0
        return True
