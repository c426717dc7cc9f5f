"""What a worker does when its memory runs out, in a module that workers can import."""

import os
from collections.abc import Sequence


def answer(tool: None, items: Sequence[int]) -> Sequence[int]:
    """The items; but the process that gets 6 is gone."""
    if 6 in items:
        os._exit(137)
    return items
