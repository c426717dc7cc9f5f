"""The folder of a grid, ``runs/<name>/``: which file it belongs to, which process writes there, and what earlier grids left."""

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
HELD = ".benchmark"  # a folder in the grid's, locked while the grid runs
OWNER = "grid.json"  # names the file that the grid was read from
PLOTS = ("ablation", *(f"sparsity_{kind}" for kind in KINDS))
RESULTS = (
    *("results.csv", "results.parquet", "comparisons.csv", "table.md", "table.tex"),
    *(f"{name}.{ending}" for name in PLOTS for ending in ("svg", "png")),
)
FILES = (OWNER, *RESULTS)

log = logging.getLogger(__name__)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep other processes from running this grid, or search of ``tuning``, while the context is open.

    Raises:
        UserError: another process runs it.
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
    """Refuse a folder that does not belong to this grid.

    Raises:
        UserError: the folder is that of a run, or holds the results of another grid's file.
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
    """Record in the folder that it belongs to the grid at this path, so that ``refuse_others`` can tell."""
    if not (folder / OWNER).is_file():
        with artefacts.replacing(folder / OWNER) as aside:
            artefacts.write_json(aside, {"grid": _relative(grid)})


def remove_old(folder: Path, written: Collection[str]) -> None:
    """Remove the plots and tables of an earlier run that are not among the ``written`` ones, as they would not fit these."""
    for name in RESULTS:
        if name not in written and (folder / name).is_file():
            log.info("%s: removed, as this grid no longer has it", folder / name)
            (folder / name).unlink()


def tell_strangers(folder: Path, own: Collection[Path]) -> None:
    """Log which finished runs in the folder are not among the grid's ``own``; they are not removed."""
    there = {path.parent for path in folder.glob(f"*/seed_*/{MANIFEST}")}
    if others := sorted(str(path.relative_to(folder)) for path in there - set(own)):
        log.warning(
            "%s: runs that are no longer part of the grid (delete them if unwanted): %s", folder, ", ".join(others)
        )


def _relative(grid: Path) -> str:
    """The grid's path relative to the current folder, as that of ``runs`` is, however the user wrote it."""
    return os.path.relpath(grid.resolve(), Path.cwd())
