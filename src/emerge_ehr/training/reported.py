"""What a run reports of what its model learns: the risks that follow from the logits, and the outcomes they are judged by.

Of most tasks these are the labels themselves. Of a task that learns the hazards of intervals they are death by the end of each.
Dimensions: N samples, K labels, H reported risks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emerge_ehr import components
from emerge_ehr.config import Config
from emerge_ehr.datasets.tasks import Task
from emerge_ehr.evaluation import hazards
from emerge_ehr.evaluation.calibration import logit
from emerge_ehr.evaluation.metrics import Array


@dataclass(frozen=True)
class Reported:
    """``names`` [H] of the risks. ``intervals``: they follow from hazards. ``horizons`` [H]: the hours after the window by which
    each counts; empty where the outcome has no time."""

    names: list[str]
    intervals: bool = False
    horizons: tuple[float, ...] = ()

    def risks(self, logits: Tensor) -> Array:
        """The risks [...,H] of logits [...,K]."""
        if self.intervals:
            return hazards.incidence(logits.double().numpy())[0]
        found: Array = logits.double().sigmoid().numpy()
        return found

    def together(self, logits: Tensor) -> Array:
        """The risks [N,H] of several members, from the logits of each [M,N,K]: the log-odds of their risks are averaged.

        Of hazards it is not the logits, as the risk that follows from averaged hazards may lie outside the members' own.
        """
        if self.intervals:
            odds = torch.from_numpy(logit(self.risks(logits)))
            mean: Array = odds.mean(dim=0).sigmoid().numpy()
            return mean
        return self.risks(logits.mean(dim=0))

    def outcomes(self, label: NDArray[np.floating], mask: NDArray[np.floating]) -> tuple[Array, NDArray[np.bool_]]:
        """Labels and mask [N,K] -> the outcomes [N,H], and where they are defined [N,H]."""
        values, defined = label.astype(np.float64), mask > 0
        return hazards.outcomes(values, defined) if self.intervals else (values, defined)


def of(config: Config, label_names: Sequence[str]) -> Reported:
    """What a run of this config reports, whose model learns the labels ``label_names`` [K]."""
    task: Task = components.build("task", config.task)
    if task.timing is None:
        return Reported(list(label_names))
    horizons = tuple(bound / timedelta(hours=1) for bound in task.timing.bounds)
    return Reported(list(task.timing.codes), task.timing.intervals, horizons)
