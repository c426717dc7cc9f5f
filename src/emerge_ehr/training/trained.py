"""A finished run, ready to predict: its settings, the data it was trained on, and the method with its best weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from emerge_ehr import components
from emerge_ehr.config import Config, from_record
from emerge_ehr.fields import UserError
from emerge_ehr.models.baselines import Estimator
from emerge_ehr.models.batch import Batch
from emerge_ehr.models.emerge import Emerge
from emerge_ehr.models.fusion import Modality
from emerge_ehr.storage import artefacts, publishing, schema, staleness
from emerge_ehr.storage.dataset import Dataset, load_dataset
from emerge_ehr.storage.schema import MANIFEST, METADATA
from emerge_ehr.training import loop, methods


@dataclass(frozen=True)
class Trained:
    """``dataset`` is what the run was trained on; ``method`` has the weights of the best epoch, on the CPU."""

    run_dir: Path
    config: Config
    manifest: dict[str, Any]
    dataset: Dataset
    method: nn.Module | Estimator

    @property
    def label_names(self) -> list[str]:
        """The names of the K labels."""
        names: list[str] = self.dataset.metadata["label_names"]
        return names

    def probability(self, batch: Batch, hours: Modality | None = None) -> NDArray[np.float64]:
        """Risks [N,K]; for patients of the run's own data they are those in ``predictions.csv``.

        ``hours``: what the method ``hours`` returned for these patients; it makes repeated calls on the same series much faster.
        """
        if hours is not None:
            assert isinstance(self.method, Emerge)
            parts = torch.split(torch.arange(len(batch)), self.config.training.batch_size)
            with torch.no_grad():
                logits = torch.cat([self.method(batch.select(part), hours.select(part)) for part in parts])
        elif isinstance(self.method, nn.Module):
            logits = loop.predict(self.method, batch, self.config.training.batch_size)
        else:
            logits = self.method.logits(batch)
        return logits.double().sigmoid().numpy()

    def hours(self, batch: Batch) -> Modality | None:
        """The output of the model's series encoder; None where the model has none, or is a baseline."""
        if not isinstance(self.method, Emerge) or self.method.ehr is None:
            return None
        with torch.no_grad():
            hours: Modality = self.method.ehr(batch)
            return hours

    def attention(self, batch: Batch) -> dict[str, NDArray[np.float32]] | None:
        """Modality -> weights [N,L] of its hours, texts or pieces, as the fusion describes them; None without attention."""
        if not isinstance(self.method, Emerge):
            return None
        parts = torch.split(torch.arange(len(batch)), self.config.training.batch_size)
        weights = [self.method.attention(batch.select(part)) for part in parts]
        attended = [part for part in weights if part is not None]
        if not attended:
            return None
        return {name: torch.cat([part[name] for part in attended]).numpy() for name in attended[0]}


def load(run_dir: Path) -> Trained:
    """The run in ``run_dir``.

    Raises:
        UserError: the run is not there, has not ended or is damaged, or the artefacts it was trained on have changed.
    """
    config, manifest = settings(run_dir)
    _refuse_other_artefacts(config, manifest["inputs"], run_dir)
    if other := components.changed(config, methods.sockets(config), manifest):
        raise UserError(
            f"{run_dir}: trained with another version of the plug '{other}'; bring that back, or run --stage train again"
        )
    dataset = load_dataset(config.processed_dir)
    method = methods.build(config, dataset)
    folder = run_dir / "checkpoints"
    try:
        if not isinstance(method, nn.Module):
            method.load(folder)
            return Trained(run_dir, config, manifest, dataset, method)
        method.load_state_dict(load_file(folder / "best.safetensors"))
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        raise UserError(
            f"{folder}: does not hold the weights of this run ({artefacts.first_line(error)}); run --stage train again"
        ) from None
    method.eval()
    return Trained(run_dir, config, manifest, dataset, method)


def settings(run_dir: Path) -> tuple[Config, dict[str, Any]]:
    """The config and the manifest of the run in ``run_dir``, after a check that its files are as ``train`` wrote them.

    Raises:
        UserError: the run is not there or has not ended, or a file is missing, damaged or of another version.
    """
    publishing.finish_interrupted(run_dir)
    _require_finished(run_dir)
    path = run_dir / MANIFEST
    manifest = artefacts.read_json(path, "train")
    if not isinstance(manifest, dict):
        raise UserError(f"{path}: not the manifest of a run; run --stage train again")
    staleness.refuse_other_format(path, manifest, schema.RUN_FORMAT, "train")
    files, inputs = manifest.get("files"), manifest.get("inputs")
    expected = {*schema.RUN_FILES} - {MANIFEST, schema.REPORT}
    if not isinstance(files, dict) or not isinstance(inputs, dict) or not expected <= files.keys():
        raise UserError(f"{path}: does not list the run's files and inputs; run --stage train again")
    artefacts.refuse_changed(run_dir, files, "train")
    config = from_record(artefacts.read_json(run_dir / "config.json", "train"), run_dir / "config.json")
    publishing.finish_interrupted(config.processed_dir)
    return config, manifest


def _require_finished(run_dir: Path) -> None:
    if (run_dir / MANIFEST).is_file():
        return
    if not run_dir.is_dir():
        there = ", ".join(sorted(str(path.parent) for path in run_dir.parent.glob(f"*/{MANIFEST}"))) or "none"
        raise UserError(f"{run_dir}: no such run folder; finished runs in {run_dir.parent}: {there}")
    if seeds := sorted(path.parent for path in run_dir.glob(f"seed_*/{MANIFEST}")):
        raise UserError(f"{run_dir}: holds a run for each seed; choose one of {', '.join(map(str, seeds))}")
    if inside := sorted(path.parent for path in run_dir.glob(f"*/**/{MANIFEST}")):
        raise UserError(f"{run_dir}: holds no run itself; choose one in it, such as {inside[0]}")
    raise UserError(
        f"{run_dir}: holds no finished run ({MANIFEST} is missing); run --stage train, with --resume if it was stopped"
    )


def _refuse_other_artefacts(config: Config, inputs: dict[str, str], run_dir: Path) -> None:
    """Refuse artefacts that the run was not trained on. Comparing metadata.json is enough: it holds the others' checksums."""
    path = config.processed_dir / METADATA
    if not path.is_file():
        raise UserError(
            f"{path}: missing, and {run_dir} was trained on it; the path is relative to the "
            "current folder: run from where it was trained, or run --stage preprocess and --stage train again"
        )
    if artefacts.checksum(path) not in inputs.values():
        raise UserError(
            f"{path}: not what {run_dir} was trained on; run --stage train again, or bring back the artefacts it read"
        )
