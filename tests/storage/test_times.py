"""Times as tables and raw files write them, against Python's own reader."""

from collections.abc import Sequence
from datetime import UTC, datetime

import polars as pl
import pytest

from emerge_ehr.storage.times import parse_time, strict_time, unread_time

READ = [
    "2154-04-24 23:03:44",
    "2154-04-24T23:03:44",
    " 2154-04-24 23:03:44 ",
    "2154-04-24 23:03",
    "2154-04-24T23:03",
    "2154-04-24 23:03:44.5",
    "2154-04-24T23:03:44.000000",
    "2154-04-24T23:03:44.123456Z",
    "2154-04-24 23:03:44Z",
    "2154-04-24 23:03:44+00:00",
    "2154-04-24 23:03:44-00:00",
    "2154-04-24T23:03+0000",
    "2154-04-24",
    "0001-01-01 00:00:00",
    "9999-12-31 23:59:59",
]
NAMED = ["2154-04-24 23:03:44 UTC", "2154-04-24 23:03:44.000000 UTC", "2154-04-24 23:03:44utc", "2154-04-24 23:03 GMT"]
UNREAD = [
    "2154-04-24 23:03:44+02:00",
    "2154-04-24T23:03:44-05:00",
    "2154-04-24 23:03:44 CET",
    "54-04-24 23:03:44",
    "12154-04-24 23:03:44",
    "-2154-04-24 23:03:44",
    "0000-01-01 00:00:00",
    "0000-00-00 00:00:00",
    "2154-02-30 10:00:00",
    "2154-04-24 25:03:44",
    "2154/04/24 23:03:44",
    "04/24/2154 23:03",
    "24.04.2154",
    "1700000000",
    "23:03:44",
    "noon",
]


def parsed(texts: Sequence[str | None]) -> list[datetime | None]:
    return pl.DataFrame({"t": texts}, schema={"t": pl.String}).select(parse_time("t")).to_series().to_list()


def test_every_usual_way_to_write_a_time_is_read_as_python_reads_it() -> None:
    expected = [datetime.fromisoformat(text.strip()) for text in READ]
    assert [parsed([text])[0] for text in READ] == [
        time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time for time in expected
    ]
    assert parsed(NAMED) == [datetime(2154, 4, 24, 23, 3, 44)] * 3 + [datetime(2154, 4, 24, 23, 3)]


def test_another_zone_and_all_else_is_no_time_rather_than_a_shifted_one() -> None:
    assert parsed(UNREAD) == [None] * len(UNREAD)
    table = pl.DataFrame({"t": [*UNREAD, *READ, *NAMED, "", " ", None]})
    assert table.select(unread_time("t").sum()).item() == len(UNREAD)


@pytest.mark.parametrize("text", UNREAD)
def test_a_query_over_a_large_file_fails_at_what_is_no_time(text: str) -> None:
    rows = pl.LazyFrame({"charttime": ["2154-04-24 23:03:44", None, "", text]})
    with pytest.raises(pl.exceptions.InvalidOperationError, match="failed in column 'charttime'"):
        rows.with_columns(strict_time("charttime").alias("event_time")).collect(engine="streaming")
    kept = rows.head(3).select(strict_time("charttime")).collect(engine="streaming")
    assert kept.to_series().to_list() == [datetime(2154, 4, 24, 23, 3, 44), None, None]
