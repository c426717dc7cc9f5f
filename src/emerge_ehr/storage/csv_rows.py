"""Checks that every row of a CSV has as many fields as its header, and finds the line that is not UTF-8.

Polars fills a row that is too short with nulls, and passes over what is too much unless it reads all columns; a comma in a
text without quotation marks would so move every value of its row into the next column, without a word.
"""

import codecs
import functools
import gzip
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.fields import UserError, plural

# Bytes of the largest archive and plain file that are looked through, which takes some seconds; of larger ones, only the end
ARCHIVE, PLAIN = 1 << 26, 1 << 30
BLOCK = 1 << 18
GZIP, COMPRESSED = (
    b"\x1f\x8b",
    (b"\x28\xb5\x2f\xfd", b"\x78\x01", b"\x78\x9c", b"\x78\xda"),
)  # zstd and zlib, unread here
QUOTE, LINE_END = ord('"'), ord("\n")
Integers = NDArray[np.int64]
AGAIN = "get the file again or mend that row"
AS_UTF8 = "save the file as UTF-8 or mend that line"


@dataclass(frozen=True)
class Ragged:
    """The first row whose number of fields is not its header's, and how many such rows there are.

    ``row`` counts from 1, the header's. ``cut_off``: it is the file's last one, and has no end; ``quoted``: so is it, and a
    quotation mark in it is not closed. ``stray``: a mark within a field that does not begin with one hides commas or line ends.
    """

    row: int
    fields: int
    expected: int
    rows: int
    cut_off: bool = False
    quoted: bool = False
    stray: bool = False


def refuse_ragged(path: Path, separator: str = ",", shown: Path | None = None, remedy: str = AGAIN) -> None:
    """Check that every row has as many fields as the first; blank lines are passed over. Fields may be of any length.

    ``shown`` is named in the message instead of ``path``, where this is a copy.

    A damaged archive passes: the reader itself refuses it.

    Raises:
        UserError: a row has more or fewer, or a quotation mark is not closed.
    """
    state = path.stat()
    found = _ragged(path.absolute(), separator, state.st_size, state.st_mtime_ns)
    if found is None:
        return
    path = shown or path
    if found.stray:
        raise UserError(
            f"{path} row {found.row}: a quotation mark stands within a text that does not begin with one (as in 5'8\"), so that "
            f"its end is unclear; put such texts in quotation marks, and double those within them"
        )
    if found.quoted:
        raise UserError(
            f"{path} row {found.row}: a quotation mark is opened and not closed, or the file is cut off there; {remedy}"
        )
    if found.cut_off:
        raise UserError(f"{path}: cut off: its last line has no end and fewer than {found.expected} fields; {remedy}")
    more = f"; {plural(found.rows, 'such row')}" if found.rows > 1 else ""
    raise UserError(
        f"{path} row {found.row}: has {found.fields} fields, its header has {found.expected} (a text with a comma or a line end "
        f"must be quoted){more}; {remedy}"
    )


def refuse_bare_returns(path: Path) -> None:
    """Check that lines do not end with a carriage return alone, which leaves the file with a header and nothing else.

    Raises:
        UserError: they do.
    """
    try:
        with _opened(path) as file:
            begin = file.readline(BLOCK)
    except (OSError, EOFError, zlib.error):  # which the reader itself refuses
        return
    if b"\r" in begin.rstrip(b"\r\n"):
        raise UserError(
            f"{path}: its lines end with a carriage return alone, as on old Macintoshes; save it as a CSV with the line "
            "ends of Unix or Windows"
        )


def where_not_utf8(path: Path, error: BaseException) -> str:
    """The first line of the file that is not UTF-8, in words that follow those of ``error``; "" if that is about something else.

    The readers do not say where it is. Lines are counted as editors do, from 1, the header's.
    """
    if "utf-8" not in str(error).lower():
        return ""
    line, decoder = 1, codecs.getincrementaldecoder("utf-8")()
    try:
        with _opened(path) as file:
            while True:
                block = file.read(BLOCK)
                decoder.decode(block, final=not block)
                line += block.count(b"\n")
                if not block:
                    return ""
    except UnicodeDecodeError as fault:  # of this block, and what was left of the last one
        line += fault.object[: fault.start].count(b"\n")
        return f" in line {line} (byte 0x{fault.object[fault.start]:02X})"
    except (OSError, EOFError, zlib.error):
        return ""


def _opened(path: Path) -> BinaryIO:
    """The file's bytes, unzipped."""
    with path.open("rb") as file:
        zipped = file.read(len(GZIP)) == GZIP
    return cast("BinaryIO", gzip.open(path, "rb")) if zipped else path.open("rb")


