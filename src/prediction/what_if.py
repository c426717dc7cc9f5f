"""What a risk becomes when something is taken from the model's input.

A modality that is simply blanked is an input the model never saw: a learned "no note" vector, say, means nothing where every
training patient has a note. Therefore a patient's modality is replaced by that of training patients, the ``donors``, one after
the other, and the risks are averaged: the expectation over an uninformative modality (interventional, or marginal, contribution).
"""

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray

from src.datasets.dataset import Dataset
from src.datasets.schema import DATASET
from src.models.batch import MODALITIES, Batch
from src.training import inputs
from src.training.trained import Trained

DONORS = 16


def donors(trained: Trained, count: int = DONORS) -> Batch:
    """At most ``count`` training patients, drawn with the run's seed; the same for every patient asked about."""
    dataset: Dataset = trained.dataset
    train = inputs.part(dataset, "train", trained.config.processed_dir / DATASET)
    chosen = np.random.default_rng(trained.config.seed).permutation(len(train))[:count]
    return train.select(torch.from_numpy(np.sort(chosen)))


def modalities(trained: Trained) -> tuple[str, ...]:
    """Those that can be taken away: what EMERGE was told to read; for a baseline all three."""
    return trained.config.model.modalities if trained.config.baseline is None else tuple(MODALITIES)


def without_modality(trained: Trained, batch: Batch, name: str, others: Batch) -> NDArray[np.float64]:
    """Risks [N,K] of the patients when modality ``name`` comes from ``others`` instead, averaged over these."""
    risks = np.stack([trained.probability(_given(batch, name, others, n)) for n in range(len(others))])
    mean: NDArray[np.float64] = risks.mean(axis=0)
    return mean


def _given(batch: Batch, name: str, others: Batch, n: int) -> Batch:
    """The patients with modality ``name`` of the n-th of ``others``."""
    rows = torch.full((len(batch),), n)
    return dataclasses.replace(batch, **{field: getattr(others, field)[rows] for field in MODALITIES[name]})
