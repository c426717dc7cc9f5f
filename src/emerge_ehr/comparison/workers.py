"""Trains runs side by side in worker processes with one thread each, so that their number changes no byte of a result."""

import contextlib
import dataclasses
import io
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from emerge_ehr import privacy
from emerge_ehr.config import Config
from emerge_ehr.fields import UserError
from emerge_ehr.storage.artefacts import first_line

DIED = "its worker process died; was there enough memory? (`workers` says how many runs share it)"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A run to train: ``config`` says how, and which folder it is written to."""

    name: str
    config: Config


def run_all(jobs: Sequence[Job], workers: int, done: Callable[[Job, str | None], None]) -> None:
    """Train every job. ``done`` is called with each job as it ends, and with a line that says why if it failed.

    When a worker dies, the unfinished jobs of all workers are lost; they are then run one by one, to find which one kills it.
    """
    undone = []
    for job, failure in _pool(jobs, min(workers, len(jobs))):
        if failure == DIED:
            undone.append(job)
        else:
            done(job, failure)
    for job in undone:
        for _, failure in _pool([job], 1):
            done(job, failure)


def _pool(jobs: Sequence[Job], workers: int) -> Iterator[tuple[Job, str | None]]:
    """Yield each job as it ends, with why it failed. If the caller stops early, as when interrupted, the workers are ended."""
    if not jobs:
        return
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start)
    futures = {pool.submit(train, job.config): job for job in jobs}
    all_ended = False
    try:
        for future in as_completed(futures):
            yield futures[future], _failure(future.exception(), futures[future])
        all_ended = True
    finally:
        for child in [] if all_ended else multiprocessing.active_children():
            child.terminate()
        pool.shutdown(cancel_futures=True)


def _failure(error: BaseException | None, job: Job) -> str | None:
    return DIED if isinstance(error, BrokenProcessPool) else failure(error, job)


def failure(error: BaseException | None, job: Job) -> str | None:
    """One line that says why a run failed; None if it did not. If it was not a user's mistake, the traceback is logged too."""
    if error is None:
        return None
    if isinstance(error, UserError):
        return first_line(error)
    log.error("%s failed", job.name, exc_info=error)
    return f"{type(error).__name__}: {first_line(error)}"


def _start() -> None:
    """Set up a worker: it has one thread, leaves interrupts to its parent process, and ends when the parent does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    one_thread()


def one_thread() -> None:
    """Limit this process to one thread. To be called before training in a process that trains beside others."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def train(config: Config) -> None:
    """Train one run without output. A run that was stopped with the same settings and data is resumed."""
    from emerge_ehr.training import checkpoints, methods
    from emerge_ehr.training import train as stage

    with (
        privacy.owner_only(config, "train"),
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stderr(nowhere),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        if checkpoints.is_kept(config.run_dir / methods.UNFINISHED):
            with contextlib.suppress(UserError):
                stage.run(dataclasses.replace(config, resume=True))
                return
        stage.run(config)
