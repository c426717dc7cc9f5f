"""Plots of a grid, as SVG and PNG: every row beside the others, and what is left of a metric when data are removed."""

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from src.comparison.grid import ANY, KINDS, Grid, columns, row_axes
from src.training.tables import RANKING as TITLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which people with any colour vision tell apart; markers differ too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STYLE: Any = {  # matplotlib's settings
    "svg.hashsalt": "emerge",  # else ids differ from run to run
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
}

log = logging.getLogger(__name__)


def draw(grid: Grid, frame: pl.DataFrame, folder: Path) -> None:
    """``ablation`` where there are several rows, ``sparsity_<kind>`` where shares are removed; nothing without matplotlib."""
    if find_spec("matplotlib") is None:
        log.warning("no plots: matplotlib is not installed (the extra 'plots')")
        return
    from matplotlib import rc_context

    test = _test(grid, frame)
    whole = test.filter(pl.all_horizontal(pl.col(f"removed_{kind}") == 0 for kind in KINDS))
    with rc_context(STYLE):
        if whole["row"].n_unique() > 1:
            _save(_ablation(grid, whole), folder / "ablation")
        for kind in KINDS:
            others = [f"removed_{other}" for other in KINDS if other != kind]
            own = test.filter(pl.all_horizontal(pl.col(other) == 0 for other in others))
            if own[f"removed_{kind}"].n_unique() > 1:
                _save(_sparsity(grid, own, kind), folder / f"sparsity_{kind}")


def _test(grid: Grid, frame: pl.DataFrame) -> pl.DataFrame:
    """The test results with ``row``, ``column`` and percent."""
    test = frame.filter((pl.col("split") == "test") & pl.col("value").is_not_null())
    row = pl.concat_str([pl.col(axis) for axis in row_axes(grid)] or [pl.lit("all")], separator=", ")
    several = test["label"].n_unique() > 1
    parts = []
    for name, own in columns(grid).items():
        inside = [(pl.col(axis) == value) | (pl.col(axis) == ANY) for axis, value in own.items()]
        part = test.filter(inside) if inside else test
        label = pl.format("{} {}", pl.lit(name), pl.col("label")).str.strip_chars() if several else pl.lit(name)
        parts.append(part.with_columns(row.alias("row"), label.alias("column"), pl.col("value") * 100))
    return pl.concat(parts)


def _panels(rows: int, across: int, size: tuple[float, float]) -> "tuple[Figure, list[list[Axes]]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size[0] * across, size[1] * rows), layout="constrained")
    axes = figure.subplots(rows, across, squeeze=False, sharey="row")
    return figure, [list(line) for line in axes]


def _ablation(grid: Grid, whole: pl.DataFrame) -> "Figure":
    """Rows below each other, a panel a metric and column: every seed, the mean and one standard deviation to each side."""
    names = whole["row"].unique(maintain_order=True).to_list()
    heads = [(column, metric) for column in whole["column"].unique(maintain_order=True) for metric in grid.metrics[:2]]
    figure, ((*panels,),) = _panels(1, len(heads), (4.0, 0.9 + 0.32 * len(names)))
    for axes, (column, metric) in zip(panels, heads, strict=True):
        for place, name in enumerate(names):
            values = _of(whole, name, column, metric)["value"].to_numpy()
            if not len(values):
                continue
            spread = values.std(ddof=1) if len(values) > 1 else 0.0
            axes.plot(values, np.full(len(values), place), "o", color=COLOURS[5], markersize=4, alpha=0.7)
            axes.errorbar(values.mean(), place, xerr=spread, fmt="D", color=COLOURS[0], markersize=6, capsize=3)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlabel(f"{TITLES[metric]} (%)")
        axes.set_title(column)
    return figure


def _sparsity(grid: Grid, own: pl.DataFrame, kind: str) -> "Figure":
    """A line a row: the mean over seeds, and a band of one standard deviation to each side."""
    names = own["row"].unique(maintain_order=True).to_list()
    heads = own["column"].unique(maintain_order=True).to_list()
    metrics = grid.metrics[:2]
    figure, panels = _panels(len(metrics), len(heads), (4.6, 3.2))
    for line, metric in zip(panels, metrics, strict=True):
        for axes, column in zip(line, heads, strict=True):
            for number, name in enumerate(names):
                _curve(axes, _of(own, name, column, metric), f"removed_{kind}", number, name)
            axes.set_title(column)
            axes.set_ylabel(f"{TITLES[metric]} (%)")
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


def _of(frame: pl.DataFrame, row: str, column: str, metric: str) -> pl.DataFrame:
    chosen = (pl.col("row") == row) & (pl.col("column") == column) & (pl.col("metric") == metric)
    return frame.filter(chosen)


def _save(figure: "Figure", path: Path) -> None:
    """Without a date or the library's version, so that the same numbers give the same bytes."""
    figure.savefig(path.with_name(f"{path.name}.svg"), metadata={"Date": None, "Creator": None})
    figure.savefig(path.with_name(f"{path.name}.png"), dpi=150, metadata={"Software": None})
