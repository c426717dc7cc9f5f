"""Fits what the config chooses, EMERGE or a baseline, and gives what the stage needs of it: logits, checkpoints, a history."""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from src import components
from src.config import Config
from src.datasets.dataset import Dataset
from src.fields import to_dict
from src.models import emerge
from src.models.baselines import Estimator, Sizes
from src.models.batch import Batch
from src.training import checkpoints, devices, loggers, loop
from src.training.checkpoints import Epoch, Progress

UNFINISHED = ".training"  # in the run folder: the state after the last epoch of a run that has not ended

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fitted:
    """A method that has learned. ``save`` writes its checkpoints into a folder; ``selection`` goes to ``metrics.json``."""

    logits: Callable[[Batch], Tensor]
    save: Callable[[Path], None]
    history: Sequence[Epoch]
    selection: Mapping[str, Any]
    trackers: Sequence[loggers.Tracker]


def build(config: Config, dataset: Dataset) -> nn.Module | Estimator:
    """The method, untrained, for the dataset's dimensions."""
    hours, features = dataset.ehr.shape[1:]
    widths = {"note": dataset.note_embedding.shape[1], "summary": dataset.summary_embedding.shape[1]}
    labels = dataset.label.shape[1]
    if config.baseline is None:
        statics = dataset.static.shape[1]
        return emerge.build(config.model, features=features, statics=statics, text_widths=widths, labels=labels)
    sizes = Sizes(hours, features, widths["note"], widths["summary"], labels)
    baseline: nn.Module | Estimator = components.build("baseline", config.baseline, sizes=sizes, seed=config.seed)
    return baseline


def parameters(method: nn.Module | Estimator) -> int | None:
    """How many numbers a network learns; None for a method that is no network."""
    return sum(one.numel() for one in method.parameters()) if isinstance(method, nn.Module) else None


def fit(
    method: nn.Module | Estimator, config: Config, parts: Mapping[str, Batch], fabric: Any, manifest: Mapping[str, Any]
) -> Fitted:
    """Train by the loop, or let the method fit itself. ``manifest`` says what the result depends on besides the config."""
    if not isinstance(method, nn.Module):
        method.fit(parts["train"], parts["val"])
        selection = {"best_epoch": None, "epochs": 0, "selection": "fitted at once"}
        return Fitted(method.logits, method.save, [], selection, [])
    network = method
    progress, trackers = _by_epochs(network, config, parts, fabric, manifest)
    network.load_state_dict(progress.best.weights)
    best = progress.best_row
    return Fitted(
        lambda batch: loop.predict(network, batch, config.training.batch_size),
        lambda folder: checkpoints.save(folder, progress),
        progress.history,
        {"best_epoch": best.epoch, "epochs": len(progress.history), "selection": loop.selection(best)},
        trackers,
    )


def forget_unfinished(run_dir: Path) -> None:
    """The run has ended: what it kept to be resumed from goes."""
    shutil.rmtree(run_dir / UNFINISHED, ignore_errors=True)


def _by_epochs(
    model: nn.Module, config: Config, parts: Mapping[str, Batch], fabric: Any, manifest: Mapping[str, Any]
) -> tuple[Progress, list[loggers.Tracker]]:
    """Train from the start, or from where an unfinished run of the same settings stopped."""
    unfinished, mark = config.run_dir / UNFINISHED, _fingerprint(config, manifest)
    resumed = checkpoints.resume(unfinished, mark) if config.resume else None
    if resumed:
        logger.info("resuming after epoch %d", len(resumed.history))
    elif config.resume:
        logger.info("%s: nothing to resume; training from the start", unfinished)
    elif unfinished.is_dir() and devices.is_first():
        logger.info("%s: a run that did not end is started anew; --resume would continue it", unfinished)
        shutil.rmtree(unfinished)
    names = config.training.loggers if devices.is_first() else ()
    trackers = loggers.build(names, config.run_dir, config.run_name, to_dict(config))

    def after_epoch(progress: Progress) -> None:
        if devices.is_first():
            checkpoints.keep(unfinished, progress, mark)
        for tracker in trackers:
            tracker.epoch(progress.history[-1])

    settings = config.training
    progress = loop.fit(
        model,
        parts["train"],
        parts["val"],
        settings,
        config.seed,
        fabric=fabric,
        resumed=resumed,
        after_epoch=after_epoch,
    )
    return progress, trackers


def _fingerprint(config: Config, manifest: Mapping[str, Any]) -> str:
    """What must be the same for an unfinished run to go on; how long it may go on may change."""
    settings = to_dict(config)
    freely = ["patience", "bootstrap_resamples", "loggers"]
    if config.training.scheduler != "cosine":
        freely.append("max_epochs")
    training = {key: value for key, value in settings["training"].items() if key not in freely}
    text = json.dumps([settings["model"], settings["baseline"], training, config.seed, manifest], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
