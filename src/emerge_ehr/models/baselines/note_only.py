"""Logistic regression on the note's embedding, with an L2 penalty chosen on validation. Input: note.

It shows what the note predicts by itself. With the TF-IDF encoder it is latent semantic analysis with a linear classifier
(Deerwester et al. 1990). A patient without a note gets the training mean of every component, and a column of its own says that
there is no note.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, final

import torch
from annotated_types import Gt, MinLen
from torch import Tensor

from emerge_ehr.models import linear_classifier
from emerge_ehr.models.baselines import Estimator, Sizes
from emerge_ehr.models.input_table import Array
from emerge_ehr.models.label_columns import Labelled
from emerge_ehr.models.linear_classifier import LinearClassifier

FILE = "note_only.safetensors"


@dataclass(frozen=True)
class Options:
    """The inverse penalties to choose from."""

    strengths: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1)] = (0.0001, 0.001, 0.01, 0.1, 1.0)
    reads: ClassVar[tuple[str, ...]] = ("note",)


def build(options: Options, *, sizes: Sizes, seed: int) -> Estimator:
    """An estimator to fit; nothing in it is random, so ``seed`` is not used."""
    return NoteOnly(options)


@final
class NoteOnly:
    """An ``Estimator``: a regression per label on the note's embedding."""

    fitted: LinearClassifier

    def __init__(self, options: Options) -> None:
        self.strengths, self.reads = options.strengths, options.reads

    def fit(self, train: Labelled, table: Array, validation: Labelled, validation_table: Array) -> None:
        """Fit a regression for every label."""
        self.fitted = linear_classifier.fit(train, table, validation, validation_table, self.strengths)

    def logits(self, table: Array) -> Tensor:
        """Table [N,D] -> log-odds [N,K]."""
        return torch.from_numpy(self.fitted.logits(table)).float()

    def save(self, folder: Path) -> None:
        """Write the coefficients of all labels into ``folder``."""
        self.fitted.save(folder / FILE)

    def load(self, folder: Path) -> None:
        """Read the coefficients that ``save`` wrote into ``folder``."""
        self.fitted = LinearClassifier.load(folder / FILE)
