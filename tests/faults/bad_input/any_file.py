"""Faults that any file may have, with what comes of them in most files; a file that differs says so where it is listed."""

import csv
import gzip
import io
from pathlib import Path

from tests.faults.bad_input.damage import (
    a_folder,
    a_link_to_itself,
    archived,
    changed,
    content,
    emptied,
    halved,
    missing,
    put,
    rows,
    written,
)
from tests.faults.bad_input.fault import SAME, Cases, refused


def tabbed(path: Path) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter="\t", lineterminator="\n").writerows(
        csv.reader(io.StringIO(content(path).decode(), newline=""))
    )
    put(path, text.getvalue().encode())


def _parts(text: bytes) -> list[bytes]:
    cut = text.index(b"\n", len(text) // 2) + 1
    return [text[:cut], text[cut:]]


ANY_CSV: Cases = {
    "wrong delimiter": (changed(lambda text: text.replace(b",", b";")), refused("no column 'patient_id'")),
    "tabs for commas": (tabbed, refused("no column 'patient_id'")),
    "byte order mark": (changed(lambda text: b"\xef\xbb\xbf" + text), SAME),
    "UTF-16": (
        changed(lambda text: text.decode().encode("utf-16")),
        refused("not a readable CSV: 'utf-8' codec can't decode byte"),
    ),
    "CRLF line ends": (changed(lambda text: text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")), SAME),
    "no last line end": (changed(lambda text: text.rstrip(b"\n")), SAME),
    "blank lines at the end": (changed(lambda text: text + b"\n\n"), SAME),
    "NUL bytes at the end": (
        changed(lambda text: text + b"\0" * 512),
        refused("cut off: its last line has no end and fewer than 16 fields"),
    ),
    "header only": (rows(lambda table: table[:1]), refused("has a header and no rows")),
    "no header": (rows(lambda table: table[1:]), refused("no column 'patient_id'")),
    "header twice": (
        rows(lambda table: [*table[:3], table[0], *table[3:]]),
        refused("row 4: subject_id 'subject_id' is not a whole number"),
    ),
    "duplicated column": (
        rows(lambda table: [[*row, row[0]] for row in table]),
        refused("two columns are named 'patient_id'"),
    ),
    "column without a name": (rows(lambda table: [[*row, "" if n == 0 else "x"] for n, row in enumerate(table)]), SAME),
    "extra column": (rows(lambda table: [[*row, "remark" if n == 0 else "x"] for n, row in enumerate(table)]), SAME),
    "reordered columns": (rows(lambda table: [row[::-1] for row in table]), SAME),
    "row too long": (
        rows(lambda table: [*table[:2], [*table[2], "x", "y"], *table[3:]]),
        refused("row 3: has"),
    ),
    "row too short": (rows(lambda table: [*table[:2], table[2][:1], *table[3:]]), refused("row 3: has 1 fields")),
    "cut off in a row": (
        changed(lambda text: text[: len(text) * 2 // 3].rpartition(b",")[0]),
        refused("cut off: its last line has no end and fewer than 16 fields"),
    ),
    "binary": (written(bytes(range(256)) * 40), refused("no column 'patient_id'")),
    "quote left open": (
        changed(lambda text: text.replace(b"\n", b'\n"', 1)),
        refused("row 2: a quotation mark"),
    ),
}
ANY_FILE: Cases = {
    "emptied": (emptied, refused("empty")),
    "missing": (missing, refused("missing")),
    "a folder": (a_folder, refused("missing")),
    "a link to itself": (a_link_to_itself, refused("missing")),
}
ANY_GZIP: Cases = {
    "truncated gzip": (halved, refused("cannot be read: unexpected end of file")),
    "not gzip": (archived(gzip.decompress), refused("not a readable CSV")),
    "gzip of nothing": (written(b""), refused("empty")),
    "garbage after the gzip": (
        archived(lambda text: text + b"garbage"),
        refused("cannot be read: unexpected end of file"),
    ),
    "flipped bits": (
        archived(lambda text: text[: len(text) // 2] + bytes(64) + text[len(text) // 2 + 64 :]),
        refused("cannot be read: corrupt gzip stream does not have a matching checksum"),
    ),
    "two gzip members": (
        archived(lambda text: b"".join(gzip.compress(part) for part in _parts(gzip.decompress(text)))),
        SAME,
    ),
    "gzipped twice": (archived(gzip.compress), refused("not a readable CSV: 'utf-8' codec can't decode byte")),
}
