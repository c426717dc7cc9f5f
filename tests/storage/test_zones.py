"""Times of one column go by one clock: a zone beside times without one is refused, wherever the rows are."""

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from emerge_ehr.fields import UserError
from emerge_ehr.storage import table_files, zones
from emerge_ehr.storage.schema import DYNAMIC, NOTES
from emerge_ehr.storage.times import parse_time, strict_time

BARE, ZONED = "2150-01-02 03:04:05", "2150-01-02 03:04:05Z"
ROWS = pl.DataFrame({"patient_id": ["1", "2"], "code": "ph", "value": 7.4})


@pytest.mark.parametrize("reader", [parse_time, strict_time])
@pytest.mark.parametrize("zoned", [ZONED, "2150-01-02 03:04+00", "2150-01-02T03:04:05.5 UTC", "2150-01-02 03:04-00"])
def test_a_query_over_a_large_file_fails_where_one_late_time_states_a_zone(
    tmp_path: Path, reader: type[pl.Expr], zoned: str
) -> None:
    path = tmp_path / "charted.csv"
    texts = ["", "2150-01-02", *[BARE] * 300_000, zoned]
    pl.DataFrame({"n": range(len(texts)), "CHARTTIME": texts}).write_csv(path)
    rows = pl.scan_csv(path, infer_schema=False).rename({"CHARTTIME": "charttime"})
    with pytest.raises(pl.exceptions.ComputeError) as caught:
        rows.select(reader("charttime")).collect(engine="streaming")
    told = str(zones.mixed(path, caught.value))
    assert told.startswith(
        f"{path}: charttime has times with a zone (row 300004: '{zoned}') and times without one (row 4: '{BARE}'); it is unknown"
    )
    assert rows.head(300_002).select(reader("charttime").count()).collect(engine="streaming").item() == 300_001


def test_times_that_all_state_the_zone_are_read_and_dates_and_words_state_none() -> None:
    texts = [ZONED, "2150-01-02T03:04:05 UTC", "2150-01-02 03:04:05+00:00", "2150-01-02", "NA", "", None]
    read = pl.DataFrame({"time": texts}).select(parse_time("time")).to_series().to_list()
    assert read == [*[datetime(2150, 1, 2, 3, 4, 5)] * 3, datetime(2150, 1, 2), None, None, None]


@pytest.mark.parametrize("table", ["dynamic", "notes"])
def test_a_table_of_a_users_own_is_refused_with_a_row_of_each_kind(tmp_path: Path, table: str) -> None:
    times = pl.Series([ZONED, BARE])
    if table == "dynamic":
        ROWS.with_columns(times.alias("event_time")).write_csv(tmp_path / "dynamic.csv")
    else:
        notes = {"patient_id": ["1", "2"], "note_time": times, "note_type": "note", "text": "a\nb"}
        pl.DataFrame(notes).write_csv(tmp_path / "notes.csv")
    told = rf"has times with a zone \(row 2: '{ZONED}'\) and times without one \(row 3: '{BARE}'\)"
    with pytest.raises(UserError, match=told) as caught:
        table_files.read_table(tmp_path, DYNAMIC if table == "dynamic" else NOTES)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["texts of one part", "texts of two parts", "types"])
def test_parts_of_parquet_are_refused_too(tmp_path: Path, kind: str) -> None:
    parts = tmp_path / DYNAMIC.parts
    parts.mkdir()
    texts = ROWS.with_columns(pl.Series("event_time", [BARE, ZONED]))
    if kind == "texts of one part":
        texts.write_parquet(parts / "a.parquet")
    elif kind == "texts of two parts":
        texts.head(1).write_parquet(parts / "a.parquet")
        texts.tail(1).write_parquet(parts / "b.parquet")
    else:
        time = ROWS.with_columns(pl.lit(datetime(2150, 1, 2)).alias("event_time"))
        time.write_parquet(parts / "a.parquet")
        time.with_columns(pl.col("event_time").dt.replace_time_zone("UTC")).write_parquet(parts / "b.parquet")
    told = (
        "times with a zone"
        if kind == "texts of one part"
        else r"event_time of .*b.parquet \(.*\) states a zone, and .*a.parq"
    )
    with pytest.raises(UserError, match=told):
        table_files.read_table(tmp_path, DYNAMIC)


def test_two_tables_that_go_by_two_clocks_are_refused(tmp_path: Path) -> None:
    ROWS.with_columns(pl.lit(ZONED).alias("event_time")).write_csv(tmp_path / "dynamic.csv")
    notes = {"patient_id": ["1"], "note_time": [BARE], "note_type": "note", "text": "a"}
    pl.DataFrame(notes).write_csv(tmp_path / "notes.csv")
    with pytest.raises(
        UserError, match=r"event_time of .*dynamic.csv \('.*Z'\) states a zone, and note_time of .* none; it"
    ):
        table_files.refuse_two_clocks(tmp_path, (DYNAMIC, NOTES))
    pl.DataFrame({**notes, "note_time": "2150-01-02"}).write_csv(tmp_path / "notes.csv")
    table_files.refuse_two_clocks(tmp_path, (DYNAMIC, NOTES))
