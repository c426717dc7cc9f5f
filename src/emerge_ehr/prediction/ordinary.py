"""The ordinary course of each signal, which stands in for a patient's own where a risk is asked for without that signal.

It is the course of a real training patient, with its gaps and its noise: a flat line at the training mean, or a signal that was
never measured, is an input that the model never saw. It is the one whose window statistics lie nearest to the medians of the
training patients, so that a single course does for all donors: a rise in a donor's own course would count as a fall in the
patient's.

Dimensions: N patients, C training patients, T hours, F features.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from emerge_ehr.models import window_statistics
from emerge_ehr.models.batch import Batch
from emerge_ehr.training import inputs
from emerge_ehr.training.trained import Trained

CANDIDATES = 1000  # training patients, so that the choice takes milliseconds however many there are


@dataclass(frozen=True, eq=False)
class Ordinary:
    """``candidates``: C training patients, one of whom lends the course of a signal. ``known``: what was chosen already."""

    candidates: Batch
    known: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def courses(self, length: int) -> tuple[Tensor, Tensor]:
        """The values and the mask [``length``,F] of each signal's ordinary course over so many hours."""
        if length not in self.known:
            self.known[length] = _courses(_within(self.candidates, length))
        return self.known[length]


def of(trained: Trained) -> Ordinary:
    """The ordinary courses among at most ``CANDIDATES`` training patients, drawn with the run's seed."""
    train = inputs.mapped(trained.dataset, "train")
    chosen = np.random.default_rng(trained.config.seed).permutation(len(train))[:CANDIDATES]
    return Ordinary(train.select(torch.from_numpy(np.sort(chosen))))


def _within(candidates: Batch, length: int) -> tuple[Tensor, Tensor]:
    """The values and the mask [C,``length``,F] of the candidates who were observed for so many hours, cut to these.

    If nobody was, those who were observed longest: their last values are carried forward, and nothing is measured any more.
    """
    longest = min(length, int(candidates.ehr_length.max()))
    enough = candidates.ehr_length >= longest
    value, mask = candidates.ehr[enough, :longest], candidates.ehr_mask[enough, :longest]
    rest = length - longest
    later = value[:, -1:].expand(-1, rest, -1)
    return torch.cat([value, later], dim=1), torch.cat([mask, torch.zeros_like(later)], dim=1)


def _courses(candidates: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The values and the mask [T,F] of the most ordinary of the ``candidates`` [C,T,F], signal by signal.

    The distance is the sum of squares over the statistics, each in standard deviations from the median of those in whom the
    signal was measured; a statistic that a patient lacks (the slope of a single hour) does not count. A signal that was measured
    in none of them has no course: its mask is 0.
    """
    value, mask = candidates
    measured = mask.any(dim=1)
    found = window_statistics.statistics(value, mask > 0)
    found = found.reshape(len(value), len(window_statistics.STATISTICS), -1)
    found = torch.where(measured[:, None], found, torch.nan)
    away = found - found.nanmedian(dim=0).values
    spread = away.square().nanmean(dim=0).sqrt().clamp(min=1e-6)
    distance = (away / spread).square().nan_to_num(nan=0.0).sum(dim=1)
    nearest = torch.where(measured, distance, torch.inf).argmin(dim=0)
    feature = torch.arange(value.shape[2])
    return value[nearest, :, feature].T.contiguous(), mask[nearest, :, feature].T.contiguous()
