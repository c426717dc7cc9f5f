"""Stage train: model-ready artefacts -> a trained EMERGE, or a baseline, its predictions and its metrics, in the run folder.

checkpoints/ (best and last, weights and training state), history.csv, predictions.csv, metrics.json, subgroups.csv,
config.json, manifest.json. Nothing in them tells the time, so that the same run gives the same bytes, also one that was
killed and resumed. With ``seeds``, a folder ``seed_<n>`` holds that for each, and
``seeds.csv``, ``seeds.json`` their mean and deviation.
"""

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from src.config import Config
from src.datasets import artefacts, schema
from src.datasets.dataset import Dataset, load_dataset, load_patients
from src.datasets.schema import DATASET, MANIFEST, METADATA, REPORT, SEEDS_FILES, SPLIT
from src.evaluation.resampling import Sampling
from src.evaluation.subgroups import Subgroup
from src.fields import to_dict
from src.models.batch import Batch
from src.training import devices, inputs, methods, results, seeds, tables
from src.training.checkpoints import Epoch
from src.training.results import Predictions

SOCKETS = ("model.series", "model.text_fusion", "model.fusion", "baseline")
LIBRARIES = ("torch", "numpy", "lightning-fabric", "safetensors", "scikit-learn", "lightgbm")

logger = logging.getLogger(__name__)


def run(config: Config) -> None:
    """Train, evaluate, write the run folder, print the metrics; once, or once a seed.

    Raises:
        UserError: artefacts missing or made for another task, an empty split, a loss that is not finite.
    """
    artefacts.require_writable(config.run_dir)
    if not devices.is_first():
        logging.getLogger().setLevel(logging.WARNING)
    dataset = load_dataset(config.processed_dir)
    inputs.check(config, dataset)
    warnings = [*(dataset.metadata.get("warnings") or []), *inputs.label_warnings(dataset)]
    if devices.is_first():
        for warning in warnings:
            logger.warning("%s", warning)
        if note := inputs.seed_note(config, dataset):
            logger.info("%s", note)
    evaluated = {one.seed: _train(one, dataset, warnings) for one in seeds.configs(config)}
    if devices.is_first():
        print(seeds.publish(config.run_dir, evaluated) if config.seeds else tables.table(evaluated[config.seed]))
        for warning in warnings:
            print(f"warning: {warning}")
        print(f"run folder: {config.run_dir}")


def _train(config: Config, dataset: Dataset, warnings: Sequence[str]) -> dict[str, Any]:
    """One run: what goes into its metrics.json."""
    patients = load_patients(config.processed_dir, dataset.patient_id)
    parts = {name: inputs.part(dataset, name, config.processed_dir / DATASET) for name in ("train", "val", "test")}
    chosen = config.training
    with (
        methods.holding(config.run_dir),
        devices.deterministic(config.seed, accelerator=chosen.accelerator, on_gpu=chosen.deterministic),
    ):
        method = methods.build(config, dataset)
        size = methods.parameters(method)
        what = "EMERGE" if config.baseline is None else f"baseline {config.baseline.name}"
        known = "" if size is None else f", {size} parameters"
        logger.info("training %s on %d patients%s, seed %d", what, len(parts["train"]), known, config.seed)
        fabric = devices.fabric(chosen)
        manifest = _manifest(config, dataset, size, fabric.device.type)
        if config.resume and (found := methods.finished(config, manifest)):
            logger.info("%s: this run has ended already", config.run_dir)
            return found
        fitted = methods.fit(method, config, parts, fabric, manifest)
        predictions = [_predictions(dataset, name, parts[name], fitted.logits(parts[name])) for name in ("val", "test")]
        sampling = Sampling(chosen.bootstrap_resamples, config.seed, config.evaluation.interval)
        evaluated = results.evaluate(predictions, config.evaluation.sensitivities, sampling, patients)
        if devices.is_first():
            groups = results.subgroups(predictions, evaluated["thresholds"], sampling, patients)
            marked = {**manifest, "fingerprint": methods.fingerprint(config, manifest, exactly=True)}
            reported = {**evaluated, **fitted.selection, "warnings": list(warnings)}
            _publish(config, fitted, predictions, groups, reported, marked)
    for tracker in fitted.trackers:
        tracker.close(results.flat(evaluated))
    return evaluated


def _publish(
    config: Config,
    fitted: methods.Fitted,
    predictions: Sequence[Predictions],
    groups: Sequence[Subgroup],
    metrics: dict[str, Any],
    manifest: dict[str, Any],
) -> None:
    """The run folder; checkpoints and the report of what was trained there before do not stay beside the new."""
    earlier = config.run_dir / "predictions.csv"
    before = artefacts.checksum(earlier) if earlier.is_file() else None
    with artefacts.publish(config.run_dir) as folder:
        (folder / "checkpoints").mkdir()
        fitted.save(folder / "checkpoints")
        saved = {path.name for path in (folder / "checkpoints").iterdir()}
        results.write_csv(folder / "history.csv", Epoch, [dataclasses.astuple(row) for row in fitted.history])
        results.write_csv(folder / "predictions.csv", results.Prediction, results.rows(predictions))
        artefacts.write_json(folder / "metrics.json", metrics)
        results.write_csv(folder / "subgroups.csv", Subgroup, [dataclasses.astuple(row) for row in groups])
        artefacts.write_json(folder / "config.json", to_dict(dataclasses.replace(config, resume=False, seeds=())))
        artefacts.write_json(folder / MANIFEST, {**manifest, "files": artefacts.checksums(folder)})
    for path in (config.run_dir / "checkpoints").iterdir():
        if path.name not in saved:
            path.unlink()
    if before is not None and artefacts.checksum(earlier) != before:
        (config.run_dir / REPORT).unlink(missing_ok=True)
    if not config.seeds:
        for name in SEEDS_FILES:
            (config.run_dir / name).unlink(missing_ok=True)


def _predictions(dataset: Dataset, name: str, part: Batch, logits: Tensor) -> Predictions:
    return Predictions(
        split=name,
        patient_id=dataset.split[name],
        label_names=dataset.metadata["label_names"],
        label=part.label.double().numpy(),
        defined=part.label_mask.numpy() > 0,
        probability=logits.double().sigmoid().numpy(),
    )


def _manifest(config: Config, dataset: Dataset, parameters: int | None, device: str) -> dict[str, Any]:
    """What the numbers depend on besides the config."""
    return {
        "format": schema.RUN_FORMAT,
        "artefacts_format": schema.ARTEFACTS_FORMAT,
        "inputs": artefacts.hashes([config.processed_dir / name for name in (DATASET, METADATA, SPLIT)]),
        "versions": artefacts.versions(LIBRARIES),
        "seed": config.seed,
        "dataset": dataset.metadata.get("dataset"),
        "split_seed": dataset.metadata.get("seed"),
        "parameters": parameters,
        "device": device,
        "threads": torch.get_num_threads(),
    }
