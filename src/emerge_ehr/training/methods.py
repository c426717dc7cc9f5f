"""Fits the method that the config chooses, EMERGE or a baseline, and returns its logits, checkpoints and history."""

import dataclasses
import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from emerge_ehr import components, decides, torchrun
from emerge_ehr.config import Config
from emerge_ehr.fields import UserError, to_dict
from emerge_ehr.models import by_landmark, emerge
from emerge_ehr.models.baselines import Estimator, Sizes
from emerge_ehr.models.emerge import Emerge
from emerge_ehr.storage import publishing
from emerge_ehr.storage.artefacts import read_json
from emerge_ehr.storage.dataset import Dataset
from emerge_ehr.storage.schema import MANIFEST
from emerge_ehr.training import checkpoints, devices, experts, loggers, loop, members, relevance
from emerge_ehr.training.checkpoints import Epoch, Progress
from emerge_ehr.training.members import Member
from emerge_ehr.training.patients import Patients, lacking, table

OF_EMERGE = ("model.series", "model.text_fusion", "model.fusion")
UNFINISHED = ".training"  # in the run folder: the state after the last epoch of an unfinished run

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FittedMethod:
    """A fitted method. ``save`` writes its checkpoints into a folder; ``selection`` goes into ``metrics.json``; ``history`` has
    the rows of history.csv, each with the number of its member."""

    logits: Callable[[Patients], Tensor]
    save: Callable[[Path], None]
    history: Sequence[tuple[int, Epoch]]
    selection: Mapping[str, Any]
    trackers: Sequence[loggers.Tracker]


def sockets(config: Config) -> tuple[str, ...]:
    """The sockets whose plugs the method is made of."""
    return OF_EMERGE if config.baseline is None else ("baseline",)


def build(config: Config, dataset: Dataset) -> nn.Module | Estimator:
    """The untrained method, for the dimensions of the dataset."""
    hours, features = dataset.ehr.shape[1:]
    widths = {"note": dataset.note_embedding.shape[1], "summary": dataset.summary_embedding.shape[1]}
    labels = dataset.label.shape[1]
    if config.baseline is None:
        statics = dataset.static.shape[1]
        return emerge.build(
            config.model,
            features=features,
            statics=statics,
            text_widths=widths,
            labels=labels,
            steps=config.cohort.landmark_steps,
        )
    sizes = Sizes(hours, features, widths["note"], widths["summary"], labels)
    make = partial(components.build, "baseline", config.baseline, sizes=sizes, seed=config.seed)
    baseline: nn.Module | Estimator = by_landmark.each(make, len(config.cohort.landmarks))
    return baseline


def parameters(method: nn.Module | Estimator) -> int | None:
    """The number of trainable parameters of a network; None for a method that is not a network."""
    if not isinstance(method, nn.Module):
        return None
    return sum(parameter.numel() for parameter in method.parameters())


