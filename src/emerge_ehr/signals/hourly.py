"""Hourly tensors of N samples, T hours and F features: the last value of each hour, forward fill, training statistics.

Of a signal whose ``Signal.hour`` says so, an hour has the sum of its values, or the highest of them, instead.

With ``cohort.bin_hours`` above 1, T counts longer bins, such as days, and what is said of an hour holds for a bin.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emerge_ehr.fields import UserError
from emerge_ehr.signals.signals import Hour

Floats = NDArray[np.float32]
HOUR = 3_600_000_000  # microseconds
LARGEST = 2**36  # bytes of hourly values: 64 GiB


@dataclass(frozen=True)
class Hourly:
    """``value [N, T, F]`` in canonical units, NaN where not measured; ``length [N]`` bins in the sample's window, 1 to T.

    A bin lasts ``bin_hours``; a sample's last bin may reach beyond its window.
    """

    value: Floats
    length: NDArray[np.int64]
    features: tuple[str, ...]
    bin_hours: int = 1


@dataclass(frozen=True)
class Statistics:
    """``mean [F]`` and ``std [F]`` of the training samples' measured hours, 0 and 1 where nothing was measured; ``count [F]``
    of those hours."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    count: NDArray[np.int64]


def place(dynamic: pl.LazyFrame, cohort: pl.DataFrame, features: tuple[str, ...]) -> pl.LazyFrame:
    """Where each row of ``dynamic`` belongs in the tensor, lazily: columns ``n, f, since, value``.

    ``n`` and ``f`` number sample and feature; ``since`` is in microseconds since the window's start. A column is null where the
    row has no place: an unknown sample or code, no value, a time outside ``[window_start, window_end)``.
    """
    patients = cohort.lazy().select("patient_id", "window_start", "window_end").with_row_index("n")
    codes = pl.LazyFrame({"code": features}, schema={"code": pl.String}).with_row_index("f")
    rows = dynamic.join(patients, on="patient_id", how="left").join(codes, on="code", how="left")
    inside = pl.col("event_time").is_between(pl.col("window_start"), pl.col("window_end"), closed="left")
    since = (pl.col("event_time") - pl.col("window_start")).dt.total_microseconds()
    return rows.select("n", "f", pl.when(inside).then(since).alias("since"), "value")


