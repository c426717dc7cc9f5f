"""Hourly tensors of N samples, T hours and F features: the last value of each hour, forward fill, training statistics."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emerge_ehr.fields import UserError

Floats = NDArray[np.float32]
HOUR = 3_600_000_000  # microseconds
LARGEST = 2**36  # bytes of hourly values: 64 GiB


@dataclass(frozen=True)
class Hourly:
    """``value [N, T, F]`` in canonical units, NaN where not measured; ``length [N]`` hours in the sample's window, 1 to T."""

    value: Floats
    length: NDArray[np.int64]
    features: tuple[str, ...]


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

    ``since [N, T, F]``: microseconds from the hour's start to the measurement now in ``hourly.value``.
    """

    hourly: Hourly
    since: NDArray[np.uint32]

    def fill(self, placed: pl.DataFrame) -> None:
        """Keep the last measurement of each hour since the window's start; of several at one time, the highest.

        ``placed``: rows from ``place``.
        """
        value, since = self.hourly.value.reshape(-1), self.since.reshape(-1)
        _, hours, features = self.hourly.value.shape
        hour = pl.col("since") // HOUR
        cell = (pl.col("n").cast(pl.Int64) * hours + hour) * features + pl.col("f").cast(pl.Int64)
        own = placed.lazy().filter(hour < hours)
        own = own.select(cell.alias("cell"), (pl.col("since") % HOUR).cast(pl.UInt32), pl.col("value").cast(pl.Float32))
        ordered = own.sort("cell", "since", "value").group_by("cell", maintain_order=True).last().collect()
        at, later, new = (ordered[name].to_numpy() for name in ("cell", "since", "value"))
        old = value[at]
        wins = np.isnan(old) | (later > since[at]) | ((later == since[at]) & (new > old))
        value[at[wins]], since[at[wins]] = new[wins], later[wins]


def empty(cohort: pl.DataFrame, features: tuple[str, ...], hours: int | None) -> Filling:
    """Hourly values without any measurement yet; T is ``hours``, or that of the longest window if None.

    Raises:
        UserError: the tensor would be larger than ``LARGEST``.
    """
    seconds = (cohort["window_end"] - cohort["window_start"]).dt.total_seconds().to_numpy()
    whole = np.maximum(np.ceil(seconds / 3600), 1).astype(np.int64)
    hours = hours or int(whole.max())
    shape = (cohort.height, hours, len(features))
    if 4 * np.prod(shape, dtype=np.int64) > LARGEST:
        raise UserError(
            f"{shape[0]} samples x {shape[1]} hours x {shape[2]} features do not fit in memory; choose a shorter "
            "cohort.window, or fewer codes"
        )
    value = np.full(shape, np.nan, dtype=np.float32)
    return Filling(Hourly(value, np.minimum(whole, hours), features), np.zeros(shape, dtype=np.uint32))


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
