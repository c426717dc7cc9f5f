"""Keeps the knowledge graph on disk in a form that opens fast: Arrow tables under ``<cache_dir>/kg/<key>/``, made once.

The key is a hash of the two files' content and of ``FORMAT``. An index that does not fit its own checksums is made again.
Processes take turns, so that one makes the index and the others open it.
"""

import fcntl
import hashlib
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import polars as pl

from emerge_ehr.fields import UserError
from emerge_ehr.graphs.primekg import files as primekg_files
from emerge_ehr.graphs.primekg.files import GraphTables
from emerge_ehr.storage import artefacts, known_hashes, publishing

log = logging.getLogger(__name__)
FORMAT = 2  # raise it whenever ``primekg_files`` reads the same files differently
MANIFEST = "index.json"
PARTS = tuple(part.name for part in fields(GraphTables))


def open_or_make(features: Path, edges: Path, cache: Path) -> tuple[GraphTables, list[str]]:
    """The graph in the two files, from its index in ``cache`` if there is one; and the files' SHA-256.

    Raises:
        UserError: a file is damaged, or the folder ``cache`` cannot be made.
    """
    paths = (features, edges)
    if not cache.is_dir():
        artefacts.require_writable(cache)
        cache.mkdir(parents=True, exist_ok=True)
    memory = cache / "hashes.json"
    with _turn(cache):
        hashes = known_hashes.recall(memory, paths)
        tables = _open(cache / _key(hashes)) if hashes else None
        if hashes and tables:
            return tables, hashes
        log.info("knowledge graph: indexing %s", edges)
        hashing = known_hashes.hashing(memory, paths)
        tables = primekg_files.read(features, edges)
        hashes = hashing()
        if _open(cache / _key(hashes)) is None:
            try:
                _write(tables, cache / _key(hashes))
            except (OSError, pl.exceptions.PolarsError) as error:
                log.warning(
                    "knowledge graph: the index cannot be written to %s, so the next run makes it again (%s)",
                    cache,
                    error,
                )
        return tables, hashes


def write_copy(tables: GraphTables, inputs: Mapping[str, str], folder: Path) -> None:
    """Write the index into ``folder``, to be opened by ``open_copy``. ``inputs``: the graph's files with their SHA-256."""
    folder.mkdir(parents=True)
    record = _write_tables(tables, folder)
    artefacts.write_json(folder / MANIFEST, record | {"inputs": dict(inputs)})


def open_copy(folder: Path) -> tuple[GraphTables, dict[str, str]]:
    """The graph that ``write_copy`` wrote into ``folder``, and the files of which it was made with their SHA-256.

    Raises:
        UserError: a file is missing or damaged.
    """
    record = artefacts.read_json(folder / MANIFEST, "export")
    try:
        artefacts.refuse_changed(
            folder, {f"{part}.arrow": record["files"][f"{part}.arrow"] for part in PARTS}, "export"
        )
        return GraphTables(*(pl.read_ipc(folder / f"{part}.arrow") for part in PARTS)), dict(record["inputs"])
    except (KeyError, TypeError, pl.exceptions.PolarsError) as error:
        raise UserError(
            f"{folder}: not a graph's index ({artefacts.first_line(error)}); export the run again"
        ) from None


def _key(hashes: list[str]) -> str:
    return hashlib.sha256(f"{FORMAT} {' '.join(hashes)}".encode()).hexdigest()[:32]


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """A block that only one process at a time can enter. The lock is on the folder itself, and ends with the process."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(tables: GraphTables, folder: Path) -> None:
    with publishing.publish(folder) as incoming:
        artefacts.write_json(incoming / MANIFEST, _write_tables(tables, incoming))


def _write_tables(tables: GraphTables, folder: Path) -> dict[str, Any]:
    """Write the tables; returns the record of them."""
    for part in PARTS:
        # The oldest form of texts: the bytes of the newer one depend on the order in which threads write them.
        getattr(tables, part).write_ipc(folder / f"{part}.arrow", compat_level=pl.CompatLevel.oldest())
    return {
        "format": FORMAT,
        "files": {f"{part}.arrow": artefacts.checksum(folder / f"{part}.arrow") for part in PARTS},
    }


def _open(folder: Path) -> GraphTables | None:
    """The index in ``folder``; None if there is none, or if it was damaged, in which case it is removed."""
    if not folder.is_dir():
        return None
    try:
        publishing.finish_interrupted(folder)
        recorded = artefacts.read_json(folder / MANIFEST, "preprocess")["files"]
        artefacts.refuse_changed(folder, {f"{part}.arrow": recorded[f"{part}.arrow"] for part in PARTS}, "preprocess")
        return GraphTables(*(pl.read_ipc(folder / f"{part}.arrow") for part in PARTS))
    except (UserError, KeyError, TypeError, pl.exceptions.PolarsError, OSError) as error:
        log.warning("knowledge graph: the index in %s is damaged and is made again (%s)", folder, error)
        shutil.rmtree(folder, ignore_errors=True)
        return None
