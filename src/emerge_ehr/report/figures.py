"""Figures as numbers ready for SVG: axes with ticks, lines, points with titles. The templates draw them.

All places are in the figure's own units (its ``viewBox``), rounded to a tenth, so that files stay small.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emerge_ehr.report.wording import number

WIDTH, HEIGHT = 360, 270
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 40
LONGEST = 300  # points of a drawn line at most; a curve with thousands of points would look the same


@dataclass(frozen=True)
class Axis:
    """An axis from ``low`` to ``high`` in data units."""

    title: str
    low: float
    high: float
    ticks: tuple[float, ...]


@dataclass(frozen=True)
class PlottedLine:
    """A named line. ``style`` is a class of the style sheet. ``marks``: points whose title appears under the pointer."""

    name: str
    style: str
    path: str
    marks: tuple[tuple[float, float, str], ...] = ()


@dataclass(frozen=True)
class Chart:
    """A chart. ``description`` says in words what it shows, also for readers who cannot see it."""

    title: str
    description: str
    x: Axis
    y: Axis
    lines: tuple[PlottedLine, ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    bottom: int = HEIGHT - BOTTOM
    right: int = WIDTH - RIGHT
    top: int = TOP

    @property
    def x_ticks(self) -> list[tuple[float, str]]:
        """The place and text of each tick of the x axis."""
        return [(across(self.x, tick), number(tick)) for tick in self.x.ticks]

    @property
    def y_ticks(self) -> list[tuple[float, str]]:
        """The place and text of each tick of the y axis."""
        return [(up(self.y, tick), number(tick).replace("-", "−")) for tick in self.y.ticks]


def across(axis: Axis, value: float) -> float:
    """The x coordinate of ``value``."""
    return round(LEFT + (value - axis.low) / (axis.high - axis.low) * (WIDTH - LEFT - RIGHT), 1)


def up(axis: Axis, value: float) -> float:
    """The y coordinate of ``value``."""
    return round(HEIGHT - BOTTOM - (value - axis.low) / (axis.high - axis.low) * (HEIGHT - TOP - BOTTOM), 1)


def share_axis(title: str) -> Axis:
    """An axis from 0 to 1."""
    return Axis(title, 0.0, 1.0, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0))


def axis(
    title: str,
    values: ArrayLike,
    at_least: Sequence[float] = (),
    within: tuple[float, float] = (-math.inf, math.inf),
) -> Axis:
    """An axis that holds all finite values and those of ``at_least``, with about five round ticks. It stays ``within`` two
    integers between which all values lie.

    >>> axis("loss", [0.31, 0.67]).ticks
    (0.3, 0.4, 0.5, 0.6, 0.7)
    """
    numbers = np.concatenate([np.ravel(np.asarray(values, dtype=np.float64)), np.asarray(at_least, dtype=np.float64)])
    numbers = numbers[np.isfinite(numbers)]
    low, high = (float(numbers.min()), float(numbers.max())) if numbers.size else (0.0, 1.0)
    if high - low < 1e-9 * max(1.0, abs(high)):
        low, high = max(low - 0.5, within[0]), min(high + 0.5, within[1])
    step = _round_step((high - low) / 4)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(round(step * n, 10) for n in range(first, last + 1))
    return Axis(title, ticks[0], ticks[-1], ticks)


def line(
    name: str, style: str, axes: tuple[Axis, Axis], x: ArrayLike, y: ArrayLike, marks: Sequence[str] = ()
) -> PlottedLine:
    """A line through the finite points, thinned. ``marks``, one per point, are titles that appear under the pointer."""
    places = np.column_stack([np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)])
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(places).all(axis=1))
    titles = [title for title, keep in zip(marks, finite, strict=True) if keep] if marks else []
    places = places[finite]
    drawn = [(across(axes[0], a), up(axes[1], b)) for a, b in places[_thin(len(places), LONGEST)]]
    dots = [(across(axes[0], a), up(axes[1], b), title) for (a, b), title in zip(places, titles, strict=False)]
    return PlottedLine(name, style, path(drawn), tuple(dots))


def area(name: str, style: str, axes: tuple[Axis, Axis], x: ArrayLike, low: ArrayLike, high: ArrayLike) -> PlottedLine:
    """The area between ``low`` and ``high``, cut at the ends of the y axis."""
    places = np.column_stack([np.asarray(values, dtype=np.float64) for values in (x, low, high)])
    places = places[np.isfinite(places).all(axis=1)]
    places[:, 1:] = places[:, 1:].clip(axes[1].low, axes[1].high)
    there = [(across(axes[0], at), up(axes[1], top)) for at, _, top in places.tolist()]
    back = [(across(axes[0], at), up(axes[1], bottom)) for at, bottom, _ in places[::-1].tolist()]
    return PlottedLine(name, style, f"{path(there + back)}Z" if there else "")


def hovered(x: NDArray[np.float64], y: NDArray[np.float64], words: str, count: int = 12) -> list[tuple[int, str]]:
    """Some points of a long curve, evenly spread: the index and the title of each, which is ``words`` filled with x and y."""
    return [(int(n), words.format(x=x[n], y=y[n])) for n in _thin(len(x), count)]


def path(points: Sequence[tuple[float, float]]) -> str:
    """The attribute ``d`` of an SVG path through the points.

    >>> path([(0.0, 1.5), (2.0, 3.0)])
    'M0 1.5L2 3'
    """
    return "".join(f"{'L' if n else 'M'}{x:g} {y:g}" for n, (x, y) in enumerate(points))


def _thin(count: int, most: int) -> NDArray[np.int64]:
    """At most ``most`` of ``count`` indices, spread evenly, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)) if count else np.arange(0)


def _round_step(step: float) -> float:
    """Round the step up to 1, 2, 5 or 10 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * nice for nice in (1, 2, 5, 10) if power * nice >= step * (1 - 1e-9))
