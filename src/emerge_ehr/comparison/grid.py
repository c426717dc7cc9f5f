"""The file of a grid of runs: one TOML file whose axes vary any keys of a config; docs/benchmark.md describes it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Le, Lt, MinLen

from emerge_ehr.config import read_toml, refuse_path
from emerge_ehr.evaluation.catalogue import keys
from emerge_ehr.fields import Name, Seed, UserError, parse, refuse_repeated

if TYPE_CHECKING:
    Metric = str
else:
    Metric = Literal[keys("grids")]  # the message that refuses a wrong key lists the right ones
Shares = tuple[Annotated[float, Ge(0), Lt(1)], ...]
Settings = Mapping[str, Any]
KINDS = ("patients", "notes", "measurements")
RESERVED = (
    *("seed", "split", "label", "metric", "value", "low", "high", "patients", "positives", "run", "failed"),
    *(f"removed_{kind}" for kind in KINDS),
)
DECIDED = {  # keys of a config that the grid decides, not its settings -> why
    "seeds": "the grid's own `seeds` decide",
    "resume": "a grid always goes on where it was stopped",
    "run_name": "the grid's `name` and the values decide",
    "paths.run_dir": "the grid's `name` and the values decide",
    "paths.processed_dir": "artefacts lie where grids share them, in data/benchmark",
}


@dataclass(frozen=True)
class Removed:
    """Shares of the data to remove, one kind at a time (``config.Sparsity``); a point with nothing removed is always added."""

    patients: Shares = ()
    notes: tuple[Annotated[float, Ge(0), Le(1)], ...] = ()
    measurements: Shares = ()


@dataclass(frozen=True)
class Grid:
    """A grid. ``axes``: axis -> value -> the config keys that the value sets; key ``base``: another config to start from.

    ``name``: the name of its folder in ``runs/``; by default that of the file, without its ending. ``settings``: config keys for
    all points. ``columns``: the axes that head columns of the table; the others name its rows. ``reference``: the row that the
    others are tested against, by default the first. ``workers``: runs at a time; 0 for one per core, or one if there is a GPU.
    """

    seeds: Annotated[tuple[Seed, ...], MinLen(1)]
    name: str = ""
    base: Path | None = None
    settings: Settings = field(default_factory=dict)
    axes: Mapping[Name, Mapping[Name, Settings]] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    metrics: Annotated[tuple[Metric, ...], MinLen(1)] = ("auroc", "auprc", "min_precision_sensitivity")
    reference: str | None = None
    sparsity: Removed = Removed()
    workers: Annotated[int, Ge(0)] = 0


def load(path: Path) -> Grid:
    """Read the grid at ``path``.

    Raises:
        UserError: the file is missing, or does not fit ``Grid``; the message names the key.
    """
    raw = read_toml(path)
    grid = parse(Grid, {**raw, "name": raw.get("name", path.stem)}, str(path))
    refuse_path(grid.name, f"{path}: name", "give the grid such a `name`")
    refuse_repeated(grid.seeds, f"{path}: seeds")
    refuse_repeated(grid.metrics, f"{path}: metrics")
    refuse_repeated(grid.columns, f"{path}: columns")
    for name in grid.columns:
        if name not in grid.axes:
            raise UserError(f"{path}: columns: there is no axis '{name}'; there are: {', '.join(grid.axes) or 'none'}")
    for kind in KINDS:
        refuse_repeated(getattr(grid.sparsity, kind), f"{path}: sparsity.{kind}")
    _refuse_axes(grid, path)
    return grid


def _refuse_axes(grid: Grid, path: Path) -> None:
    """Refuse axes that the grid cannot have, and settings that it decides itself.

    Raises:
        UserError: an axis has no values or the name of a column of the results, or a setting is a key of ``DECIDED``.
    """
    for name, values in grid.axes.items():
        if name in RESERVED:
            raise UserError(f"{path}: axes.{name}: results.csv has a column of this name; choose another")
        if not values:
            raise UserError(f"{path}: axes.{name} has no value")
    for where, settings in _all_settings(grid):
        for key, why in DECIDED.items():
            first, _, second = key.partition(".")
            inner = settings.get(first)
            if first in settings and (not second or (isinstance(inner, Mapping) and second in inner)):
                raise UserError(f"{path}: {where}: '{key}' cannot be set in a grid: {why}; remove it")


def _all_settings(grid: Grid) -> Iterator[tuple[str, Settings]]:
    yield "settings", grid.settings
    for axis, values in grid.axes.items():
        for value, settings in values.items():
            yield f"axes.{axis}.'{value}'", settings
