"""Plots of a grid, as SVG and PNG: the metrics of all rows side by side, and how they fall as data are removed."""

import logging
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from emerge_ehr.comparison.grid import KINDS, Grid
from emerge_ehr.comparison.points import Combination, columns, row_axes
from emerge_ehr.comparison.results import GridRun
from emerge_ehr.evaluation.catalogue import metric, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which people with any kind of colour vision can tell apart; markers differ too
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STYLE: Any = {  # matplotlib's settings
    "svg.hashsalt": "emerge",  # without it ids differ from run to run
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
}

log = logging.getLogger(__name__)


def draw(grid: Grid, runs: Sequence[GridRun], frame: pl.DataFrame, folder: Path) -> None:
    """Draw ``ablation`` if there are several rows, ``sparsity_<kind>`` if shares are removed, if matplotlib is installed."""
    if find_spec("matplotlib") is None:
        log.warning("no plots: matplotlib is not installed (the extra 'plots')")
        return
    from matplotlib import rc_context

    test = _test(grid, runs, frame)
    all_data = test.filter(pl.all_horizontal(pl.col(f"removed_{kind}") == 0 for kind in KINDS))
    with rc_context(STYLE):
        if all_data["row"].n_unique() > 1:
            _save(_ablation(grid, all_data), folder / "ablation")
        for kind in KINDS:
            others = [f"removed_{other}" for other in KINDS if other != kind]
            one_kind = test.filter(pl.all_horizontal(pl.col(other) == 0 for other in others))
            if one_kind[f"removed_{kind}"].n_unique() > 1:
                _save(_sparsity(grid, one_kind, kind), folder / f"sparsity_{kind}")


def _test(grid: Grid, runs: Sequence[GridRun], frame: pl.DataFrame) -> pl.DataFrame:
    """The test results as printed, with ``row`` and ``column``. A run stands at every share of an input that it does not read."""
    test = frame.filter(
        (pl.col("split") == "test")
        & pl.col("value").is_not_null()
        & pl.col("metric").is_in([shown_metric.key for shown_metric in shown("grids")])
    )
    factor = pl.col("metric").replace_strict(
        {shown_metric.key: shown_metric.factor for shown_metric in shown("grids")}, return_dtype=pl.Float64
    )
    test = test.select("run", "label", "metric", pl.col("value") * factor)
    several = test["label"].n_unique() > 1
    label = pl.format("{} {}", pl.col("column"), pl.col("label")).str.strip_chars() if several else pl.col("column")
    parts = [
        test.join(places, on="run", maintain_order="left_right").with_columns(label.alias("column"))
        for places in _places(grid, runs)
    ]
    return pl.concat(parts)


def _places(grid: Grid, runs: Sequence[GridRun]) -> Iterator[pl.DataFrame]:
    """Yield, for each column of the table, a frame ``run, row, column, removed_*`` with a row per share that a run stands for."""
    shares = {f"removed_{kind}": pl.Float64 for kind in KINDS}
    schema = {"run": pl.String, "row": pl.String, "column": pl.String, **shares}
    for column, values in columns(grid).items():
        rows = {
            (
                str(run.config.run_dir),
                Combination(run.point.values).named(row_axes(grid)),
                column,
                *_shares(combination),
            )
            for run in runs
            for combination in run.point.combinations
            if combination.stands_in(values)
        }
        yield pl.DataFrame(sorted(rows), schema=schema, orient="row")


def _shares(combination: Combination) -> list[float]:
    return [
        combination.removed[1] if combination.removed is not None and combination.removed[0] == kind else 0.0
        for kind in KINDS
    ]


def _panels(rows: int, across: int, size: tuple[float, float]) -> "tuple[Figure, list[list[Axes]]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size[0] * across, size[1] * rows), layout="constrained")
    axes = figure.subplots(rows, across, squeeze=False, sharey="row")
    return figure, [list(line) for line in axes]


def _ablation(grid: Grid, results: pl.DataFrame) -> "Figure":
    """The table's rows below each other, a panel per metric and column: every seed, and the mean ± one standard deviation."""
    names = results["row"].unique(maintain_order=True).to_list()
    heads = [(column, key) for column in results["column"].unique(maintain_order=True) for key in grid.metrics[:2]]
    figure, ((*panels,),) = _panels(1, len(heads), (4.0, 0.9 + 0.32 * len(names)))
    for axes, (column, key) in zip(panels, heads, strict=True):
        for place, name in enumerate(names):
            values = _of(results, name, column, key)["value"].to_numpy()
            if not len(values):
                continue
            spread = values.std(ddof=1) if len(values) > 1 else 0.0
            axes.plot(values, np.full(len(values), place), "o", color=COLOURS[5], markersize=4, alpha=0.7)
            axes.errorbar(values.mean(), place, xerr=spread, fmt="D", color=COLOURS[0], markersize=6, capsize=3)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlabel(metric(key).axis)
        axes.set_title(column)
    return figure


def _sparsity(grid: Grid, results: pl.DataFrame, kind: str) -> "Figure":
    """A line per row of the table: the mean over seeds, in a band of ± one standard deviation."""
    names = results["row"].unique(maintain_order=True).to_list()
    heads = results["column"].unique(maintain_order=True).to_list()
    metrics = grid.metrics[:2]
    figure, panels = _panels(len(metrics), len(heads), (4.6, 3.2))
    for line, key in zip(panels, metrics, strict=True):
        for axes, column in zip(line, heads, strict=True):
            for number, name in enumerate(names):
                _curve(axes, _of(results, name, column, key), f"removed_{kind}", number, name)
            axes.set_title(column)
            axes.set_ylabel(metric(key).axis)
            axes.set_xlabel(f"{kind} removed (%)")
    panels[0][0].legend(fontsize=8)
    return figure


def _curve(axes: "Axes", points: pl.DataFrame, share: str, number: int, name: str) -> None:
    spread = (
        points.group_by(share).agg(pl.col("value").mean().alias("mean"), pl.col("value").std().alias("std")).sort(share)
    )
    x, mean = 100 * spread[share].to_numpy(), spread["mean"].to_numpy()
    std = spread["std"].fill_null(0.0).to_numpy()
    colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
    axes.plot(x, mean, color=colour, marker=marker, label=name)
    axes.fill_between(x, mean - std, mean + std, color=colour, alpha=0.15, linewidth=0)


def _of(frame: pl.DataFrame, row: str, column: str, key: str) -> pl.DataFrame:
    chosen = (pl.col("row") == row) & (pl.col("column") == column) & (pl.col("metric") == key)
    return frame.filter(chosen)


def _save(figure: "Figure", path: Path) -> None:
    """Save the figure without a date or the library's version, so that the same numbers give the same bytes."""
    figure.savefig(path.with_name(f"{path.name}.svg"), metadata={"Date": None, "Creator": None})
    figure.savefig(path.with_name(f"{path.name}.png"), dpi=150, metadata={"Software": None})
