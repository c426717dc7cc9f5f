"""The folder of a grid, ``runs/<name>/``: which file it belongs to, who writes there now, and what is left of earlier times."""

import logging
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from emerge_ehr.comparison.grid import KINDS
from emerge_ehr.fields import UserError
from emerge_ehr.storage import artefacts, publishing
from emerge_ehr.storage.schema import MANIFEST

RUNS = Path("runs")
HELD = ".benchmark"  # in the grid's folder while it runs: what is locked
OWNER = "grid.json"  # which file the grid is of
PLOTS = ("ablation", *(f"sparsity_{kind}" for kind in KINDS))
RESULTS = (
    *("results.csv", "results.parquet", "comparisons.csv", "table.md", "table.tex"),
    *(f"{name}.{ending}" for name in PLOTS for ending in ("svg", "png")),
)
FILES = (OWNER, *RESULTS)

log = logging.getLogger(__name__)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """No other process runs this grid meanwhile.

    Raises:
        UserError: another one does.
    """
    lock = folder / HELD
    lock.mkdir(parents=True, exist_ok=True)
    with publishing.locked(lock):
        publishing.finish_interrupted(folder)
        try:
            yield
        finally:
            lock.rmdir()


def refuse_others(folder: Path, grid: Path) -> None:
    """Raises:
    UserError: the folder holds the results of another grid's file, or is that of a run.
    """
    if (folder / MANIFEST).is_file():
        raise UserError(f"{grid}: {folder} is the folder of a run; give the grid another `name`")
    path = folder / OWNER
    if not path.is_file():
        return
    record = artefacts.read_json(path, "benchmark")
    owner = record.get("grid") if isinstance(record, dict) else None
    if owner != _relative(grid):
        raise UserError(
            f"{grid}: {folder} holds the results of the grid {owner}; give this one a `name` of its own, or delete {path} if it "
            "is the same grid, renamed"
        )


def claim(folder: Path, grid: Path) -> None:
    """Record that the folder is of the grid at this path; for ``refuse_others``."""
    if not (folder / OWNER).is_file():
        with artefacts.replacing(folder / OWNER) as aside:
            artefacts.write_json(aside, {"grid": _relative(grid)})


def remove_old(folder: Path, written: Collection[str]) -> None:
    """Plots and tables of an earlier run that this one has not ``written`` would not fit the rest."""
    for name in RESULTS:
        if name not in written and (folder / name).is_file():
            log.info("%s: removed, this grid has it no more", folder / name)
            (folder / name).unlink()


def tell_strangers(folder: Path, own: Collection[Path]) -> None:
    """Log which finished runs in the folder are none of the grid's ``own``; they stay."""
    there = {path.parent for path in folder.glob(f"*/seed_*/{MANIFEST}")}
    if others := sorted(str(path.relative_to(folder)) for path in there - set(own)):
        log.warning(
            "%s: runs that are no part of the grid any more (delete them if unwanted): %s", folder, ", ".join(others)
        )


def _relative(grid: Path) -> str:
    """From the current folder, as ``runs`` is, however it was written."""
    return os.path.relpath(grid.resolve(), Path.cwd())
