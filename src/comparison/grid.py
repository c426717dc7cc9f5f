"""A grid of runs: one TOML file whose axes vary any keys of a config; docs/benchmark.md describes it.

A point takes one value of every axis; it is trained once a seed. Two points that would train the very same thing, because they
differ only in keys that the method does not read, are one.
"""

import dataclasses
import itertools
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Le, Lt, MinLen

from src import components
from src.comparison.what_is_read import as_read
from src.config import Config, Sparsity, fill, read_toml
from src.datasets.preprocess.llm import privacy
from src.fields import Component, Name, Seed, UserError, parse, refuse_repeated, to_dict

Metric = Literal["auroc", "auprc", "min_precision_sensitivity", "f1", "accuracy"]
Shares = tuple[Annotated[float, Ge(0), Lt(1)], ...]
Settings = Mapping[str, Any]
KINDS = ("patients", "notes", "measurements")
RESERVED = (
    *("seed", "split", "label", "metric", "value", "low", "high", "patients", "positives", "run", "failed"),
    *(f"removed_{kind}" for kind in KINDS),
)
ANY = "any"  # stands for the value of an axis that changes nothing at this point

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Removed:
    """Shares to remove, each kind on its own (``config.Sparsity``); 0 is always among the points."""

    patients: Shares = ()
    notes: tuple[Annotated[float, Ge(0), Le(1)], ...] = ()
    measurements: Shares = ()


@dataclass(frozen=True)
class Grid:
    """``axes``: axis -> value -> the config keys it sets, ``base`` among them: another config to start from.

    ``settings`` holds for all points. ``columns``: the axes that head columns of the table; the others name its rows.
    ``reference``: the row that the others are tested against, by default the first. ``workers`` 0: one a core, one where there is
    a GPU.
    """

    seeds: Annotated[tuple[Seed, ...], MinLen(1)]
    base: Path | None = None
    settings: Settings = field(default_factory=dict)
    axes: Mapping[Name, Mapping[Name, Settings]] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    metrics: Annotated[tuple[Metric, ...], MinLen(1)] = ("auroc", "auprc", "min_precision_sensitivity")
    reference: str | None = None
    sparsity: Removed = Removed()
    workers: Annotated[int, Ge(0)] = 0


@dataclass(frozen=True)
class Point:
    """One value of every axis, and what is removed; ``config`` as the base and the values say, its folders not yet chosen."""

    values: Mapping[str, str]
    removed: tuple[str, float] | None
    config: Config

    def named(self, axes: Sequence[str]) -> str:
        """The values of ``axes``, and what is removed, for a table."""
        return ", ".join([*(self.values[axis] for axis in axes), *self._removed()]) or "all"

    @property
    def folder(self) -> str:
        """The name of its run folder.

        >>> Point({"model": "GRU-D", "modalities": "EHR + note"}, ("notes", 0.5), None).folder
        'GRU-D__EHR_note__notes_-50'
        """
        removed = [] if self.removed is None else [f"{self.removed[0]}_-{100 * self.removed[1]:g}"]
        parts = [re.sub(r"[^A-Za-z0-9.-]+", "_", value).strip("_") for value in self.values.values()]
        return "__".join([*parts, *removed]) or "all"

    def stands_in(self, column: Mapping[str, str]) -> bool:
        """Whether it belongs into the table's column of these values."""
        return all(self.values[axis] in (value, ANY) for axis, value in column.items())

    def _removed(self) -> list[str]:
        return [] if self.removed is None else [f"−{100 * self.removed[1]:g} % {self.removed[0]}"]


def load(path: Path) -> Grid:
    """The grid at ``path``.

    Raises:
        UserError: it is missing, or does not fit ``Grid``; the message names the key.
    """
    grid = parse(Grid, read_toml(path), str(path))
    refuse_repeated(grid.seeds, f"{path}: seeds")
    refuse_repeated(grid.metrics, f"{path}: metrics")
    for name, values in grid.axes.items():
        if name in RESERVED:
            raise UserError(f"{path}: axes.{name}: results.csv has a column of this name; choose another")
        if not values:
            raise UserError(f"{path}: axes.{name} has no value")
    for name in grid.columns:
        if name not in grid.axes:
            raise UserError(f"{path}: columns: there is no axis '{name}'; there are: {', '.join(grid.axes) or 'none'}")
    for kind in KINDS:
        refuse_repeated(getattr(grid.sparsity, kind), f"{path}: sparsity.{kind}")
    return grid


