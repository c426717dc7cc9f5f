"""Raw CSV files: one file per table, ids and times in every usual spelling, and what cannot be read is named."""

import gzip
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from emerge_ehr.datasets.sources._raw.raw_csv import Schema, collect, find, look, read, scan
from emerge_ehr.fields import UserError

COLUMNS: Schema = {"stay_id": pl.Int64, "intime": pl.Datetime}


def put(folder: Path, name: str, text: str) -> None:
    (folder / name).write_bytes(gzip.compress(text.encode()) if name.lower().endswith(".gz") else text.encode())


@pytest.mark.parametrize("other", ["x.csv", "x.CSV.GZ", "X.csv.gz", "X.CSV"])
@pytest.mark.parametrize("text", ["a\n2\n", "a\n1\n2\n", "a\n"])
def test_two_files_of_one_table_are_refused_if_they_differ(tmp_path: Path, other: str, text: str) -> None:
    put(tmp_path, "x.csv.gz", "a\n1\n")
    put(tmp_path, other, text)
    with pytest.raises(UserError) as caught:
        find(tmp_path, "x")
    assert all(name in str(caught.value) for name in ("x.csv.gz", other, "remove")) and "\n" not in str(caught.value)
    put(tmp_path, other, "a\n1\n")
    assert look(tmp_path, "x") is not None


@pytest.mark.parametrize("zone", ["", " UTC", "Z"])
@pytest.mark.parametrize("lazily", [True, False])
def test_ids_and_times_are_read_in_every_usual_spelling(tmp_path: Path, lazily: bool, zone: str) -> None:
    times = [*(f"2150-01-01{time}{zone}" for time in (" 10:00:00", "T10:00", " 10:00:00.0", " 10:00")), ""]
    put(
        tmp_path,
        "x.csv",
        "STAY_ID,INTIME\n" + "".join(f"{n},{t}\n" for n, t in zip((" 1", "02", "3.0", "4", "5"), times, strict=True)),
    )
    path = tmp_path / "x.csv"
    table = collect(scan(path, COLUMNS), path) if lazily else read(path, COLUMNS, key=("stay_id",))
    assert table["stay_id"].to_list() == [1, 2, 3, 4, 5]
    assert table["intime"].to_list() == [datetime(2150, 1, 1, 10)] * 4 + [None]


@pytest.mark.parametrize(
    ("value", "rule"), [("x", "'x' is not a whole number"), ("1.5", "'1.5' is not a whole number")]
)
def test_an_id_that_is_none_is_named_with_its_row(tmp_path: Path, value: str, rule: str) -> None:
    put(tmp_path, "x.csv", f"Stay_Id,intime\n1,\n\n{value},\n")
    path = tmp_path / "x.csv"
    with pytest.raises(UserError, match=rf"x.csv row 4: stay_id {rule}; mend that row"):
        collect(scan(path, COLUMNS), path)


def test_a_row_with_a_comma_too_many_does_not_move_its_values(tmp_path: Path) -> None:
    put(tmp_path, "x.csv", "stay_id,value,valuenum\n1,98,6,98.6\n")
    with pytest.raises(UserError, match=r"x.csv row 2: has 4 fields, its header has 3"):
        scan(tmp_path / "x.csv", {"stay_id": pl.Int64, "valuenum": pl.Float64})


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz"])
@pytest.mark.parametrize("lazily", [True, False])
@pytest.mark.parametrize(("column", "line"), [("café", 1), ("cafe", 3)])
def test_a_file_in_another_encoding_is_refused_with_its_line(
    tmp_path: Path, name: str, lazily: bool, column: str, line: int
) -> None:
    text = f"stay_id,{column}\n1,x\n2,Ménière\n".encode("cp1252")
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    path, columns = tmp_path / name, {"stay_id": pl.Int64, column: pl.String}
    with pytest.raises(
        UserError, match=rf"{name}: .* in line {line} \(byte 0xE9\); save the file as UTF-8 or mend that line$"
    ):
        collect(scan(path, columns), path) if lazily else read(path, columns)


@pytest.mark.parametrize("text", ["NA", "None", "nan", "", " ", "<NA>", "NULL", "inf"])
def test_a_word_for_nothing_is_no_number_and_no_id(tmp_path: Path, text: str) -> None:
    put(tmp_path, "x.csv", f"stay_id,valuenum\n{text if text != 'inf' else ''},{text}\n 7 , 7.4 \n")
    path = tmp_path / "x.csv"
    table = collect(scan(path, {"stay_id": pl.Int64, "valuenum": pl.Float64}), path)
    assert table.rows() == [(None, None), (7, 7.4)]


@pytest.mark.parametrize("text", ["7,35", "high", "1.2.3"])
def test_a_number_that_is_none_is_named_with_its_row(tmp_path: Path, text: str) -> None:
    put(tmp_path, "x.csv", f'stay_id,valuenum\n1,7.4\n2,"{text}"\n')
    path = tmp_path / "x.csv"
    with pytest.raises(UserError, match=rf"x.csv row 3: valuenum '{text}' is not a number \(.*\); mend that row"):
        collect(scan(path, {"valuenum": pl.Float64}), path)
