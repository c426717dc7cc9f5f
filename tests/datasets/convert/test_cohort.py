from datetime import datetime, timedelta
from typing import Literal

import polars as pl
import pytest

from emerge_ehr.config import Cohort, Config
from emerge_ehr.datasets import window
from emerge_ehr.datasets.convert.cohort import select, with_windows
from emerge_ehr.datasets.sources import Source, mimic4
from emerge_ehr.datasets.sources._mimic.options import Options

DAY = datetime(2150, 1, 1)


def stays(*rows: tuple[str, str, int, int, int, int]) -> pl.DataFrame:
    """``hadm_id, stay_id``, then hours after ``DAY`` of admission, ICU admission, ICU discharge, discharge."""
    records = [
        {
            "subject_id": "p",
            "hadm_id": hadm,
            "stay_id": stay,
            "age": 50,
            **{
                name: DAY + timedelta(hours=hours)
                for name, hours in zip(("admittime", "intime", "outtime", "dischtime"), times, strict=True)
            },
        }
        for hadm, stay, *times in rows
    ]
    unknown = (pl.lit(None, pl.Datetime("us")).alias(name) for name in ("deathtime", "death"))
    return pl.DataFrame(records).with_columns(unknown)


@pytest.mark.parametrize(
    ("anchor", "window", "expected"),
    [
        ("icu", "first", (10, 34)),
        ("icu", "last", (66, 90)),
        ("icu", "whole", (10, 90)),
        ("hospital", "first", (0, 24)),
        ("hospital", "last", (76, 100)),
        ("hospital", "whole", (0, 100)),
    ],
)
def test_a_window_is_the_first_or_last_hours_or_all_of_its_stay(
    anchor: Literal["icu", "hospital"], window: Literal["first", "last", "whole"], expected: tuple[int, int]
) -> None:
    rule = Cohort(anchor=anchor, window=window, window_hours=24)
    found = with_windows(stays(("h", "s", 0, 10, 90, 100)), rule)
    times = found.select("window_start", "window_end").row(0)
    assert tuple((time - DAY).total_seconds() / 3600 for time in times) == expected
    assert found["patient_id"].item() == ("s" if anchor == "icu" else "h")


@pytest.mark.parametrize("window", ["first", "last"])
def test_a_window_never_leaves_a_short_stay(window: Literal["first", "last"]) -> None:
    found = with_windows(stays(("h", "s", 0, 10, 20, 100)), Cohort(window=window, min_stay_hours=1))
    assert found.select("window_start", "window_end").row(0) == (DAY + timedelta(hours=10), DAY + timedelta(hours=20))


def test_an_admission_is_one_sample_however_many_icu_stays_it_has() -> None:
    table = stays(("h", "late", 0, 60, 90, 100), ("h", "early", 0, 10, 30, 100), ("i", "other", 200, 210, 230, 290))
    kept, flow = select(table, Cohort(anchor="hospital"))
    assert kept.select("patient_id", "stay_id").rows() == [("h", "early"), ("i", "other")]
    assert {step.reason: step.dropped_stays for step in flow}["later ICU stay of the same admission"] == 1


@pytest.mark.parametrize("window", ["last", "whole"])
def test_a_window_to_the_end_ends_with_a_death_before_the_discharge(window: Literal["last", "whole"]) -> None:
    table = stays(("h", "s", 0, 10, 90, 100)).with_columns(pl.lit(DAY + timedelta(hours=80)).alias("deathtime"))
    found = with_windows(table, Cohort(window=window))
    assert found["window_end"].item() == DAY + timedelta(hours=80)


def test_unknown_ages_are_out_unless_every_age_is_in() -> None:
    table = stays(("h", "s", 0, 10, 90, 100)).with_columns(pl.lit(None, pl.Int64).alias("age"))
    assert select(table, Cohort())[0].is_empty()
    assert select(table, Cohort(min_age=0))[0].height == 1


def test_the_hospital_anchor_takes_the_demos_measurements_before_the_icu_too(demo_config: Config) -> None:
    source: Source = mimic4.build(Options(), raw_dir=demo_config.raw_dir, kg_dir=demo_config.kg_dir, seed=0)
    cohort = select(source.stays().table, Cohort(anchor="hospital", window="whole"))[0].with_row_index("n")
    assert cohort["hadm_id"].is_unique().all()
    parts = source.measurements(cohort, "hadm_id")
    (chart, labs) = (window.measurements(part.frame, cohort).collect() for part in parts)
    for events in (chart, labs):
        timed = events.drop_nulls("event_time").join(cohort, on="n")
        assert timed.filter(~pl.col("event_time").is_between("admittime", "dischtime")).is_empty()
        assert timed.filter(pl.col("event_time") < pl.col("intime")).height
