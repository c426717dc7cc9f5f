"""Work done on this machine: in this process, or, where there is much of it, in one process a core."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

from src.datasets.compute.work import Answer, Item, Tool, Work

PIECE = 200  # items done at a time
AHEAD = 3  # pieces a process that are on their way or wait to be taken

_state: dict[str, Any] = {}  # in a worker process: its work


@dataclass(frozen=True)
class Local:
    """``workers``: processes; 0: one a core where there is much to do, else this one alone.

    Processes are spawned, not forked: forking a process that runs threads (Polars, PyTorch) can hang. Items and answers travel
    in the work's forms: as pickles, a note's thousands of mentions took more time than finding them.
    """

    workers: int = 0

    def map(self, work: Work[Tool, Item, Answer], items: Sequence[Item], *, much: bool) -> Iterator[Answer]:
        """The answer to each item, in order. A model is never in two processes: it uses all cores by itself."""
        workers = self.workers or ((os.cpu_count() or 1) if much else 1)
        pieces = cut(items, work.piece or PIECE)
        if workers == 1 or len(pieces) < 2 or work.model:
            for piece in pieces:
                yield from work.answer(work.tool, piece)
            return
        pool = ProcessPoolExecutor(min(workers, len(pieces)), get_context("spawn"), _begin, (work,))
        under_way = deque[Future[bytes]]()
        try:
            for piece in pieces:
                under_way.append(pool.submit(_answer, work.items.to_bytes(piece)))
                if len(under_way) > AHEAD * workers:
                    yield from work.answers.from_bytes(under_way.popleft().result())
            while under_way:
                yield from work.answers.from_bytes(under_way.popleft().result())
        finally:
            pool.shutdown(cancel_futures=True)


LOCAL = Local()


def cut(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """Pieces of ``size`` items.

    >>> cut("abcde", 2)
    ['ab', 'cd', 'e']
    """
    return [items[at : at + size] for at in range(0, len(items), size)]


def _begin(work: Work[Any, Any, Any]) -> None:
    _state["work"] = work


def _answer(items: bytes) -> bytes:
    work: Work[Any, Any, Any] = _state["work"]
    return work.answers.to_bytes(work.answer(work.tool, work.items.from_bytes(items)))
