"""An estimator made of one for each landmark.

Dimensions: N samples, D columns, K labels.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emerge_ehr.models.baselines import Estimator
from emerge_ehr.models.input_table import Array
from emerge_ehr.models.label_columns import Labelled


@dataclass(frozen=True)
class Part:
    """The samples of one landmark: which ``rows`` [n] they are, their labels [n,K], and their part of the ``table`` [n,D]."""

    rows: NDArray[np.int64]
    label: Tensor
    label_mask: Tensor
    table: Array


def parts(of: Labelled, table: Array, count: int) -> Iterator[Part]:
    """The samples at each of ``count`` landmarks, by the first column of the table [N,1 + D], their place among these.

    A sample between two landmarks is one of the earlier. With a ``count`` of 0 there are no landmarks, and no such column: all
    samples are one part.
    """
    for landmark in range(max(count, 1)):
        rows = np.flatnonzero(np.floor(table[:, 0]) == landmark) if count else np.arange(len(table))
        index = torch.from_numpy(rows)
        yield Part(rows, of.label.cpu()[index], of.label_mask.cpu()[index], table[rows, 1:] if count else table)


def to_fit(
    train: Labelled, table: Array, validation: Labelled, validation_table: Array, count: int
) -> list[tuple[Part, Part]]:
    """The training and the validation samples of each of ``count`` landmarks, as ``parts``.

    A landmark that no training sample reached has those of the one before: who reaches it is still judged by something.
    """
    pairs = list(zip(parts(train, table, count), parts(validation, validation_table, count), strict=True))
    for landmark, (own, _) in enumerate(pairs):
        if not len(own.rows) and landmark:
            pairs[landmark] = pairs[landmark - 1]
    return pairs


@final
class ByLandmark:
    """An ``Estimator`` that judges the samples at each landmark by the one that was fitted on such samples alone.

    A sample between two landmarks gets the log-odds of both, weighted by how near they are.
    """

    def __init__(self, each: Sequence[Estimator]) -> None:
        self.each, self.reads = tuple(each), each[0].reads

    def fit(self, train: Labelled, table: Array, validation: Labelled, validation_table: Array) -> None:
        """Fit each on the samples of its landmark."""
        pairs = to_fit(train, table, validation, validation_table, len(self.each))
        for estimator, (own, held) in zip(self.each, pairs, strict=True):
            estimator.fit(own, own.table, held, held.table)

    def logits(self, table: Array) -> Tensor:
        """Table [N,1 + D] -> log-odds [N,K]."""
        found: Tensor | None = None
        for landmark, estimator in enumerate(self.each):
            share = np.clip(1 - np.abs(table[:, 0] - landmark), 0, 1)
            rows = np.flatnonzero(share)
            if len(rows):
                logits = estimator.logits(table[rows, 1:])
                found = torch.zeros(len(table), logits.shape[1]) if found is None else found
                found[torch.from_numpy(rows)] += logits * torch.from_numpy(share[rows, None]).float()
        return self.each[0].logits(table[:, 1:]) if found is None else found

    def save(self, folder: Path) -> None:
        """Write each into a folder of its own."""
        for number, estimator in enumerate(self.each, 1):
            (folder / _name(number)).mkdir()
            estimator.save(folder / _name(number))

    def load(self, folder: Path) -> None:
        """Read what ``save`` wrote."""
        for number, estimator in enumerate(self.each, 1):
            estimator.load(folder / _name(number))


def each(make: Callable[[], Any], count: int) -> Any:
    """What ``make`` makes or, if that is an ``Estimator``, one for each of ``count`` landmarks, joined; a network serves all."""
    first = make()
    if not count or isinstance(first, nn.Module):
        return first
    return ByLandmark([first, *(make() for _ in range(count - 1))])


def _name(number: int) -> str:
    return f"landmark_{number}"
