"""A logistic regression per label on a table of features, which it standardises; the penalty is chosen on validation patients.

Dimensions: N patients, D features, K labels.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.models.label_columns import Labelled, defined, prior_log_odds
from emerge_ehr.models.relevance import BOUND

Array = NDArray[np.float64]
Penalty = Literal["l2", "l1"]
# Inverse penalties to choose from: from a model that tells next to nothing to one that is hardly held back.
STRENGTHS: dict[Penalty, tuple[float, ...]] = {
    "l2": (0.0001, 0.001, 0.01, 0.1, 1.0),
    "l1": (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5),
}


@dataclass(frozen=True)
class LinearClassifier:
    """A fitted regression: ``mean`` and ``scale`` [D] of the training patients, ``coefficients`` [K,D] and ``intercept`` [K].

    The coefficients are those of standardised features, none of which counts for more than ``BOUND`` standard deviations.
    """

    mean: Array
    scale: Array
    coefficients: Array
    intercept: Array

    def logits(self, features: Array) -> Array:
        """Features [N,D], NaN where missing (taken as the training mean) -> log-odds [N,K]."""
        # One sum per patient rather than a matrix product, whose last digits may depend on the other patients.
        product: Array = np.einsum("nd,kd->nk", self._standardised(features), self.coefficients) + self.intercept
        return product

    def save(self, path: Path) -> None:
        """Write the four arrays."""
        from safetensors.numpy import save_file

        save_file(
            {spec.name: np.ascontiguousarray(getattr(self, spec.name)) for spec in dataclasses.fields(self)}, path
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            ValueError: the file holds other arrays, or their shapes do not go together.
        """
        from safetensors.numpy import load_file

        arrays = load_file(path)
        names = [spec.name for spec in dataclasses.fields(cls)]
        labels, features = arrays["coefficients"].shape if sorted(arrays) == sorted(names) else (0, 0)
        shapes = {"mean": (features,), "scale": (features,), "intercept": (labels,)}
        if not labels or any(arrays[name].shape != shape for name, shape in shapes.items()):
            raise ValueError(f"{path.name} does not hold {', '.join(names)}")
        return cls(**arrays)

    def _standardised(self, features: Array) -> Array:
        return np.nan_to_num(np.clip((features - self.mean) / self.scale, -BOUND, BOUND), nan=0.0)


def fit(
    train: Labelled,
    features: Array,
    validation: Labelled,
    validation_features: Array,
    strengths: tuple[float, ...],
    penalty: Penalty = "l2",
    seed: int = 0,
) -> LinearClassifier:
    """Penalised logistic regression of each label on ``features`` [N,D] of ``train``; the intercept is not penalised.

    Of the inverse penalties ``strengths``, the one with the lowest validation loss is kept (the middle one if no validation
    patient has the label defined). It runs in one thread, so that the result does not depend on the number of threads.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        scaled = _scaling(features, train.label.shape[1])
        x, validation_x = scaled._standardised(features), scaled._standardised(validation_features)
        for column in range(train.label.shape[1]):
            rows, label = defined(train, column)
            scaled.intercept[column] = prior_log_odds(label)
            if len(np.unique(label)) < 2:
                continue
            validation_rows, truth = defined(validation, column)
            candidates = [_regression(x[rows], label, strength, penalty, seed) for strength in strengths]
            best = _best(candidates, validation_x[validation_rows], truth)
            scaled.coefficients[column], scaled.intercept[column] = best
    return scaled


def _scaling(features: Array, labels: int) -> LinearClassifier:
    """A classifier with mean and scale, whose coefficients are still 0.

    NaN are left out of mean and standard deviation. A feature that everybody lacks has mean 0; one that is constant has scale 1.
    """
    known = ~np.isnan(features)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, features, 0.0).sum(axis=0) / count
    scale = np.sqrt((np.where(known, features - mean, 0.0) ** 2).sum(axis=0) / count)
    coefficients = np.zeros((labels, features.shape[1]))
    return LinearClassifier(mean, np.where(scale > 1e-8, scale, 1.0), coefficients, np.zeros(labels))


def _regression(x: Array, label: Array, strength: float, penalty: Penalty, seed: int) -> tuple[Array, float]:
    """The coefficients [D] and the intercept."""
    from sklearn.linear_model import LogisticRegression

    # liblinear penalises the intercept, but hardly where it is the coefficient of a large constant
    sparse = {"l1_ratio": 1, "solver": "liblinear", "intercept_scaling": 10, "random_state": seed % 2**32}
    model = LogisticRegression(C=strength, max_iter=2000, **(sparse if penalty == "l1" else {})).fit(x, label)
    return model.coef_[0], float(model.intercept_[0])


def _best(candidates: Sequence[tuple[Array, float]], validation_x: Array, truth: Array) -> tuple[Array, float]:
    """The candidate of lowest loss on validation; the middle one if there is no validation patient."""
    if not len(truth):
        return candidates[len(candidates) // 2]
    losses = [_loss(validation_x @ coefficients + intercept, truth) for coefficients, intercept in candidates]
    return candidates[int(np.argmin(losses))]


def _loss(logit: Array, truth: Array) -> float:
    return float(np.mean(np.logaddexp(0.0, logit) - truth * logit))
