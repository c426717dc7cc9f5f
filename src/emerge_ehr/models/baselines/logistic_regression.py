"""Logistic regression on window statistics, with an L2 penalty chosen on validation. Input: ehr.

This is the usual linear baseline of intensive-care benchmarks. Harutyunyan et al. (2019, doi 10.1038/s41597-019-0103-9) use
statistics of sub-windows too; here they are those of the whole window only. A statistic that a patient lacks is taken as the
training mean, and the count of measured hours shows that it is missing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, final

import torch
from annotated_types import Gt, MinLen
from torch import Tensor

from emerge_ehr.models import linear_classifier, window_statistics
from emerge_ehr.models.baselines import Estimator, Sizes
from emerge_ehr.models.batch import Batch
from emerge_ehr.models.linear_classifier import LinearClassifier

FILE = "logistic_regression.safetensors"


@dataclass(frozen=True)
class Options:
    """The inverse penalties to choose from."""

    strengths: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1)] = (0.0001, 0.001, 0.01, 0.1, 1.0)
    reads: ClassVar[tuple[str, ...]] = ("ehr",)


def build(options: Options, *, sizes: Sizes, seed: int) -> Estimator:
    """An estimator to fit; nothing in it is random, so ``seed`` is not used."""
    return LogisticRegression(options)


@final
class LogisticRegression:
    """An ``Estimator``: a regression per label on the window statistics."""

    fitted: LinearClassifier

    def __init__(self, options: Options) -> None:
        self.strengths = options.strengths

    def fit(self, train: Batch, validation: Batch) -> None:
        """Fit a regression for every label."""
        tables = window_statistics.of_batch(train), window_statistics.of_batch(validation)
        self.fitted = linear_classifier.fit(train, tables[0], validation, tables[1], self.strengths)

    def logits(self, batch: Batch) -> Tensor:
        """Batch of N -> log-odds [N,K]."""
        return torch.from_numpy(self.fitted.logits(window_statistics.of_batch(batch))).float()

    def save(self, folder: Path) -> None:
        """Write the coefficients of all labels into ``folder``."""
        self.fitted.save(folder / FILE)

    def load(self, folder: Path) -> None:
        """Read the coefficients that ``save`` wrote into ``folder``."""
        self.fitted = LinearClassifier.load(folder / FILE)
