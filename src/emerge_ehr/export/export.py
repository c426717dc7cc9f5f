"""Stage export: a finished run as one folder that predicts elsewhere, with a model card and without any patient's data.

The folder (``storage.schema.MODEL`` is its record) holds settings, weights, what was fitted, the knowledge graph's index, metrics
and the card. ``predict`` and ``serve`` take it as they take a run.
"""

import dataclasses
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save as to_bytes
from torch import nn

from emerge_ehr import components, privacy
from emerge_ehr.config import Config, Paths
from emerge_ehr.export import card
from emerge_ehr.fields import UserError, to_dict
from emerge_ehr.models.patient_memory import PatientMemory
from emerge_ehr.prediction import carried, donors, ordinary
from emerge_ehr.preprocess import evidence
from emerge_ehr.preprocess import run as preprocess
from emerge_ehr.preprocess.inputs import new_patients
from emerge_ehr.storage import artefacts, publishing, schema
from emerge_ehr.storage.dataset import ARRAYS
from emerge_ehr.training import trained as runs
from emerge_ehr.training.trained import Trained

LIBRARIES = ("emerge-ehr", "torch", "numpy", "scikit-learn", "lightgbm", "polars", "safetensors")
# of metadata.json; the rest tells of single patients, or could
KEPT = (
    "label_names",
    "features",
    "dated",
    "inputs",
    "never_measured_in_training",
    "plugs",
    "format",
    "encoders",
    "static",
)

OF_TRAINING = ("best_state.safetensors", "last.safetensors", "last_state.safetensors")  # needed to train on alone

log = logging.getLogger(__name__)


@privacy.owner_only()
def run(run: Path, output: Path, with_patients: bool) -> None:
    """Write the folder ``output``. ``with_patients``: what a method or a what-if keeps of training patients may be in it.

    Raises:
        UserError: the run is not finished or not as it was, its method keeps patients' data, an option names a file of the
            user's, or ``output`` cannot be written.
    """
    artefacts.require_output_folder(output, [run], schema.MODEL)
    write(run, output, with_patients=with_patients)


def write(run: Path, output: Path, *, with_patients: bool) -> None:
    """Write the folder ``output``, wherever it is.

    Raises:
        UserError: as ``run``.
    """
    if carried.is_model(run):
        raise UserError(f"{run}: a model that was exported already; copy the folder, or export the run it was made of")
    trained = runs.load(run)
    config = trained.config
    _refuse_own_files(config)
    keeps = _keep_patients(trained)
    if keeps and not with_patients:
        raise UserError(
            f"{run}: {keeps}, so that the folder would hold data of single patients; --with-patients exports it all the same"
        )
    graph = evidence.graph(config)
    # nothing of an earlier export may stay: its report, its members, or its patients
    earlier = [path.name for path in output.iterdir()] if output.is_dir() else []
    with publishing.publish(output, [name for name in earlier if name != publishing.INCOMING]) as folder:
        _copy_run(trained, folder)
        shutil.copytree(config.processed_dir / schema.FITTED, folder / schema.FITTED)
        components.call(
            "write_copy", "knowledge_graph", config.knowledge_graph, graph=graph, folder=folder / schema.GRAPH
        )
        if with_patients:
            _write_donors(trained, folder / schema.DONORS)
        record = _record(trained, with_patients=with_patients, keeps=keeps)
        (folder / schema.CARD).write_text(card.text(trained, record), encoding="utf-8")
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        record["files"] = {path.relative_to(folder).as_posix(): artefacts.checksum(path) for path in files}
        artefacts.write_json(folder / schema.MODEL, record)
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    log.info("export: %d files, %.1f MB", len(files) + 1, size / 1e6)
    print(f"model: {output}\ncard: {output / schema.CARD}")


def _refuse_own_files(config: Config) -> None:
    """Refuse a run whose options name files of the user's, which would be missing elsewhere."""
    package = Path(components.__file__).parent
    for path in components.files(config, preprocess.SOCKETS):
        if package not in path.resolve().parents:
            raise UserError(
                f"{path}: an option of the run names this file of yours, which the exported folder cannot hold; export a run "
                "that uses the program's own, or copy the run with its data"
            )


def _keep_patients(trained: Trained) -> str:
    """In words how the run's method keeps data of training patients; empty if it does not."""
    config = trained.config
    chosen = config.baseline
    networks = [member for member in trained.members if isinstance(member, nn.Module)]
    if chosen and any(isinstance(part, PatientMemory) for network in networks for part in network.modules()):
        return f"its method '{chosen.name}' keeps vectors of single training patients among its weights"
    if chosen and "." in chosen.name:
        return f"what its method '{chosen.name}', of another package, keeps of training patients is not known"
    if config.embedding.options.get("min_documents", 2) == 1:
        return "the text encoder's vocabulary has words of single training patients (embedding.min_documents = 1)"
    return ""


def _copy_run(trained: Trained, folder: Path) -> None:
    """Copy what predicts, and what was measured of it."""
    for path in sorted((trained.run_dir / "checkpoints").rglob("*")):
        place = path.relative_to(trained.run_dir)
        if path.is_file() and path.name not in OF_TRAINING:
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / place)
    for name in (schema.MANIFEST, "metrics.json", schema.SUBGROUPS):
        shutil.copyfile(trained.run_dir / name, folder / name)
    here = Paths(raw_dir=Path("raw"), cache_dir=trained.config.paths.cache_dir)
    config = dataclasses.replace(trained.config, paths=here)
    artefacts.write_json(folder / "config.json", to_dict(config))


def _write_donors(trained: Trained, path: Path) -> None:
    """Write the training patients by whom a modality, or a signal's course, is replaced in what-ifs."""
    kinds = {**donors.of(trained), schema.CANDIDATES: ordinary.of(trained).candidates}
    path.write_bytes(
        to_bytes(
            {f"{kind}.{name}": tensor.contiguous() for kind, of in kinds.items() for name, tensor in vars(of).items()}
        )
    )


def _record(trained: Trained, *, with_patients: bool, keeps: str) -> dict[str, Any]:
    """What ``prediction.carried`` makes the predictor of, and what the card tells."""
    data = trained.dataset
    metadata: Mapping[str, Any] = data.metadata
    learned = new_patients.learned_from(data)
    shapes = {name: list(np.shape(getattr(data, name))[1:]) for name in ARRAYS}
    return {
        "format": schema.MODEL_FORMAT,
        "versions": artefacts.versions(LIBRARIES),
        "run": trained.config.run_name,
        "manifest": artefacts.checksum(trained.run_dir / schema.MANIFEST),
        "patients": keeps or ("training patients who stand in for a missing input" if with_patients else ""),
        "metadata": {key: metadata[key] for key in KEPT if key in metadata} | {"learned": learned},
        "shapes": shapes,
    }
