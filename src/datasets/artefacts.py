"""The only reader and writer of artefacts: checked on the way in, written aside and renamed on the way out.

``publish`` makes a set of files appear together. They are written into ``.incoming``; once complete the folder is renamed
``.publishing`` (atomic) and its files are moved into place. A run killed before the rename leaves the old files as they
were; one killed after it is finished by the next reader or writer of the folder.
"""

import fcntl
import hashlib
import json
import os
import platform
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from src.config import UserError
from src.datasets.schema import DATASET, METADATA, NOTE_TOKENS, SPLIT, SUMMARY_TOKENS, Table

INCOMING, PUBLISHING = ".incoming", ".publishing"
TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
RULES = {"text": "is empty", "number": "is not a number", "time": "is not a time (YYYY-MM-DD HH:MM:SS)"}
Floats = NDArray[np.float32]


@contextmanager
def publish(folder: Path) -> Iterator[Path]:
    """A folder to write into; its files appear in ``folder`` together when the block ends well, and not at all otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        finish_interrupted(folder)
        incoming = folder / INCOMING
        shutil.rmtree(incoming, ignore_errors=True)
        incoming.mkdir()
        try:
            yield incoming
            for path in incoming.rglob("*"):
                if path.is_file():
                    _flush_to_disk(path)
            incoming.rename(folder / PUBLISHING)
        except BaseException:
            shutil.rmtree(incoming, ignore_errors=True)
            if not any(folder.iterdir()):
                folder.rmdir()
            raise
        finish_interrupted(folder)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Nobody else publishes into ``folder`` meanwhile; the lock is on the folder itself and ends with the process."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise UserError(f"{folder}: another run is writing there; wait for it, or choose another folder") from None
    finally:
        os.close(descriptor)


def require_writable(folder: Path) -> None:
    """Say before the work, not after it, that its results cannot be written.

    Raises:
        UserError: ``folder``, or the nearest folder above it that exists, takes no files.
    """
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(f"{nearest}: not a folder to write into; mend its permissions or set another one in [paths]")


def finish_interrupted(folder: Path) -> None:
    """Move into place what an interrupted ``publish`` had already completed."""
    publishing = folder / PUBLISHING
    if not publishing.is_dir():
        return
    for path in sorted(publishing.rglob("*")):
        if path.is_file():
            target = folder / path.relative_to(publishing)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
    shutil.rmtree(publishing)


def _flush_to_disk(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to; it takes the place of ``path`` when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.part")
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Sorted, indented JSON; NaN is refused."""
    path.write_text(json.dumps(value, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n", "utf-8")


def read_json(path: Path, made_by: str) -> Any:
    """The JSON in ``path``.

    Raises:
        UserError: it is missing (the message names the stage that makes it) or is not JSON.
    """
    finish_interrupted(path.parent)
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run --stage {made_by} first") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not JSON ({error}); run --stage {made_by} again") from None


def checksum(path: Path, algorithm: str = "sha256") -> str:
    """The file's checksum in hexadecimal, streamed."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def hashes(paths: Sequence[Path], known: Mapping[Path, str] | None = None) -> dict[str, str]:
    """File name (with its folder's, more where two are alike) -> SHA-256: a manifest does not depend on where the data lie.

    What is in ``known`` already is not read.
    """
    depth = 2
    while len({path.parts[-depth:] for path in paths}) < len(set(paths)):
        depth += 1
    known = known or {}
    return {"/".join(path.parts[-depth:]): known.get(path) or checksum(path) for path in paths}


def hashing(paths: Sequence[Path]) -> Callable[[], dict[str, str]]:
    """Start ``hashes`` in the background; the result is what the returned function waits for. Ends with the process."""
    outcome: Future[dict[str, str]] = Future()

    def work() -> None:
        try:
            outcome.set_result(hashes(paths))
        except OSError as error:
            outcome.set_exception(error)

    Thread(target=work, daemon=True).start()
    return outcome.result


def refuse_changed(folder: Path, recorded: dict[str, str], made_by: str) -> None:
    """Compare files with the checksums that were recorded when they were made: name in ``folder`` -> SHA-256.

    Raises:
        UserError: a file is missing, damaged, or of another run.
    """
    for name, expected in recorded.items():
        if not (folder / name).is_file():
            raise UserError(f"{folder / name}: missing; run --stage {made_by} again")
        if checksum(folder / name) != expected:
            raise UserError(
                f"{folder / name}: changed since --stage {made_by} wrote it together with its record; run that stage again"
            )


def versions(libraries: Sequence[str]) -> dict[str, str]:
    """The versions of Python and of ``libraries``, for manifests."""
    return {"python": platform.python_version(), **{name: version(name) for name in libraries}}


def write_table(table: pl.DataFrame, path: Path) -> None:
    """CSV with the project's time format."""
    table.write_csv(path, datetime_format=TIME_FORMAT)


def scan_table(folder: Path, table: Table) -> pl.LazyFrame:
    """The table in ``folder``, lazily, its columns typed: null where a field is empty or unreadable (``read_table`` says where).

    Raises:
        UserError: missing file or column.
    """
    finish_interrupted(folder)
    path = folder / table.file
    if not path.is_file():
        raise UserError(f"{path}: missing; run --stage {table.stage}, or put your own table there")
    try:
        raw = pl.scan_csv(path, infer_schema=False, null_values="")
        present = raw.collect_schema().names()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _not_csv(path, error) from None
    missing = [column.name for column in table.columns if column.name not in present]
    if missing:
        raise UserError(f"{path}: no column '{missing[0]}'; it has: {', '.join(present)}")
    return raw.with_columns(_cast(column.name, column.kind) for column in table.columns)


def collect_table(frame: pl.LazyFrame, path: Path) -> pl.DataFrame:
    """What a query over ``scan_table`` finds, in streaming mode.

    Raises:
        UserError: the file is damaged.
    """
    try:
        return frame.collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise _not_csv(path, error) from None


def read_table(folder: Path, table: Table) -> pl.DataFrame:
    """The table in ``folder``, typed and checked against its schema.

    Raises:
        UserError: missing file or column, an empty or unreadable field (with its row), a duplicate key.
    """
    path = folder / table.file
    typed = collect_table(scan_table(folder, table), path)
    raw = collect_table(pl.scan_csv(path, infer_schema=False, null_values=""), path)
    for column in table.columns:
        text, value = raw[column.name], typed[column.name]
        bad = value.is_null() & (text.is_not_null() | (not column.nullable))
        _refuse(path, column.name, text, bad, f"{RULES[column.kind]} ({column.meaning})")
        if column.low is not None and column.high is not None:
            outside = (value < column.low) | (value > column.high)
            _refuse(path, column.name, text, outside, f"is outside {column.low:g}-{column.high:g} ({column.meaning})")
        if column.choices:
            other = value.is_not_null() & ~value.is_in(list(column.choices))
            _refuse(path, column.name, text, other, f"is not one of {', '.join(column.choices)}")
    if table.key and typed.select(table.key).is_duplicated().any():
        row = typed.select(table.key).is_duplicated().arg_true()[0]
        raise UserError(
            f"{path} row {row + 2}: {' and '.join(table.key)} {typed.select(table.key).row(row)} stands twice"
        )
    return typed


def _not_csv(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: not a readable CSV: {first_line(error)}")


def _cast(name: str, kind: str) -> pl.Expr:
    if kind == "number":
        number = pl.col(name).str.strip_chars().cast(pl.Float64, strict=False)
        return pl.when(number.is_finite()).then(number).alias(name)
    if kind == "time":
        return parse_time(name)
    return pl.col(name)


def parse_time(name: str) -> pl.Expr:
    """Text -> Datetime; seconds and the ``T`` separator are optional, a bare date is midnight; null where unreadable."""
    text = pl.col(name).str.strip_chars().str.replace("T", " ", literal=True)
    first = text.str.to_datetime(TIME_FORMAT, strict=False, time_unit="us")
    rest = pl.when(first.is_null()).then(text)  # nearly nothing: three more attempts at every row would be slow
    formats = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M")
    times = [rest.str.to_datetime(form, strict=False, time_unit="us") for form in formats]
    return pl.coalesce(first, *times, rest.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime("us"))).alias(name)


def _refuse(path: Path, column: str, text: pl.Series, bad: pl.Series, rule: str) -> None:
    bad = bad.fill_null(value=False)
    if bad.any():
        row = bad.arg_true()[0]
        raise UserError(f"{path} row {row + 2}: {column} {text[row]!r} {rule}; {bad.sum()} such rows")


def first_line(error: BaseException) -> str:
    """The first line of an error's message, for one-line reports."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


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
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run --stage {made_by} first") from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise UserError(f"{path}: not a readable npz ({first_line(error)}); run --stage {made_by} again") from None


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
