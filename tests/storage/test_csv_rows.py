"""The number of fields in every row, against Python's csv module."""

import csv
import gzip
import io
import random
from pathlib import Path

import pytest

from emerge_ehr.fields import UserError
from emerge_ehr.storage import csv_rows
from emerge_ehr.storage.csv_rows import refuse_ragged, where_not_utf8
from tests.places import SHARED

LONG = "A long text, with commas,\nlines and quotes. " * 6000  # twice what Python's csv module reads as a field


def written(rows: list[list[str]], separator: str = ",") -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, lineterminator="\n").writerows(rows)
    return text.getvalue()


def random_rows(draw: random.Random, count: int) -> list[list[str]]:
    def field() -> str:
        return "".join(draw.choice(["a", "b", ",", '"', "\n", "\r\n", " ", ""]) for _ in range(draw.randrange(6)))

    return [[f"x{field()}", field(), field(), field()] for _ in range(count)]


@pytest.mark.parametrize("seed", range(20))
def test_a_row_too_long_or_too_short_is_named_and_whole_files_pass(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(seed)
    monkeypatch.setattr(csv_rows, "BLOCK", draw.randrange(1, 50))
    rows = [["a", "b", "c", "d"], *random_rows(draw, 30)]
    path = tmp_path / "whole.csv"
    path.write_text(written(rows), newline="")
    refuse_ragged(path)
    wrong = sorted(draw.sample(range(1, len(rows)), 3))
    for row in wrong:
        rows[row] = rows[row] + ["more"] if draw.random() < 0.5 else rows[row][:2]
    path = tmp_path / "ragged.csv"
    path.write_text(written(rows), newline="")
    found = list(csv.reader(io.StringIO(path.read_text(), newline="")))
    assert [len(row) != 4 for row in found].index(True) == wrong[0]
    with pytest.raises(
        UserError, match=rf"ragged.csv row {wrong[0] + 1}: has \d fields, its header has 4 .*; 3 such rows"
    ):
        refuse_ragged(path)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("end", ["", "\n"])
def test_a_last_text_may_be_of_any_length_with_or_without_a_line_end(tmp_path: Path, zipped: bool, end: str) -> None:
    path = tmp_path / ("notes.csv.gz" if zipped else "notes.csv")
    content = (written([["id", "text"], ["1", LONG]]).rstrip("\n") + end).encode()
    path.write_bytes(gzip.compress(content) if zipped else content)
    refuse_ragged(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b,c\n1,2,3\n4,5", "cut off: its last line has no end and fewer than 3 fields"),
        ("a,b,c\n1,2,3\n4,5,6,7", "row 3: has 4 fields"),
        ('a,b,c\n1,2,3\n4,5,"open', "row 3: a quotation mark is opened and not closed, or the file is cut off there"),
        ("a,b,c\n1,2,3,\n4,5,6,\n", "row 2: has 4 fields, its header has 3 .*; 2 such rows"),
        ("a,b,c\n1,2,3\n4,5\n6,7,8,9\n", "row 3: has 2 fields, .*; 2 such rows"),
    ],
)
def test_files_that_are_cut_off_or_shifted_are_refused(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=rf"x.csv:? {expected}"):
        refuse_ragged(path)


NAMES = 'id,name\n1,Ménière\n2,"a\nb – c"\n'.encode()  # with characters of two and three bytes


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("text", "line", "byte"),
    [
        (NAMES + b"3,Sjogren\n4,Sj\xf6gren\n5,x\n", 6, "F6"),
        (NAMES + b"3,Chagas\x92 disease", 5, "92"),
        (NAMES + b"3,cut off \xe2\x80", 5, "E2"),
        (b"id,na\xefve\n" + NAMES, 1, "EF"),
        (NAMES.decode().encode("utf-16"), 1, "FF"),
        (NAMES, 0, ""),
    ],
)
def test_the_line_that_is_not_utf_8_is_found_whatever_the_blocks(
    tmp_path: Path, zipped: bool, text: bytes, line: int, byte: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(gzip.compress(text) if zipped else text)
    expected = f" in line {line} (byte 0x{byte})" if line else ""
    for size in (1, 2, 7, 1000):
        monkeypatch.setattr(csv_rows, "BLOCK", size)
        assert where_not_utf8(path, ValueError("invalid utf-8 sequence")) == expected
        assert where_not_utf8(path, ValueError("a field is too long")) == ""


def test_blank_lines_and_other_line_ends_are_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"\xef\xbb\xbfa,b\r\n\r\n1,2\r\n\n   \n3,4\r\n\r\n")
    refuse_ragged(path)


def test_a_file_that_was_mended_is_looked_at_again(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1\n")
    with pytest.raises(UserError):
        refuse_ragged(path)
    path.write_text("a,b\n1,2\n")
    refuse_ragged(path)


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"there are no real data at {SHARED}")
def test_no_real_file_is_refused() -> None:
    paths = sorted(SHARED.rglob("*.csv*"))
    assert paths
    for path in paths:
        refuse_ragged(path)


def test_of_a_file_too_large_to_be_looked_through_the_end_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_rows, "PLAIN", 100)
    monkeypatch.setattr(csv_rows, "BLOCK", 50)
    path = tmp_path / "x.csv"
    path.write_text("a,b,c\n" + "1,2,3\n" * 40 + "1,2")
    with pytest.raises(UserError, match=r"x.csv: cut off: its last line has no end and fewer than 3 fields"):
        refuse_ragged(path)
    path.write_text("a,b,c\n" + "1,2,3\n" * 40 + "1,2,3")
    refuse_ragged(path)


@pytest.mark.parametrize("block", [7, 1 << 18])
@pytest.mark.parametrize("after", ["3,5'8\",z", '3,z,z\n4,a"b,z'])
def test_inches_in_two_rows_do_not_hide_the_rows_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, after: str
) -> None:
    monkeypatch.setattr(csv_rows, "BLOCK", block)
    path = tmp_path / "x.csv"
    path.write_text(f'id,height,more\n1,"a ""b"", c",z\n2,5\'8",z\n{after}\n5,z,z\n')
    with pytest.raises(UserError, match=r"x.csv row 3: a quotation mark stands within a text"):
        refuse_ragged(path)


def test_quotation_marks_that_hide_nothing_pass(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('\ufeff"id",text\n1,he said "so"\n2,"she ""said"", so"\n3, "a, b"\n')
    refuse_ragged(path)
