"""Stage train: model-ready artefacts -> a trained EMERGE, its predictions and its metrics, in the run folder.

checkpoints/ (best and last, weights and training state), history.csv, predictions.csv, metrics.json, config.json, manifest.json.
Nothing in them tells the time, so that the same run gives the same bytes, also one that was killed and resumed. With
``seeds``, a folder ``seed_<n>`` holds that for each, and ``seeds.csv``, ``seeds.json`` their mean and deviation.
"""

import csv
import dataclasses
import hashlib
import json
import logging
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from src.config import Config, UserError, to_dict
from src.datasets import artefacts
from src.datasets.schema import DATASET, METADATA, SPLIT
from src.models import emerge
from src.models.batch import SHAPES, Batch
from src.training import checkpoints, devices, loggers, loop, results, seeds
from src.training.checkpoints import Epoch, Progress
from src.training.results import Predictions

SOCKETS = ("model.series", "model.text_fusion", "model.fusion")
LIBRARIES = ("torch", "numpy", "lightning-fabric", "safetensors")
UNFINISHED = ".training"  # in the run folder: the state after the last epoch of a run that has not ended

logger = logging.getLogger(__name__)


def run(config: Config) -> None:
    """Train, evaluate, write the run folder, print the metrics; once, or once a seed.

    Raises:
        UserError: artefacts missing or made for another task, an empty split, a loss that is not finite.
    """
    artefacts.require_writable(config.run_dir)
    if not devices.is_first():
        logging.getLogger().setLevel(logging.WARNING)
    dataset = artefacts.load_dataset(config.processed_dir)
    _check(config, dataset)
    warnings = [*(dataset.metadata.get("warnings") or []), *_label_warnings(dataset)]
    if devices.is_first():
        for warning in warnings:
            logger.warning("%s", warning)
    evaluated = {one.seed: _train(one, dataset, warnings) for one in seeds.configs(config)}
    if devices.is_first():
        print(seeds.publish(config.run_dir, evaluated) if config.seeds else results.table(evaluated[config.seed]))
        for warning in warnings:
            print(f"warning: {warning}")
        print(f"run folder: {config.run_dir}")


def _train(config: Config, dataset: artefacts.Dataset, warnings: Sequence[str]) -> dict[str, Any]:
    """One run: what goes into its metrics.json."""
    parts = {name: _part(dataset, name, config.processed_dir / DATASET) for name in ("train", "val", "test")}
    recorded = dataclasses.replace(config, resume=False, seeds=())
    with devices.deterministic(config.seed, on_gpu=config.training.deterministic):
        model = _model(config, dataset)
        logger.info(
            "training on %d patients, %d parameters, seed %d", len(parts["train"]), _parameters(model), config.seed
        )
        fabric = devices.fabric(config.training)
        manifest = _manifest(config, dataset, _parameters(model), fabric.device.type)
        progress, trackers = _fit(recorded, model, parts, fabric, manifest, resume=config.resume)
        model.load_state_dict(progress.best.weights)
        predictions = [_predict(model, dataset, name, parts[name], config) for name in ("val", "test")]
    evaluated = results.evaluate(predictions, config.training.bootstrap_resamples, config.seed)
    best = progress.best_row
    chosen = {"best_epoch": best.epoch, "epochs": len(progress.history), "selection": loop.selection(best)}
    if devices.is_first():
        with artefacts.publish(config.run_dir) as folder:
            (folder / "checkpoints").mkdir()
            checkpoints.save(folder / "checkpoints", progress)
            _write_csv(folder / "history.csv", Epoch, [dataclasses.astuple(row) for row in progress.history])
            _write_csv(folder / "predictions.csv", results.Prediction, results.rows(predictions))
            artefacts.write_json(folder / "metrics.json", {**evaluated, **chosen, "warnings": list(warnings)})
            artefacts.write_json(folder / "config.json", to_dict(recorded))
            artefacts.write_json(folder / "manifest.json", manifest)
        shutil.rmtree(config.run_dir / UNFINISHED, ignore_errors=True)
    for tracker in trackers:
        tracker.close(results.flat(evaluated))
    return evaluated


