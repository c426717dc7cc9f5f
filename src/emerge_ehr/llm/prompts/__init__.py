"""Prompts as text files, ``name.vN.txt``. A prompt that has been used is never edited; a better one is a file with the next N."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template

FOLDER = Path(__file__).parent
SYSTEM, USER = "=== system ===\n", "=== user ===\n"


@dataclass(frozen=True)
class Prompt:
    """``name`` includes the version; whoever asks a question fills the ``$``-fields in ``system`` and ``user``."""

    name: str
    system: Template
    user: Template


@cache
def read(name: str) -> Prompt:
    """The prompt in ``name.txt``."""
    text = (FOLDER / f"{name}.txt").read_text("utf-8")
    system, user = text.removeprefix(SYSTEM).split(USER)
    return Prompt(name, Template(system.strip()), Template(user.strip()))
