"""How far long work is: a bar on a terminal; elsewhere, as in a batch job, now and then a line of the log."""

import io
import logging
import sys
import threading
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from multiprocessing import parent_process
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

log = logging.getLogger(__name__)
SECONDS = 60.0  # between lines of the log
LINE = "{desc}: {n_fmt} of {total_fmt} in {elapsed}, {remaining} to go"

tqdm.set_lock(threading.RLock())  # its own is for several processes, and would be left behind by one that is killed


def bar(
    items: Iterable[Any] | None = None,
    *,
    what: str,
    unit: str,
    total: int | None,
    done: int = 0,
    scale: bool = False,
    shown: bool = True,
) -> "tqdm[Any]":
    """A bar over ``items``, or one that is told by its ``update``. ``done``: before it begins; ``scale``: as in 1.2 MB.
    Not ``shown``: another process of the run shows its own."""
    how: dict[str, Any] = {
        "leave": False,
        "disable": not shown or parent_process() is not None,
    }  # a helper's is its asker's matter
    if not sys.stderr.isatty():
        how |= {"file": _Log(), "bar_format": LINE, "delay": SECONDS, "mininterval": SECONDS, "maxinterval": SECONDS}
    return tqdm(items, desc=what, unit=unit, total=total, initial=done, unit_scale=scale, **how)


def beside_logs() -> AbstractContextManager[None]:
    """For a block that logs while a bar is shown: on a terminal, lines stand above it. Elsewhere a bar is itself a line of the
    log, and each would lock what the other waits for."""
    return logging_redirect_tqdm() if sys.stderr.isatty() else nullcontext()


class _Log(io.StringIO):
    """Where a bar that nobody sees is drawn: each drawing is a line of the log."""

    def write(self, text: str) -> int:
        if line := text.strip("\r\n "):
            log.info("%s", line)
        return len(text)
