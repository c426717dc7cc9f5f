"""Ways to damage a file. Each function gives a damage: it takes the file's path and leaves it as a user might find it one day.

A file whose name ends in ``.gz`` is opened and closed again around the change, unless the damage is of the archive itself.
"""

import csv
import gzip
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

Damage = Callable[[Path], object]
Rows = list[list[str]]


def content(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def put(path: Path, text: bytes) -> None:
    path.write_bytes(gzip.compress(text, compresslevel=1) if path.suffix == ".gz" else text)


def changed(edit: Callable[[bytes], bytes]) -> Damage:
    """The bytes of the text."""

    def damage(path: Path) -> None:
        before = content(path)
        after = edit(before)
        assert after != before, "nothing was damaged"
        put(path, after)

    return damage


def text(old: str, new: str | bytes) -> Damage:
    """The first ``old`` of a text replaced."""
    return changed(lambda before: before.replace(old.encode(), new if isinstance(new, bytes) else new.encode(), 1))


def archived(edit: Callable[[bytes], bytes]) -> Damage:
    """The bytes as they lie on the disk."""

    def damage(path: Path) -> None:
        before = path.read_bytes()
        after = edit(before)
        assert after != before, "nothing was damaged"
        path.write_bytes(after)

    return damage


def rows(edit: Callable[[Rows], Rows]) -> Damage:
    """The fields of a CSV, the header first."""

    def damage(path: Path) -> None:
        before = list(csv.reader(io.StringIO(content(path).decode(), newline="")))
        after = edit([list(row) for row in before])
        assert after != before, "nothing was damaged"
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(after)
        put(path, text.getvalue().encode())

    return damage


def cell(column: str, value: str, row: int = 0) -> Damage:
    """One field; ``row`` 0 is the first below the header."""

    def edit(table: Rows) -> Rows:
        table[row + 1][table[0].index(column)] = value
        return table

    return rows(edit)


def column(name: str, edit: Callable[[str], str]) -> Damage:
    """Every field of a column."""

    def whole(table: Rows) -> Rows:
        at = table[0].index(name)
        for row in table[1:]:
            row[at] = edit(row[at])
        return table

    return rows(whole)


def without(name: str) -> Damage:
    def edit(table: Rows) -> Rows:
        at = table[0].index(name)
        return [row[:at] + row[at + 1 :] for row in table]

    return rows(edit)


def renamed(name: str, other: str) -> Damage:
    return rows(lambda table: [[other if field == name else field for field in table[0]], *table[1:]])


def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def missing(path: Path) -> None:
    path.unlink()


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def written(text: str | bytes) -> Damage:
    """Something else altogether."""
    return lambda path: put(path, text.encode() if isinstance(text, str) else text) and None


def replaced_by(other: str) -> Damage:
    """The file of that name beside it."""

    def damage(path: Path) -> None:
        shutil.copyfile(path.parent / other, path)

    return damage


def swapped_with(other: str) -> Damage:
    def damage(path: Path) -> None:
        ours, theirs = path.read_bytes(), (path.parent / other).read_bytes()
        path.write_bytes(theirs)
        (path.parent / other).write_bytes(ours)

    return damage


def record(edit: Callable[[Any], Any]) -> Damage:
    """What a JSON file holds; ``edit`` changes it in place or gives another."""

    def damage(path: Path) -> None:
        value = json.loads(path.read_text())
        other = edit(value)
        path.write_text(json.dumps(value if other is None else other))

    return damage


def parquet(edit: Callable[[pl.DataFrame], pl.DataFrame]) -> Damage:
    """A table in parquet."""
    return lambda path: edit(pl.read_parquet(path)).write_parquet(path)


def both(*damages: Damage) -> Damage:
    """One damage after the other."""

    def damage(path: Path) -> None:
        for each in damages:
            each(path)

    return damage