@dataclass(frozen=True)
class Filling:
    """Hourly values that are filled with rows, in any order and in batches of any size.

    ``since [N, T, F]``: microseconds from the bin's start to the measurement now in ``hourly.value``. They fit into 32 bits for
    an hour, and need 64 for longer bins. ``ties``: ``cell, since, value`` of different values at one time; ``parts``: of what is
    summed, in which a row that stands twice counts once. ``hour [F]``: whether a bin has the last of a feature's values, their
    sum or the highest.
    """

    hourly: Hourly
    since: NDArray[np.uint32] | NDArray[np.uint64]
    ties: list[pl.DataFrame] = field(default_factory=list)
    parts: list[pl.DataFrame] = field(default_factory=list)
    hour: tuple[Hour, ...] = ()

    def fill(self, placed: pl.DataFrame) -> None:
        """Keep the last measurement of each bin since the window's start, or add to it. ``placed``: rows from ``place``."""
        value, since = self.hourly.value.reshape(-1), self.since.reshape(-1)
        _, bins, features = self.hourly.value.shape
        length = self.hourly.bin_hours * HOUR
        at_bin = pl.col("since") // length
        cell = (pl.col("n").cast(pl.Int64) * bins + at_bin) * features + pl.col("f").cast(pl.Int64)
        kind = pl.UInt32 if since.dtype == np.uint32 else pl.UInt64
        own = placed.lazy().filter(at_bin < bins)
        whole = [feature for feature, hour in enumerate(self.hour) if hour != "last"]
        if whole:
            self._fill_whole(
                own.filter(pl.col("f").is_in(whole)).select(cell.alias("cell"), "f", "since", "value").collect()
            )
            own = own.filter(~pl.col("f").is_in(whole))
        own = own.select(cell.alias("cell"), (pl.col("since") % length).cast(kind), pl.col("value").cast(pl.Float32))
        last = (
            own.filter(pl.col("since") == pl.col("since").max().over("cell")).unique().sort("cell", "value").collect()
        )
        one = last.unique("cell", keep="first", maintain_order=True)
        at, later, new = (one[name].to_numpy() for name in ("cell", "since", "value"))
        old = value[at]
        tied = (later == since[at]) & (new != old) & ~np.isnan(old)
        if last.height > one.height or tied.any():
            before = one.with_columns(pl.Series("value", old)).filter(pl.Series(tied))
            self.ties.append(pl.concat([last.filter(pl.len().over("cell") > 1), one.filter(pl.Series(tied)), before]))
        wins = np.isnan(old) | (later > since[at])
        value[at[wins]], since[at[wins]] = new[wins], later[wins]

    def _fill_whole(self, rows: pl.DataFrame) -> None:
        """Highest values, and what will be summed. ``rows``: ``cell, f, since, value``."""
        value = self.hourly.value.reshape(-1)
        summed = pl.col("f").is_in([feature for feature, hour in enumerate(self.hour) if hour == "sum"])
        self.parts.append(rows.filter(summed).select("cell", "since", "value").unique())
        found = rows.filter(~summed).group_by("cell").agg(pl.col("value").max())
        at, new = found["cell"].to_numpy(), found["value"].to_numpy().astype(np.float32)
        value[at] = np.fmax(value[at], new)

    def _add_up(self) -> None:
        if self.parts:
            rows = pl.concat(self.parts).unique().sort("cell", "since", "value")
            sums = rows.group_by("cell", maintain_order=True).agg(pl.col("value").sum())
            self.hourly.value.reshape(-1)[sums["cell"].to_numpy()] = sums["value"].to_numpy().astype(np.float32)
            self.parts.clear()

    def settled(self, scores: Collection[str] = ()) -> Hourly:
        """The values, when all rows were filled in. Of several at one time the median counts, as in ``convert``: of an even
        number the mean of the middle two, or for the features ``scores`` the lower of them."""
        self._add_up()
        if not self.ties:
            return self.hourly
        value, since = self.hourly.value.reshape(-1), self.since.reshape(-1)
        ties = pl.concat(self.ties).unique()
        ties = ties.filter(pl.Series(since[ties["cell"].to_numpy()]) == ties["since"])
        ordered = pl.col("value").sort()
        middle = ties.group_by("cell").agg(
            ordered.get((pl.len() - 1) // 2).alias("lower"), ordered.get(pl.len() // 2).alias("upper")
        )
        cell, lower, upper = (middle[name].to_numpy() for name in ("cell", "lower", "upper"))
        score = np.isin(self.hourly.features, list(scores))[cell % len(self.hourly.features)]
        value[cell] = np.where(score, lower, (lower + upper) / 2)
        self.ties.clear()
        return self.hourly


def empty(
    cohort: pl.DataFrame,
    features: tuple[str, ...],
    hours: int | None,
    bin_hours: int = 1,
    hour: tuple[Hour, ...] = (),
) -> Filling:
    """Hourly values without any measurement yet, in bins of ``bin_hours``; T covers ``hours``, or the longest window if None.

    ``hour [F]``: as in ``Filling``; empty if a bin has the last value of every feature.

    >>> from datetime import datetime
    >>> times = {"window_start": [datetime(2150, 1, 1)], "window_end": [datetime(2150, 1, 3, 6)]}
    >>> empty(pl.DataFrame(times), ("ph",), None, bin_hours=24).hourly.length.tolist()
    [3]

    Raises:
        UserError: the tensor would be larger than ``LARGEST``.
    """
    seconds = (cohort["window_end"] - cohort["window_start"]).dt.total_seconds().to_numpy()
    whole = np.maximum(np.ceil(seconds / (3600 * bin_hours)), 1).astype(np.int64)
    bins = -(-hours // bin_hours) if hours else int(whole.max())
    shape = (cohort.height, bins, len(features))
    if 4 * np.prod(shape, dtype=np.int64) > LARGEST:
        raise UserError(
            f"{shape[0]} samples x {shape[1]} {'hours' if bin_hours == 1 else f'bins of {bin_hours} h'} x {shape[2]} features do "
            "not fit in memory; choose a shorter cohort.window, longer cohort.bin_hours, or fewer codes"
        )
    value = np.full(shape, np.nan, dtype=np.float32)
    since = np.zeros(shape, dtype=np.uint32 if bin_hours == 1 else np.uint64)
    return Filling(Hourly(value, np.minimum(whole, bins), features, bin_hours), since, hour=hour)


def fit(value: Floats) -> Statistics:
    """The statistics of ``value [N, T, F]``, ignoring NaN; a constant feature has std 1."""
    moments = [_moments(value[:, :, feature]) for feature in range(value.shape[2])]
    mean, std, count = (np.array(column) for column in zip(*moments, strict=True))
    return Statistics(mean, std, count)


def _moments(column: Floats) -> tuple[float, float, int]:
    measured = column[~np.isnan(column)].astype(np.float64)
    if not measured.size:
        return 0.0, 1.0, 0
    std = float(measured.std())
    return float(measured.mean()), std if std > 1e-8 else 1.0, measured.size


def standardise(data: Hourly, statistics: Statistics) -> tuple[Floats, Floats]:
    """``ehr [N, T, F]`` and ``ehr_mask [N, T, F]``: z-scores, forward-filled, 0 (the training mean) before the first
    measurement and beyond ``length``."""
    steps = np.arange(data.value.shape[1])[None, :]
    inside = steps < data.length[:, None]
    ehr, mask = np.zeros((2, *data.value.shape), dtype=np.float32)
    for feature, (mean, std) in enumerate(zip(statistics.mean, statistics.std, strict=True)):
        value = data.value[:, :, feature]
        measured = ~np.isnan(value)
        latest = np.maximum.accumulate(np.where(measured, steps, 0), axis=1)
        z = (np.take_along_axis(value, latest, axis=1) - mean) / std
        ehr[:, :, feature] = np.nan_to_num(z, nan=0.0) * inside
        mask[:, :, feature] = measured & inside
    return ehr, mask
