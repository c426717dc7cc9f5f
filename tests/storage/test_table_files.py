"""The table of measurements as a CSV or in parts of parquet: the same rows from either, and what is refused."""

import shutil
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from emerge_ehr.config import TableFormat
from emerge_ehr.fields import UserError
from emerge_ehr.storage import table_files
from emerge_ehr.storage.schema import DYNAMIC, NOTES, STATIC

START = datetime(2150, 1, 1)
NAMES = [column.name for column in DYNAMIC.columns]


def rows_of(patient: int, count: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "patient_id": [f"3{patient:03d}"] * count,
            "event_time": [START + timedelta(minutes=7 * n) for n in range(count)],
            "code": [("heart_rate", "glucose")[n % 2] for n in range(count)],
            "value": [patient + n / 8 for n in range(count)],
        },
        schema_overrides={"event_time": pl.Datetime("us")},
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five patients in three parts."""
    monkeypatch.setattr(table_files, "PART", 20)
    with table_files.appending(tmp_path, DYNAMIC, "parquet") as append:
        for patient in range(5):
            append(rows_of(patient, 12))
    return tmp_path


def test_parts_hold_whole_patients_and_the_rows_of_the_csv(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("csv")
    with table_files.appending(other, DYNAMIC, "csv") as append:
        for patient in range(5):
            append(rows_of(patient, 12))
    parts = table_files.files(folder, DYNAMIC)
    assert [path.name for path in parts] == ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    assert table_files.files(other, DYNAMIC) == [other / "dynamic.csv"]
    patients = [set(pl.read_parquet(path)["patient_id"]) for path in parts]
    assert sum(len(some) for some in patients) == 5 == len(set[str]().union(*patients))
    assert pl.read_parquet(parts[0]).schema == pl.Schema(
        {"patient_id": pl.String, "event_time": pl.Datetime("us"), "code": pl.String, "value": pl.Float64}
    )
    assert table_files.read_table(folder, DYNAMIC).equals(table_files.read_table(other, DYNAMIC))


def test_the_same_rows_give_the_same_bytes(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    again = tmp_path_factory.mktemp("again")
    with table_files.appending(again, DYNAMIC, "parquet") as append:
        for patient in range(5):
            append(rows_of(patient, 12))
    for one, other in zip(table_files.files(folder, DYNAMIC), table_files.files(again, DYNAMIC), strict=True):
        assert one.read_bytes() == other.read_bytes()


STORED: dict[str, pl.Expr] = {
    "ids as whole numbers": pl.col("patient_id").cast(pl.Int64),
    "codes as categories": pl.col("code").cast(pl.Categorical),
    "times as text": pl.col("event_time").dt.strftime("%Y-%m-%dT%H:%M"),
    "times in nanoseconds": pl.col("event_time").cast(pl.Datetime("ns")),
    "values in single precision": pl.col("value").cast(pl.Float32),
}


@pytest.mark.parametrize("how", STORED)
def test_a_users_own_parts_may_store_the_columns_otherwise_and_each_in_its_own_way(folder: Path, how: str) -> None:
    before = table_files.read_table(folder, DYNAMIC)
    part = table_files.files(folder, DYNAMIC)[1]
    table = pl.read_parquet(part).with_columns(STORED[how], remark=pl.lit("x"))
    table.select(reversed(table.columns)).write_parquet(part.with_name("more.parquet"))
    part.unlink()
    (part.parent / "_SUCCESS").touch()
    (part.parent / ".part-00001.parquet.crc").touch()
    assert table_files.read_table(folder, DYNAMIC).sort(pl.all()).equals(before.sort(pl.all()))


def test_a_day_is_its_midnight_and_whole_numbers_are_values(tmp_path: Path) -> None:
    (tmp_path / "dynamic").mkdir()
    table = pl.DataFrame({"patient_id": ["1"], "event_time": [date(2150, 1, 2)], "code": ["x"], "value": [3]})
    table.write_parquet(tmp_path / "dynamic/a.parquet")
    assert table_files.read_table(tmp_path, DYNAMIC).rows() == [("1", datetime(2150, 1, 2), "x", 3.0)]


def rewritten(edit: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[Path], object]:
    return lambda part: edit(pl.read_parquet(part)).write_parquet(part)


def cell(name: str, value: object, row: int = 3) -> Callable[[Path], object]:
    at = pl.int_range(pl.len()) == row
    return rewritten(lambda t: t.with_columns(pl.when(at).then(pl.lit(value)).otherwise(name).alias(name)))


def with_text_times(text: str) -> Callable[[Path], object]:
    texts = rewritten(lambda t: t.with_columns(pl.col("event_time").dt.strftime("%Y-%m-%d %H:%M:%S")))
    return lambda part: (texts(part), cell("event_time", text)(part))


def zeroed(part: Path) -> None:
    """Some bytes of the data."""
    part.write_bytes(part.read_bytes()[:60] + bytes(200) + part.read_bytes()[260:])


def with_zone(table: pl.DataFrame) -> pl.DataFrame:
    return table.with_columns(pl.col("event_time").dt.replace_time_zone("Europe/Berlin"))


def stored(**kinds: type[pl.DataType]) -> Callable[[Path], object]:
    return rewritten(lambda table: table.cast(dict(kinds)))


def beyond(table: pl.DataFrame) -> pl.DataFrame:
    """Milliseconds that Polars cannot turn into microseconds."""
    number = pl.when(pl.int_range(pl.len()) == 3).then(2**62).otherwise(pl.col("event_time").dt.timestamp("ms"))
    return table.with_columns(number.cast(pl.Datetime("ms")).alias("event_time"))


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut off": (lambda p: p.write_bytes(p.read_bytes()[:-40]), r": not a readable parquet file: .*mend it"),
    "damaged inside": (zeroed, "not a readable parquet"),
    "empty": (lambda p: p.write_bytes(b""), "not a readable parquet file"),
    "a CSV": (lambda p: p.write_text("patient_id,event_time,code,value\n"), "not a readable parquet file"),
    "a folder": (lambda p: (p.unlink(), p.mkdir()), r"not a \*\.parquet file.*move it elsewhere"),
    "a broken link": (lambda p: (p.unlink(), p.symlink_to("nowhere")), r"not a \*\.parquet file.*move it elsewhere"),
    "no column": (rewritten(lambda t: t.drop("code")), "no column 'code'; it has: patient_id, event_time, value"),
    "value as text": (stored(value=pl.String), "value is stored as String; it must be a number"),
    "time as a number": (stored(event_time=pl.Int64), "event_time is stored as Int64; it must be a time"),
    "ids as floats": (stored(patient_id=pl.Float64), "patient_id is stored as Float64; it must be text"),
    "a time zone": (rewritten(with_zone), "event_time is stored as "),
    "null": (cell("value", None), r" row 4: value is empty .*fill in or remove 1 such row"),
    "NaN": (cell("value", float("nan")), r" row 4: value 'NaN' is not a number"),
    "too large": (cell("value", 1e300), r" row 4: value '1e\+300' is not a number"),
    "no code": (cell("code", ""), r" row 4: code is empty"),
    "blank patient": (cell("patient_id", " "), r" row 4: patient_id is empty"),
    "not a time": (with_text_times("noon"), r" row 4: event_time 'noon' is not a time"),
    "a time beyond all years": (rewritten(beyond), r" row 4: event_time '4611686018427387904' is not a time"),
    "no time": (cell("event_time", None), r" row 4: event_time is empty"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_in_a_part_is_one_line_that_names_it(folder: Path, kind: str) -> None:
    damage, told = WRONG[kind]
    part = table_files.files(folder, DYNAMIC)[1]
    damage(part)
    with pytest.raises(UserError, match=told) as caught:
        table_files.read_table(folder, DYNAMIC)
    assert str(caught.value).startswith(str(part)) and "\n" not in str(caught.value)


def test_damage_that_is_met_while_reading_names_the_part(folder: Path) -> None:
    part = table_files.files(folder, DYNAMIC)[2]
    zeroed(part)
    rows, where = table_files.scan_table(folder, DYNAMIC), folder / "dynamic"
    for read in (table_files.collect_table, lambda rows, where: list(table_files.batches(rows, where))):
        with pytest.raises(UserError, match=r"part-00002.parquet: not a readable parquet file"):
            read(rows, where)


def test_a_folder_with_anything_else_or_nothing_is_refused(folder: Path) -> None:
    (folder / "dynamic" / "notes.txt").touch()
    with pytest.raises(UserError, match=r"notes.txt: not a \*.parquet file"):
        table_files.scan_table(folder, DYNAMIC)
    shutil.rmtree(folder / "dynamic")
    with pytest.raises(UserError, match=r"dynamic.csv: missing; run --stage convert"):
        table_files.scan_table(folder, DYNAMIC)
    (folder / "dynamic").mkdir()
    with pytest.raises(UserError, match=r"dynamic: holds no \*.parquet file"):
        table_files.scan_table(folder, DYNAMIC)


@pytest.mark.parametrize("other", ["file", "broken link"])
def test_csv_and_parts_at_once_are_refused(folder: Path, other: str) -> None:
    csv = folder / "dynamic.csv"
    csv.touch() if other == "file" else csv.symlink_to("nowhere")
    for read in (table_files.scan_table, table_files.read_table, table_files.files):
        with pytest.raises(
            UserError, match=r"dynamic.csv: stands beside dynamic/, which holds the same table in parts; remove"
        ):
            read(folder, DYNAMIC)


def test_a_csv_in_another_encoding_says_the_line(tmp_path: Path) -> None:
    text = "patient_id,note_time,note_type,text\n1,,n,plain\n2,,n,Ménière\n"
    (tmp_path / "notes.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"notes.csv: .* in line 3 \(byte 0xE9\); it must be UTF-8"):
        table_files.read_table(tmp_path, NOTES)


def test_a_csv_says_the_row_and_how_many_there_are(tmp_path: Path) -> None:
    (tmp_path / "static.csv").write_text("patient_id,age,sex\n1,60,F\n2,121,M\n3,-1,M\n4,sixty,M\n")
    with pytest.raises(UserError, match=r"static.csv row 5: age 'sixty' is not a number .*; mend 1 such row"):
        table_files.read_table(tmp_path, STATIC)
    (tmp_path / "static.csv").write_text("patient_id,age,sex\n1,60,F\n2,121,M\n3,-1,M\n")
    with pytest.raises(UserError, match=r"static.csv row 3: age '121' is outside 0-120 .*; mend 2 such rows"):
        table_files.read_table(tmp_path, STATIC)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(("form", "file"), [("csv", "dynamic.csv"), ("parquet", "dynamic/part-00000.parquet")])
def test_a_full_disk_is_said_as_of_any_other_file(tmp_path: Path, form: TableFormat, file: str) -> None:
    (tmp_path / "dynamic.csv").symlink_to("/dev/full")
    with (
        pytest.raises(OSError, match="No space left on device"),
        table_files.appending(tmp_path, DYNAMIC, form) as append,
    ):
        if form == "parquet":
            (tmp_path / file).symlink_to("/dev/full")
        append(rows_of(1, 100))
