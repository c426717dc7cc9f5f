"""The training loop: epochs over shuffled batches, validation after each, early stopping, best and last weights."""

import contextlib
import logging
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from src.config import Training, UserError
from src.evaluation import metrics
from src.models.batch import Batch

logger = logging.getLogger(__name__)
Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Epoch:
    """A row of the history; a metric is the mean over the labels that have both classes, None if there is none."""

    epoch: int
    train_loss: float
    val_loss: float
    val_auprc: float | None
    val_auroc: float | None

    @property
    def score(self) -> tuple[float, float]:
        """What early stopping maximises: AUPRC, and among equals the lower loss (in small cohorts AUPRC ties often)."""
        return (0.0 if self.val_auprc is None else self.val_auprc, -self.val_loss)


@dataclass(frozen=True)
class Fitted:
    """What training leaves; ``selection`` says by what the best epoch was chosen."""

    history: list[Epoch]
    best: Epoch
    best_weights: Weights
    last_weights: Weights
    selection: str
    device: str


def fit(model: nn.Module, train: Batch, validation: Batch, settings: Training, seed: int) -> Fitted:
    """Train ``model`` in place; the same inputs, machine and number of threads give the same weights.

    Raises:
        UserError: this machine has no such accelerator; the loss is not finite.
    """
    try:
        fabric = Fabric(accelerator=settings.accelerator, devices=1, precision=settings.precision)
    except RuntimeError as error:
        raise UserError(f"training.accelerator = '{settings.accelerator}': {error}; use 'auto' or 'cpu'") from None
    optimizer: Any = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    _, optimizer = fabric.setup(model, optimizer)  # moves the model to the device, in place
    train, validation = train.to(fabric.device), validation.to(fabric.device)
    generator = torch.Generator().manual_seed(seed)
    history: list[Epoch] = []
    best, best_weights = None, _weights(model)
    with logging_redirect_tqdm():
        for number in tqdm(range(1, settings.max_epochs + 1), desc="train", unit="epoch", disable=None):
            order = torch.randperm(len(train), generator=generator).to(fabric.device)
            batches = (train.select(index) for index in torch.split(order, settings.batch_size))
            train_loss = _train_epoch(fabric, model, optimizer, batches, settings.gradient_clip)
            epoch = _validate(model, validation, settings.batch_size, number, train_loss)
            if not math.isfinite(epoch.train_loss + epoch.val_loss):
                raise UserError(
                    f"epoch {number}: the loss is not finite; lower training.learning_rate or gradient_clip"
                )
            history.append(epoch)
            if best is None or epoch.score > best.score:
                best, best_weights = epoch, _weights(model)
            logger.info(_line(epoch, best))
            if number - best.epoch >= settings.patience:
                break
    assert best is not None
    selection = "lowest validation loss" if best.val_auprc is None else "highest validation AUPRC"
    if best.val_auprc is None:
        logger.warning("validation has one class only: the best epoch is the one of lowest validation loss")
    return Fitted(history, best, best_weights, _weights(model), selection, fabric.device.type)


def predict(model: nn.Module, patients: Batch, batch_size: int) -> Tensor:
    """Logits [N,K] on the CPU, in full precision and without dropout."""
    device = next(model.parameters()).device
    model.eval()
    with torch.no_grad():
        parts = torch.split(torch.arange(len(patients)), batch_size)
        return torch.cat([model(patients.select(part).to(device)).cpu() for part in parts])


def masked_loss(logits: Tensor, label: Tensor, mask: Tensor) -> Tensor:
    """Binary cross-entropy, the mean over the labels [N,K] that are defined; 0 if none is."""
    loss = binary_cross_entropy_with_logits(logits, label, weight=mask, reduction="sum")
    return loss / mask.sum().clamp(min=1)


@contextlib.contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Seed torch (initial weights, dropout); without a GPU, allow only deterministic algorithms.

    On a GPU the recurrent kernels have no such guarantee: there two runs may differ in the last digits.
    """
    before = torch.are_deterministic_algorithms_enabled()
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(not torch.cuda.is_available())
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _train_epoch(
    fabric: Fabric, model: nn.Module, optimizer: Any, batches: Iterable[Batch], gradient_clip: float
) -> float:
    """One pass over the batches; the mean loss a patient."""
    model.train()
    losses, sizes = [], []
    for batch in batches:
        with fabric.autocast():
            logits = model(batch)
        loss = masked_loss(logits.float(), batch.label, batch.label_mask)
        optimizer.zero_grad()
        fabric.backward(loss)
        fabric.clip_gradients(model, optimizer, max_norm=gradient_clip, error_if_nonfinite=False)
        optimizer.step()
        losses.append(loss.detach())
        sizes.append(len(batch))
    return float(np.average(torch.stack(losses).float().cpu().numpy(), weights=sizes))


def _validate(model: nn.Module, validation: Batch, batch_size: int, number: int, train_loss: float) -> Epoch:
    logits = predict(model, validation, batch_size)
    label, mask = validation.label.cpu(), validation.label_mask.cpu()
    truth, probability, defined = label.double().numpy(), logits.double().sigmoid().numpy(), mask.numpy() > 0
    columns = [(truth[defined[:, k], k], probability[defined[:, k], k]) for k in range(truth.shape[1])]
    return Epoch(
        epoch=number,
        train_loss=train_loss,
        val_loss=float(masked_loss(logits, label, mask)),
        val_auprc=_mean([metrics.point(metrics.auprc, *column) for column in columns]),
        val_auroc=_mean([metrics.point(metrics.auroc, *column) for column in columns]),
    )


def _mean(values: list[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def _weights(model: nn.Module) -> Weights:
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


def _line(epoch: Epoch, best: Epoch) -> str:
    scores = "".join(
        f"  {name} {'undefined' if value is None else f'{value:.4f}'}"
        for name, value in (("val_auprc", epoch.val_auprc), ("val_auroc", epoch.val_auroc))
    )
    mark = "  (best)" if best is epoch else ""
    return f"epoch {epoch.epoch:3d}  train_loss {epoch.train_loss:.4f}  val_loss {epoch.val_loss:.4f}{scores}{mark}"
