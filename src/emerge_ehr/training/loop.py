"""The training loop: epochs over shuffled batches, validation after each, early stopping."""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from emerge_ehr.config import Training
from emerge_ehr.evaluation import metrics
from emerge_ehr.fields import UserError
from emerge_ehr.models.batch import Batch
from emerge_ehr.progress import bar, beside_logs
from emerge_ehr.training import devices, objective
from emerge_ehr.training.checkpoints import Checkpoint, Epoch, Progress, Weights
from emerge_ehr.training.patients import Patients, batches

if TYPE_CHECKING:
    from lightning_fabric import Fabric

logger = logging.getLogger(__name__)


def fit(
    model: nn.Module,
    train: Patients,
    validation: Patients,
    settings: Training,
    seed: int,
    *,
    fabric: "Fabric",
    resumed: Progress | None = None,
    after_epoch: Callable[[Progress], None] = lambda progress: None,
) -> Progress:
    """Train ``model`` in place, from the start or from ``resumed``; ``after_epoch`` is called with the state after each epoch.

    The same inputs, machine and number of threads give the same weights, whether training was interrupted or not.

    Raises:
        UserError: the loss is not finite, or ``resumed`` was trained by another number of processes.
    """
    model.to(fabric.device)
    compiled: Any = torch.compile(model) if settings.compile else model
    module, optimizer = fabric.setup(_Unsealing(compiled), objective.optimiser(model, settings))
    scheduler = objective.scheduler(optimizer.optimizer, settings)
    train, validation = train.to(fabric.device), validation.to(fabric.device)
    weight = objective.positive_weight(train, settings)
    shuffle = torch.Generator().manual_seed(seed)
    if fabric.global_rank:
        torch.manual_seed(seed + fabric.global_rank)  # each process draws its own dropout
    progress = resumed
    if progress is not None:
        _restore(progress.last, model, optimizer, scheduler, shuffle, fabric)
    with beside_logs():
        done = len(progress.history) if progress else 0
        epochs = bar(title="train", unit="epoch", total=settings.max_epochs, done=done, shown=fabric.is_global_zero)
        while not _finished(progress, settings):
            rate = optimizer.param_groups[0]["lr"]
            order = torch.randperm(len(train), generator=shuffle).to(fabric.device)
            loss = _train_epoch(fabric, module, optimizer, train, order, settings, weight)
            number = len(progress.history) + 1 if progress else 1
            epoch = fabric.broadcast(
                _validate(fabric, model, validation, settings.batch_size, number, loss, rate, weight)
            )
            _refuse_infinite(epoch)
            objective.advance(scheduler, epoch.val_loss)
            progress = _add(progress, epoch, _checkpoint(model, optimizer, scheduler, shuffle, fabric), settings)
            after_epoch(progress)
            _show(epoch, progress, epochs)
        epochs.close()
    assert progress is not None
    if settings.selection != "loss" and _chosen(progress.best_row, settings) is None:
        logger.warning("validation has one class only: the best epoch is the one of lowest validation loss")
    return progress


def predict(model: nn.Module, patients: Patients, batch_size: int, fabric: "Fabric | None" = None) -> Tensor:
    """Logits [N,K] on the CPU, in full precision and without dropout; the processes of ``fabric`` divide the batches."""
    device = next(model.parameters()).device
    first, step = (fabric.global_rank, fabric.world_size) if fabric else (0, 1)
    parts = torch.split(torch.arange(len(patients)), batch_size)[first::step]
    logits = torch.zeros(len(patients), patients.label.shape[1], device=device)
    if model.training:  # telling every part of it takes as long as a few patients
        model.eval()
    with torch.no_grad():
        for part, batch in zip(parts, batches(patients, parts), strict=True):
            logits[part.to(device)] = model(batch.to(device))
    if fabric is None or step == 1:
        return logits.cpu()
    summed: Any = fabric.all_reduce(logits, reduce_op="sum")  # each row comes from one process and is 0 in all others
    return summed.cpu()  # type: ignore[no-any-return]


def selection(best: Epoch, settings: Training) -> str:
    """The criterion by which the best epoch was chosen."""
    if _chosen(best, settings) is None:
        return "lowest validation loss"
    return f"highest validation {settings.selection.upper()}"


def _refuse_infinite(epoch: Epoch) -> None:
    """Check the losses of an epoch.

    Raises:
        UserError: a loss is not a finite number.
    """
    if not math.isfinite(epoch.train_loss + epoch.val_loss):
        raise UserError(f"epoch {epoch.epoch}: the loss is not finite; lower training.learning_rate or gradient_clip")


def _show(epoch: Epoch, progress: Progress, epochs: "tqdm[Any]") -> None:
    """Write a line to the log and advance the progress bar."""
    logger.info(_line(epoch, progress.best_row))
    scores = {name: f"{value:.4f}" for name, value in _scores(epoch) if value is not None}
    epochs.set_postfix({"best": progress.best_epoch, **scores})
    epochs.update()


class _Sealed:
    """A batch that Fabric does not touch: for mixed precision it casts a dataclass's tensors, which fails if that is frozen."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch


class _Unsealing(nn.Module):
    """A module that takes the batch out of its ``_Sealed`` and hands it to the model."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, sealed: _Sealed) -> Tensor:
        """Batch of N -> logits [N,K]."""
        logits: Tensor = self.model(sealed.batch)
        return logits


