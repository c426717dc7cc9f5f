"""Where training runs: on one device, or in one process per device under ``torchrun``; and what makes a run repeatable."""

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from emerge_ehr import torchrun
from emerge_ehr.config import Training
from emerge_ehr.fields import UserError, message

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T")


def fabric(settings: Training) -> "Fabric":
    """Fabric on the configured device, launched; under ``torchrun`` it averages the gradients of all processes.

    Raises:
        UserError: this machine has no such accelerator, or not enough of them.
    """
    from lightning_fabric import Fabric

    local = torchrun.processes_here()
    strategy = "ddp" if torchrun.processes() > 1 else "auto"
    try:
        made = Fabric(
            accelerator=settings.accelerator,
            strategy=strategy,
            devices=local,
            num_nodes=torchrun.processes() // local,
            precision=settings.precision,
        )
        made.launch()
    except (RuntimeError, ValueError) as error:
        raise UserError(f"training.accelerator = '{settings.accelerator}': {error}; use 'auto' or 'cpu'") from None
    return made


def everyones(fabric: "Fabric", value: T) -> list[T]:
    """The ``value`` of every process, in the order of their ranks."""
    values = [value] * fabric.world_size
    if fabric.world_size > 1:
        torch.distributed.all_gather_object(values, value)
    return values


@contextlib.contextmanager
def together(fabric: "Fabric") -> Iterator[None]:
    """A block that all processes run. If one of them fails in it, all fail at its end, so that none is left waiting.

    Raises:
        UserError: a process raised a ``UserError`` or an ``OSError``.
    """
    failure = None
    try:
        yield
    except (UserError, OSError) as error:
        if fabric.world_size == 1:
            raise
        failure = message(error)
    where = f"process {fabric.global_rank} on {socket.gethostname()}: " if fabric.global_rank else ""
    for line in everyones(fabric, failure and where + failure):
        if line:
            raise UserError(line)


@contextlib.contextmanager
def noticing_loss() -> Iterator[None]:
    """A block in which the loss of another process (killed, or out of memory) becomes a clear error in those that waited for it.

    Raises:
        UserError: the connection to another process of the run broke.
    """
    try:
        yield
    except RuntimeError as error:
        by_gloo = "/gloo/" in str(error)  # Gloo raises plain RuntimeErrors
        if not by_gloo and not isinstance(error, torch.distributed.DistError):
            raise
        raise UserError(
            "another process of this run was lost; torchrun's report says which. Was it killed, or out of memory? "
            "Start all processes again with --resume"
        ) from error


def from_first(fabric: "Fabric", make: Callable[[], T]) -> T:
    """What ``make`` returns in the first process, handed to all processes.

    Raises:
        UserError: ``make`` raised it; every process raises it then.
    """
    made: list[T] = []
    with together(fabric):
        if fabric.is_global_zero:
            made.append(make())
    return fabric.broadcast(made)[0]


def refuse_different(fabric: "Fabric", value: str) -> None:
    """Check that all processes have the same ``value``, on which training depends.

    Raises:
        UserError: the value of a process is not that of the first.
    """
    first = from_first(fabric, lambda: value)
    with together(fabric):
        if value != first:
            raise UserError(
                "its config, artefacts or library versions are not those of the first process; give all nodes the same"
            )


@contextlib.contextmanager
def deterministic(seed: int, *, accelerator: str, on_gpu: bool) -> Iterator[None]:
    """Seed torch (initial weights, dropout) and allow only deterministic algorithms: always on the CPU, on a GPU with ``on_gpu``.

    Without ``on_gpu`` a GPU gives no such guarantee: two runs may differ in the last digits.
    """
    before = torch.are_deterministic_algorithms_enabled()
    torch.manual_seed(seed)
    if on_gpu:  # cuBLAS reads this variable when it is first used
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(on_gpu or accelerator == "cpu" or not torch.cuda.is_available())
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The states of the generators that dropout draws from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        states[device.type] = getattr(torch, device.type).get_rng_state()
    return states


def restore_random_state(states: dict[str, Tensor], device: torch.device) -> None:
    """Set the generators that dropout draws from to ``states``, which ``random_state`` returned."""
    torch.set_rng_state(states["cpu"])
    if device.type != "cpu":
        getattr(torch, device.type).set_rng_state(states[device.type])
