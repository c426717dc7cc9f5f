"""What a model is trained on: the processed artefacts, checked against the config, as the patients of the three splits."""

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from emerge_ehr import components, decides, torchrun
from emerge_ehr.config import Cohort, Config, Llm
from emerge_ehr.fields import UserError, plural
from emerge_ehr.models import emerge
from emerge_ehr.models.batch import SHAPES
from emerge_ehr.preprocess import run as preprocess
from emerge_ehr.storage import staleness
from emerge_ehr.storage.dataset import Dataset, load_patients
from emerge_ehr.storage.schema import DATASET, DYNAMIC, METADATA, SPLIT
from emerge_ehr.storage.table_files import all_files, files
from emerge_ehr.training import members, persons
from emerge_ehr.training.patients import MappedPatients, Patients

SPLITS = {"train": "training", "val": "validation", "test": "test"}  # with their names in messages
IN_MEMORY = (
    2**31
)  # bytes: `training.data = "auto"` copies arrays of up to this size into memory, for all processes together

FEW = 10  # fewer patients with the outcome in a split are told
MANY = 4  # labels of a split, from which on they are told in one line

logger = logging.getLogger(__name__)


def check(config: Config, dataset: Dataset) -> None:
    """Check that ``dataset`` is what this config would preprocess, and that a model can be trained on it.

    Raises:
        UserError: the artefacts were made for another task, of another dataset or with other settings; a label is not 0 or 1;
            a split is empty, or two hold the same person; or texts have no pieces although the model reads pieces.
    """
    task = dataset.metadata.get("task")
    if task != config.task.name:
        where = config.processed_dir / METADATA
        raise UserError(
            f"{where}: made for task '{task}', the config says '{config.task.name}'; run --stage preprocess again"
        )
    if (made_of := dataset.metadata.get("dataset", config.dataset)) != config.dataset:
        where = config.processed_dir / METADATA
        raise UserError(
            f"{where}: made of dataset '{made_of}', the config says '{config.dataset}'; run --stage preprocess again"
        )
    refuse_other_settings(config, dataset.metadata)
    if other := components.changed(config, preprocess.SOCKETS, dataset.metadata):
        where = config.processed_dir / METADATA
        raise UserError(f"{where}: made with another version of the plug '{other}'; run --stage preprocess again")
    _refuse_changed_inputs(config, dataset.metadata.get("inputs", {}))
    if config.baseline is None and emerge.reads_pieces(config.model):
        _require_pieces(config, dataset)
    if len(dataset.metadata.get("label_names") or []) != dataset.label.shape[1]:
        raise UserError(
            f"{config.processed_dir / METADATA}: label_names must name the columns of label; run --stage preprocess again"
        )
    if not dataset.label_mask[rows_of(dataset, "train")].any():
        raise UserError(
            f"{config.processed_dir / DATASET}: no outcome is defined for any training patient; the cohort needs more patients"
        )
    if not np.isin(dataset.label, (0, 1)).all():
        raise UserError(
            f"{config.processed_dir / DATASET}: label holds values other than 0 and 1; run --stage preprocess again"
        )
    for name in ("train", "val", "test"):
        if not dataset.split[name]:
            raise UserError(
                f"{config.processed_dir / SPLIT}: no patient in '{name}'; the split needs more patients or other shares"
            )
    persons.refuse_shared(config.processed_dir, dataset, config.table_dir)


def refuse_other_settings(config: Config, metadata: Mapping[str, Any]) -> None:
    """Check that the artefacts with this ``metadata`` were made with the config's settings, of those that decide artefacts.

    A setting of ``[llm]`` that the metadata do not name had its default when they were made.

    Raises:
        UserError: a setting was another one.
    """
    now = decides.compared(config, "tables", "artefacts")
    llm, defaults = now.pop("llm"), decides.compared(dataclasses.replace(config, llm=Llm()), "artefacts")["llm"]
    other = staleness.other_settings(recorded, now) if (recorded := metadata.get("settings")) else []
    if llm_before := metadata.get("llm"):
        other += staleness.other_settings({key: llm_before.get(key, defaults[key]) for key in llm}, llm, "llm.")
    if other:
        where = config.processed_dir / METADATA
        raise UserError(
            f"{where}: made with other [{other[0]}] settings than this config's; run --stage preprocess again"
        )


def _refuse_changed_inputs(config: Config, recorded: Mapping[str, str]) -> None:
    """Refuse tables, a graph, or files named by options that have changed since preprocessing; missing ones are not compared."""
    graph = sorted(config.kg_dir.glob("*")) if config.kg_dir.is_dir() else []
    named = components.files(config, preprocess.SOCKETS)
    there = [path.absolute() for path in [*all_files(config.table_dir), *graph, *named] if path.is_file()]
    staleness.refuse_changed_inputs(there, recorded, config.paths.cache_dir, "preprocess")
    if recorded:
        staleness.refuse_other_parts(files(config.table_dir, DYNAMIC), DYNAMIC.parts, recorded, "preprocess")


def seed_note(config: Config, dataset: Dataset) -> str | None:
    """A line for the user if the split was drawn with another seed than the config's; None if it was not."""
    made_with = dataset.metadata.get("seed", config.seed)
    if made_with == config.seed:
        return None
    return (
        f"seed {config.seed} trains on the split that seed {made_with} drew; "
        "for a split of its own, run --stage preprocess with this seed"
    )


