"""Logistic regression on window statistics and embeddings of texts, with a penalty chosen on validation. Input: ehr by default.

With ``modalities = ["ehr", "note", "summary"]`` it is the plain method on the same inputs as EMERGE. The ``l1`` penalty
(Tibshirani 1996) drops columns that tell nothing, as most components of an embedding do. On ``ehr`` alone it is the usual linear
baseline of intensive-care benchmarks. Harutyunyan et al. (2019, doi 10.1038/s41597-019-0103-9) use statistics of sub-windows too;
here they are those of the whole window only. A value that a patient lacks is taken as the training mean; the count of measured
hours, or the column that says whether there is a text, shows that it is missing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, final

import torch
from annotated_types import Gt
from torch import Tensor

from emerge_ehr.models import linear_classifier
from emerge_ehr.models.baselines import Estimator, Sizes
from emerge_ehr.models.batch import MODALITIES
from emerge_ehr.models.input_table import Array, Modalities
from emerge_ehr.models.label_columns import Labelled
from emerge_ehr.models.linear_classifier import STRENGTHS, LinearClassifier, Penalty

FILE = "logistic_regression.safetensors"


@dataclass(frozen=True)
class Options:
    """The inputs, the kind of penalty, and the inverse penalties to choose from; if there are none, those usual for its kind."""

    modalities: Modalities = ("ehr",)
    penalty: Penalty = "l2"
    strengths: tuple[Annotated[float, Gt(0)], ...] = ()

    @property
    def reads(self) -> tuple[str, ...]:
        """The modalities, each once."""
        return tuple(name for name in MODALITIES if name in self.modalities)


def build(options: Options, *, sizes: Sizes, seed: int) -> Estimator:
    """An estimator to fit; ``seed`` orders the columns in the solver of ``l1``."""
    return LogisticRegression(options, seed)


@final
class LogisticRegression:
    """An ``Estimator``: a regression per label."""

    fitted: LinearClassifier

    def __init__(self, options: Options, seed: int) -> None:
        self.options, self.seed, self.reads = options, seed, options.reads

    def fit(self, train: Labelled, table: Array, validation: Labelled, validation_table: Array) -> None:
        """Fit a regression for every label."""
        penalty = self.options.penalty
        strengths = self.options.strengths or STRENGTHS[penalty]
        self.fitted = linear_classifier.fit(train, table, validation, validation_table, strengths, penalty, self.seed)

    def logits(self, table: Array) -> Tensor:
        """Table [N,D] -> log-odds [N,K]."""
        return torch.from_numpy(self.fitted.logits(table)).float()

    def save(self, folder: Path) -> None:
        """Write the coefficients of all labels into ``folder``."""
        self.fitted.save(folder / FILE)

    def load(self, folder: Path) -> None:
        """Read the coefficients that ``save`` wrote into ``folder``."""
        self.fitted = LinearClassifier.load(folder / FILE)
