"""Where training runs: one device, or one process a device under ``torchrun``; and what makes a run repeatable."""

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from src.config import Training
from src.fields import UserError

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def processes() -> int:
    """How many processes ``torchrun`` started for this run; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this process writes and reports."""
    return int(os.environ.get("RANK", "0")) == 0


def fabric(settings: Training) -> "Fabric":
    """Fabric on the configured device, launched; under ``torchrun`` with data-parallel gradients.

    Raises:
        UserError: this machine has no such accelerator, or not enough of them.
    """
    from lightning_fabric import Fabric

    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    strategy = "ddp" if processes() > 1 else "auto"
    try:
        made = Fabric(
            accelerator=settings.accelerator,
            strategy=strategy,
            devices=local,
            num_nodes=processes() // local,
            precision=settings.precision,
        )
        made.launch()
    except (RuntimeError, ValueError) as error:
        raise UserError(f"training.accelerator = '{settings.accelerator}': {error}; use 'auto' or 'cpu'") from None
    return made


@contextlib.contextmanager
def deterministic(seed: int, *, accelerator: str, on_gpu: bool) -> Iterator[None]:
    """Seed torch (initial weights, dropout) and allow only deterministic algorithms: on the CPU always, on a GPU if asked.

    Without ``on_gpu`` a GPU's kernels have no such guarantee: two runs may differ in the last digits.
    """
    before = torch.are_deterministic_algorithms_enabled()
    torch.manual_seed(seed)
    if on_gpu:  # cuBLAS reads it when it is first used
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
    """Continue where ``random_state`` was taken."""
    torch.set_rng_state(states["cpu"])
    if device.type != "cpu":
        getattr(torch, device.type).set_rng_state(states[device.type])
