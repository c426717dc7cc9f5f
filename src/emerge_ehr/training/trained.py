"""A finished run, ready to predict: its settings, the data it was trained on, and its members with their best weights."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from emerge_ehr import components
from emerge_ehr.config import Config, from_record
from emerge_ehr.fields import UserError
from emerge_ehr.models import absence, emerge
from emerge_ehr.models.baselines import Estimator
from emerge_ehr.models.batch import MODALITIES, Batch
from emerge_ehr.models.emerge import Emerge
from emerge_ehr.models.fusion import Modality
from emerge_ehr.storage import artefacts, publishing, schema, staleness
from emerge_ehr.storage.dataset import Dataset, load_dataset
from emerge_ehr.storage.schema import MANIFEST, METADATA
from emerge_ehr.training import calibrated, experts, members, methods, patients, reported, sets
from emerge_ehr.training.calibrated import Maps
from emerge_ehr.training.experts import Experts
from emerge_ehr.training.reported import Reported
from emerge_ehr.training.sets import OfRun


@dataclass(frozen=True)
class Hours:
    """What the series encoder of each member returned for N patients."""

    members: tuple[Modality, ...]

    def select(self, index: Tensor) -> "Hours":
        """The patients at ``index`` [n], in that order."""
        return Hours(tuple(hours.select(index) for hours in self.members))

    def shared(self, index: Tensor) -> "Hours":
        """As ``select``, for many rows of few patients: what these read is not copied."""
        return Hours(tuple(hours.shared(index) for hours in self.members))


@dataclass(frozen=True)
class Trained:
    """``dataset`` is what the run was trained on; ``members`` have the weights of their best epochs, on the CPU.

    ``experts``: those of each member, where the run has any. ``maps``: what calibrates the risk of each label; none for a run
    that does not calibrate. ``sets``: what decides which outcomes are possible, with ``calibration.coverage``.
    """

    run_dir: Path
    config: Config
    manifest: dict[str, Any]
    dataset: Dataset
    members: tuple[nn.Module | Estimator, ...]
    experts: tuple[Experts, ...] = ()
    maps: Maps = ()
    sets: OfRun | None = None

    @cached_property
    def reported(self) -> Reported:
        """What the run reports of the K labels that it has learned."""
        return reported.of(self.config, self.dataset.metadata["label_names"])

    @cached_property
    def reads(self) -> tuple[str, ...]:
        """The modalities that the method reads, in the order of ``MODALITIES``."""
        if self.config.baseline is None:
            return emerge.modalities_read(self.config.model)
        read = components.stated("baseline", self.config.baseline, "reads")
        return tuple(name for name in MODALITIES if name in read)

    @property
    def label_names(self) -> list[str]:
        """The names of the H risks that the run reports."""
        return self.reported.names

    def probability(self, batch: Batch, hours: Hours | None = None) -> NDArray[np.float64]:
        """Risks [N,H]; for test patients of the run's own data they are those in ``predictions.csv``.

        They are those of all members together, calibrated. ``hours``: as for ``of_members``.
        """
        return self.together(self.of_members(batch, hours))

    def together(self, logits: Tensor) -> NDArray[np.float64]:
        """The risks [N,H] of all members, from the logits of each [M,N,K], calibrated as the run does it."""
        return calibrated.applied(self.maps, self.reported.together(logits))

    def risks(self, logits: Tensor) -> NDArray[np.float64]:
        """The risks [..., H] of logits [..., K], calibrated as the run does it."""
        return calibrated.applied(self.maps, self.reported.risks(logits))

    def of_members(self, batch: Batch, hours: Hours | None = None) -> Tensor:
        """The logits of each of M members [M,N,K]. How far they lie apart is the run's own uncertainty.

        ``hours``: what the method ``hours`` returned for these patients; it makes repeated calls on the same series much faster.
        """
        size = self.config.training.batch_size
        if len(batch) > size:  # all members read a part while it is at hand
            parts = torch.split(torch.arange(len(batch)), size)
            each = [self.of_members(batch.select(part), hours.select(part) if hours else None) for part in parts]
            return torch.cat(each, dim=1)
        if self.experts:
            batch = absence.without(batch, self.experts[0].unseen)
        of_members = [None] * len(self.members) if hours is None else hours.members
        logits = [self._logits(member, batch, read) for member, read in zip(self.members, of_members, strict=True)]
        if self.experts:
            read = self.experts[0].read(batch, size)
            logits = [own.joined(network, read) for own, network in zip(self.experts, logits, strict=True)]
        return torch.stack(logits)

    def _logits(self, member: nn.Module | Estimator, batch: Batch, hours: Modality | None) -> Tensor:
        if not isinstance(member, nn.Module):
            steps = self.config.cohort.landmark_steps
            return member.logits(patients.table(batch, member.reads, self.config.training.batch_size, steps))
        with torch.no_grad():
            logits: Tensor = member(batch) if hours is None else member(batch, hours)
            return logits

    def hours(self, batch: Batch) -> Hours | None:
        """The output of the members' series encoders; None where the model has none, or is a baseline."""
        encoders = [member.ehr for member in self.members if isinstance(member, Emerge) and member.ehr is not None]
        if not encoders:
            return None
        with torch.no_grad():
            return Hours(tuple(encoder(batch) for encoder in encoders))

    def attention(self, batch: Batch) -> dict[str, NDArray[np.float32]] | None:
        """Modality -> weights [N,L] of its hours, texts or pieces, as the fusion describes them; None without attention.

        They are the means over the members.
        """
        parts = torch.split(torch.arange(len(batch)), self.config.training.batch_size)
        networks = [member for member in self.members if isinstance(member, Emerge)]
        weights = [[network.attention(batch.select(part)) for part in parts] for network in networks]
        attended = [[part for part in of_member if part is not None] for of_member in weights]
        if not any(attended):
            return None
        joined = [
            {name: torch.cat([part[name] for part in of_member]) for name in of_member[0]} for of_member in attended
        ]
        return {name: torch.stack([member[name] for member in joined]).mean(dim=0).numpy() for name in joined[0]}


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
    return of(run_dir, config, manifest, load_dataset(config.processed_dir))