@functools.lru_cache(maxsize=64)
def _ragged(path: Path, separator: str, size: int, changed: int) -> Ragged | None:
    """What is wrong with the file, which is remembered while it stays as it is (``size`` and time of its change)."""
    with path.open("rb") as file:
        magic = file.read(4)
    zipped = magic.startswith(GZIP)
    if magic.startswith(COMPRESSED) or (zipped and size > ARCHIVE):
        return None
    if not zipped and size > PLAIN:
        return _cut_off(path, separator.encode())
    try:
        with _opened(path) as file:
            return _first(file, ord(separator))
    except (OSError, EOFError, zlib.error):
        return None


def _cut_off(path: Path, separator: bytes) -> Ragged | None:
    """Whether the last line of a large file has no end and too few fields; a text in quotation marks passes."""
    with path.open("rb") as file:
        expected = file.readline(BLOCK).count(separator) + 1
        file.seek(-BLOCK, os.SEEK_END)
        last = file.read().rpartition(b"\n")[2]
    fields = last.count(separator) + 1
    short = bool(last.strip()) and last.count(b'"') % 2 == 0 and fields < expected
    return Ragged(0, fields, expected, 1, cut_off=True) if short else None


def _first(file: BinaryIO, separator: int) -> Ragged | None:
    expected, passed, wrong = 0, 0, 0
    first = (0, 0)
    rows = _Rows(separator)
    for fields, blank in rows.read(file):
        if rows.stray is not None and not wrong:
            return Ragged(passed + rows.stray + 1, 0, expected, 1, stray=True)
        expected = expected or int(fields[0])
        bad = np.flatnonzero((fields != expected) & ~blank)
        if len(bad) and not wrong:
            first = (passed + int(bad[0]) + 1, int(fields[bad[0]]))
        wrong += len(bad)
        passed += len(fields)
    if wrong:
        return Ragged(*first, expected, wrong)
    if rows.quoted:
        return Ragged(passed + 1, rows.fields, expected, 1, quoted=True)
    if expected and rows.begun and rows.fields != expected:
        return Ragged(passed + 1, rows.fields, expected, 1, cut_off=rows.fields < expected)
    return None


class _Rows:
    """Counts the fields of a file's rows, block by block.

    ``quoted``: a quotation mark is open where the file ends; ``begun``: the first byte of a row without an end, which has
    ``fields`` so far.
    """

    def __init__(self, separator: int) -> None:
        self.separator = separator
        self.quoted = False
        self.fields = 1
        self.begun = b""
        self.stray: int | None = None
        self.before = LINE_END  # the byte before the block

    def read(self, file: BinaryIO) -> Iterator[tuple[Integers, NDArray[np.bool_]]]:
        """Yield the number of fields of each row that ends in a block, and whether it is a blank line."""
        while block := file.read(BLOCK):
            content = np.frombuffer(block, np.uint8)
            places = np.flatnonzero((content == self.separator) | (content == LINE_END))
            if self.quoted or b'"' in block:
                quotes = np.flatnonzero(content == QUOTE)
                hidden = (np.searchsorted(quotes, places) + self.quoted) % 2 == 1
                stray = self._first_stray(content, quotes, places[hidden])
                places = places[~hidden]
                if stray is not None:
                    self.stray = int((content[places[places < stray]] == LINE_END).sum())
                self.quoted = bool((len(quotes) + self.quoted) % 2)
            self.before = int(content[-1])
            ends = np.flatnonzero(content[places] == LINE_END)
            if not len(ends) and self.stray is None:
                self.fields += len(places)
                self.begun = self.begun or block.strip()[:1]
                continue
            fields = np.diff(ends, prepend=-self.fields)
            stops = places[ends]
            starts = np.concatenate([[0], stops[:-1] + 1])
            blank = np.zeros(len(ends), dtype=bool)
            for row in np.flatnonzero(fields == 1):
                before = self.begun if row == 0 else b""
                blank[row] = not (before + block[starts[row] : stops[row]]).strip()
            yield fields, blank
            self.fields = len(places) - int(ends[-1])
            self.begun = block[stops[-1] + 1 :].strip()[:1]

    def _first_stray(self, content: NDArray[np.uint8], quotes: Integers, hidden: Integers) -> int | None:
        """Where a quotation mark opens within a field, and hides a comma or a line end before the next one; None if nowhere.

        ``hidden``: the places of commas and line ends between two marks.
        """
        opening = quotes[int(self.quoted) :: 2]
        previous = np.where(opening > 0, content[opening - 1], self.before)
        at_start = np.isin(
            previous, [self.separator, LINE_END, *b'\r" \t\xbf']
        )  # the last byte of a mark of byte order
        within = opening[~at_start]
        closing = np.append(quotes, len(content))[np.searchsorted(quotes, within) + 1]
        hides = np.searchsorted(hidden, closing) > np.searchsorted(hidden, within)
        return int(within[hides][0]) if hides.any() else None
