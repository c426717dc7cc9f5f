"""Writes, reads and checks what ``train`` reads: the arrays of ``preprocess`` with their split and metadata."""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emerge_ehr.fields import UserError, plural
from emerge_ehr.storage import schema
from emerge_ehr.storage.artefacts import read_json, refuse_changed, replacing
from emerge_ehr.storage.mapped_arrays import UNREADABLE, blocks, map_array, map_arrays, why_unreadable
from emerge_ehr.storage.schema import DATASET, METADATA, NOTE_TOKENS, PATIENTS, SPLIT, SUMMARY_TOKENS
from emerge_ehr.storage.staleness import refuse_other_format
from emerge_ehr.storage.table_files import read_table

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Dataset:
    """What ``train`` reads, for N patients, T hours, F features, S static features, text width D and K labels."""

    ehr: Floats  # [N, T, F] standardised; forward-filled, then 0 (the training mean); 0 after ehr_length
    ehr_mask: Floats  # [N, T, F] 1 where measured in that hour
    ehr_length: NDArray[np.int64]  # [N] hours observed, 1..T
    static: Floats  # [N, S]
    note_embedding: Floats  # [N, D]
    note_mask: Floats  # [N] 1 where the patient has a note
    summary_embedding: Floats  # [N, D]
    summary_mask: Floats  # [N]
    note_tokens: Floats  # [N, C1, D] the note's pieces, C1 = 0 unless token_level asks for them
    note_tokens_mask: Floats  # [N, C1] 1 where there is a piece
    summary_tokens: Floats  # [N, C2, D]
    summary_tokens_mask: Floats  # [N, C2]
    label: Floats  # [N, K] 0 or 1
    label_mask: Floats  # [N, K] 1 where the outcome is defined for the patient
    patient_id: NDArray[np.str_]  # [N]
    # train/val/test -> patient ids; with cross-validation, test is everyone, each tested in the fold that left them out
    split: dict[str, list[str]]
    metadata: dict[str, Any]


ARRAYS = tuple(spec.name for spec in fields(Dataset) if spec.name not in ("split", "metadata"))


DIMENSIONS = dict.fromkeys(("ehr", "ehr_mask", "note_tokens", "summary_tokens"), 3) | dict.fromkeys(
    ("ehr_length", "note_mask", "summary_mask", "patient_id"), 1
)


PARTS = ("train", "val", "test")
AGAIN = "--stage preprocess again"
KINDS: dict[str, type[np.generic]] = {"ehr_length": np.int64, "patient_id": np.str_}  # of the others: float32
FARTHEST = 1e20  # of the mean, in standard deviations: no measurement is
# The largest arrays stand in files of their own beside the npz, where any tool can memory-map them.
MAPPED = {"note_tokens": NOTE_TOKENS, "summary_tokens": SUMMARY_TOKENS}


def write_dataset(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write an uncompressed npz with a fixed timestamp, so that the same arrays give the same bytes.

    The arrays named in ``MAPPED`` are written into files of their own beside it.
    """
    for name in MAPPED.keys() & arrays.keys():
        np.save(path.with_name(MAPPED[name]), arrays[name], allow_pickle=False)
    # A process that has mapped the old file keeps it.
    with replacing(path) as aside, zipfile.ZipFile(aside, "w") as archive:
        for name in sorted(arrays.keys() - MAPPED.keys()):
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(arrays[name]), allow_pickle=False)


def read_arrays(path: Path, made_by: str) -> dict[str, NDArray[Any]]:
    """Read the arrays of an npz into memory; pickles are refused.

    Raises:
        UserError: the file is missing, truncated, or not an npz.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: _array(archive[name], name) for name in archive.files}
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run --stage {made_by} first") from None
    except UNREADABLE as error:
        raise UserError(f"{path}: not a readable npz ({why_unreadable(error)}); run --stage {made_by} again") from None


def _array(member: Any, name: str) -> NDArray[Any]:
    """The ``member`` of an npz, unless it is not an array: NumPy then gives its bytes."""
    if not isinstance(member, np.ndarray):
        raise ValueError(f"its member {name!r} is not an array")
    return member


def _finite(array: NDArray[Any]) -> bool:
    return all(bool(np.isfinite(block).all()) for block in blocks(array))


def _below(array: NDArray[Any], most: float) -> bool:
    return all(bool((np.abs(block) <= most).all()) for block in blocks(array))


def _zero_or_one(array: NDArray[Any]) -> bool:
    return all(bool(((block == 0) | (block == 1)).all()) for block in blocks(array))


def load_dataset(folder: Path, *, inspect: bool = True) -> Dataset:
    """Load the artefacts of ``preprocess`` in ``folder``, memory-mapped, and check them against each other.

    With ``inspect=False`` the checksums and the values are not checked, because another process of this machine checks them.

    Raises:
        UserError: something is missing, of another shape, not finite, or the split names unknown patients.
    """
    metadata = read_json(folder / METADATA, "preprocess")
    if problem := _odd(metadata):
        raise UserError(f"{folder / METADATA}: {problem}; run {AGAIN}")
    refuse_other_format(folder / METADATA, metadata, schema.ARTEFACTS_FORMAT, "preprocess")
    if inspect:
        refuse_changed(folder, metadata.get("artefacts", {}), "preprocess")
    arrays = map_arrays(folder / DATASET, "preprocess", inspect=inspect)
    arrays |= {name: map_array(folder / file, "preprocess") for name, file in MAPPED.items()}
    absent = [name for name in ARRAYS if name not in arrays]
    if absent:
        raise UserError(f"{folder / DATASET}: no array '{absent[0]}'; it has: {', '.join(sorted(arrays))}")
    for name in ARRAYS:
        if problem := _unfit(name, arrays[name], arrays["patient_id"], inspect):
            raise UserError(f"{folder / MAPPED.get(name, DATASET)}: {name} {problem}; run {AGAIN}")
    if problem := _contradiction(arrays):
        raise UserError(f"{folder / DATASET}: {problem}; run {AGAIN}")
    split = read_json(folder / SPLIT, "preprocess")
    if problem := _badly_split(split, arrays["patient_id"].tolist()):
        raise UserError(f"{folder / SPLIT}: {problem}; run {AGAIN}")
    parts = {part: split[part] for part in PARTS}
    if _cross_validated(split):
        parts["test"] = arrays["patient_id"].tolist()
    return Dataset(**{name: arrays[name] for name in ARRAYS}, split=parts, metadata=metadata)


