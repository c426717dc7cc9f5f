"""Hourly tensors: N patients, T hours, F features; last value of the hour, forward fill, training statistics."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Hourly:
    """``value [N, T, F]`` in canonical units, NaN where not measured; ``length [N]`` hours observed, 1..T."""

    value: NDArray[np.float64]
    length: NDArray[np.int64]
    features: tuple[str, ...]


@dataclass(frozen=True)
class Statistics:
    """``mean [F]`` and ``std [F]`` of the training patients' measured hours; 0 and 1 where nothing was measured."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    count: NDArray[np.int64]


def hourly(dynamic: pl.DataFrame, cohort: pl.DataFrame, features: tuple[str, ...], hours: int) -> Hourly:
    """Bins measurements by hour since the window's start, keeping the last one in each hour.

    ``cohort`` (``patient_id, window_start, window_end``) sets the order of N. Measurements at one time are ordered by value.
    """
    patients = cohort.select("patient_id", "window_start").with_row_index("n")
    codes = pl.DataFrame({"code": features}, schema={"code": pl.String}).with_row_index("f")
    hour = (pl.col("event_time") - pl.col("window_start")).dt.total_seconds() // 3600
    binned = (
        dynamic.join(patients, on="patient_id").join(codes, on="code").with_columns(hour.alias("t"))
        .filter(pl.col("t").is_between(0, hours - 1))
        .sort("event_time", "value").group_by("n", "t", "f").agg(pl.col("value").last())
    )  # fmt: skip
    value = np.full((cohort.height, hours, len(features)), np.nan)
    value[binned["n"].to_numpy(), binned["t"].to_numpy(), binned["f"].to_numpy()] = binned["value"].to_numpy()
    seconds = (cohort["window_end"] - cohort["window_start"]).dt.total_seconds().to_numpy()
    length = np.clip(np.ceil(seconds / 3600), 1, hours).astype(np.int64)
    return Hourly(value, length, features)


def fit(value: NDArray[np.float64]) -> Statistics:
    """Statistics of ``value [N, T, F]``, NaN ignored; a constant feature keeps std 1."""
    measured = ~np.isnan(value)
    count = measured.sum(axis=(0, 1))
    safe = np.maximum(count, 1)
    mean = np.where(measured, value, 0).sum(axis=(0, 1)) / safe
    deviation = np.where(measured, value - mean, 0)
    std = np.sqrt((deviation**2).sum(axis=(0, 1)) / safe)
    return Statistics(mean, np.where(std > 1e-8, std, 1.0), count)


def standardise(data: Hourly, statistics: Statistics) -> tuple[Floats, Floats]:
    """``ehr [N, T, F]`` and ``ehr_mask [N, T, F]``: z-scores, forward-filled, 0 (the training mean) before the first
    measurement and beyond ``length``."""
    mask = ~np.isnan(data.value)
    z = (data.value - statistics.mean) / statistics.std
    steps = np.arange(z.shape[1])[None, :, None]
    latest = np.maximum.accumulate(np.where(mask, steps, 0), axis=1)
    filled = np.nan_to_num(np.take_along_axis(z, latest, axis=1), nan=0.0)
    inside = np.arange(z.shape[1])[None, :] < data.length[:, None]
    return (filled * inside[:, :, None]).astype(np.float32), (mask & inside[:, :, None]).astype(np.float32)
