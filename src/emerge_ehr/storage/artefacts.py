"""Reads and checks single artefact files, writes them under a temporary name and renames them, and computes checksums.

Tables have a module of their own (``table_files``), and so do sets of files that must appear together (``publishing``).
"""

import errno
import fcntl
import glob
import hashlib
import json
import math
import os
import platform
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from threading import Thread
from typing import Any

from emerge_ehr.fields import UserError, printable


def require_writable(folder: Path) -> None:
    """Check before the work starts that its results can be written into ``folder``.

    Raises:
        UserError: no file can be created in ``folder``, or in the nearest folder above it that exists.
    """
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(f"{nearest}: not a folder to write into; mend its permissions or set another one in [paths]")


def require_output(output: Path, runs: Sequence[Path], inputs: Sequence[Path] = ()) -> None:
    """Check before the work starts that ``output`` can be written and would replace none of the files in ``runs`` or ``inputs``.

    ``runs`` are run folders, ``inputs`` are the tables to read.

    Raises:
        UserError: it cannot be written, or would replace one of these files.
    """
    if output.suffix != ".csv" or output.is_dir():
        raise UserError(f"--output {output}: not a file name ending in .csv; choose one")
    require_writable(output.parent)
    place = output.resolve()
    for run in runs:
        if run.resolve() in place.parents:
            raise UserError(f"--output {output}: lies in {run}, whose own files it could replace; choose another")
    if place in [path.resolve() for path in inputs]:
        raise UserError(f"--output {output}: is one of the tables to read; choose another")


def require_output_folder(output: Path, others: Sequence[Path], own: str) -> None:
    """Check before the work starts that ``output`` can become a folder of results, and that nothing else is kept there.

    ``others``: run folders and folders of tables. ``own``: a file by which a folder of such results is known; only that may be
    replaced.

    Raises:
        UserError: it is a file, holds other files, lies in one of the ``others`` or around it, or cannot be written.
    """
    if output.exists() and not output.is_dir():
        raise UserError(f"--output {output}: is a file, and a folder is needed; choose another name")
    place = output.resolve()
    for folder in (folder.resolve() for folder in others):
        if place == folder or folder in place.parents or place in folder.parents:
            raise UserError(f"--output {output}: lies in {folder} or around it; choose another folder")
    there = [path.name for path in output.iterdir() if not path.name.startswith(".")] if output.is_dir() else []
    if there and own not in there:
        raise UserError(f"--output {output}: holds other files, such as {min(there)}; choose an empty or a new folder")
    require_writable(output)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add ``path`` to an ``OSError`` that names no file, as when a write meets a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            text = error.strerror or first_line(error)
            raise OSError(error.errno or errno.EIO, text, str(path)) from error
        raise


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to, which is renamed to ``path`` when the block ends without an error.

    Several processes may do this for the same ``path`` at once; each has a temporary path of its own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path)
    aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        with naming(path), aside.open("xb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield aside
            aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _remove_abandoned(path: Path) -> None:
    """Remove the temporary files for ``path`` that killed processes left behind: no process holds a lock on them."""
    for aside in path.parent.glob(f"{glob.escape(path.name)}.*.part"):
        with suppress(OSError), aside.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            aside.unlink()


def write_json(path: Path, value: Any) -> None:
    """Write sorted, indented JSON; NaN is refused."""
    path.write_text(json.dumps(value, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n", "utf-8")


def read_json(path: Path, made_by: str) -> Any:
    """The JSON in ``path``.

    Raises:
        UserError: it is missing (the message names the stage that makes it) or cannot be read.
    """
    try:
        return parse_json(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run --stage {made_by} first") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({first_line(error)}); run --stage {made_by} again") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; remove it and run --stage {made_by} again") from None


def parse_json(text: str) -> Any:
    """Parse JSON as strictly as the standard demands; Python's own parser also accepts NaN and repeated keys.

    Raises:
        ValueError: the text is not JSON, a number is not finite, or an object has the same key twice.
        RecursionError: the value is nested too deeply.

    >>> parse_json('{"a": NaN}')
    Traceback (most recent call last):
        ...
    ValueError: NaN is not a finite number
    """
    return json.loads(text, parse_constant=_finite, parse_float=_finite, object_pairs_hook=_object)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is not a finite number")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} stands twice")
    return members


def checksum(path: Path, algorithm: str = "sha256") -> str:
    """The file's checksum in hexadecimal; the file is read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def checksums(folder: Path) -> dict[str, str]:
    """The checksum of every file in ``folder``, by the file's path relative to it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): checksum(path) for path in files}


def hashes(paths: Sequence[Path], known: Mapping[Path, str] | None = None) -> dict[str, str]:
    """The SHA-256 of each file, by its name and the name of its folder, so that a manifest does not depend on where the data lie.

    Where these names would be the same for two files, more of the path is taken. Files whose hash is in ``known`` are not read.
    """
    depth = 2
    while len({path.parts[-depth:] for path in paths}) < len(set(paths)):
        depth += 1
    known = known or {}
    return {"/".join(path.parts[-depth:]): known.get(path) or checksum(path) for path in paths}


def hashing(paths: Sequence[Path]) -> Callable[[], dict[str, str]]:
    """Start ``hashes`` in a background thread, which ends with the process. The returned function waits for the result."""
    outcome: Future[dict[str, str]] = Future()

    def work() -> None:
        try:
            outcome.set_result(hashes(paths))
        except OSError as error:
            outcome.set_exception(error)

    Thread(target=work, daemon=True).start()
    return outcome.result


def refuse_changed(folder: Path, recorded: dict[str, str], made_by: str) -> None:
    """Compare the files in ``folder`` with the checksums that were ``recorded`` when they were made (file name -> SHA-256).

    Raises:
        UserError: a file is missing, damaged, or comes from another run.
    """
    for name, expected in recorded.items():
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise UserError(
                f"{folder}: its record names {name!r}, which is not a file of it; run --stage {made_by} again"
            )
        if not (folder / name).is_file():
            raise UserError(f"{folder / name}: missing; run --stage {made_by} again")
        if checksum(folder / name) != expected:
            raise UserError(
                f"{folder / name}: changed since --stage {made_by} wrote it together with its record; run that stage again"
            )


def versions(libraries: Sequence[str]) -> dict[str, str]:
    """The versions of Python and of ``libraries``, for manifests."""
    return {"python": platform.python_version(), **{name: version(name) for name in libraries}}


def first_line(error: BaseException) -> str:
    """The first line of an error's message, for one-line reports."""
    return printable((str(error).strip() or type(error).__name__).splitlines()[0])[:300]
