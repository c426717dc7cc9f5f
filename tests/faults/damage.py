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
    def damage(path: Path) -> None:
        for one in damages:
            one(path)

    return damage


def tabbed(path: Path) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter="\t", lineterminator="\n").writerows(
        csv.reader(io.StringIO(content(path).decode(), newline=""))
    )
    put(path, text.getvalue().encode())


# The faults that any CSV may have, by kind.
LINES = {
    "wrong delimiter": changed(lambda text: text.replace(b",", b";")),
    "tabs for commas": tabbed,
    "byte order mark": changed(lambda text: b"\xef\xbb\xbf" + text),
    "UTF-16": changed(lambda text: text.decode().encode("utf-16")),
    "CRLF line ends": changed(lambda text: text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")),
    "no last line end": changed(lambda text: text.rstrip(b"\n")),
    "blank lines at the end": changed(lambda text: text + b"\n\n"),
    "NUL bytes at the end": changed(lambda text: text + b"\0" * 512),
    "header only": rows(lambda table: table[:1]),
    "no header": rows(lambda table: table[1:]),
    "header twice": rows(lambda table: [*table[:3], table[0], *table[3:]]),
    "duplicated column": rows(lambda table: [[*row, row[0]] for row in table]),
    "column without a name": rows(lambda table: [[*row, "" if n == 0 else "x"] for n, row in enumerate(table)]),
    "extra column": rows(lambda table: [[*row, "remark" if n == 0 else "x"] for n, row in enumerate(table)]),
    "reordered columns": rows(lambda table: [row[::-1] for row in table]),
    "row too long": rows(lambda table: [*table[:2], [*table[2], "x", "y"], *table[3:]]),
    "row too short": rows(lambda table: [*table[:2], table[2][:1], *table[3:]]),
    "cut off in a row": changed(lambda text: text[: len(text) * 2 // 3]),
    "binary": written(bytes(range(256)) * 40),
    "quote left open": changed(lambda text: text.replace(b"\n", b'\n"', 1)),
}
FILES = {
    "emptied": emptied,
    "missing": missing,
    "a folder": a_folder,
    "a link to itself": a_link_to_itself,
}
ARCHIVES = {
    "truncated gzip": halved,
    "not gzip": archived(gzip.decompress),
    "gzip of nothing": written(b""),
    "garbage after the gzip": archived(lambda text: text + b"garbage"),
    "flipped bits": archived(lambda text: text[: len(text) // 2] + bytes(64) + text[len(text) // 2 + 64 :]),
    "two gzip members": archived(lambda text: b"".join(gzip.compress(part) for part in _parts(gzip.decompress(text)))),
    "gzipped twice": archived(gzip.compress),
}


def _parts(text: bytes) -> list[bytes]:
    cut = text.index(b"\n", len(text) // 2) + 1
    return [text[:cut], text[cut:]]
