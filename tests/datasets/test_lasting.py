"""What lasts, by the hour, against a loop over every minute."""

import random
from datetime import datetime, timedelta

import polars as pl
import pytest

from emerge_ehr.datasets.sources._raw import lasting

START = datetime(2150, 1, 1, 7, 20)
LENGTH = 9  # hours of the window


@pytest.mark.parametrize("seed", range(5))
def test_the_hours_of_random_infusions_equal_a_loop_over_minutes(seed: int) -> None:
    rng = random.Random(seed)
    cohort = pl.DataFrame(
        {"n": [0, 1], "window_start": [START] * 2, "window_end": [START + timedelta(hours=LENGTH)] * 2},
        schema_overrides={"n": pl.UInt32},
    )
    periods = []
    for _ in range(8):
        begun = START + timedelta(minutes=rng.randrange(-300, 700))
        periods.append(
            (0, "drug", begun, begun + timedelta(minutes=rng.randrange(1, 400)), rng.choice((0.1, 0.2, 0.5)))
        )
    schema = {
        "n": pl.UInt32,
        "code": pl.String,
        "start": pl.Datetime("us"),
        "end": pl.Datetime("us"),
        "value": pl.Float64,
    }
    frame = pl.LazyFrame(periods, schema=schema, orient="row").with_columns(pl.col("start").alias("told"))
    charted = pl.LazyFrame({"n": [0], "code": ["drug"], "told": [START]}, schema_overrides={"n": pl.UInt32})
    rows = lasting.hourly(frame, cohort, charted).collect()
    assert (
        set(rows["n"]) == {0}
        and rows["event_time"].is_between(START, START + timedelta(hours=LENGTH), closed="left").all()
    )
    for hour in range(LENGTH):
        since = START + timedelta(hours=hour)
        minutes = [since + timedelta(minutes=minute) for minute in range(60)]
        running = [value for _, _, start, end, value in periods if any(start <= minute < end for minute in minutes)]
        own = rows.filter(pl.col("event_time").is_between(since, since + timedelta(hours=1), closed="left"))
        assert own["value"].max() == max(running, default=0.0), hour
