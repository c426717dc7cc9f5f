"""What ``torchrun`` tells each process of its place among the processes of a run, in the environment."""

import os

from emerge_ehr.fields import UserError

NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


def check() -> None:
    """Raises:
    UserError: the environment is of no process of ``torchrun``, and not as without it.
    """
    there = {name: os.environ[name] for name in NUMBERS if name in os.environ}
    for name, value in there.items():
        if not value.isdecimal():
            raise UserError(f"{name}={value!r} in the environment is no whole number; unset it, or start with torchrun")
    missing = [name for name in (*NUMBERS, "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if processes() > 1 and missing:
        raise UserError(
            f"WORLD_SIZE={processes()} in the environment, but no {missing[0]}; unset it, or start with torchrun"
        )
    if not int(there.get("RANK", "0")) < processes():
        raise UserError(
            f"RANK={there['RANK']} in the environment is not below WORLD_SIZE={processes()}; unset both, or start with torchrun"
        )


def is_first() -> bool:
    """Whether this process writes and reports."""
    return os.environ.get("RANK", "0") == "0"


def is_first_here() -> bool:
    """Whether this process looks at every value of what the processes of its machine read."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def processes() -> int:
    """How many there are; 1 without ``torchrun``."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def processes_here() -> int:
    """How many of them run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
