"""Gradient-boosted trees on window statistics and embeddings of texts (LightGBM; Ke et al. 2017, NeurIPS 30). Input: ehr by
default; with ``modalities = ["ehr", "note", "summary"]`` the same inputs as EMERGE.

LightGBM is used rather than scikit-learn's histogram boosting, because it can write its trees as text, where scikit-learn's can
only be pickled. Trees are added until the validation loss has not fallen for ``patience`` rounds. A value that a patient
lacks is a missing value for the trees too.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, final

import numpy as np
import torch
from annotated_types import Gt, Le
from torch import Tensor

from emerge_ehr.fields import Positive
from emerge_ehr.models import boosted_trees
from emerge_ehr.models.baselines import Estimator, Sizes
from emerge_ehr.models.batch import MODALITIES
from emerge_ehr.models.input_table import Array, Modalities
from emerge_ehr.models.label_columns import Labelled, defined, prior_log_odds

if TYPE_CHECKING:
    from lightgbm import Booster

PRIORS = "priors.json"
MANY = 10_000_000  # cells of a table from which several threads pay


@dataclass(frozen=True)
class Options:
    """The inputs, and at most ``rounds`` trees per label, each of at most ``leaves`` leaves and a random ``feature_share`` of the
    columns."""

    modalities: Modalities = ("ehr",)
    rounds: Positive = 1000
    patience: Positive = 50
    learning_rate: Annotated[float, Gt(0), Le(1)] = 0.03
    leaves: Annotated[int, Gt(1), Le(131072)] = 8
    patients_a_leaf: Positive = 20
    feature_share: Annotated[float, Gt(0), Le(1)] = 0.5

    @property
    def reads(self) -> tuple[str, ...]:
        """The modalities, each once."""
        return tuple(name for name in MODALITIES if name in self.modalities)


def build(options: Options, *, sizes: Sizes, seed: int) -> Estimator:
    """An estimator to fit; ``seed`` draws the columns that each tree may use."""
    return GradientBoosting(options, seed)


@final
class GradientBoosting:
    """An ``Estimator``: for each label its trees or, where training had one class only, None and the prior log-odds."""

    trees: "list[Booster | None]"
    priors: list[float]

    def __init__(self, options: Options, seed: int) -> None:
        self.options, self.seed, self.reads = options, seed, options.reads

    def fit(self, train: Labelled, table: Array, validation: Labelled, validation_table: Array) -> None:
        """Fit trees for every label that has both classes in ``train``."""
        self.trees, self.priors = [], []
        for column in range(train.label.shape[1]):
            rows, label = defined(train, column)
            validation_rows, truth = defined(validation, column)
            self.priors.append(prior_log_odds(label))
            both_classes = len(np.unique(label)) > 1
            held_out = (validation_table[validation_rows], truth)
            self.trees.append(self._boosted(table[rows], label, *held_out) if both_classes else None)

    def logits(self, table: Array) -> Tensor:
        """Table [N,D] -> log-odds [N,K].

        Raises:
            ValueError: the trees were fitted on another number of columns.
        """
        if other := [trees.num_feature() for trees in self.trees if trees and trees.num_feature() != table.shape[1]]:
            raise ValueError(f"trees of {other[0]} columns, where there are {table.shape[1]}")
        columns = [
            np.full(len(table), prior)
            if trees is None
            else np.asarray(trees.predict(table, raw_score=True, num_threads=_threads(table)))
            for trees, prior in zip(self.trees, self.priors, strict=True)
        ]
        return torch.from_numpy(np.stack(columns, axis=1)).float()

    def save(self, folder: Path) -> None:
        """Write LightGBM's text of each label's trees, and the priors."""
        kept = [None if trees is not None else prior for trees, prior in zip(self.trees, self.priors, strict=True)]
        (folder / PRIORS).write_text(json.dumps(kept) + "\n", encoding="utf-8")
        for column, trees in enumerate(self.trees):
            if trees is not None:
                (folder / f"trees_{column}.txt").write_text(trees.model_to_string(), encoding="utf-8")

    def load(self, folder: Path) -> None:
        """Read what ``save`` wrote.

        Raises:
            ValueError: the files are damaged.
        """
        kept = json.loads((folder / PRIORS).read_text(encoding="utf-8"))
        if not isinstance(kept, list) or not all(prior is None or isinstance(prior, float) for prior in kept):
            raise ValueError(f"{PRIORS} does not list a number or null for each label")
        self.priors = [0.0 if prior is None else prior for prior in kept]
        self.trees = [
            _read(folder / f"trees_{column}.txt") if prior is None else None for column, prior in enumerate(kept)
        ]

    def _boosted(self, x: Array, label: Array, validation_x: Array, truth: Array) -> "Booster":
        import lightgbm

        settings: dict[str, Any] = {
            "objective": "binary",
            "learning_rate": self.options.learning_rate,
            "num_leaves": self.options.leaves,
            "min_data_in_leaf": self.options.patients_a_leaf,
            "feature_fraction": self.options.feature_share,
            "seed": self.seed % 2**31,  # LightGBM takes signed 32-bit seeds
            "deterministic": True,  # the same trees with any number of threads
            "num_threads": _threads(x),
            "force_row_wise": True,
            "verbosity": -1,
        }
        data = lightgbm.Dataset(x, label)
        if not len(truth):
            return lightgbm.train(settings, data, self.options.rounds)
        stop = lightgbm.early_stopping(self.options.patience, verbose=False)
        held_out = data.create_valid(validation_x, truth)
        return lightgbm.train(settings, data, self.options.rounds, valid_sets=[held_out], callbacks=[stop])


def _threads(table: Array) -> int:
    """1 for a small table, else 0: as many as OpenMP takes.

    Threads that have little to do each mostly wait for each other, and hold the cores meanwhile: the slower, the more other
    programs compute.
    """
    return 1 if table.size < MANY else 0


def _read(path: Path) -> "Booster":
    from lightgbm import Booster
    from lightgbm.basic import LightGBMError

    text = path.read_text(encoding="utf-8")
    boosted_trees.require_sound(text)
    try:
        return Booster(model_str=text)
    except LightGBMError as error:
        raise ValueError(str(error)) from None
