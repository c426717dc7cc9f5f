"""Works for ``test_beside.py``, in a module that helper processes can import. The tool is this process's number and a folder."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from emerge_ehr.fields import UserError

Tool = tuple[int, Path]


def squares(tool: Tool, items: Sequence[int]) -> list[tuple[int, int]]:
    """The square of each item, and who computed it; this process waits with 0 until a helper has done something."""
    own, folder = tool
    if items and os.getpid() != own:
        (folder / "helped").touch()
    while 0 in items and os.getpid() == own and not (folder / "helped").exists():
        time.sleep(0.02)
    return [(item**2, os.getpid()) for item in items]


def refused(tool: Tool, items: Sequence[int]) -> list[tuple[int, int]]:
    """As ``squares``, but a helper refuses whatever it gets."""
    if items and os.getpid() != tool[0]:
        (tool[1] / "helped").touch()
        raise UserError("item: not a number; mend it")
    return squares(tool, items)


def deadly(tool: Tool, items: Sequence[int]) -> list[tuple[int, int]]:
    """As ``squares``, but a helper dies of its first item."""
    if items and os.getpid() != tool[0]:
        (tool[1] / "helped").touch()
        os._exit(137)
    return squares(tool, items)
