"""Does pieces of work in this process and in helper processes beside it, and gives the answers in order.

A helper takes seconds to start: PyTorch alone takes two to import. Here, unlike in ``local.py``, this process works meanwhile,
and a helper takes its first piece when it has started.
"""

import os
from collections.abc import Generator, Iterator
from multiprocessing.reduction import ForkingPickler
from threading import Condition, Thread
from typing import Any, Generic

from emerge_ehr.compute.local import Helper
from emerge_ehr.compute.work import Answer, Item, Tool, Work

AHEAD = 3  # pieces per process that are being done, or whose answers wait to be taken


def cores() -> int:
    """The number of cores that this process may use, which ``taskset`` and many schedulers of clusters restrict."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # there is no such function on macOS
        return os.cpu_count() or 1


def answers(work: Work[Tool, Item, Answer], pieces: Iterator[Item], helpers: int) -> Generator[Answer]:
    """The answer to each piece, in order; close the iterator to end the helpers, whatever they do.

    Raises:
        UserError: a helper died; or what ``work.answer`` raises.
    """
    queue = _Queue[Item, Answer](pieces, AHEAD * (helpers + 1))
    beside = [Helper(work) for _ in range(helpers)]
    pickled = bytes(ForkingPickler.dumps(work)) if helpers else b""
    threads = [Thread(target=_serve, args=(queue, helper, pickled), daemon=True) for helper in beside]
    try:
        for thread in threads:
            thread.start()
        while not queue.finished:
            if queue.ready:
                yield queue.pop()
            elif (piece := queue.next(patient=False)) is not None:
                number, item = piece
                queue.put(number, work.answer(work.tool, [item])[0])
            elif not queue.finished:
                queue.wait()
    finally:
        queue.stop()
        for helper in beside:
            helper.process.kill()  # it has nothing to put in order
        for thread in threads:
            thread.join()
        for helper in beside:
            helper.dismiss()


class _Queue(Generic[Item, Answer]):
    """The pieces that are still to be done, and the answers that wait to be taken; threads share it."""

    def __init__(self, pieces: Iterator[Item], ahead: int) -> None:
        self.pieces, self.ahead = pieces, ahead
        self.changed = Condition()
        self.begun = self.taken = 0
        self.over = False  # nothing is left to begin
        self.answers: dict[int, Answer] = {}
        self.failure: BaseException | None = None

    @property
    def finished(self) -> bool:
        """Whether all answers are taken."""
        with self.changed:
            return self.over and self.failure is None and self.taken == self.begun

    @property
    def ready(self) -> bool:
        """Whether the next answer can be taken."""
        with self.changed:
            return self.failure is not None or self.taken in self.answers

    def next(self, *, patient: bool) -> tuple[int, Item] | None:
        """The next piece and its number. Where too many answers wait, a ``patient`` caller waits too; None for any other, and
        where no piece is left."""
        with self.changed:
            while not self.over and self.begun - self.taken >= self.ahead:
                if not patient:
                    return None
                self.changed.wait()
            if self.over:
                return None
            for item in self.pieces:
                self.begun += 1
                return self.begun - 1, item
            self.stop()
            return None

    def put(self, number: int, answer: Answer) -> None:
        """Keep the answer to a piece."""
        with self.changed:
            self.answers[number] = answer
            self.changed.notify_all()

    def fail(self, failure: BaseException) -> None:
        """Let ``pop`` raise this."""
        with self.changed:
            self.failure = self.failure or failure
            self.stop()

    def pop(self) -> Answer:
        """The next answer."""
        with self.changed:
            if self.failure is not None:
                raise self.failure
            answer = self.answers.pop(self.taken)
            self.taken += 1
            self.changed.notify_all()
            return answer

    def wait(self) -> None:
        """Wait until the next answer can be taken."""
        with self.changed:
            self.changed.wait_for(lambda: self.failure is not None or self.taken in self.answers)

    def stop(self) -> None:
        """Begin nothing more."""
        with self.changed:
            self.over = True
            self.changed.notify_all()


def _serve(queue: _Queue[Any, Any], helper: Helper, pickled: bytes) -> None:
    """Let the helper do pieces, as long as there are any."""
    work = helper.work
    try:
        helper.take(pickled)
        helper.ask(work.items.to_bytes([]))  # answered when it has started
        while (piece := queue.next(patient=True)) is not None:
            number, item = piece
            (answer,) = work.answers.from_bytes(helper.ask(work.items.to_bytes([item])))
            queue.put(number, answer)
    except Exception as error:  # noqa: BLE001 - ``answers`` raises it
        queue.fail(error)
