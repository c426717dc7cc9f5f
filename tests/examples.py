"""Where the contract tests find what a plug needs to be built and tried.

A plug is built with its default options. One that cannot be (it needs raw files, a model, an endpoint) may come with an example:
``examples/<plug>.py`` beside the tests of its socket, as ``tests/datasets/sources/examples/eicu.py``. All it may define:

- any socket: ``OPTIONS``, the plug's options; or ``options(models)``, where ``models`` is the folder of ``tiny_models``.
- a source: ``raw_files(raw_dir)``, which writes a small hospital, with measurements after the first 48 h of a stay;
  ``change_after_window(raw_dir)``, which changes such a value, by other code than the source's own; ``TASK``, if not mortality.
- a knowledge graph: ``files(folder)``, which writes its files.
- what asks a language model: ``answer(body)``, the model's answer to a request; any model answers nonsense otherwise.
"""

import gzip
import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl

from emerge_ehr import components
from emerge_ehr.fields import Component
from tests.places import ROOT


def example(socket: str, plug: str) -> ModuleType | None:
    """The plug's example, if it has one."""
    package = components.SOCKETS[socket].replace("emerge_ehr", "tests", 1) + ".examples"
    path = ROOT / package.replace(".", "/") / f"{plug}.py"
    return importlib.import_module(f"{package}.{plug}") if path.is_file() else None


def chosen(socket: str, plug: str, models: Path | None = None) -> Component:
    """The plug with the options of its example, or its defaults."""
    given = example(socket, plug)
    made: dict[str, Any] = given.options(models) if hasattr(given, "options") else getattr(given, "OPTIONS", {})
    return Component(plug, made)


def with_example(socket: str, part: str) -> list[str]:
    """The plugs whose example has the ``part``."""
    return [plug for plug in components.names(socket) if hasattr(example(socket, plug), part)]


def edit(path: Path, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    """Write a CSV, plain or gzipped, again with all columns as text; the change must change something."""
    table = pl.read_csv(path, infer_schema=False)
    changed = change(table)
    assert not changed.equals(table), f"{path}: nothing was changed"
    text = changed.write_csv().encode()
    path.write_bytes(gzip.compress(text, compresslevel=1) if path.suffix == ".gz" else text)
