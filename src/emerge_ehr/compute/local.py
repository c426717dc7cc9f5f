"""Does work on this machine: in this process or, where there is much to do, in one process per core."""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

from emerge_ehr.compute.work import Answer, Item, T, Tool, Work
from emerge_ehr.fields import UserError

PIECE = 200  # items done at a time
AHEAD = 3  # pieces per process that are being done, or whose answers wait to be taken
SPAWN = get_context("spawn")  # after a fork, a process that runs threads (Polars, PyTorch) can hang


@dataclass(frozen=True)
class Local:
    """``workers``: the number of processes; 0: one per core where there is much to do, otherwise this process alone.

    Items and answers travel in the work's forms: pickling a note's thousands of mentions took longer than finding them.
    """

    workers: int = 0

    def map(self, work: Work[Tool, Item, Answer], items: Sequence[Item], *, much: bool) -> Iterator[Answer]:
        """The answer to each item, in order. Work with a model stays in this process, as a model uses all cores by itself."""
        workers = self.workers or ((os.cpu_count() or 1) if much else 1)
        pieces = cut(items, work.piece or PIECE)
        if workers == 1 or len(pieces) < 2 or work.model:
            for piece in pieces:
                yield from work.answer(work.tool, piece)
            return
        helpers, idle = [Helper(work) for _ in range(min(workers, len(pieces)))], SimpleQueue[Helper]()
        for helper in helpers:
            idle.put(helper)
        threads, under_way = ThreadPoolExecutor(len(helpers)), deque[Future[bytes]]()
        try:
            for piece in pieces:
                under_way.append(threads.submit(_ask_any, idle, work.items.to_bytes(piece)))
                if len(under_way) > AHEAD * workers:
                    yield from work.answers.from_bytes(under_way.popleft().result())
            while under_way:
                yield from work.answers.from_bytes(under_way.popleft().result())
        finally:
            threads.shutdown(cancel_futures=True)  # waits for the pieces that have begun
            for helper in helpers:
                helper.dismiss()

    def where_models_run(self, ask: Callable[[], T]) -> T:
        """The result of ``ask()`` in this process."""
        return ask()


LOCAL = Local()


def cut(items: Sequence[Item], size: int) -> list[Sequence[Item]]:
    """The items in pieces of ``size``.

    >>> cut("abcde", 2)
    ['ab', 'cd', 'e']
    """
    return [items[at : at + size] for at in range(0, len(items), size)]


def died(work: Work[Any, Any, Any]) -> UserError:
    """The error for the user when a worker process of the ``work`` has died."""
    return UserError(f"{work.name}: a worker process died; out of memory? {work.remedy}, and run the stage again")


class Helper:
    """A process that does work, and the pipe to it. It shares nothing with other processes, so that none waits for a dead one.

    An executor of the standard library can wait forever: a process that is killed while it holds the queues' lock keeps it.
    """

    def __init__(self, work: Work[Any, Any, Any]) -> None:
        """Start the process; ``work`` is sent to it with its first piece, by the thread that waits for the answers."""
        self.work, self.begun = work, False
        self.pipe, theirs = SPAWN.Pipe()
        self.process = SPAWN.Process(target=_help, args=(theirs,), daemon=True)
        resource_tracker.ensure_running()  # else it would start below, and unblock Ctrl-C
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # Ctrl-C shall reach this process only
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()

    def take(self, pickled: bytes) -> None:
        """Send the work, pickled by the caller: what other threads use cannot be pickled meanwhile.

        Raises:
            UserError: the process died.
        """
        try:
            self.pipe.send_bytes(pickled)
        except OSError:
            raise died(self.work) from None
        self.begun = True

    def ask(self, items: bytes) -> bytes:
        """The answers to a piece; waits for them.

        Raises:
            UserError: the process died.
            Exception: whatever the work itself raises.
        """
        try:
            if not self.begun:
                self.pipe.send(self.work)
                self.begun = True
            self.pipe.send(items)
            answer: bytes | Exception = self.pipe.recv()
        except (EOFError, OSError):
            raise died(self.work) from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def dismiss(self) -> None:
        """Let the process end, and wait for that."""
        self.pipe.close()
        self.process.join()


def _ask_any(idle: "SimpleQueue[Helper]", items: bytes) -> bytes:
    """The answers to a piece from the next idle process."""
    helper = idle.get()
    try:
        return helper.ask(items)
    finally:
        idle.put(helper)


def _help(pipe: "Connection[Any, Any]") -> None:
    """The main function of a helper's process: takes the work, then pieces of it, until the other end of the pipe is closed."""
    with suppress(EOFError, OSError):
        work: Work[Any, Any, Any] = pipe.recv()
        while True:
            items: bytes = pipe.recv()
            answer: bytes | Exception
            try:
                answer = work.answers.to_bytes(work.answer(work.tool, work.items.from_bytes(items)))
            except Exception as error:  # noqa: BLE001 - ``Helper.ask`` raises it
                answer = error
            pipe.send(answer)