# Entries of the metadata -> the type of the entry, and the type of its items.
FORMS: dict[str, tuple[Any, Any]] = {
    "artefacts": (dict, str),
    "inputs": (dict, str),
    "settings": (dict, dict | str),
    "label_names": (list, str),
    "warnings": (list, str),
    "features": (list, dict),
}


def _odd(metadata: Any) -> str | None:
    """What is wrong with the types of the metadata's entries, or None; keys may be missing."""
    if not isinstance(metadata, dict):
        return "not the metadata of a dataset"
    for key, (kind, of) in FORMS.items():
        value: Any = metadata.get(key)
        items = value.values() if isinstance(value, dict) else value
        if value is not None and not (isinstance(value, kind) and all(isinstance(item, of) for item in items)):
            return f"{key} is not what preprocess writes there"
    return None


def _unfit(name: str, array: NDArray[Any], patients: NDArray[Any], values: bool) -> str | None:
    """What is wrong with the array ``name``, or None; with ``values``, every number is checked."""
    if array.ndim != DIMENSIONS.get(name, 2):
        return f"has {array.ndim} dimensions, not {DIMENSIONS.get(name, 2)}"
    if len(array) != len(np.atleast_1d(patients)):
        return f"has {plural(len(array), 'row')}, patient_id {len(np.atleast_1d(patients))}"
    kind = KINDS.get(name, np.float32)
    if not np.issubdtype(array.dtype, kind):
        return f"holds {array.dtype}, not {kind.__name__}"
    return _wrong_values(name, array) if values else None


def _wrong_values(name: str, array: NDArray[Any]) -> str | None:
    if name == "ehr" and _below(array, FARTHEST):  # finite too, which the largest array is not read again to see
        return None
    if array.dtype.kind == "f" and not _finite(array):
        return "holds NaN or infinity"
    if name == "ehr":
        return f"holds values of more than {FARTHEST:g} standard deviations"
    if name.endswith("mask") and not _zero_or_one(array):
        return "holds values other than 0 and 1"
    return None


def _contradiction(arrays: Mapping[str, NDArray[Any]]) -> str | None:
    """What is inconsistent within or between the arrays, or None."""
    patients, hours = len(arrays["patient_id"]), arrays["ehr"].shape[1]
    if not patients or not hours or not arrays["ehr"].shape[2]:
        return f"ehr is empty: {plural(patients, 'patient')}, {hours} hours, {arrays['ehr'].shape[2]} features"
    if len(np.unique(arrays["patient_id"])) < patients:
        return "patient_id names a patient twice"
    length = arrays["ehr_length"]
    if length.min() < 1 or length.max() > hours:
        return f"ehr_length must lie between 1 and {hours} hours, not {length.min()} and {length.max()}"
    return None


def _badly_split(split: Any, patients: Sequence[str]) -> str | None:
    """What is wrong with the split, or None."""
    if not isinstance(split, dict) or not all(isinstance(split.get(part), list) for part in PARTS):
        return "does not list train, val and test"
    split = {"left_out": [], **split}  # the patients whom [sparsity] removed from training
    if empty := [part for part in PARTS if not split[part] and not (part == "test" and _cross_validated(split))]:
        return f"no patient in '{empty[0]}'"
    named = [patient for part in (*PARTS, "left_out") for patient in split[part]]
    if not all(isinstance(patient, str) for patient in named) or len(named) != len(set(named)):
        return "a patient is in two splits, or an id is not text"
    if unknown := sorted(set(named) - set(patients)):
        return f"patient '{unknown[0]}' is not in {DATASET}"
    if lost := sorted(set(patients) - set(named)):
        return f"patient '{lost[0]}' of {DATASET} is in no split, nor are {len(lost) - 1} more"
    return None


def _cross_validated(split: dict[str, Any]) -> bool:
    """Whether the split is that of a cross-validated run's own model, which is fitted on everyone."""
    return bool(split.get("folds")) and "fold" not in split


def load_patients(folder: Path, patient_id: NDArray[np.str_]) -> pl.DataFrame | None:
    """The rows of patients.csv in ``folder`` in the order of ``patient_id`` [N]; None where the artefacts have no such file.

    Raises:
        UserError: the file is damaged, or a patient is missing from it.
    """
    path = folder / PATIENTS.file
    if not path.is_file():
        return None
    wanted = pl.DataFrame({"patient_id": patient_id.tolist()})
    patients = wanted.join(read_table(folder, PATIENTS), on="patient_id", how="left", maintain_order="left")
    if (absent := patients["subject_id"].null_count()) > 0:
        first = patients.filter(pl.col("subject_id").is_null())["patient_id"][0]
        raise UserError(
            f"{path}: no row for patient_id '{first}' ({plural(absent, 'such patient')}); run --stage preprocess again"
        )
    return patients