def _require_pieces(config: Config, dataset: Dataset) -> None:
    """Check that each text that the model reads has embedded pieces.

    Raises:
        UserError: patients have such a text, and none of its pieces was embedded.
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


def label_warnings(dataset: Dataset, rule: Cohort) -> Iterable[str]:
    """A warning for each split and label whose metrics are undefined, because it has one class only or no defined outcome, or
    rest on a handful of patients with the outcome. Where many labels of a split do, one warning tells of all.

    One more tells of the landmarks whose training samples are too few for what is fitted for each landmark alone.
    """
    for name, title in SPLITS.items():
        rows = rows_of(dataset, name)
        told = list(_label_warnings(dataset, rows, title))
        yield from told if len(told) < MANY else [_in_one(dataset, rows, title)]
    if few := list(_few_at_landmarks(dataset, rule)):
        yield (
            f"training split: too few samples to learn from at {', '.join(few)}; what is fitted for such a landmark alone is "
            "mostly chance, and fewer cohort.landmarks may do better"
        )


def _few_at_landmarks(dataset: Dataset, rule: Cohort) -> Iterator[str]:
    """The landmarks at which fewer than ``FEW`` training samples have, or lack, an outcome of which the split has enough."""
    rows, names = rows_of(dataset, "train"), dataset.metadata["label_names"]
    enough = [min(n, of - n) >= FEW for n, of in _counts(dataset, rows)]
    for hour, step in zip(rule.landmarks, rule.landmark_steps, strict=True):
        counts = zip(names, enough, _counts(dataset, rows[dataset.ehr_length[rows] == step]), strict=True)
        few = [f"{name} {n} of {of}" for name, others, (n, of) in counts if others and min(n, of - n) < FEW]
        if few:
            yield f"hour {hour} ({', '.join(few) if len(few) < MANY else f'{len(few)} of {len(names)} labels'})"


def _counts(dataset: Dataset, rows: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Of each label, how many of ``rows`` have the outcome, and of how many it is known."""
    label, mask = dataset.label[rows], dataset.label_mask[rows] > 0
    return list(zip((label * mask).sum(axis=0).astype(int).tolist(), mask.sum(axis=0).tolist(), strict=True))


def _in_one(dataset: Dataset, rows: NDArray[np.int64], title: str) -> str:
    counts = zip(dataset.metadata["label_names"], _counts(dataset, rows), strict=True)
    few = [f"{name} {n} of {of}" for name, (n, of) in counts if n < FEW or n == of]
    return (
        f"{title} split: {len(few)} labels have fewer than {FEW} patients with the outcome, or none without it "
        f"({', '.join(few)}); what is learned or selected by them is mostly chance, and fewer labels may do better"
    )


def _label_warnings(dataset: Dataset, rows: NDArray[np.int64], title: str) -> Iterator[str]:
    for column, label_name in enumerate(dataset.metadata["label_names"]):
        label = dataset.label[rows, column][dataset.label_mask[rows, column] > 0]
        values = np.unique(label)
        if len(values) == 1:
            yield (
                f"{title} split: all {plural(len(label), 'patient has', 'patients have')} {label_name} = {values[0]:g}; its "
                "metrics are undefined"
            )
        elif len(values) and (few := int(label.sum())) < FEW:
            yield (
                f"{title} split: only {plural(few, 'patient has', 'patients have')} {label_name}; its metrics, and what "
                "validation selects, are mostly "
                "chance"
            )
        elif not len(values):
            yield f"{title} split: {label_name} is defined for no patient; its metrics are undefined"


def rows_of(dataset: Dataset, name: str) -> NDArray[np.int64]:
    """The rows of a split's patients, in the split's order."""
    row = {patient: index for index, patient in enumerate(dataset.patient_id.tolist())}
    return np.array([row[patient] for patient in dataset.split[name]], dtype=np.int64)


def mapped(dataset: Dataset, name: str, *, pieces: bool = True) -> MappedPatients:
    """The patients of a split, in its order, read from disk when they are needed; without ``pieces`` they have none of texts."""
    rows = rows_of(dataset, name)
    arrays = {field: getattr(dataset, field) for field in SHAPES}
    if not pieces:
        arrays |= {field: array[:, :0] for field, array in arrays.items() if "tokens" in field}
    label, defined = (torch.from_numpy(array[rows]) for array in (dataset.label, dataset.label_mask))
    return MappedPatients(arrays, rows, label, defined, torch.device("cpu"))


def persons_trained(config: Config, dataset: Dataset) -> list[str]:
    """The persons of the training patients and then of the validation patients."""
    patients = load_patients(config.processed_dir, dataset.patient_id)
    return members.persons([*dataset.split["train"], *dataset.split["val"]], patients)


def parts(config: Config, dataset: Dataset) -> dict[str, Patients]:
    """The patients of the three splits, in memory or mapped, as ``training.data`` says.

    Raises:
        UserError: the shapes of the arrays do not go together.
    """
    pieces = config.baseline is None and emerge.reads_pieces(config.model)
    by_split = {name: mapped(dataset, name, pieces=pieces) for name in SPLITS}
    size = sum(patients.nbytes for patients in by_split.values())
    fits, data = size * torchrun.processes_here() <= IN_MEMORY, config.training.data
    in_memory = data == "memory" or (data == "auto" and fits)
    where = "in memory" if in_memory else "read from disk batch by batch"
    logger.info("arrays of all splits: %.1f MiB, %s", size / 2**20, where)
    try:
        if in_memory:
            return {name: patients.whole() for name, patients in by_split.items()}
        for patients in by_split.values():
            patients.select(torch.arange(1))  # arrays that do not go together fail here rather than during training
        return {**by_split}
    except ValueError as error:
        raise UserError(f"{config.processed_dir / DATASET}: {error}; run --stage preprocess again") from None
