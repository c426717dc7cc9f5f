"""Socket: methods to compare EMERGE with, under the same inputs, split and training loop.

A plug's ``build(options, *, sizes, seed)`` makes either a ``Network``, a ``torch.nn.Module`` that the ordinary loop trains, or an
``Estimator``, which fits itself on a table of numbers (``input_table.py``). A network does not need ``seed``: its first weights
come from torch's generator, which the loop seeds. Every encoder of the socket ``model.series`` is a baseline too
(``_of_series.py``). Both kinds give log-odds, so that probabilities near 0 and 1 keep their order. Outside training, the logits
of a patient must not depend on the other patients of a batch, and nothing may depend on the hours after ``ehr_length``.
``Options.reads`` names the modalities that the method reads.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from emerge_ehr.models.batch import Batch
from emerge_ehr.models.input_table import Array
from emerge_ehr.models.label_columns import Labelled


@dataclass(frozen=True)
class Sizes:
    """Dimensions of the inputs: T hours, F features, widths D1 and D2 of note and summary, K labels."""

    hours: int
    features: int
    note_width: int
    summary_width: int
    labels: int


class Network(Protocol):
    """A method that the loop trains."""

    def forward(self, batch: Batch) -> Tensor:
        """Batch of N -> logits [N,K]."""
        ...

    def __call__(self, batch: Batch) -> Tensor:
        """``forward``, as modules of torch are called."""
        ...


class Estimator(Protocol):
    """A method that fits itself, label by label, on the patients whose label is defined. It reads their inputs as a table [N,D],
    which is NaN where a value is missing.

    A label with one class only (or none) in ``train`` gets the smoothed log-odds of its share of positives for everybody.
    """

    @property
    def reads(self) -> tuple[str, ...]:
        """The modalities whose columns the table has, in the order of ``batch.MODALITIES``."""
        ...

    def fit(self, train: Labelled, table: Array, validation: Labelled, validation_table: Array) -> None:
        """Fit on ``train``; ``validation`` serves only to choose the length of training or the strength of a penalty."""
        ...

    def logits(self, table: Array) -> Tensor:
        """Log-odds [N,K], float32 on the CPU; call ``fit`` or ``load`` first."""
        ...

    def save(self, folder: Path) -> None:
        """Write what was fitted into an existing folder, as arrays and text."""
        ...

    def load(self, folder: Path) -> None:
        """Read what ``save`` wrote; ``logits`` are then the same as before."""
        ...
