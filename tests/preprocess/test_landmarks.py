"""A stay as several samples: each has what was known by its landmark, and nothing later; a person's samples stay together."""

import dataclasses
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from emerge_ehr import config as configs
from emerge_ehr.datasets import timing
from emerge_ehr.datasets.timing import Timing
from emerge_ehr.fields import UserError
from emerge_ehr.preprocess.inputs import landmarks
from emerge_ehr.preprocess.inputs.tables import CheckedTables
from emerge_ehr.signals import hourly as tensors

START = datetime(2150, 1, 1, 8, 30)
LENGTHS = {"a": 48, "b": 30, "c": 5, "d": 12}  # hours of each stay's window
HOURS = (6, 12, 24, 48)
SPLIT = {"train": ["a", "b"], "val": ["c"], "test": ["d"]}


@pytest.fixture
def tables() -> CheckedTables:
    generator = np.random.default_rng(0)
    rows = [(stay, f"s{stay}", START, START + timedelta(hours=length)) for stay, length in LENGTHS.items()]
    columns = ["patient_id", "subject_id", "window_start", "window_end"]
    cohort = pl.DataFrame(rows, schema=columns, orient="row").with_columns(positive=pl.Series([1, 0, 0, 1]))
    value = generator.normal(size=(4, 48, 2)).astype(np.float32)
    length = np.array(list(LENGTHS.values()))
    value[np.arange(48)[None, :] >= length[:, None]] = np.nan
    notes = [
        (stay, START + timedelta(hours=hour), "Progress", f"{stay} at {hour}")
        for stay, length in LENGTHS.items()
        for hour in (-2, 0, 5, 6, 11, 23, 24, 40)
        if hour < length
    ]
    notes += [("a", None, "Progress", "a untimed"), ("a", START + timedelta(days=9), "surrogate", "a surrogate")]
    written = pl.DataFrame(notes, schema=["patient_id", "note_time", "note_type", "text"], orient="row")
    label = np.array([[1.0], [0.0], [0.0], [1.0]], dtype=np.float32)
    series = tensors.Hourly(value, length, ("x", "y"))
    return CheckedTables(cohort, (), series, written, ("died",), label, np.ones_like(label), {}, [])


def test_a_stay_gives_a_sample_at_each_landmark_that_it_reaches(tables: CheckedTables) -> None:
    expanded, split = landmarks.expand(tables, SPLIT, HOURS)
    wanted = [f"{stay}@{hour:02d}h" for stay, length in LENGTHS.items() for hour in HOURS if hour <= length]
    assert expanded.cohort["patient_id"].to_list() == wanted == sorted(wanted)
    assert split == {
        part: [name for name in wanted if landmarks.stay_of(name) in stays] for part, stays in SPLIT.items()
    }
    assert [landmarks.hour_of(name) for name in wanted] == expanded.cohort["landmark"].to_list()


def test_each_sample_has_what_was_known_by_its_hour_and_its_stays_outcome(tables: CheckedTables) -> None:
    expanded, _ = landmarks.expand(tables, SPLIT, HOURS)
    stays = list(LENGTHS)
    for n, name in enumerate(expanded.cohort["patient_id"]):
        stay, hour = stays.index(landmarks.stay_of(name)), landmarks.hour_of(name)
        kept = np.full((48, 2), np.nan, np.float32)
        kept[:hour] = tables.hourly.value[stay, :hour]
        np.testing.assert_array_equal(expanded.hourly.value[n], kept)
        assert expanded.hourly.length[n] == hour
        assert expanded.label[n] == tables.label[stay] and expanded.label_mask[n] == 1
        assert expanded.cohort["window_end"][n] == START + timedelta(hours=hour)
        told = expanded.notes.filter(pl.col("patient_id") == name)["text"].to_list()
        known = [
            text
            for who, time, kind, text in tables.notes.rows()
            if who == stays[stay] and (time is None or kind == "surrogate" or time < START + timedelta(hours=hour))
        ]
        assert sorted(told) == sorted(known)


