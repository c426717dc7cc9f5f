"""Labels of outcomes in time: against plain loops over each sample's end, at the window's end and at landmarks."""

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from emerge_ehr import components
from emerge_ehr.config import Config, fill
from emerge_ehr.datasets import sources, timing
from emerge_ehr.datasets.tasks import Task
from emerge_ehr.datasets.timing import DEATH, Timing
from emerge_ehr.fields import Component

HOURS, DAYS = timedelta(hours=1), timedelta(days=1)
END = datetime(2150, 1, 3, 8)  # of the windows
BOUNDS = (24 * HOURS, 48 * HOURS, 168 * HOURS)
WITHIN = Timing(BOUNDS, ("a", "b", "c"), intervals=False)
HAZARDS = Timing(BOUNDS, ("a", "b", "c"), intervals=True)


def cohort_of(ends: list[tuple[datetime, int]], windows: list[datetime] | None = None) -> pl.DataFrame:
    """Samples with the end of each one's stay, and whether it was a death."""
    names = [f"p{n}" for n in range(len(ends))]
    cohort = pl.DataFrame({"patient_id": names, "window_end": windows or [END] * len(ends)})
    rows = [(name, time, DEATH, value) for name, (time, value) in zip(names, ends, strict=True)]
    columns = ["patient_id", "label_time", "label_code", "label_value"]
    return timing.with_ends(cohort, pl.DataFrame(rows, schema=columns, orient="row"))


def drawn(count: int = 300) -> list[tuple[datetime, int]]:
    """Ends at whole hours, some of which fall on a bound."""
    rng = np.random.default_rng(0)
    return [(END + int(rng.integers(1, 200)) * HOURS, int(rng.integers(2))) for _ in range(count)]


def told(labels: timing.LabelArrays) -> list[list[int | None]]:
    return [[int(v) if m else None for v, m in zip(*row, strict=True)] for row in zip(*labels, strict=True)]


def test_death_within_a_horizon_agrees_with_a_plain_loop() -> None:
    ends = drawn()
    expected = [[int(died and END < time <= END + bound) for bound in BOUNDS] for time, died in ends]
    assert told(WITHIN.labels(cohort_of(ends))) == expected
    assert 0 < sum(row[0] for row in expected) < sum(row[2] for row in expected) < len(ends)


def test_the_labels_of_intervals_agree_with_a_plain_loop() -> None:
    expected: list[list[int | None]] = []
    for time, died in (ends := drawn()):
        death: list[int | None] = []
        discharge: list[int | None] = []
        for first, last in zip((0 * HOURS, *BOUNDS), BOUNDS, strict=False):
            here = time > END + first  # still in hospital when the interval begins
            over = time <= END + last
            death.append(int(died and over) if here else None)
            discharge.append(int(over) if here and not (died and over) else None)
        expected.append(death + discharge)
    assert told(HAZARDS.labels(cohort_of(ends))) == expected


def test_a_death_known_by_date_is_put_at_no_hour_of_it() -> None:
    """Of 4 January, while the first horizon is 8 o'clock on that day: it may have been before or after."""
    dead = cohort_of([(datetime(2150, 1, 4, 23, 59, 59), 1)])
    assert told(WITHIN.labels(dead)) == [[None, 1, 1]]
    assert told(HAZARDS.labels(dead)) == [[None, None, None, None, None, None]]
    sure = cohort_of([(datetime(2150, 1, 4, 8), 1), (datetime(2150, 1, 5, 23, 59, 59), 1)])
    assert told(WITHIN.labels(sure)) == [[1, 1, 1], [0, None, 1]]
    assert told(HAZARDS.labels(sure)) == [[1, None, None, None, None, None], [0, None, None, 0, None, None]]
    alive = cohort_of([(datetime(2150, 1, 4, 23, 59, 59), 0)])
    assert told(WITHIN.labels(alive)) == [[0, 0, 0]]
    assert told(HAZARDS.labels(alive)) == [[0, None, None, None, None, None]]