def _fit(
    config: Config,
    model: nn.Module,
    parts: Mapping[str, Batch],
    fabric: Any,
    manifest: Mapping[str, Any],
    *,
    resume: bool,
) -> tuple[Progress, list[loggers.Tracker]]:
    """Train from the start, or from where an unfinished run of the same settings stopped."""
    unfinished, mark = config.run_dir / UNFINISHED, _fingerprint(config, manifest)
    resumed = checkpoints.resume(unfinished, mark) if resume else None
    if resumed:
        logger.info("resuming after epoch %d", len(resumed.history))
    elif resume:
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
    text = json.dumps([settings["model"], training, config.seed, manifest], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _check(config: Config, dataset: artefacts.Dataset) -> None:
    task = dataset.metadata.get("task")
    if task != config.task.name:
        where = config.processed_dir / METADATA
        raise UserError(
            f"{where}: made for task '{task}', the config says '{config.task.name}'; run --stage preprocess again"
        )
    if (made_of := dataset.metadata.get("dataset", config.dataset)) != config.dataset:
        where = config.processed_dir / METADATA
        raise UserError(f"{where}: made of dataset '{made_of}', the config says '{config.dataset}'")
    for key, made_with in dataset.metadata.get("settings", {}).items():
        if made_with != to_dict(getattr(config, key)):
            where = config.processed_dir / METADATA
            raise UserError(
                f"{where}: made with other [{key}] settings than this config's; run --stage preprocess again"
            )
    if emerge.reads_pieces(config.model):
        _require_pieces(config, dataset)
    if len(dataset.metadata.get("label_names") or []) != dataset.label.shape[1]:
        raise UserError(f"{config.processed_dir / METADATA}: label_names does not name the columns of label, one each")
    if not np.isin(dataset.label, (0, 1)).all():
        raise UserError(f"{config.processed_dir / DATASET}: label holds values other than 0 and 1")
    for name in ("train", "val", "test"):
        if not dataset.split[name]:
            raise UserError(
                f"{config.processed_dir / SPLIT}: no patient in '{name}'; it needs more patients or other shares"
            )


def _require_pieces(config: Config, dataset: artefacts.Dataset) -> None:
    """Raises:
    UserError: patients have a text that the model reads, and none of its pieces was embedded.
    """
    for name, mask, pieces in (
        ("note", dataset.note_mask, dataset.note_tokens),
        ("summary", dataset.summary_mask, dataset.summary_tokens),
    ):
        if name in emerge.texts_read(config.model) and mask.any() and not pieces.shape[1]:
            raise UserError(
                f"{config.processed_dir / DATASET}: {name}_tokens is empty, but model.fusion = '{config.model.fusion.name}' "
                f"reads pieces of texts; set {name}_chunks in [token_level] and run --stage preprocess again"
            )


def _label_warnings(dataset: artefacts.Dataset) -> Iterable[str]:
    """What is wrong with the labels for training and for choosing the best epoch."""
    for name in ("train", "val", "test"):
        rows = _rows(dataset, name)
        for column, label_name in enumerate(dataset.metadata["label_names"]):
            label = dataset.label[rows, column][dataset.label_mask[rows, column] > 0]
            values = np.unique(label)
            if len(values) == 1:
                yield f"{name}: all {len(label)} patients have {label_name} = {values[0]:g}; its metrics are undefined"
            elif not len(values):
                yield f"{name}: {label_name} is defined for no patient; its metrics are undefined"


def _rows(dataset: artefacts.Dataset, name: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The rows of a split's patients, in the split's order."""
    row = {patient: index for index, patient in enumerate(dataset.patient_id.tolist())}
    return np.array([row[patient] for patient in dataset.split[name]], dtype=np.int64)


def _part(dataset: artefacts.Dataset, name: str, artefact: Path) -> Batch:
    rows = _rows(dataset, name)
    try:
        return Batch(**{field: torch.from_numpy(getattr(dataset, field)[rows]) for field in SHAPES})
    except ValueError as error:
        raise UserError(f"{artefact}: {error}; run --stage preprocess again") from None


def _model(config: Config, dataset: artefacts.Dataset) -> emerge.Emerge:
    return emerge.build(
        config.model,
        features=dataset.ehr.shape[2],
        statics=dataset.static.shape[1],
        text_widths={"note": dataset.note_embedding.shape[1], "summary": dataset.summary_embedding.shape[1]},
        labels=dataset.label.shape[1],
    )


def _parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _predict(model: nn.Module, dataset: artefacts.Dataset, name: str, part: Batch, config: Config) -> Predictions:
    logits = loop.predict(model, part, config.training.batch_size)
    return Predictions(
        split=name,
        patient_id=dataset.split[name],
        label_names=dataset.metadata["label_names"],
        label=part.label.double().numpy(),
        defined=part.label_mask.numpy() > 0,
        probability=logits.double().sigmoid().numpy(),
    )


def _manifest(config: Config, dataset: artefacts.Dataset, parameters: int, device: str) -> dict[str, Any]:
    """What the numbers depend on besides the config."""
    return {
        "inputs": artefacts.hashes([config.processed_dir / name for name in (DATASET, METADATA, SPLIT)]),
        "versions": artefacts.versions(LIBRARIES),
        "seed": config.seed,
        "dataset": dataset.metadata.get("dataset"),
        "split_seed": dataset.metadata.get("seed"),
        "parameters": parameters,
        "device": device,
        "threads": torch.get_num_threads(),
    }


def _write_csv(path: Path, row: Any, rows: Sequence[tuple[Any, ...]]) -> None:
    """``row`` is the dataclass whose fields name the columns; None is an empty field, floats keep every digit."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([field.name for field in dataclasses.fields(row)])
        writer.writerows(rows)
