"""Eight statistics of every feature over the hours of the window in which it was measured.

Dimensions: N patients, T hours, F features.
"""

import torch
from torch import Tensor

from emerge_ehr.models.batch import Batch
from emerge_ehr.models.hours import inside

STATISTICS = ("mean", "std", "min", "max", "first", "last", "slope", "count")


def of_batch(batch: Batch, dtype: torch.dtype = torch.float32, *, shares: bool = False) -> Tensor:
    """The statistics of the patients in a batch [N,8F], in the order of ``STATISTICS``; later hours than the last are ignored.

    ``shares``: counts are shares of the window's steps, which windows of different lengths have in common. A batch keeps the
    statistics, since every member of a run asks for the same.
    """
    found = _of_batch(batch, dtype)
    if not shares:
        return found
    features = batch.ehr.shape[2]
    return torch.cat([found[:, :-features], found[:, -features:] / batch.ehr_length[:, None]], dim=1)


def _of_batch(batch: Batch, dtype: torch.dtype) -> Tensor:
    if torch.compiler.is_compiling():  # in training, where each batch is read once
        return statistics(batch.ehr.to(dtype), (batch.ehr_mask > 0) & inside(batch)[..., None])
    if dtype not in batch.statistics:
        batch.statistics[dtype] = statistics(batch.ehr.to(dtype), (batch.ehr_mask > 0) & inside(batch)[..., None])
    return batch.statistics[dtype]


def with_other_column(batch: Batch, column: Tensor, known: Tensor) -> Tensor:
    """The statistics [N,8F] of patients of whom one feature was changed, ``column`` [N]; ``known`` are those from before."""
    rows = torch.arange(len(batch), device=column.device)
    measured = (batch.ehr_mask[rows, :, column] > 0) & inside(batch)
    own = statistics(batch.ehr[rows, :, column][..., None].to(known.dtype), measured[..., None])
    changed = known.clone().view(len(batch), len(STATISTICS), -1)
    changed[rows, :, column] = own
    return changed.flatten(1)


def statistics(value: Tensor, measured: Tensor) -> Tensor:
    """Value [N,T,F], measured [N,T,F] bool -> [N,8F] in the order of ``STATISTICS``.

    ``std`` is the population standard deviation; ``slope`` is the least-squares change per hour, or per bin of
    ``cohort.bin_hours``. A statistic is NaN where nothing was measured, and the slope also where only one hour was. The count is
    never NaN.

    >>> statistics(torch.tensor([[[1.0], [7.0], [3.0]]]), torch.tensor([[[True], [False], [True]]])).tolist()
    [[2.0, 1.0, 1.0, 3.0, 1.0, 3.0, 1.0, 2.0]]
    """
    count = measured.sum(dim=1).to(value.dtype)
    known = torch.where(measured, value, 0.0)
    mean = known.sum(dim=1) / count  # 0 / 0 is NaN
    centred = torch.where(measured, value - mean[:, None, :], 0.0)
    hour = torch.arange(value.shape[1], dtype=value.dtype, device=value.device)[None, :, None]
    since = torch.where(measured, hour - ((hour * measured).sum(dim=1) / count)[:, None, :], 0.0)
    first = torch.where(measured, hour, torch.inf).argmin(dim=1)
    last = torch.where(measured, hour, -torch.inf).argmax(dim=1)
    columns = (
        mean,
        (centred.square().sum(dim=1) / count).sqrt(),
        _missing(torch.where(measured, value, torch.inf).amin(dim=1), count),
        _missing(torch.where(measured, value, -torch.inf).amax(dim=1), count),
        _missing(value.gather(1, first[:, None])[:, 0], count),
        _missing(value.gather(1, last[:, None])[:, 0], count),
        (since * centred).sum(dim=1) / since.square().sum(dim=1),
        count,
    )
    return torch.cat(columns, dim=1)


def _missing(statistic: Tensor, count: Tensor) -> Tensor:
    return torch.where(count > 0, statistic, torch.nan)
