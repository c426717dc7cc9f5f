"""Trains runs as Ray tasks with one CPU and one thread each, on whichever machine has room.

A task calls the function that trains a run in a local worker. All machines see the folder that the grid was started in, at the
same path.
"""

import logging
import os
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from emerge_ehr import components
from emerge_ehr.comparison.workers import DIED, Job, failure, one_thread, train
from emerge_ehr.compute import cluster
from emerge_ehr.compute.cluster import joined, machines
from emerge_ehr.config import Compute, Config
from emerge_ehr.storage.artefacts import first_line

log = logging.getLogger(__name__)


def run_all(jobs: Sequence[Job], compute: Compute, done: Callable[[Job, str | None], None]) -> None:
    """Train every job. ``done`` is called with each job as it ends, and with a line that says why if it failed.

    A run whose worker dies is resumed once, after its last whole epoch; if its worker dies again, the run has failed.

    Raises:
        UserError: records may not go to the machines of the Ray cluster; it cannot be joined, or has no GPU although
            ``compute.gpus_per_worker`` asks for one.
    """
    import ray

    for job in jobs:
        cluster.check(job.config)  # again, as the tables are there now
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
    """Train the run in a Ray worker; its paths are relative to ``folder``."""
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
