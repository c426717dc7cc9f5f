"""A model folder that ``export`` wrote: the run's method with what was fitted, and no patients."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file
from torch import Tensor

from emerge_ehr.config import from_record
from emerge_ehr.fields import UserError
from emerge_ehr.models.batch import Batch
from emerge_ehr.prediction.donors import Donors
from emerge_ehr.prediction.ordinary import Ordinary
from emerge_ehr.storage import artefacts, publishing, schema, staleness
from emerge_ehr.storage.dataset import ARRAYS, KINDS, Dataset
from emerge_ehr.training import trained as runs
from emerge_ehr.training.trained import Trained


def is_model(folder: Path) -> bool:
    """Whether ``folder`` is one that ``export`` wrote."""
    publishing.finish_interrupted(folder)
    return (folder / schema.MODEL).is_file()


def load(folder: Path) -> Trained:
    """The method in ``folder``, with a dataset of no patients.

    Raises:
        UserError: a file is missing or damaged, or of another version.
    """
    record = _read(folder / schema.MODEL)
    staleness.refuse_other_format(folder / schema.MODEL, record, schema.MODEL_FORMAT, "export")
    if not isinstance(record.get("files"), dict):
        raise UserError(f"{folder / schema.MODEL}: does not list the model's files; export it again")
    artefacts.refuse_changed(folder, record["files"], "export")
    manifest = _read(folder / schema.MANIFEST)
    staleness.refuse_other_format(folder / schema.MANIFEST, manifest, schema.RUN_FORMAT, "train and --stage export")
    config = from_record(artefacts.read_json(folder / "config.json", "export"), folder / "config.json")
    paths = dataclasses.replace(config.paths, processed_dir=folder, kg_dir=folder / schema.GRAPH)
    try:
        nobody = {name: np.zeros((0, *record["shapes"][name]), dtype=KINDS.get(name, np.float32)) for name in ARRAYS}
        data = Dataset(**nobody, split={"train": [], "val": [], "test": []}, metadata=record["metadata"])
        return runs.of(folder, dataclasses.replace(config, paths=paths), manifest, data)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder / schema.MODEL}: not a model's record ({artefacts.first_line(error)}); export it again"
        ) from None


def _read(path: Path) -> dict[str, Any]:
    record = artefacts.read_json(path, "export")
    if not isinstance(record, dict):
        raise UserError(f"{path}: not a model's record; export it again")
    return record


def patients(folder: Path) -> tuple[Donors, Ordinary] | tuple[None, None]:
    """The training patients who stand in for each modality, and those who lend the ordinary course of a signal; None
    and None where the folder holds no patients."""
    if not (folder / schema.DONORS).is_file():
        return None, None
    tensors = load_file(folder / schema.DONORS)
    kinds: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        kind, _, name = key.partition(".")
        kinds.setdefault(kind, {})[name] = value
    courses = Ordinary(Batch(**kinds.pop(schema.CANDIDATES)))
    return {modality: Batch(**fields) for modality, fields in kinds.items()}, courses
