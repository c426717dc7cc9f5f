"""Runs trained as Ray tasks, each of one CPU and one thread, wherever there is room; by the function that trains them here.

The machines share the folder that the grid was started in, by the same path.
"""

import logging
import os
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from emerge_ehr import components
from emerge_ehr.comparison.workers import DIED, Job, failure, one_thread, train
from emerge_ehr.compute.cluster import joined, machines
from emerge_ehr.config import Compute, Config
from emerge_ehr.storage.artefacts import first_line

log = logging.getLogger(__name__)


def run_all(jobs: Sequence[Job], compute: Compute, done: Callable[[Job, str | None], None]) -> None:
    """Train every job; ``done`` is told of each that ended, with a line if it failed, in the order of their ends.

    A worker that dies costs its own run: this goes on once after its last whole epoch, and has failed if its worker dies again.

    Raises:
        UserError: there is no such Ray, or it has no GPU and ``compute.gpus_per_worker`` asks for one.
    """
    import ray

    packages = {package for job in jobs for package in components.packages(job.config)}
    with joined(compute, sorted(packages)):
        machines(compute.gpus_per_worker)
        task = ray.remote(num_cpus=1, num_gpus=compute.gpus_per_worker, max_retries=0)(_train_there)
        waiting, running, died = deque(jobs), dict[Any, Job](), set[str]()
        while waiting or running:
            while waiting and (not compute.workers or len(running) < compute.workers):
                job = waiting.popleft()
                running[task.remote(job.config, Path.cwd())] = job
            for ended in ray.wait(list(running), num_returns=1)[0]:
                job = running.pop(ended)
                failed = _failure(ended, job)
                if failed == DIED and job.name not in died:
                    died.add(job.name)
                    waiting.append(job)
                else:
                    done(job, failed)


def _train_there(config: Config, folder: Path) -> None:
    """In a worker of Ray: the run, whose paths are relative to ``folder``."""
    os.chdir(folder)
    one_thread()
    train(config)


def _failure(ended: Any, job: Job) -> str | None:
    import ray

    try:
        ray.get(ended)
    except ray.exceptions.RayTaskError as error:
        return failure(error.cause if isinstance(error.cause, Exception) else error, job)
    except ray.exceptions.RayError as error:
        log.warning("%s: %s", job.name, first_line(error))
        return DIED
    return None