def points(grid: Grid, path: Path) -> list[Point]:
    """The points in the order of the file; what is removed varies fastest. Those that would train the same are one, and logged.

    Raises:
        UserError: a value does not make a valid config (the message names axis, value and key); two points share a folder's name;
            two of one raw folder have different sources; ``reference`` is no row.
    """
    kept: dict[str, Point] = {}
    folders: dict[str, Point] = {}
    for point in _product(grid, path):
        same = kept.get(key := _identity(point.config))
        if same is None:
            kept[key] = point
            continue
        differing = [axis for axis in grid.axes if point.values[axis] != same.values[axis]]
        where = ", ".join(f"{axis} = {point.values[axis]}" for axis in grid.axes)
        log.info("%s: changes nothing against %s; run once, as one row", where, same.named(list(grid.axes)))
        kept[key] = dataclasses.replace(same, values={**same.values, **dict.fromkeys(differing, ANY)})
    for point in kept.values():
        if point.folder in folders:
            one, other = (p.named(list(grid.axes)) for p in (folders[point.folder], point))
            raise UserError(f"{path}: '{one}' and '{other}' would share the folder {point.folder}; rename one")
        folders[point.folder] = point
    found = list(kept.values())
    _refuse_shared_raw(found, path)
    if grid.reference is not None and grid.reference not in (names := rows(grid, found)):
        raise UserError(f"{path}: reference = '{grid.reference}' is no row; there are: {'; '.join(names)}")
    return found


def row_axes(grid: Grid) -> list[str]:
    """The axes that name rows."""
    return [axis for axis in grid.axes if axis not in grid.columns]


def rows(grid: Grid, found: Sequence[Point]) -> list[str]:
    """The names of the table's rows, each once."""
    return list(dict.fromkeys(point.named(row_axes(grid)) for point in found))


def columns(grid: Grid) -> dict[str, dict[str, str]]:
    """The table's columns: name -> the values of the axes that head them. Without such axes one, without a name."""
    products = itertools.product(*(grid.axes[axis] for axis in grid.columns))
    return {", ".join(values): dict(zip(grid.columns, values, strict=True)) for values in products}


def _product(grid: Grid, path: Path) -> Iterator[Point]:
    for chosen in itertools.product(*(values.items() for values in grid.axes.values())):
        values = dict(zip(grid.axes, (name for name, _ in chosen), strict=True))
        where = f"{path}: " + (", ".join(f"axes.{axis}.'{value}'" for axis, value in values.items()) or "settings")
        config = _config(grid, [settings for _, settings in chosen], where)
        yield Point(values, None, config)
        for kind in KINDS:
            for share in (share for share in getattr(grid.sparsity, kind) if share):
                if config.sparsity != Sparsity(splits=config.sparsity.splits):
                    raise UserError(f"{where}: give shares to remove in [sparsity] or in settings, not in both")
                rule = dataclasses.replace(config.sparsity, **{kind: share})
                yield Point(values, (kind, share), dataclasses.replace(config, sparsity=rule))


def _config(grid: Grid, chosen: Sequence[Settings], where: str) -> Config:
    """The base with the settings of the grid and of the values, later ones winning."""
    bases = [base for settings in (grid.settings, *chosen) if (base := settings.get("base"))] or [grid.base]
    if len(bases) > 1 or bases[0] is None:
        given = "no base: give 'base'" if len(bases) == 1 else f"{len(bases)} bases"
        raise UserError(f"{where}: {given}; exactly one config is the point's base, the grid's or of one value")
    if not isinstance(bases[0], str | Path):
        raise UserError(f"{where}: base = {bases[0]!r}: expected the path of a config")
    raw = read_toml(Path(bases[0]))
    for settings in (grid.settings, *chosen):
        raw = merged(raw, {key: value for key, value in settings.items() if key != "base"})
    config = dataclasses.replace(fill(raw, where), seeds=(), resume=False)
    try:
        components.check(config, tuple(components.SOCKETS))
        privacy.check(config)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    return config


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the keys of ``over``, tables merged; a component with another name replaces the one before, options and all.

    >>> merged({"embedding": {"name": "huggingface", "model": "m"}}, {"embedding": {"name": "tfidf_svd"}})
    {'embedding': {'name': 'tfidf_svd'}}
    """
    result = dict(base)
    for key, value in over.items():
        before = base.get(key)
        if isinstance(before, str) and isinstance(value, Mapping) and value.get("name", before) == before:
            before = {"name": before}
        other = isinstance(before, Mapping) and isinstance(value, Mapping) and "name" in value
        if not isinstance(before, Mapping) or not isinstance(value, Mapping):
            result[key] = value
        elif other and value["name"] != before.get("name"):
            result[key] = dict(value)
        else:
            result[key] = merged(before, value)
    return result


def _identity(config: Config) -> str:
    """Equal for two configs that train the same thing."""
    record = to_dict(as_read(config))
    paths = {key: record["paths"][key] for key in ("raw_dir", "kg_dir", "table_dir")}
    told = {key: value for key, value in record.items() if key not in ("run_name", "offline", "download")}
    return json.dumps({**told, "paths": paths}, sort_keys=True)


def _refuse_shared_raw(found: Sequence[Point], path: Path) -> None:
    """Different sources in one raw folder would download over each other."""
    sources: dict[Path, Component] = {}
    for point in found:
        source = sources.setdefault(point.config.raw_dir, point.config.source)
        if source != point.config.source:
            raise UserError(
                f"{path}: paths.raw_dir = '{point.config.raw_dir}' serves points with different [source] settings; "
                "give each its own paths.raw_dir"
            )