def of(run_dir: Path, config: Config, manifest: dict[str, Any], dataset: Dataset) -> Trained:
    """The run whose weights are in ``run_dir``; of ``dataset`` only shapes and metadata are looked at.

    Raises:
        UserError: weights are missing or damaged.
    """
    count, folder = config.training.members, run_dir / "checkpoints"
    places = [folder] if count == 1 else [folder / members.name(number) for number in range(1, count + 1)]
    names = reported.of(config, dataset.metadata["label_names"]).names
    maps, possible = calibrated.load(config, names, folder), sets.load(config, names, folder)
    networks = tuple(_member(config, dataset, place) for place in places)
    if config.baseline is not None or not config.model.experts:
        return Trained(run_dir, config, manifest, dataset, networks, maps=maps, sets=possible)
    beside = tuple(_experts(config, dataset, place) for place in places)
    return Trained(run_dir, config, manifest, dataset, networks, beside, maps, possible)


def _experts(config: Config, dataset: Dataset, folder: Path) -> Experts:
    """The experts of a member.

    Raises:
        UserError: they are missing or damaged.
    """
    try:
        return experts.load(config, dataset, folder)
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise UserError(
            f"{folder}: does not hold the experts of this run ({artefacts.first_line(error)}); run --stage train again"
        ) from None


def _member(config: Config, dataset: Dataset, folder: Path) -> nn.Module | Estimator:
    """The method with the weights in ``folder``.

    Raises:
        UserError: they are missing or damaged.
    """
    method = methods.build(config, dataset)
    try:
        if not isinstance(method, nn.Module):
            method.load(folder)
            experts.require_fit(method, dataset, config.cohort.landmarks)
            return method
        method.load_state_dict(load_file(folder / "best.safetensors"))
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        raise UserError(
            f"{folder}: does not hold the weights of this run ({artefacts.first_line(error)}); run --stage train again"
        ) from None
    method.eval()
    return method


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
