"""The run folder of one run: what stands in it, and how it is written as a whole."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emerge_ehr import components, decides
from emerge_ehr.config import Config
from emerge_ehr.datasets import sources
from emerge_ehr.evaluation.subgroups import Subgroup
from emerge_ehr.fields import to_dict
from emerge_ehr.storage import artefacts, publishing, schema
from emerge_ehr.storage.dataset import Dataset
from emerge_ehr.storage.schema import (
    DATASET,
    JUDGED,
    MANIFEST,
    METADATA,
    PREDICTIONS,
    REPORT,
    SEEDS_FILES,
    SOME_RUN_FILES,
    SPLIT,
)
from emerge_ehr.training import folds, methods, parallel, results, sets
from emerge_ehr.training.checkpoints import HISTORY
from emerge_ehr.training.results import Predictions

LIBRARIES = ("torch", "numpy", "lightning-fabric", "safetensors", "scikit-learn", "lightgbm")


@dataclass(frozen=True)
class Contents:
    """What a finished run leaves.

    ``predictions``: of its splits; ``others``: those of the test split to compare with, each by its file; ``files``: more tables,
    each by its file.
    """

    fitted: methods.FittedMethod
    predictions: Sequence[Predictions]
    others: Mapping[str, Predictions]
    groups: Sequence[Subgroup]
    metrics: Mapping[str, Any]
    manifest: Mapping[str, Any]
    files: sets.Files


def publish(config: Config, run: Contents) -> None:
    """Write the run folder; checkpoints and a report of an earlier run there are removed."""
    earlier = config.run_dir / PREDICTIONS.file
    before = artefacts.checksum(earlier) if earlier.is_file() else None
    with publishing.publish(config.run_dir) as folder:
        (folder / "checkpoints").mkdir()
        run.fitted.save(folder / "checkpoints")
        results.write_rows(
            folder / "history.csv", HISTORY, [(n, *dataclasses.astuple(row)) for n, row in run.fitted.history]
        )
        results.write_rows(folder / PREDICTIONS.file, PREDICTIONS.names, results.rows(run.predictions))
        for name, beside in run.others.items():
            results.write_rows(folder / name, PREDICTIONS.names, results.rows([beside]))
        if sources.bring_predictions(config):
            results.write_for_meds(folder, run.predictions[-1], run.metrics["thresholds"])
        if run.predictions[-1].thresholds is not None:
            columns = ("patient_id", "label_code", "threshold")
            results.write_rows(folder / JUDGED, columns, folds.judged_rows(run.predictions[-1]))
        for name, (heads, rows) in run.files.items():
            results.write_rows(folder / name, heads, rows)
        artefacts.write_json(folder / "metrics.json", run.metrics)
        results.write_csv(folder / "subgroups.csv", Subgroup, [dataclasses.astuple(row) for row in run.groups])
        artefacts.write_json(folder / "config.json", to_dict(recorded(config)))
        saved = {path.relative_to(folder) for path in folder.rglob("*")}
        artefacts.write_json(folder / MANIFEST, {**run.manifest, "files": artefacts.checksums(folder)})
    for path in sorted((config.run_dir / "checkpoints").rglob("*"), reverse=True):  # a folder after what is in it
        if path.relative_to(config.run_dir) not in saved:
            path.rmdir() if path.is_dir() else path.unlink()
    for name in SOME_RUN_FILES:
        if Path(name) not in saved:
            (config.run_dir / name).unlink(missing_ok=True)
    if before is not None and artefacts.checksum(earlier) != before:
        (config.run_dir / REPORT).unlink(missing_ok=True)
    if not config.seeds:
        for name in SEEDS_FILES:
            (config.run_dir / name).unlink(missing_ok=True)


def recorded(config: Config) -> Config:
    """The config as config.json records it: settings that do not change a run's result have their defaults."""
    return decides.with_defaults(config, lambda said: not said.recorded)


def manifest(
    config: Config, dataset: Dataset, parameters: int | None, device: str, of_folds: Sequence[Config]
) -> dict[str, Any]:
    """What the results depend on besides the config."""
    made_of = [config.processed_dir / name for name in (DATASET, METADATA, SPLIT)]
    return {
        "format": schema.RUN_FORMAT,
        "artefacts_format": schema.ARTEFACTS_FORMAT,
        "inputs": artefacts.hashes([*made_of, *(of_fold.processed_dir / METADATA for of_fold in of_folds)]),
        "versions": artefacts.versions(LIBRARIES),
        "seed": config.seed,
        "dataset": dataset.metadata.get("dataset"),
        "split_seed": dataset.metadata.get("seed"),
        "parameters": parameters,
        "device": device,
        "threads": parallel.threads(config),
        **components.record(config, methods.sockets(config)),
    }
