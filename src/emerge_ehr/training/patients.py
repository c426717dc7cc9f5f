"""The patients of a split, in memory or on disk: whichever they are, training and prediction draw batches of them alike."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emerge_ehr.models.batch import Batch
from emerge_ehr.storage.mapped_arrays import release


@final
@dataclass(frozen=True)
class MappedPatients:
    """N patients whose arrays stay in their files: of these ``select`` reads the rows of a batch, and nothing else.

    ``arrays``: those of ``Batch`` with a row for every patient of the dataset; ``rows`` [N] are those of these patients. Only
    ``label`` and ``label_mask`` [N,K] are in memory.
    """

    arrays: Mapping[str, NDArray[Any]]
    rows: NDArray[np.int64]
    label: Tensor
    label_mask: Tensor
    device: torch.device

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def nbytes(self) -> int:
        """What they would take in memory."""
        return sum(array.nbytes // max(1, len(array)) for array in self.arrays.values()) * len(self)

    def select(self, index: Tensor) -> Batch:
        """The patients at ``index`` [n], in that order, in memory.

        Raises:
            ValueError: the arrays do not fit together.
        """
        rows = self.rows[index.cpu().numpy()]
        tensors = {name: torch.from_numpy(array[rows]) for name, array in self.arrays.items()}
        for array in self.arrays.values():
            release(array)
        return Batch(**tensors).to(self.device)

    def whole(self) -> Batch:
        """All of them, in memory."""
        return self.select(torch.arange(len(self)))

    def to(self, device: torch.device) -> Self:
        """The same patients; batches of them are on ``device``."""
        label, mask = self.label.to(device), self.label_mask.to(device)
        return dataclasses.replace(self, label=label, label_mask=mask, device=device)


Patients = Batch | MappedPatients


def batches(patients: Patients, parts: Sequence[Tensor]) -> Iterator[Batch]:
    """The patients at each of ``parts``; those on disk are read a batch ahead, while the one before is computed with."""
    if isinstance(patients, Batch):
        yield from map(patients.select, parts)
        return
    with ThreadPoolExecutor(1) as reader:
        reading: Future[Batch] | None = None
        for part in parts:
            following = reader.submit(patients.select, part)
            if reading is not None:
                yield reading.result()
            reading = following
        if reading is not None:
            yield reading.result()
