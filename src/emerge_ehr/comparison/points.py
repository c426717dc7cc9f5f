"""The points of a grid: one value of every axis, and the share of data removed. Each point is trained once per seed.

Combinations of values that would train the same model, because they differ only in keys that the method does not read, are one
point.
"""

import dataclasses
import itertools
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emerge_ehr import components, decides, privacy
from emerge_ehr.comparison import preparation
from emerge_ehr.comparison.folder import FILES
from emerge_ehr.comparison.grid import DECIDED, KINDS, Grid, Settings
from emerge_ehr.comparison.what_is_read import as_read
from emerge_ehr.compute import cluster
from emerge_ehr.config import Config, Sparsity, fill, read_toml, refuse_path
from emerge_ehr.fields import Component, UserError, refuse_repeated
from emerge_ehr.models import emerge

PREPARING = ("download", "convert", "preprocess")  # the stages that make what runs share
ANY = "any"  # printed for an axis whose values all train the same at this point

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Combination:
    """A value of every axis; ``removed``: the kind of data removed and its share, None if nothing is."""

    values: Mapping[str, str]
    removed: tuple[str, float] | None = None

    def named(self, axes: Sequence[str] | None = None) -> str:
        """The combination's name in a table: the values of ``axes`` (all if None), and what is removed."""
        removed = [] if self.removed is None else [f"−{100 * self.removed[1]:g} % {self.removed[0]}"]
        return ", ".join([*(self.values[axis] for axis in (self.values if axes is None else axes)), *removed]) or "all"

    def stands_in(self, column: Mapping[str, str]) -> bool:
        """Whether the combination belongs in the table's column with these values."""
        return all(self.values[axis] == value for axis, value in column.items())

    @property
    def folder(self) -> str:
        """A name for the folder of the combination's runs.

        >>> Combination({"model": "GRU-D", "modalities": "EHR + note"}, ("notes", 0.5)).folder
        'GRU-D__EHR_note__notes_-50'
        """
        removed = [] if self.removed is None else [f"{self.removed[0]}_-{100 * self.removed[1]:g}"]
        parts = [re.sub(r"[^A-Za-z0-9.-]+", "_", value).strip("_") for value in self.values.values()]
        return "__".join([*parts, *removed]) or "all"


@dataclass(frozen=True)
class Point:
    """What is trained once per seed. ``combinations``: all that the point stands for; the first names its folder.

    ``values``: axis -> its value as tables print it, or several joined by "or". ``config``: the base with the values' settings;
    the run folders are not chosen yet.
    """

    values: Mapping[str, str]
    config: Config
    combinations: tuple[Combination, ...]

    @property
    def removed(self) -> tuple[str, float] | None:
        """The kind of data removed and its share; None if nothing is."""
        return self.combinations[0].removed

    @property
    def folder(self) -> str:
        """The name of the folder of the point's runs; it does not change when the point comes to stand for more combinations."""
        return self.combinations[0].folder

    def named(self, axes: Sequence[str]) -> str:
        """The point's name in a table: the values of ``axes``, and what is removed."""
        return Combination(self.values, self.removed).named(axes)

    def stands_in(self, column: Mapping[str, str]) -> bool:
        """Whether the point belongs in the table's column with these values."""
        return any(combination.stands_in(column) for combination in self.combinations)

    def is_row(self, name: str, axes: Sequence[str]) -> bool:
        """Whether ``name`` is the name of the point's row, or of one of the combinations that the point stands for."""
        return name == self.named(axes) or any(combination.named(axes) == name for combination in self.combinations)


def points(grid: Grid, path: Path) -> list[Point]:
    """The points in the order of the file; what is removed varies fastest. Combinations that would train the same are one point,
    and the log says so.

    Raises:
        UserError: a value does not make a valid config (the message names axis, value and key) or a valid folder name; two points
            share a folder or a row; two points have one raw folder but different sources; ``reference`` is not a row.
    """
    kept: dict[str, tuple[Config, list[Combination]]] = {}
    for combination, config in _product(grid, path):
        _, same = kept.setdefault(identity(config), (config, []))
        if same:
            names = [each.named() for each in (combination, same[0])]
            log.info("%s: trains the same as %s; they are run once, as one row", *names)
        same.append(combination)
    grid_points = [
        Point(_told(grid, combinations), config, tuple(combinations)) for config, combinations in kept.values()
    ]
    _refuse_folders(grid, grid_points, path)
    _refuse_alike(grid, grid_points, path)
    _refuse_shared_raw(grid_points, path)
    name = grid.reference
    if name is not None and not any(point.is_row(name, row_axes(grid)) for point in grid_points):
        raise UserError(f"{path}: reference = '{name}' is no row; there are: {'; '.join(rows(grid, grid_points))}")
    return grid_points


def row_axes(grid: Grid) -> list[str]:
    """The axes that name rows."""
    return [axis for axis in grid.axes if axis not in grid.columns]


def rows(grid: Grid, found: Sequence[Point]) -> list[str]:
    """The names of the table's rows, without repetition."""
    return list(dict.fromkeys(point.named(row_axes(grid)) for point in found))


def columns(grid: Grid) -> dict[str, dict[str, str]]:
    """The table's columns: name -> the values of the axes that head it. Without such axes there is one column, with no name."""
    products = itertools.product(*(grid.axes[axis] for axis in grid.columns))
    return {", ".join(values): dict(zip(grid.columns, values, strict=True)) for values in products}


