"""Trains the members of a run in several processes of this machine at a time (``training.processes``).

Each process leaves the state after each epoch where a run that was stopped leaves it, and the run then goes on from there. A
process that is killed is told; ``--resume`` then goes on with what all had done.
"""

import contextlib
import dataclasses
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from emerge_ehr import torchrun
from emerge_ehr.compute.forms import Json
from emerge_ehr.compute.local import Local
from emerge_ehr.compute.work import Work
from emerge_ehr.config import Config
from emerge_ehr.progress import bar
from emerge_ehr.storage.dataset import load_dataset
from emerge_ehr.training import devices, inputs, members, methods

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """What a process needs to train members of a run."""

    config: Config
    manifest: Mapping[str, Any]
    threads: int


def processes(config: Config) -> int:
    """How many members are trained at a time: 1 for a baseline, where torchrun gives the processes, and with loggers."""
    follow = config.baseline is not None or torchrun.processes() > 1 or config.training.loggers
    return 1 if follow else min(config.training.processes, config.training.members)


def threads(config: Config) -> int:
    """The number of PyTorch's threads in each process that trains; results depend on it in their last digits."""
    return max(1, torch.get_num_threads() // processes(config))


def train(config: Config, manifest: Mapping[str, Any]) -> Config:
    """Train the members in several processes; return the config with which the run goes on from their last epochs.

    Raises:
        UserError: a process died, or whatever training itself raises.
    """
    count, at_once = config.training.members, processes(config)
    logger.info("training %d members, %d at a time", count, at_once)
    work: Work[Run, int, int] = Work(
        "training.processes",
        Run(config, manifest, threads(config)),
        _train,
        Json(int),
        Json(int),
        piece=1,
        remedy="Lower training.processes",
    )
    with _environment(OMP_NUM_THREADS=str(threads(config))):
        trained = Local(at_once).map(work, range(1, count + 1), much=True)
        for number in bar(trained, title="members", unit="member", total=count):
            logger.info("member %d of %d is trained", number, count)
    return dataclasses.replace(config, resume=True)


@contextlib.contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """A block in which processes start with these environment variables.

    OpenMP reads its number of threads when it is loaded; with too many, the processes take the cores from each other.
    """
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _train(run: Run, numbers: Sequence[int]) -> Sequence[int]:
    """Train the members of these numbers, and leave their states in the run folder."""
    torch.set_num_threads(run.threads)
    config, chosen = run.config, run.config.training
    dataset = load_dataset(config.processed_dir, inspect=False)
    parts = inputs.parts(config, dataset)
    persons = inputs.persons_trained(config, dataset)
    team = members.divided(parts["train"], parts["val"], persons, chosen.members, config.seed)
    for number in numbers:
        with devices.deterministic(config.seed, accelerator=chosen.accelerator, on_gpu=chosen.deterministic):
            methods.fit(config, dataset, team[number - 1], devices.fabric(chosen), run.manifest)
    return numbers