def test_a_death_on_the_day_of_the_windows_end_was_after_it() -> None:
    assert told(WITHIN.labels(cohort_of([(END.replace(hour=23, minute=59, second=59), 1)]))) == [[1, 1, 1]]


def test_what_is_not_known_is_no_survival() -> None:
    nobody = timing.with_ends(
        pl.DataFrame({"patient_id": ["a"], "window_end": [END]}),
        cohort_of([(END, 1)]).select(
            pl.lit("b").alias("patient_id"),
            pl.col("end").alias("label_time"),
            pl.lit(DEATH).alias("label_code"),
            pl.lit(1.0).alias("label_value"),
        ),
    )
    assert told(WITHIN.labels(nobody)) == [[None] * 3] and told(HAZARDS.labels(nobody)) == [[None] * 6]


def stays(*rows: dict[str, Any]) -> pl.DataFrame:
    usual = {"window_end": END, "outtime": END + DAYS, "dischtime": END + 5 * DAYS, "deathtime": None, "died": 0}
    times = dict.fromkeys(("window_end", "outtime", "dischtime", "deathtime"), pl.Datetime("us"))
    table = [{"patient_id": f"stay{n}", **usual, **row} for n, row in enumerate(rows)]
    return pl.DataFrame(table, schema_overrides={**times, "died": pl.Int64})


class Labels:
    """A source with labels of its own."""

    def records(self, kind: str) -> pl.DataFrame:
        rows = [("stay0", END + DAYS, "died", 1.0), ("stay1", END + 2 * DAYS, "died", 0.0), ("stay2", END, "aki", 1.0)]
        return pl.DataFrame(rows, schema=["patient_id", "label_time", "label_code", "label_value"], orient="row")


def test_each_stay_is_recorded_with_its_end_or_counted_with_the_reason() -> None:
    task: Task = components.build("task", Component("death_within", {"hours": [24]}))
    cohort = stays(
        {"died": 1, "deathtime": END + 3 * HOURS},
        {},
        {"died": None},
        {"died": 1},  # without a time: on the day of the discharge
        {"died": 1, "deathtime": datetime(2150, 1, 4, 23, 59, 59)},  # the day on which the only horizon falls
        {"dischtime": None},
    )
    found = task.labels(cohort, Labels())  # type: ignore[arg-type]
    assert dict(found.table.select("patient_id", "label_value").rows()) == {
        "stay0": 1,
        "stay1": 0,
        "stay3": 1,
        "stay5": 0,
    }
    ends = dict(found.table.select("patient_id", "label_time").rows())
    assert ends["stay3"] == datetime(2150, 1, 8, 23, 59, 59) and ends["stay5"] == END + DAYS
    assert found.undefined == {timing.UNKNOWN: ["stay2"], timing.UNDECIDED: ["stay4"]}
    assert not found.warnings
    longer: Task = components.build("task", Component("death_within", {"hours": [24, 48]}))
    both = longer.labels(cohort, Labels())  # type: ignore[arg-type]
    assert both.undefined[timing.UNDECIDED] == [] and "1 of 5 stays ended at a time" in both.warnings[0]


def test_of_a_users_own_tables_the_named_label_tells_who_died() -> None:
    task: Task = components.build("task", Component("death_within", {"given": "died"}))
    found = task.labels(stays({"died": None}, {"died": None}, {"died": None}), Labels())  # type: ignore[arg-type]
    assert found.table["label_code"].unique().to_list() == [DEATH]
    assert dict(found.table.select("patient_id", "label_value").rows()) == {"stay0": 1, "stay1": 0}
    assert found.undefined[timing.UNKNOWN] == ["stay2"]


@pytest.mark.parametrize(
    ("task", "codes"),
    [({"given": "died"}, ("died",)), ({}, ())],
)
def test_the_source_is_asked_for_the_label_that_its_own_tables_have(
    task: dict[str, Any], codes: tuple[str, ...]
) -> None:
    raw = {
        "dataset": "own",
        "run_name": "own",
        "paths": {"raw_dir": "raw"},
        "source": {"name": "tables"},
        "task": {"name": "death_within", **task},
    }
    config: Config = fill(raw, "test")
    assert sources.source_labels(config) == codes