def _told(grid: Grid, combinations: Sequence[Combination]) -> dict[str, str]:
    """Map each axis to its value as tables print it: several values are joined by "or", all of them are ``ANY``."""
    printed = {}
    for axis, values in grid.axes.items():
        names = list(dict.fromkeys(combination.values[axis] for combination in combinations))
        printed[axis] = ANY if 1 < len(names) == len(values) else " or ".join(names)
    return printed


def _product(grid: Grid, path: Path) -> Iterator[tuple[Combination, Config]]:
    for chosen in itertools.product(*(values.items() for values in grid.axes.values())):
        values = dict(zip(grid.axes, (name for name, _ in chosen), strict=True))
        where = f"{path}: " + (", ".join(f"axes.{axis}.'{value}'" for axis, value in values.items()) or "settings")
        config = _config(grid, [settings for _, settings in chosen], where)
        yield Combination(values), config
        for kind in KINDS:
            for share in (share for share in getattr(grid.sparsity, kind) if share):
                if config.sparsity != Sparsity(splits=config.sparsity.splits):
                    raise UserError(f"{where}: give shares to remove in [sparsity] or in settings, not in both")
                rule = dataclasses.replace(config.sparsity, **{kind: share})
                yield Combination(values, (kind, share)), dataclasses.replace(config, sparsity=rule)


def _config(grid: Grid, chosen: Sequence[Settings], where: str) -> Config:
    """The base with the settings of the grid, then those of the values; later settings replace earlier ones."""
    bases = [base for settings in (grid.settings, *chosen) if (base := settings.get("base"))] or [grid.base]
    if len(bases) > 1 or bases[0] is None:
        problem = "no base: give 'base'" if len(bases) == 1 else f"{len(bases)} bases"
        raise UserError(f"{where}: {problem}; exactly one config is the point's base, the grid's or that of one value")
    if not isinstance(bases[0], str | Path):
        raise UserError(f"{where}: base = {bases[0]!r}: expected the path of a config")
    raw = read_toml(Path(bases[0]))
    for settings in (grid.settings, *chosen):
        raw = merged(raw, {key: value for key, value in settings.items() if key != "base"})
    config = fill(raw, where)
    if config.seeds:
        raise UserError(
            f"{bases[0]}: 'seeds' has no meaning in the base of a grid: {DECIDED['seeds']}; remove it there"
        )
    config = dataclasses.replace(config, resume=False)
    try:
        components.check(config, components.SOCKETS)
        shared = preparation.placed(config)
        privacy.check(shared, PREPARING)
        cluster.check(shared, PREPARING)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    emerge.check(config.model, config.token_level, where)
    return config


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the keys of ``over``, tables merged. A component with another name replaces the earlier one and its options.

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


def identity(config: Config) -> str:
    """A text that is equal for two configs that train the same model."""
    return json.dumps(decides.settings(as_read(config), lambda said: said.first is not None), sort_keys=True)


def _refuse_folders(grid: Grid, grid_points: Sequence[Point], path: Path) -> None:
    """Refuse points whose folder would not lie in the grid's, would replace a file there, or could not be named as a run."""
    for point in grid_points:
        where = f"{path}: the folder of '{point.combinations[0].named()}'"
        refuse_path(point.folder, where, "rename the values of [axes]")
        refuse_path(run_name(grid, point), f"{where} with the grid's name", "give the grid or its values shorter names")
        if point.folder.lower() in FILES:
            raise UserError(
                f"{where} = '{point.folder}': the grid writes a file of this name; rename a value of [axes]"
            )


def run_name(grid: Grid, point: Point) -> str:
    """The config key ``run_name`` of a point's runs."""
    return f"{grid.name}_{point.folder}"


def _refuse_alike(grid: Grid, grid_points: Sequence[Point], path: Path) -> None:
    """Refuse points that share a folder, and would overwrite each other, or a row and column, and would be averaged."""
    headings = [", ".join(values) for values in itertools.product(*(grid.axes[axis] for axis in grid.columns))]
    refuse_repeated(headings, f"{path}: the columns' names")
    _refuse_twice([(point.folder, point) for point in grid_points], "folder", path)
    for values in columns(grid).values():
        points_there = [point for point in grid_points if point.stands_in(values)]
        _refuse_twice([(point.named(row_axes(grid)), point) for point in points_there], "row", path)


def _refuse_twice(named: Sequence[tuple[str, Point]], what: str, path: Path) -> None:
    first: dict[str, Point] = {}
    for name, point in named:
        if (same := first.setdefault(name, point)) is not point:
            first_name, second_name = (each.combinations[0].named() for each in (same, point))
            raise UserError(f"{path}: '{first_name}' and '{second_name}' would share the {what} {name}; rename one")


def _refuse_shared_raw(grid_points: Sequence[Point], path: Path) -> None:
    """Refuse different sources in one raw folder, whose downloads would overwrite each other."""
    sources: dict[Path, Component] = {}
    for point in grid_points:
        source = sources.setdefault(point.config.raw_dir, point.config.source)
        if source != point.config.source:
            raise UserError(
                f"{path}: paths.raw_dir = '{point.config.raw_dir}' serves points with different [source] settings; "
                "give each its own paths.raw_dir"
            )
