"""The hourly inputs as encoders read them: values beside their mask, and which hours are inside the window.

Dimensions: N patients, T hours, F features, H hidden size. With ``cohort.bin_hours`` above 1, every hour that a model counts is
a bin of that length: hours since a measurement, positions and slopes are then in bins.
"""

import torch
from torch import Tensor

from emerge_ehr.models.batch import Batch


def inside(batch: Batch) -> Tensor:
    """Whether an hour was observed [N,T]: true before ``ehr_length``."""
    return torch.arange(batch.ehr.shape[1], device=batch.ehr.device) < batch.ehr_length[:, None]


def values_and_mask(batch: Batch) -> Tensor:
    """Forward-filled z-scores, then the mask of measured hours [N,T,2F]; 0 from ``ehr_length`` on."""
    return torch.where(inside(batch)[..., None], torch.cat([batch.ehr, batch.ehr_mask], dim=2), 0.0)


def mean_inside(states: Tensor, observed: Tensor) -> Tensor:
    """States [N,T,H], observed [N,T] bool -> their mean over the observed hours [N,H]."""
    total = torch.where(observed[..., None], states, 0.0).sum(dim=1)
    return total / observed.sum(dim=1, keepdim=True)


def reversed_inside(values: Tensor, length: Tensor) -> Tensor:
    """Values [N,T,H] with the first ``length`` hours of each patient in reverse order; later hours stay where they are.

    >>> reversed_inside(torch.tensor([[[1.0], [2.0], [9.0]]]), torch.tensor([2])).flatten().tolist()
    [2.0, 1.0, 9.0]
    """
    hour = torch.arange(values.shape[1], device=values.device).expand(len(values), -1)
    source = torch.where(hour < length[:, None], length[:, None] - 1 - hour, hour)
    return values.gather(1, source[..., None].expand_as(values))