def test_an_outcome_in_time_is_counted_from_the_landmark(tables: CheckedTables) -> None:
    """Stay a dies 50 hours after it began, c after 5, d leaves alive after 20, and of b only the day is known."""
    ends = {"a": (50, 1), "c": (5, 1), "d": (20, 0)}
    rows = [(stay, START + timedelta(hours=hour), value) for stay, (hour, value) in ends.items()]
    rows += [("b", datetime(2150, 1, 2, 23, 59, 59), 1)]
    written = pl.DataFrame(rows, schema=["patient_id", "label_time", "label_value"], orient="row")
    times = Timing((timedelta(hours=24), timedelta(hours=48)), ("one", "two"), intervals=False)
    timed = dataclasses.replace(
        tables, cohort=timing.with_ends(tables.cohort, written.with_columns(label_code=pl.lit(timing.DEATH)))
    )
    expanded, _ = landmarks.expand(timed, SPLIT, HOURS, times)
    found = {
        name: [int(value) if known else None for value, known in zip(*of, strict=True)]
        for name, *of in zip(expanded.cohort["patient_id"], expanded.label, expanded.label_mask, strict=True)
    }
    assert found == {
        "a@06h": [0, 1],
        "a@12h": [0, 1],
        "a@24h": [0, 1],
        "a@48h": [1, 1],
        "b@06h": [None, 1],  # hours 15.5 to 39.5 of the stay
        "b@12h": [None, 1],
        "b@24h": [1, 1],
        "d@06h": [0, 0],
        "d@12h": [0, 0],
    }


def test_what_comes_after_a_landmark_does_not_change_its_sample(tables: CheckedTables) -> None:
    before, _ = landmarks.expand(tables, SPLIT, HOURS)
    value = tables.hourly.value.copy()
    value[0, 12:] += 5
    later = pl.DataFrame(
        [("a", START + timedelta(hours=12), "Progress", "new")], schema=tables.notes.schema, orient="row"
    )
    changed = dataclasses.replace(
        tables, hourly=dataclasses.replace(tables.hourly, value=value), notes=pl.concat([tables.notes, later])
    )
    after, _ = landmarks.expand(changed, SPLIT, HOURS)
    for n, name in enumerate(before.cohort["patient_id"]):
        same = np.array_equal(before.hourly.value[n], after.hourly.value[n], equal_nan=True)
        own = pl.col("patient_id") == name
        alike = before.notes.filter(own).equals(after.notes.filter(own))
        assert (same, alike) == ((False, False) if name in ("a@24h", "a@48h") else (True, True))


def test_longer_bins_are_cut_at_the_landmark(tables: CheckedTables) -> None:
    value = tables.hourly.value[:, ::6]
    binned = tensors.Hourly(value, -(-tables.hourly.length // 6), ("x", "y"), bin_hours=6)
    expanded, _ = landmarks.expand(dataclasses.replace(tables, hourly=binned), SPLIT, HOURS)
    assert expanded.hourly.length.tolist() == [landmarks.hour_of(name) // 6 for name in expanded.cohort["patient_id"]]
    np.testing.assert_array_equal(np.isnan(expanded.hourly.value[0])[:, 0], [False] + [True] * 7)


def test_samples_without_a_measurement_by_then_are_told(tables: CheckedTables) -> None:
    value = tables.hourly.value.copy()
    value[0, :12] = np.nan
    series = dataclasses.replace(tables.hourly, value=value)
    expanded, _ = landmarks.expand(dataclasses.replace(tables, hourly=series), SPLIT, HOURS)
    assert expanded.warnings == ["2 of 9 samples have no measurement before their landmark"]


@pytest.mark.parametrize(
    ("cohort", "told"),
    [
        ("landmarks = [6, 48]", "min_stay_hours = 48 is above the first landmark"),
        ("min_stay_hours = 6\nlandmarks = [6, 72]", "window_hours to the last landmark, 72"),
        ("min_stay_hours = 6\nlandmarks = [12, 6]", "must ascend"),
        ("min_stay_hours = 6\nlandmarks = [6, 6]", "must ascend"),
        ('min_stay_hours = 6\nwindow = "whole"\nlandmarks = [6]', "set cohort.window = 'first'"),
        ("min_stay_hours = 6\nbin_hours = 4\nlandmarks = [6, 8]", "hour 6 is not at the end of a step"),
        ("min_stay_hours = 6\nlandmarks = [0]", "landmarks"),
    ],
)
def test_landmarks_that_do_not_fit_are_refused_in_one_line(tmp_path: Path, cohort: str, told: str) -> None:
    file = tmp_path / "run.toml"
    file.write_text(
        'dataset = "d"\nrun_name = "r"\n[paths]\nraw_dir = "raw"\nkg_dir = "kg"\n[source]\nname = "synthetic"\n'
        f"[cohort]\n{cohort}\n",
        encoding="utf-8",
    )
    with pytest.raises(UserError, match="landmarks") as refused:
        configs.load(file)
    assert told in str(refused.value) and "\n" not in str(refused.value)
