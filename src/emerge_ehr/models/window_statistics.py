"""Eight statistics of every feature over the hours of the window in which it was measured.

Dimensions: N patients, T hours, F features.
"""

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.models.batch import Batch

Array = NDArray[np.float64]
STATISTICS = ("mean", "std", "min", "max", "first", "last", "slope", "count")


def of_batch(batch: Batch) -> Array:
    """The statistics of the patients in a batch [N,8F], in the order of ``STATISTICS``; later hours than the last are ignored."""
    hours = np.arange(batch.ehr.shape[1])
    inside = hours[None, :, None] < batch.ehr_length.cpu().numpy()[:, None, None]
    measured = (batch.ehr_mask.cpu().numpy() > 0) & inside
    return statistics(batch.ehr.double().cpu().numpy(), measured)


def statistics(value: Array, measured: NDArray[np.bool_]) -> Array:
    """Value [N,T,F], measured [N,T,F] -> [N,8F] in the order of ``STATISTICS``.

    ``std`` is the population standard deviation; ``slope`` is the least-squares change per hour. A statistic is NaN where nothing
    was measured, and the slope also where only one hour was. The count is never NaN.

    >>> statistics(np.array([[[1.0], [7.0], [3.0]]]), np.array([[[True], [False], [True]]])).round(2).tolist()
    [[2.0, 1.0, 1.0, 3.0, 1.0, 3.0, 1.0, 2.0]]
    """
    count = measured.sum(axis=1).astype(np.float64)
    known = np.where(measured, value, 0.0)
    mean = _ratio(known.sum(axis=1), count)
    centred = np.where(measured, value - mean[:, None, :], 0.0)
    hour = np.arange(value.shape[1], dtype=np.float64)[None, :, None]
    since = np.where(measured, hour - _ratio((hour * measured).sum(axis=1), count)[:, None, :], 0.0)
    columns = (
        mean,
        np.sqrt(_ratio((centred**2).sum(axis=1), count)),
        _missing(np.where(measured, value, np.inf).min(axis=1), count),
        _missing(np.where(measured, value, -np.inf).max(axis=1), count),
        _missing(_at(value, measured.argmax(axis=1)), count),
        _missing(_at(value, value.shape[1] - 1 - measured[:, ::-1].argmax(axis=1)), count),
        _ratio((since * centred).sum(axis=1), (since**2).sum(axis=1)),
        count,
    )
    return np.concatenate(columns, axis=1)


def _ratio(numerator: Array, denominator: Array) -> Array:
    result: Array = np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)
    return result


def _missing(statistic: Array, count: Array) -> Array:
    return np.where(count > 0, statistic, np.nan)


def _at(value: Array, hour: NDArray[np.int64]) -> Array:
    return np.take_along_axis(value, hour[:, None, :], axis=1)[:, 0]
