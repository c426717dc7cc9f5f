"""Reads the environment variables by which ``torchrun`` tells each process of a run which one it is, and how many there are."""

import os

from emerge_ehr.fields import UserError

NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


def check() -> None:
    """Check that the variables are those of a process of ``torchrun``, or that there are none.

    Raises:
        UserError: a variable is missing or no whole number, or the rank is not below the number of processes.
    """
    numbers = {name: os.environ[name] for name in NUMBERS if name in os.environ}
    for name, value in numbers.items():
        if not value.isdecimal():
            raise UserError(
                f"{name}={value!r} in the environment is not a whole number; unset it, or start with torchrun"
            )
    missing = [name for name in (*NUMBERS, "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if processes() > 1 and missing:
        raise UserError(
            f"WORLD_SIZE={processes()} in the environment, but no {missing[0]}; unset it, or start with torchrun"
        )
    if not int(numbers.get("RANK", "0")) < processes():
        raise UserError(
            f"RANK={numbers['RANK']} in the environment is not below WORLD_SIZE={processes()}; unset both, or start with torchrun"
        )


def is_first() -> bool:
    """Whether this is the process of the run that writes and reports."""
    return os.environ.get("RANK", "0") == "0"


def is_first_here() -> bool:
    """Whether this is the first process on its machine: it checks the files that all processes there read."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def processes() -> int:
    """How many processes the run has; 1 without ``torchrun``."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def processes_here() -> int:
    """How many of the run's processes are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
