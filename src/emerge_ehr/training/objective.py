"""What training minimises, and how: loss, class weights, optimiser and learning-rate schedule."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from emerge_ehr.config import Training
from emerge_ehr.training.patients import Patients

PLATEAU_EPOCHS = 2  # after more epochs than this without a lower validation loss, the learning rate is halved


def masked_loss(logits: Tensor, label: Tensor, mask: Tensor, positive_weight: Tensor | None = None) -> Tensor:
    """Binary cross-entropy, as its mean over the labels [N,K] that are defined; 0 if none is.

    ``positive_weight`` [K]: the weight of a positive, where a negative has 1.
    """
    return summed_loss(logits, label, mask, positive_weight) / mask.sum().clamp(min=1)


def summed_loss(logits: Tensor, label: Tensor, mask: Tensor, positive_weight: Tensor | None) -> Tensor:
    """Binary cross-entropy summed over the labels [N,K] that are defined."""
    return binary_cross_entropy_with_logits(logits, label, weight=mask, pos_weight=positive_weight, reduction="sum")


def positive_weight(train: Patients, settings: Training) -> Tensor | None:
    """Negatives / positives of each label [K] among the training patients (King and Zeng 2001); 1 where a class is missing.

    None without class weights.
    """
    if settings.class_weights == "none":
        return None
    positives = (train.label * train.label_mask).sum(dim=0)
    negatives = train.label_mask.sum(dim=0) - positives
    both = (positives > 0) & (negatives > 0)
    return torch.where(both, negatives / positives.clamp(min=1), 1.0)


def optimiser(model: nn.Module, settings: Training) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019) over the parameters of ``model``."""
    return torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)


def scheduler(optimizer: Any, settings: Training) -> Any:
    """The schedule of the learning rate; ``advance`` moves it on after each epoch.

    ``cosine``: lr (1 + cos(pi e / E)) / 2 after e of E epochs (Loshchilov and Hutter 2017, without restarts).
    """
    if settings.scheduler == "plateau":
        return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=PLATEAU_EPOCHS)
    period = settings.max_epochs if settings.scheduler == "cosine" else math.inf  # without an end the rate is constant
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: (1 + math.cos(math.pi * epoch / period)) / 2)


def advance(scheduler: Any, validation_loss: float) -> None:
    """Move the learning rate on after an epoch with this validation loss."""
    if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
        scheduler.step(validation_loss)
    else:
        scheduler.step()