def _train_epoch(
    fabric: "Fabric",
    module: Any,
    optimizer: Any,
    train: Patients,
    order: Tensor,
    settings: Training,
    weight: Tensor | None,
) -> float:
    """Train on every batch once, and return the mean loss per defined label."""
    module.train()
    losses, sizes = [], []
    parts = torch.split(order, settings.batch_size)
    shares = [_share_of(part, fabric) for part in parts]
    for part, (_, share), batch in zip(parts, shares, batches(train, [index for index, _ in shares]), strict=True):
        defined = train.label_mask[part].sum().clamp(min=1)
        logits = module(_Sealed(batch)).float()
        # Each process sums the loss of its patients, and DDP averages the gradients: the factor makes it the batch's mean loss.
        summed = objective.summed_loss(logits, batch.label, batch.label_mask * share, weight)
        loss = summed / defined * fabric.world_size
        optimizer.zero_grad()
        fabric.backward(loss)
        fabric.clip_gradients(module, optimizer, max_norm=settings.gradient_clip, error_if_nonfinite=False)
        optimizer.step()
        losses.append(loss.detach())
        sizes.append(float(defined))
    mean: Any = fabric.all_reduce(torch.stack(losses).float(), reduce_op="mean")
    return float(np.average(mean.cpu().numpy(), weights=sizes))


def _share_of(part: Tensor, fabric: "Fabric") -> tuple[Tensor, float]:
    """This process's patients of a batch, and the weight 1; if no patient is left for this process, any patient and weight 0."""
    share = part[fabric.global_rank :: fabric.world_size]
    return (share, 1.0) if len(share) else (part[:1], 0.0)


def _validate(
    fabric: "Fabric",
    model: nn.Module,
    validation: Patients,
    batch_size: int,
    number: int,
    train_loss: float,
    rate: float,
    weight: Tensor | None,
) -> Epoch:
    _share_buffers(model, fabric)
    logits = predict(model, validation, batch_size, fabric)
    label, mask = validation.label.cpu(), validation.label_mask.cpu()
    truth, probability, defined = label.double().numpy(), logits.double().sigmoid().numpy(), mask.numpy() > 0
    columns = [(truth[defined[:, k], k], probability[defined[:, k], k]) for k in range(truth.shape[1])]
    return Epoch(
        epoch=number,
        train_loss=train_loss,
        val_loss=float(objective.masked_loss(logits, label, mask, None if weight is None else weight.cpu())),
        val_auprc=_mean([metrics.point(metrics.auprc, *column) for column in columns]),
        val_auroc=_mean([metrics.point(metrics.auroc, *column) for column in columns]),
        learning_rate=rate,
    )


def _share_buffers(model: nn.Module, fabric: "Fabric") -> None:
    """Give all processes the first one's buffers (what a model remembers besides its weights), as DDP does in training."""
    if fabric.world_size > 1:
        for buffer in model.buffers():
            buffer.copy_(fabric.broadcast(buffer))


def _finished(progress: Progress | None, settings: Training) -> bool:
    if progress is None:
        return False
    done = len(progress.history)
    return done >= settings.max_epochs or done - progress.best_epoch >= settings.patience


def _add(progress: Progress | None, epoch: Epoch, now: Checkpoint, settings: Training) -> Progress:
    if progress is None or _score(epoch, settings) > _score(progress.best_row, settings):
        return Progress([*(progress.history if progress else ()), epoch], epoch.epoch, now, now)
    return Progress([*progress.history, epoch], progress.best_epoch, progress.best, now)


def _score(epoch: Epoch, settings: Training) -> tuple[float, float]:
    """What early stopping maximises: where a metric selects, the loss decides among equals (in small cohorts it ties often)."""
    return (_chosen(epoch, settings) or 0.0, -epoch.val_loss)


def _chosen(epoch: Epoch, settings: Training) -> float | None:
    """The metric that selects; None if the loss does, or no label has both classes."""
    return {"loss": None, "auprc": epoch.val_auprc, "auroc": epoch.val_auroc}[settings.selection]


def _checkpoint(
    model: nn.Module, optimizer: Any, scheduler: Any, shuffle: torch.Generator, fabric: "Fabric"
) -> Checkpoint:
    """The state after an epoch, copied to the CPU, so that later steps do not change it."""
    random = devices.everyones(fabric, devices.random_state(fabric.device))
    return Checkpoint(
        _weights(model), _copied(optimizer.state_dict()), _copied(scheduler.state_dict()), random, shuffle.get_state()
    )


def _restore(
    last: Checkpoint, model: nn.Module, optimizer: Any, scheduler: Any, shuffle: torch.Generator, fabric: "Fabric"
) -> None:
    if len(last.random) != fabric.world_size:
        raise UserError(
            f"--resume: the run was trained by {len(last.random)} processes, not {fabric.world_size}; use the same number"
        )
    model.load_state_dict(last.weights)
    optimizer.load_state_dict(last.optimiser)
    scheduler.load_state_dict(last.scheduler)
    shuffle.set_state(last.shuffle)
    devices.restore_random_state(last.random[fabric.global_rank], fabric.device)


def _copied(value: Any) -> Any:
    """Nested dictionaries and lists with their tensors copied to the CPU."""
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(item) for item in value]
    return value


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def _weights(model: nn.Module) -> Weights:
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


def _scores(epoch: Epoch) -> Iterator[tuple[str, float | None]]:
    yield from (("val_auprc", epoch.val_auprc), ("val_auroc", epoch.val_auroc))


def _line(epoch: Epoch, best: Epoch) -> str:
    scores = "".join(f"  {name} {'undefined' if value is None else f'{value:.4f}'}" for name, value in _scores(epoch))
    mark = "  (best)" if best is epoch else ""
    return f"epoch {epoch.epoch:3d}  train_loss {epoch.train_loss:.4f}  val_loss {epoch.val_loss:.4f}{scores}{mark}"
