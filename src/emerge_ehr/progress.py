"""Shows how far long work has come: as a bar on a terminal, elsewhere (as in a batch job) by a line of the log now and then."""

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

# tqdm's own lock is shared between processes, and a process that is killed would leave it behind, locked.
tqdm.set_lock(threading.RLock())


def bar(
    items: Iterable[Any] | None = None,
    *,
    title: str,
    unit: str,
    total: int | None,
    done: int = 0,
    scale: bool = False,
    shown: bool = True,
) -> "tqdm[Any]":
    """A bar over ``items``; without them, its caller moves it by ``update``.

    ``done``: units finished before the bar begins; ``scale``: print large numbers as in 1.2M; ``shown``: False where another
    process of the run shows the bar.
    """
    # A worker process shows no bar: the process that gave it the work does.
    options: dict[str, Any] = {"leave": False, "disable": not shown or parent_process() is not None}
    if not sys.stderr.isatty():
        options |= {
            "file": _Log(),
            "bar_format": LINE,
            "delay": SECONDS,
            "mininterval": SECONDS,
            "maxinterval": SECONDS,
        }
    return tqdm(items, desc=title, unit=unit, total=total, initial=done, unit_scale=scale, **options)


def beside_logs() -> AbstractContextManager[None]:
    """A block that logs while a bar is shown: on a terminal, log lines appear above the bar.

    Elsewhere nothing is done: the bar is itself a line of the log, and redirecting one into the other would lock both.
    """
    return logging_redirect_tqdm() if sys.stderr.isatty() else nullcontext()


class _Log(io.StringIO):
    """The file that a bar is drawn into where there is no terminal: each drawing becomes a line of the log."""

    def write(self, text: str) -> int:
        if line := text.strip("\r\n "):
            log.info("%s", line)
        return len(text)
