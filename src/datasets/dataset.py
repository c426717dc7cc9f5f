"""What ``train`` reads: the arrays of ``preprocess`` with their split and metadata, written and checked."""

import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from src.datasets import schema
from src.datasets.artefacts import finish_interrupted, first_line, read_json, read_table, refuse_changed
from src.datasets.schema import DATASET, METADATA, NOTE_TOKENS, PATIENTS, SPLIT, SUMMARY_TOKENS
from src.datasets.staleness import refuse_other_format
from src.fields import UserError

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Dataset:
    """What ``train`` reads. N patients, T hours, F features, S static features, D text width, K labels."""

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
    split: dict[str, list[str]]  # train/val/test -> patient ids
    metadata: dict[str, Any]


ARRAYS = tuple(spec.name for spec in fields(Dataset) if spec.name not in ("split", "metadata"))


DIMENSIONS = dict.fromkeys(("ehr", "ehr_mask", "note_tokens", "summary_tokens"), 3) | dict.fromkeys(
    ("ehr_length", "note_mask", "summary_mask", "patient_id"), 1
)


# Arrays that may be larger than memory stand in files of their own beside the npz, for an npz cannot be memory-mapped.
MAPPED = {"note_tokens": NOTE_TOKENS, "summary_tokens": SUMMARY_TOKENS}


def write_dataset(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """An uncompressed npz with a fixed timestamp, so that the same arrays give the same bytes; those of ``MAPPED`` beside it."""
    for name in MAPPED.keys() & arrays.keys():
        np.save(path.with_name(MAPPED[name]), arrays[name], allow_pickle=False)
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(arrays.keys() - MAPPED.keys()):
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(arrays[name]), allow_pickle=False)


def read_arrays(path: Path, made_by: str) -> dict[str, NDArray[Any]]:
    """The arrays of an npz; pickles are refused.

    Raises:
        UserError: missing, truncated, or not an npz.
    """
    finish_interrupted(path.parent)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run --stage {made_by} first") from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise UserError(f"{path}: not a readable npz ({first_line(error)}); run --stage {made_by} again") from None
    for name, value in found.items():
        if not isinstance(value, np.ndarray):  # what has no array's header numpy hands out as bytes
            raise UserError(f"{path}: {name} is not an array; run --stage {made_by} again")
    return found


def map_array(path: Path, made_by: str) -> NDArray[Any]:
    """The array of an ``.npy`` file, memory-mapped and read-only; pickles are refused.

    Raises:
        UserError: missing, truncated, or not an npy.
    """
    finish_interrupted(path.parent)
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run --stage {made_by} first") from None
    except (ValueError, OSError, EOFError) as error:
        # An array without elements cannot be mapped, and needs not be.
        if (empty := _empty_array(path)) is not None:
            return empty
        raise UserError(f"{path}: not a readable npy ({first_line(error)}); run --stage {made_by} again") from None
    return array


def _empty_array(path: Path) -> NDArray[Any] | None:
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError):
        return None
    return None if array.size else array


def _finite(array: NDArray[Any]) -> bool:
    """Looked at in parts: the array may be larger than memory."""
    return all(bool(np.isfinite(array[at : at + 1024]).all()) for at in range(0, len(array), 1024))


def load_dataset(folder: Path) -> Dataset:
    """The processed artefacts in ``folder``, checked against each other.

    Raises:
        UserError: something is missing, of another shape, not finite, or the split names unknown patients.
    """
    metadata = read_json(folder / METADATA, "preprocess")
    if not isinstance(metadata, dict):
        raise UserError(f"{folder / METADATA}: not the metadata of a dataset; run --stage preprocess again")
    refuse_other_format(folder / METADATA, metadata, schema.ARTEFACTS_FORMAT, "preprocess")
    refuse_changed(folder, metadata.get("artefacts", {}), "preprocess")
    arrays = read_arrays(folder / DATASET, "preprocess")
    arrays |= {name: map_array(folder / file, "preprocess") for name, file in MAPPED.items()}
    absent = [name for name in ARRAYS if name not in arrays]
    if absent:
        raise UserError(f"{folder / DATASET}: no array '{absent[0]}'; it has: {', '.join(sorted(arrays))}")
    patients = len(np.atleast_1d(arrays["patient_id"]))
    for name in ARRAYS:
        if arrays[name].ndim != DIMENSIONS.get(name, 2):
            raise UserError(
                f"{folder / DATASET}: {name} has {arrays[name].ndim} dimensions, not {DIMENSIONS.get(name, 2)}"
            )
        if len(arrays[name]) != patients:
            raise UserError(f"{folder / DATASET}: {name} has {len(arrays[name])} rows, patient_id {patients}")
        if arrays[name].dtype.kind == "f" and not _finite(arrays[name]):
            raise UserError(f"{folder / DATASET}: {name} holds NaN or infinity")
    split = read_json(folder / SPLIT, "preprocess")
    if not isinstance(split, dict) or not all(isinstance(split.get(part), list) for part in ("train", "val", "test")):
        raise UserError(f"{folder / SPLIT}: does not list train, val and test; run --stage preprocess again")
    known = set(arrays["patient_id"].tolist())
    named = [patient for part in ("train", "val", "test") for patient in split.get(part, [])]
    if len(named) != len(set(named)):
        raise UserError(f"{folder / SPLIT}: a patient stands in two splits")
    if unknown := [patient for patient in named if patient not in known]:
        raise UserError(f"{folder / SPLIT}: patient '{unknown[0]}' is not in {DATASET}; run --stage preprocess again")
    parts = {part: split[part] for part in ("train", "val", "test")}
    return Dataset(**{name: arrays[name] for name in ARRAYS}, split=parts, metadata=metadata)


def load_patients(folder: Path, patient_id: NDArray[np.str_]) -> pl.DataFrame | None:
    """patients.csv in ``folder``, a row for each of ``patient_id`` [N]; None for artefacts that have none.

    Raises:
        UserError: it is damaged, or lacks a patient.
    """
    path = folder / PATIENTS.file
    finish_interrupted(folder)
    if not path.is_file():
        return None
    wanted = pl.DataFrame({"patient_id": patient_id.tolist()})
    found = wanted.join(read_table(folder, PATIENTS), on="patient_id", how="left", maintain_order="left")
    if (absent := found["subject_id"].null_count()) > 0:
        first = found.filter(pl.col("subject_id").is_null())["patient_id"][0]
        raise UserError(
            f"{path}: no row for patient_id '{first}' ({absent} such patients); run --stage preprocess again"
        )
    return found
