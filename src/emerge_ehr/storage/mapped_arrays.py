"""Memory-maps arrays, read-only: ``.npy`` files, and the members of an uncompressed ``.npz``.

Pages that were read count as this process's memory until ``release`` gives them back; they are read from disk again when they
are needed again.
"""

import mmap
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.fields import UserError
from emerge_ehr.storage.artefacts import first_line

# The errors that NumPy and zipfile raise for files that are damaged, encrypted, or claim to be larger than any memory.
UNREADABLE = (
    ValueError,
    OSError,
    EOFError,
    zipfile.BadZipFile,
    AttributeError,
    MemoryError,
    RuntimeError,
    struct.error,
)
BLOCK = 2**26  # bytes per block of rows
LOCAL_HEADER = (
    30  # bytes before the name of a zip member (APPNOTE.TXT 4.3.7); at 26: the lengths of name and extra field
)
ENCRYPTED = 1  # bit of a zip member's flags


def why_unreadable(error: BaseException) -> str:
    """Why an array cannot be read; for pickles in words of our own, since NumPy's message advises to load them."""
    reason = first_line(error)
    return "it holds pickled objects, which are never read" if "pickle" in reason else reason


def map_array(path: Path, made_by: str) -> NDArray[Any]:
    """Memory-map the array of an ``.npy`` file; pickles are refused.

    Raises:
        UserError: the file is missing, truncated, or not an npy.
    """
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run --stage {made_by} first") from None
    except UNREADABLE as error:
        # An array without elements cannot be mapped, and need not be.
        if (empty := _empty_array(path)) is not None:
            return empty
        raise UserError(f"{path}: not a readable npy ({why_unreadable(error)}); run --stage {made_by} again") from None
    return array


def _empty_array(path: Path) -> NDArray[Any] | None:
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    except UNREADABLE:
        return None
    return None if array.size else array


def map_arrays(path: Path, made_by: str, *, inspect: bool = True) -> dict[str, NDArray[Any]]:
    """Memory-map the arrays of an npz; with ``inspect``, every member is read once to compare its checksum.

    Raises:
        UserError: the file is missing, truncated, or not an npz; a member is pickled, compressed, encrypted or damaged.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            arrays = {info.filename.removesuffix(".npy"): _member(file, path, info) for info in archive.infolist()}
            if inspect and (damaged := archive.testzip()):
                raise ValueError(f"its member {damaged!r} is damaged")
            return arrays
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run --stage {made_by} first") from None
    except UNREADABLE as error:
        raise UserError(f"{path}: not a readable npz ({why_unreadable(error)}); run --stage {made_by} again") from None


def _member(file: IO[bytes], path: Path, info: zipfile.ZipInfo) -> NDArray[Any]:
    """Memory-map the array of one member, which is stored in ``path`` without compression."""
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & ENCRYPTED:
        raise ValueError(f"its member {info.filename!r} is compressed or encrypted, and cannot be mapped")
    file.seek(info.header_offset)
    lengths = struct.unpack("<2H", file.read(LOCAL_HEADER)[26:])
    begin = info.header_offset + LOCAL_HEADER + sum(lengths)
    file.seek(begin)
    shape, by_columns, kind = _header(file)
    if kind.hasobject:
        raise ValueError(f"its member {info.filename!r} is a pickle")
    data_start, size = file.tell(), kind.itemsize
    for length in shape:
        size *= length
    if size != begin + info.file_size - data_start:
        raise ValueError(
            f"its member {info.filename!r} has {info.file_size} bytes, which its shape {shape} does not fit"
        )
    order: Any = "F" if by_columns else "C"
    if not size:
        return np.zeros(shape, kind, order)
    return np.asarray(np.memmap(path, kind, "r", data_start, shape, order))


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read an array's header: its shape, whether it is stored by columns, and its type."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"its format {version} holds no plain arrays")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    header: tuple[tuple[int, ...], bool, np.dtype[Any]] = read(file)
    return header


def release(array: NDArray[Any]) -> None:
    """Give back the memory of the pages that were read of a mapped array; an array in memory is left as it is."""
    owner: Any = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, mmap.mmap):
        owner.madvise(mmap.MADV_DONTNEED)


def blocks(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield the array's rows in blocks, so that the memory in use is bounded however large the array is."""
    rows = max(1, BLOCK * len(array) // max(1, array.nbytes))
    for at in range(0, len(array), rows):
        yield array[at : at + rows]
        release(array)
