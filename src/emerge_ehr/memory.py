"""Recognises that memory was lacking, whichever library says so, and a limit in which the libraries cannot be loaded.

Only the standard library is imported here, as others may not fit into memory any more.
"""

import errno
import importlib.util

# KiB of address space (`ulimit -v`) below which a stage does not get as far as its work; measured with two threads.
LEAST_KIB = {"download": 500_000, "convert": 1_400_000}
LEAST_OF_OTHERS_KIB = 2_200_000
# How libraries word it: the dynamic loader, NumPy, PyTorch, C++, Polars, threads.
WORDS = (
    "failed to map segment",
    "cannot allocate memory",
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "unable to allocate",
    "bad_alloc",
    "bad allocation",
    "memory allocation",
    "start new thread",
    "spawn worker thread",
)


def small_limit(stage: str) -> str | None:
    """Says that the limit on address space is too small for the stage, so that native libraries would abort the process without
    a word of ours; None if it is not."""
    if importlib.util.find_spec("resource") is None:  # not on every system
        return None
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    least = LEAST_KIB.get(stage, LEAST_OF_OTHERS_KIB)
    if limit == resource.RLIM_INFINITY or limit >= least * 1024:
        return None
    return (
        f"not enough memory: ulimit -v allows this process {limit // 1024} KiB of address space, and stage {stage} needs at "
        f"least {least} to load its libraries; raise the limit (docs/faults.md)"
    )


def lacking(error: BaseException | None) -> str | None:
    """How the error, or what caused it, says that there was too little memory; None if it does not say so.

    >>> lacking(ImportError("libx.so: failed to map segment from shared object"))
    'libx.so: failed to map segment from shared object'
    >>> lacking(ValueError("not a number")) is None
    True
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        text = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        no_memory = isinstance(error, OSError) and error.errno == errno.ENOMEM
        no_memory |= isinstance(error, SystemError) and "without exception set" in str(
            error
        )  # C code that got no memory
        if isinstance(error, MemoryError) or no_memory or any(words in str(error).lower() for words in WORDS):
            return "".join(letter if letter.isprintable() else " " for letter in text)
        error = error.__cause__ or error.__context__
    return None