@contextmanager
def holding(run_dir: Path) -> Iterator[None]:
    """A block in which no other training writes into ``run_dir``. When it ends without an error, the state to resume from goes.

    Raises:
        UserError: another training writes into it.
    """
    unfinished = run_dir / UNFINISHED
    if not torchrun.is_first():
        yield
        return
    unfinished.mkdir(parents=True, exist_ok=True)
    try:
        with publishing.locked(unfinished):
            yield
            shutil.rmtree(unfinished)
    finally:
        for folder in (unfinished, run_dir):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def finished(config: Config, manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    """The metrics of a finished run with these settings and data in ``run_dir``; None if there is no finished run.

    Raises:
        UserError: ``run_dir`` holds a run of other settings or data, or its files are damaged.
    """
    path = config.run_dir / MANIFEST
    if not path.is_file() or checkpoints.is_kept(config.run_dir / UNFINISHED):
        return None
    record = read_json(path, "train")
    if not isinstance(record, dict):
        raise UserError(f"{path}: not a record of --stage train; train without --resume to replace it")
    if record.get("fingerprint") != fingerprint(config, manifest, exactly=True):
        raise UserError(
            f"{config.run_dir}: holds a finished run of other settings, data or library versions; train without --resume to "
            "replace it, or set another run_name"
        )
    evaluated: dict[str, Any] = read_json(config.run_dir / "metrics.json", "train")
    if not isinstance(evaluated, dict) or not {"splits", "interval"} <= evaluated.keys():
        raise UserError(
            f"{config.run_dir / 'metrics.json'}: not the metrics of a run; train without --resume to replace it"
        )
    return evaluated


def fit(config: Config, dataset: Dataset, member: Member, fabric: Any, manifest: Mapping[str, Any]) -> FittedMethod:
    """Train a member in epochs, or let it fit itself. ``manifest`` says what the result depends on besides the config.

    Of several processes only the first reads and writes the state to resume from.

    Raises:
        UserError: the state to resume from belongs to another run, or the loss is not finite.
    """
    torch.manual_seed(member.seed)
    config = dataclasses.replace(config, seed=member.seed)
    method = build(config, dataset)
    unfinished, mark = config.run_dir / UNFINISHED / member.folder, fingerprint(config, manifest, exactly=False)
    resumed = devices.from_first(fabric, lambda: _left(method, unfinished, mark)) if config.resume else None
    if resumed:
        logger.info("resuming after epoch %d", len(resumed.history))
    elif config.resume:
        logger.info("%s: nothing to resume; training from the start", config.run_dir)
    elif checkpoints.is_kept(unfinished) and torchrun.is_first():
        logger.info("%s: a run that did not end is started over; --resume would continue it", config.run_dir)
        checkpoints.forget(unfinished)
    if isinstance(method, nn.Module):
        return _by_epochs(method, config, member, fabric, resumed, mark)
    if config.training.loggers or config.training.class_weights != "none":
        logger.warning("this baseline fits itself: training.loggers and training.class_weights have no effect")
    estimator: Estimator = method
    size = config.training.batch_size
    steps = config.cohort.landmark_steps
    tables = [table(patients, estimator.reads, size, steps) for patients in (member.train, member.validation)]
    estimator.fit(member.train, tables[0], member.validation, tables[1])
    selection = {"best_epoch": None, "epochs": 0, "selection": "fitted at once"}
    return FittedMethod(
        lambda patients: estimator.logits(table(patients, estimator.reads, size, steps)),
        estimator.save,
        [],
        selection,
        [],
    )


def _left(method: nn.Module | Estimator, unfinished: Path, mark: str) -> Progress | None:
    """The state to resume from, checked against the method; None if there is none."""
    progress = checkpoints.resume(unfinished, mark)
    if progress and isinstance(method, nn.Module):
        checkpoints.refuse_unfit(unfinished, progress, method)
    return progress


def _by_epochs(
    network: nn.Module, config: Config, member: Member, fabric: Any, resumed: Progress | None, mark: str
) -> FittedMethod:
    """Train in epochs, from the start or from ``resumed``; after every epoch the state is kept with the fingerprint ``mark``."""
    names = config.training.loggers if torchrun.is_first() else ()
    run_name = f"{config.run_name} {member.folder}".strip()
    trackers = loggers.build(names, config.run_dir / member.folder, run_name, to_dict(config))

    def after_epoch(progress: Progress) -> None:
        with devices.together(fabric):
            if torchrun.is_first():
                checkpoints.keep(config.run_dir / UNFINISHED / member.folder, progress, mark)
        for tracker in trackers:
            tracker.epoch(progress.history[-1])

    settings, train, validation = config.training, member.train, member.validation
    if isinstance(network, Emerge) and resumed is None:  # else the weights to resume from hold what was fitted
        relevance.fit(network, train, validation, settings, config.seed, config.cohort.landmark_steps)
    context: dict[str, Any] = {"fabric": fabric, "resumed": resumed, "after_epoch": after_epoch}
    try:
        progress = loop.fit(network, train, validation, settings, config.seed, **context)
    except BaseException:
        for tracker in trackers:
            tracker.abandon()
        raise
    network.load_state_dict(progress.best.weights)
    best = progress.best_row
    return FittedMethod(
        lambda patients: loop.predict(network, patients, settings.batch_size, fabric),
        lambda folder: checkpoints.save(folder, progress),
        [(member.number, epoch) for epoch in progress.history],
        {"best_epoch": best.epoch, "epochs": len(progress.history), "selection": loop.selection(best, settings)},
        trackers,
    )


def with_experts(
    config: Config,
    dataset: Dataset,
    both: Patients,
    team: Sequence[Member],
    fitted: Sequence[FittedMethod],
    fabric: Any,
) -> list[FittedMethod]:
    """Each member joined with the experts that are fitted on its patients (``experts.py``).

    ``both``: the patients of the training split and of the validation split.
    """
    logger.info("fitting experts: %s", ", ".join(config.model.experts))
    with devices.together(fabric):
        found = experts.fit(config, dataset, both, team)
    weighed = experts.weigh(config, team, [one.logits for one in fitted], found)
    if unseen := weighed[0].unseen:
        logger.warning("no patient on whom the weights are fitted has %s: not read", " or ".join(unseen))
    weights = experts.told(weighed[0], dataset.metadata["label_names"])
    for label, of_label in weights.items():
        complete = max(of_label, key=lambda title: title.count("+"))
        shares = ", ".join(f"{name} {share:.2f}" for name, share in of_label[complete].items())
        logger.info("%s: weights for patients who have %s: %s", label, complete, shares)
    size = config.training.batch_size
    return [_joined(one, own, weights, size) for one, own in zip(fitted, weighed, strict=True)]


def _joined(network: FittedMethod, own: experts.Experts, weights: Mapping[str, Any], batch_size: int) -> FittedMethod:
    def save(folder: Path) -> None:
        network.save(folder)
        own.save(folder)

    def logits(patients: Patients) -> Tensor:
        return own.joined(network.logits(lacking(patients, own.unseen)), own.read(patients, batch_size))

    selection = {**network.selection, "experts": weights}
    return dataclasses.replace(network, logits=logits, save=save, selection=selection)


def together(fitted: Sequence[FittedMethod]) -> FittedMethod:
    """The members as one method: the mean of their logits, each with checkpoints of its own in ``member_<number>``."""
    if len(fitted) == 1:
        return fitted[0]

    def save(folder: Path) -> None:
        for number, member in enumerate(fitted, 1):
            (folder / members.name(number)).mkdir()
            member.save(folder / members.name(number))

    epochs = sum(member.selection["epochs"] for member in fitted)
    selection = {"best_epoch": None, "epochs": epochs, "selection": fitted[0].selection["selection"]}
    best = [member.selection["best_epoch"] for member in fitted]
    if "experts" in fitted[0].selection:
        selection["experts"] = fitted[0].selection["experts"]
    return FittedMethod(
        lambda patients: torch.stack([member.logits(patients) for member in fitted]).mean(dim=0),
        save,
        [row for member in fitted for row in member.history],
        {**selection, "best_epoch_of_members": best},
        [tracker for member in fitted for tracker in member.trackers],
    )


def held_out(fitted: Sequence[FittedMethod], team: Sequence[Member]) -> Tensor:
    """Logits [N,K] of patients whom the member that gives them was not trained on: those of the training split and then those of
    the validation split. A single member, which is trained on the former, gives zeros for these."""
    logits = [one.logits(member.validation) for one, member in zip(fitted, team, strict=True)]
    found = torch.zeros(1 + max(int(member.fold.max()) for member in team), logits[0].shape[1])
    for member, own in zip(team, logits, strict=True):
        found[member.fold] = own
    return found


def fingerprint(config: Config, manifest: Mapping[str, Any], *, exactly: bool) -> str:
    """A hash of everything that a run depends on.

    Without ``exactly``, only of what must be the same for it to resume; the number of epochs and the evaluation may change.
    """
    products = ("training", "ending", "evaluation") if exactly else ("training",)
    settings = decides.settings(config, lambda said: said.first in products)
    if config.training.scheduler == "cosine":  # its learning rates depend on the number of epochs
        settings["training"]["max_epochs"] = config.training.max_epochs
    evaluation = [settings.pop("evaluation")] if exactly else []
    text = json.dumps([*settings.values(), config.seed, manifest, *evaluation], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
