"""Pauses Python's collector of circular garbage while many small objects are made that hold none.

Each time their number has grown by a quarter, the collector looks through all objects of the process, the knowledge graph among
them: that took a quarter of the time in which mentions are found. What is no circle is freed at once all the same.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """Let the collector rest, unless it does already."""
    active = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if active:
            gc.enable()
