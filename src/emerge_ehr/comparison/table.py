"""The table as papers print it, in Markdown and LaTeX: in percent, mean ± standard deviation over the seeds, the best in bold."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from emerge_ehr.comparison import marks
from emerge_ehr.comparison.grid import Grid
from emerge_ehr.comparison.marks import ReferenceComparison
from emerge_ehr.comparison.points import columns, row_axes, rows
from emerge_ehr.comparison.results import GridRun
from emerge_ehr.evaluation.catalogue import Metric, metric
from emerge_ehr.storage import markdown as written

Heading = tuple[str, str, str]  # column, label, key of the metric


@dataclass(frozen=True)
class Cell:
    """A cell of the table, in percent if the catalogue says so of the metric.

    ``std`` is the sample standard deviation (n - 1), None for one seed. ``best``: the printed mean is the best of its column.
    """

    mean: float | None = None
    std: float | None = None
    seeds: int = 0
    best: bool = False
    significant: bool = False
    digits: int = 1


@dataclass(frozen=True)
class ResultsTable:
    """The whole table. ``cells``: row -> a cell per heading."""

    headings: Sequence[Heading]
    cells: Mapping[str, Sequence[Cell]]
    caption: str


def build(
    grid: Grid, runs: Sequence[GridRun], frame: pl.DataFrame, compared: Sequence[ReferenceComparison]
) -> ResultsTable:
    """Build the table of the test results."""
    values = _values(grid, runs, frame)
    labels = dict.fromkeys((column, label) for _, column, label, _ in values)
    headings = [(column, label, key) for column, label in labels for key in grid.metrics]
    marked = {
        (comparison.row, comparison.column, comparison.label, comparison.metric)
        for comparison in compared
        if comparison.significant
    }
    names = rows(grid, [run.point for run in runs])
    raw = {
        row: [
            _cell(values.get((row, *heading), ()), metric(heading[2]), (row, *heading) in marked)
            for heading in headings
        ]
        for row in names
    }
    best = [_best([raw[row][n] for row in names], metric(heading[2])) for n, heading in enumerate(headings)]
    cells = {row: [_with_best(cell, top) for cell, top in zip(raw[row], best, strict=True)] for row in names}
    return ResultsTable(headings, cells, _caption(grid, runs, compared))


def _values(grid: Grid, runs: Sequence[GridRun], frame: pl.DataFrame) -> dict[tuple[str, str, str, str], list[float]]:
    """Map (row, column, label, metric) to the seeds' values, columns in the grid's order."""
    names = columns(grid)
    place = {str(run.config.run_dir): run.point for run in runs}
    test = frame.filter(
        (pl.col("split") == "test") & pl.col("metric").is_in(list(grid.metrics)) & pl.col("value").is_not_null()
    )
    seed_values: dict[tuple[str, str, str, str], list[float]] = {}
    for column, values_of_column in names.items():
        for folder, label, key, value in test.select("run", "label", "metric", "value").iter_rows():
            if place[folder].stands_in(values_of_column):
                seed_values.setdefault((place[folder].named(row_axes(grid)), column, label, key), []).append(value)
    return seed_values


def _cell(values: Sequence[float], scale: Metric, significant: bool) -> Cell:
    if not values:
        return Cell()
    scaled = scale.factor * np.array(values)
    std = float(scaled.std(ddof=1)) if len(values) > 1 else None
    return Cell(float(scaled.mean()), std, len(values), significant=significant, digits=scale.digits)


def _best(cells: Sequence[Cell], scale: Metric) -> float:
    """The best mean as printed; NaN if fewer than two cells have one, or the metric has no better direction."""
    means = [round(cell.mean, cell.digits) for cell in cells if cell.mean is not None]
    if len(means) < 2 or not scale.better:
        return math.nan
    return max(means) if scale.better > 0 else min(means)


def _with_best(cell: Cell, top: float) -> Cell:
    return replace(cell, best=cell.mean is not None and round(cell.mean, cell.digits) == top)


def _caption(grid: Grid, runs: Sequence[GridRun], compared: Sequence[ReferenceComparison]) -> str:
    """The caption, which says what the numbers and marks are."""
    seeds = len(grid.seeds)
    spread = f"mean ± standard deviation over {seeds} training seeds" if seeds > 1 else "one training seed"
    chosen = [metric(key) for key in grid.metrics]
    unscaled = [shown_metric.label for shown_metric in chosen if not shown_metric.percent]
    unit = "in percent" + "".join(f" ({name} as it is)" for name in unscaled)
    lower = [shown_metric.label for shown_metric in chosen if shown_metric.better < 0]
    best = "Bold: the best of a column" + (f" (of {' and '.join(lower)} the lowest)." if lower else ".")
    counts = {run.config.split.folds for run in runs}
    tested = (
        "on one split"
        if counts <= {0}
        else "cross-validated over persons"
        if 0 not in counts
        else "by split.folds of each"
    )
    parts = [f"Test set, {unit}: {spread}, {tested}. {best}"]
    if compared:
        marked = {comparison.metric for comparison in compared}
        names = " and ".join(shown_metric.label for shown_metric in chosen if shown_metric.key in marked)
        against = " or ".join(dict.fromkeys(comparison.reference for comparison in compared))
        thinned = any(run.point.removed is not None for run in runs)
        parts.append(
            f"* differs from {against} (p < {marks.LEVEL:g}, {names}): paired bootstrap over the test set's "
            f"persons ({marks.SAMPLING.resamples} resamples) on risks averaged over the seeds, Holm's correction for the rows "
            "of a column" + (", those with data removed apart." if thinned else ".")
        )
    if failed := sum(run.failed is not None for run in runs):
        parts.append(f"{failed} of {len(runs)} runs failed and are left out.")
    return " ".join(parts)


def _text(cell: Cell, plus_minus: str) -> str:
    if cell.mean is None:
        return "–"
    mean = f"{cell.mean:.{cell.digits}f}".replace("-", "−")
    return mean + ("" if cell.std is None else f" {plus_minus} {cell.std:.{cell.digits}f}")


def markdown(table: ResultsTable) -> str:
    """The table in Markdown, with its caption below."""
    several = len({label for _, label, _ in table.headings}) > 1
    heads = [
        " ".join([*filter(None, [column, label if several else ""]), metric(key).label])
        for column, label, key in table.headings
    ]
    lines = [["", *heads]]
    for row, cells in table.cells.items():
        texts = [f"**{_text(cell, '±')}**" if cell.best else _text(cell, "±") for cell in cells]
        starred = [text + (r"\*" if cell.significant else "") for text, cell in zip(texts, cells, strict=True)]
        lines.append([row, *starred])
    printed = written.table(lines, lambda cell: cell.replace("|", r"\|"))
    return "\n".join([*printed, "", table.caption.replace("* differs", r"\* differs"), ""])


ESCAPES = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
}


def escaped(text: str) -> str:
    """The text with LaTeX's special characters escaped.

    >>> escaped("a_b & 50 %")
    'a\\\\_b \\\\& 50 \\\\%'
    """
    return "".join(ESCAPES.get(sign, sign) for sign in text)


def latex(table: ResultsTable, name: str) -> str:
    """The table as a LaTeX ``table`` environment that needs the package booktabs; ``name`` makes its label."""
    groups = dict.fromkeys((column, label) for column, label, _ in table.headings)
    several = len({label for _, label in groups}) > 1
    titles = [" ".join(filter(None, [column, label if several else ""])) for column, label in groups]
    width = len(table.headings) // max(1, len(groups))
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escaped(table.caption)}}}",
        rf"\label{{tab:{''.join(sign if sign.isalnum() else '-' for sign in name)}}}",
        rf"\begin{{tabular}}{{l{'c' * len(table.headings)}}}",
        r"\toprule",
    ]
    if any(titles):
        lines.append(
            " & ".join(["", *(rf"\multicolumn{{{width}}}{{c}}{{{escaped(title)}}}" for title in titles)]) + r" \\"
        )
        starts = [2 + width * n for n in range(len(titles))]
        lines.append(" ".join(rf"\cmidrule(lr){{{start}-{start + width - 1}}}" for start in starts))
    lines.append(" & ".join(["", *(escaped(metric(key).label) for _, _, key in table.headings)]) + r" \\")
    lines.append(r"\midrule")
    for row, cells in table.cells.items():
        lines.append(" & ".join([escaped(row), *(_latex_cell(cell) for cell in cells)]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def _latex_cell(cell: Cell) -> str:
    text = _text(cell, r"$\pm$").replace("–", "--").replace("−", "$-$")
    return (rf"\textbf{{{text}}}" if cell.best else text) + (r"$^{*}$" if cell.significant else "")
