"""The tidy table of a grid: a row per run, split, label and metric; a run that failed has one row that says why."""

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
from emerge_ehr.training import checkpoints, methods, run_folder, trained


@dataclass(frozen=True)
class GridRun:
    """A point trained with one seed. ``config`` has the run's folders, and the seed of data and split.

    ``failed`` says why there is no result; None if there is one.
    """

    point: Point
    seed: int
    config: Config
    failed: str | None = None

    @property
    def name(self) -> str:
        """The run's folder within the grid's folder."""
        return f"{self.point.folder}/seed_{self.seed}"

    @property
    def trained(self) -> Config:
        """The config that is trained: its seed is the run's."""
        return dataclasses.replace(self.config, seed=self.seed)


def ended(run: GridRun, inputs: dict[Path, dict[str, str]]) -> bool:
    """Whether the run's folder holds a finished and complete run with the same settings, data and library versions.

    ``inputs`` keeps the hashes of artefacts, which many runs share: processed folder -> file -> hash.
    """
    folder = run.config.run_dir
    try:
        _, manifest = trained.settings(folder)
    except UserError:  # there is none, or it is damaged, so it has to be trained
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
    now = {"inputs": inputs[processed], "versions": artefacts.versions(run_folder.LIBRARIES), "threads": 1}
    same = all(manifest.get(key) == value for key, value in now.items())
    same = same and components.changed(run.config, methods.sockets(run.config), manifest) is None
    return same and bool(mark == methods.fingerprint(run.trained, manifest, exactly=True))


def tidy(grid: Grid, runs: Sequence[GridRun]) -> pl.DataFrame:
    """The runs' metrics as one frame. ``removed_*`` are shares; ``run`` is the folder; ``failed`` says why there is no result.

    ``low`` and ``high`` are the run's own 95 % interval, from a bootstrap over the split's persons.
    """
    schema = {
        **dict.fromkeys(grid.axes, pl.String),
        **{f"removed_{kind}": pl.Float64 for kind in KINDS},
        **{"seed": pl.Int64, "split": pl.String, "label": pl.String, "metric": pl.String},
        **dict.fromkeys(("value", "low", "high"), pl.Float64),
        **{"patients": pl.Int64, "positives": pl.Int64, "run": pl.String, "failed": pl.String},
    }
    return pl.DataFrame([row for run in runs for row in _rows(run)], schema=schema, orient="row")


def _rows(run: GridRun) -> Iterator[tuple[Any, ...]]:
    removed = dict([run.point.removed] if run.point.removed else [])
    head = (*run.point.values.values(), *(removed.get(kind, 0.0) for kind in KINDS), run.seed)
    if run.failed is not None:
        yield (*head, *[None] * 8, str(run.config.run_dir), run.failed)
        return
    evaluated = artefacts.read_json(run.config.run_dir / "metrics.json", "benchmark")
    for split, labels in evaluated["splits"].items():
        for label, evaluated_label in labels.items():
            for metric, interval in evaluated_label["metrics"].items():
                numbers = (
                    interval["value"],
                    interval["low"],
                    interval["high"],
                    evaluated_label["patients"],
                    evaluated_label["positives"],
                )
                yield (*head, split, label, metric, *numbers, str(run.config.run_dir), None)
