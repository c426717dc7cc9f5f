"""The tidy table of a grid: a row for every run, split, label and metric; a run that failed has one row that says why."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from emerge_ehr import components
from emerge_ehr.comparison.grid import KINDS, Grid
from emerge_ehr.comparison.points import Point
from emerge_ehr.config import Config
from emerge_ehr.fields import UserError
from emerge_ehr.storage import artefacts
from emerge_ehr.storage.schema import DATASET, METADATA, SPLIT
from emerge_ehr.training import checkpoints, methods, train, trained


@dataclass(frozen=True)
class Run:
    """A point trained with one seed. ``config`` has its folders, and the seed of data and split.

    ``failed`` says why there is no result.
    """

    point: Point
    seed: int
    config: Config
    failed: str | None = None

    @property
    def name(self) -> str:
        """Its folder within the grid's."""
        return f"{self.point.folder}/seed_{self.seed}"

    @property
    def trained(self) -> Config:
        """As it is trained: the seed is the run's."""
        return dataclasses.replace(self.config, seed=self.seed)


def ended(run: Run, inputs: dict[Path, dict[str, str]]) -> bool:
    """Whether its folder holds a finished run, no file lost, of these settings, data and library versions.

    ``inputs`` remembers the hashes of artefacts, which many runs share.
    """
    folder = run.config.run_dir
    try:
        _, manifest = trained.settings(folder)
    except UserError:  # it is trained again
        return False
    if checkpoints.is_kept(folder / methods.UNFINISHED):
        return False
    processed = run.config.processed_dir
    paths = [processed / name for name in (DATASET, METADATA, SPLIT)]
    if not all(path.is_file() for path in paths):
        return False
    if processed not in inputs:
        inputs[processed] = artefacts.hashes(paths)
    mark = manifest.pop("fingerprint", None)
    manifest.pop("files")
    now = {"inputs": inputs[processed], "versions": artefacts.versions(train.LIBRARIES), "threads": 1}
    same = all(manifest.get(key) == value for key, value in now.items())
    same = same and components.changed(run.config, methods.sockets(run.config), manifest) is None
    return same and bool(mark == methods.fingerprint(run.trained, manifest, exactly=True))


def tidy(grid: Grid, runs: Sequence[Run]) -> pl.DataFrame:
    """``removed_*`` are shares, ``run`` is the folder, ``failed`` why there is no result.

    ``low`` and ``high`` are the run's own 95 % interval over the test set's persons.
    """
    schema = {
        **dict.fromkeys(grid.axes, pl.String),
        **{f"removed_{kind}": pl.Float64 for kind in KINDS},
        **{"seed": pl.Int64, "split": pl.String, "label": pl.String, "metric": pl.String},
        **dict.fromkeys(("value", "low", "high"), pl.Float64),
        **{"patients": pl.Int64, "positives": pl.Int64, "run": pl.String, "failed": pl.String},
    }
    return pl.DataFrame([row for run in runs for row in _rows(run)], schema=schema, orient="row")


def _rows(run: Run) -> Iterator[tuple[Any, ...]]:
    taken = dict([run.point.removed] if run.point.removed else [])
    head = (*run.point.values.values(), *(taken.get(kind, 0.0) for kind in KINDS), run.seed)
    if run.failed is not None:
        yield (*head, *[None] * 8, str(run.config.run_dir), run.failed)
        return
    evaluated = artefacts.read_json(run.config.run_dir / "metrics.json", "benchmark")
    for split, labels in evaluated["splits"].items():
        for label, found in labels.items():
            for metric, one in found["metrics"].items():
                numbers = (one["value"], one["low"], one["high"], found["patients"], found["positives"])
                yield (*head, split, label, metric, *numbers, str(run.config.run_dir), None)
