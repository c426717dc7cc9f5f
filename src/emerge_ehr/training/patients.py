"""The patients of a split, in memory or on disk; training and prediction draw batches of both in the same way."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emerge_ehr.models import absence, input_table
from emerge_ehr.models.batch import SHAPES, Batch
from emerge_ehr.storage.mapped_arrays import release


@final
@dataclass(frozen=True)
class MappedPatients:
    """N patients whose arrays stay in their files, from which ``select`` reads only the rows of a batch.

    ``arrays``: the arrays of ``Batch``, with a row for every patient of the dataset. ``rows`` [N]: the rows of these N patients.
    Only ``label`` and ``label_mask`` [N,K] are in memory. ``lacks``: modalities that they are read without.
    """

    arrays: Mapping[str, NDArray[Any]]
    rows: NDArray[np.int64]
    label: Tensor
    label_mask: Tensor
    device: torch.device
    lacks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def nbytes(self) -> int:
        """The bytes that they would take in memory."""
        return sum(array.nbytes // max(1, len(array)) for array in self.arrays.values()) * len(self)

    def select(self, index: Tensor) -> Batch:
        """The patients at ``index`` [n], in that order, in memory.

        Raises:
            ValueError: the shapes of the arrays do not go together.
        """
        rows = self.rows[index.cpu().numpy()]
        tensors = {name: torch.from_numpy(array[rows]) for name, array in self.arrays.items()}
        for array in self.arrays.values():
            release(array)
        return absence.without(Batch(**tensors), self.lacks).to(self.device)

    def whole(self) -> Batch:
        """All N patients, in memory."""
        return self.select(torch.arange(len(self)))

    def to(self, device: torch.device) -> Self:
        """The same patients; batches of them are on ``device``."""
        label, mask = self.label.to(device), self.label_mask.to(device)
        return dataclasses.replace(self, label=label, label_mask=mask, device=device)


Patients = Batch | MappedPatients


def subset(patients: Patients, index: Tensor) -> Patients:
    """The patients at ``index`` [n], in that order, where they are: in memory or on disk."""
    if isinstance(patients, Batch):
        return patients.select(index)
    rows, label, mask = patients.rows[index.numpy()], patients.label[index], patients.label_mask[index]
    return dataclasses.replace(patients, rows=rows, label=label, label_mask=mask)


def joined(first: Patients, second: Patients) -> Patients:
    """The patients of both, which come from one dataset and lie both in memory or both on disk."""
    if isinstance(first, Batch) and isinstance(second, Batch):
        return Batch(**{name: torch.cat([getattr(first, name), getattr(second, name)]) for name in SHAPES})
    assert isinstance(first, MappedPatients) and isinstance(second, MappedPatients)
    label, mask = torch.cat([first.label, second.label]), torch.cat([first.label_mask, second.label_mask])
    rows = np.concatenate([first.rows, second.rows])
    return dataclasses.replace(first, rows=rows, label=label, label_mask=mask)


def lacking(patients: Patients, modalities: Sequence[str]) -> Patients:
    """The patients as if they had never had the ``modalities``."""
    if isinstance(patients, Batch):
        return absence.without(patients, modalities)
    return dataclasses.replace(patients, lacks=(*patients.lacks, *modalities))


def table(
    patients: Patients, modalities: Sequence[str], batch_size: int, steps: Sequence[int] = ()
) -> NDArray[np.float64]:
    """The columns of ``input_table.of_batch`` for all patients [N,D]; from disk, the arrays are read batch by batch."""
    parts = torch.split(torch.arange(len(patients)), batch_size)
    return np.concatenate([input_table.of_batch(batch, modalities, steps) for batch in batches(patients, parts)])


def has(patients: Patients, modalities: Sequence[str], batch_size: int) -> Tensor:
    """Which of M ``modalities`` each of N patients has [N,M], bool."""
    parts = torch.split(torch.arange(len(patients)), batch_size)
    return torch.cat([absence.has(batch, modalities).cpu() for batch in batches(patients, parts)])


def batches(patients: Patients, parts: Sequence[Tensor]) -> Iterator[Batch]:
    """A batch of the patients at each of ``parts``; from disk, the next batch is read while the present one is in use."""
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
