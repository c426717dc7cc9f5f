"""Properties that hold for any input, found by Hypothesis: binning, z-scores, conversion of units and order, splits."""

import math
import random
import statistics
from collections import Counter
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from emerge_ehr.config import Split
from emerge_ehr.datasets.convert.harmonise import KEPT, Tally, canonical
from emerge_ehr.datasets.splits import split_by_subject
from emerge_ehr.signals import hourly as tensors
from emerge_ehr.signals.signals import SIGNAL_BY_NAME, SIGNALS

START = datetime(2150, 1, 1, 7, 20)
CODES = ("heart_rate", "glucose")
HOURS = 6

values = st.floats(-500, 500, width=32)
LONGER = 50  # hours of a window that no bin but one of an hour divides without a rest
often = st.sampled_from([0, 60, 3599])  # seconds at which several values fall together
row = st.tuples(
    st.sampled_from("ab"), st.one_of(often, st.integers(0, HOURS * 3600 - 1)), st.sampled_from(CODES), values
)


def cohort(ends: tuple[int, int]) -> pl.DataFrame:
    times = {"window_start": [START] * 2, "window_end": [START + timedelta(seconds=end) for end in ends]}
    return pl.DataFrame({"patient_id": ["a", "b"], **times}).cast({name: pl.Datetime("us") for name in times})


def at_one_time(rows: list) -> dict[tuple[str, int, str], set[float]]:
    values: dict[tuple[str, int, str], set[float]] = {}
    for patient, second, code, value in rows:
        values.setdefault((patient, second, code), set()).add(value)
    return values


@given(st.lists(row, max_size=40), st.randoms(), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_hourly_bins_are_those_of_a_plain_loop_in_any_order_of_rows_and_any_batches(
    rows: list, shuffle: random.Random, batch: int
) -> None:
    whole = cohort((HOURS * 3600, HOURS * 3600))
    expected = np.full((2, HOURS, 2), np.nan, np.float32)
    for (patient, second, code), among in sorted(at_one_time(rows).items(), key=lambda one: one[0][1]):
        expected["ab".index(patient), second // 3600, CODES.index(code)] = statistics.median(among)
    shuffle.shuffle(rows)
    schema = {"patient_id": pl.String, "event_time": pl.Datetime("us"), "code": pl.String, "value": pl.Float64}
    timed = [(patient, START + timedelta(seconds=second), code, value) for patient, second, code, value in rows]
    table = pl.LazyFrame(timed, schema=schema, orient="row")
    filling = tensors.empty(whole, CODES, HOURS)
    for part in tensors.place(table, whole, CODES).collect().iter_slices(batch):
        filling.fill(part)
    np.testing.assert_allclose(filling.settled().value, expected, rtol=1e-6, atol=1e-30)
    assert filling.hourly.length.tolist() == [HOURS, HOURS]


seconds = st.one_of(often, st.integers(0, LONGER * 3600 - 1))
long_row = st.tuples(st.sampled_from("ab"), seconds, st.sampled_from(CODES), values)


@given(st.lists(long_row, max_size=40), st.integers(1, LONGER), st.integers(1, 40), st.randoms())
@settings(max_examples=60, deadline=None)
def test_longer_bins_are_those_of_a_plain_loop_and_the_last_may_be_partial(
    rows: list, bin_hours: int, batch: int, shuffle: random.Random
) -> None:
    whole, bins = cohort((LONGER * 3600, 7 * 3600)), math.ceil(LONGER / bin_hours)
    rows = [one for one in rows if one[0] == "a" or one[1] < 7 * 3600]
    expected = np.full((2, bins, 2), np.nan, np.float32)
    for (patient, second, code), among in sorted(at_one_time(rows).items(), key=lambda one: one[0][1]):
        expected["ab".index(patient), second // 3600 // bin_hours, CODES.index(code)] = statistics.median(among)
    shuffle.shuffle(rows)
    schema = {"patient_id": pl.String, "event_time": pl.Datetime("us"), "code": pl.String, "value": pl.Float64}
    timed = [(patient, START + timedelta(seconds=second), code, value) for patient, second, code, value in rows]
    table = pl.LazyFrame(timed, schema=schema, orient="row")
    for hours in (LONGER, None):  # given by the config, or those of the longest window
        filling = tensors.empty(whole, CODES, hours, bin_hours)
        for part in tensors.place(table, whole, CODES).collect().iter_slices(batch):
            filling.fill(part)
        np.testing.assert_allclose(filling.settled().value, expected, rtol=1e-6, atol=1e-30)
        assert filling.hourly.length.tolist() == [bins, math.ceil(7 / bin_hours)]
        assert filling.hourly.bin_hours == bin_hours


cells = st.lists(st.one_of(st.none(), st.floats(-1000, 1000, width=32)), min_size=2 * 4, max_size=2 * 4)


@given(cells, st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_z_scores_filled_forward_are_those_of_a_plain_loop(given_cells: list, first: int, second: int) -> None:
    value = np.array([math.nan if cell is None else cell for cell in given_cells], np.float32).reshape(2, 4, 1)
    fitted = tensors.fit(value)
    known = [float(cell) for cell in value.ravel() if not math.isnan(cell)]
    mean = math.fsum(known) / len(known) if known else 0.0
    std = math.sqrt(math.fsum((one - mean) ** 2 for one in known) / len(known)) if known else 1.0
    std = std if std > 1e-8 else 1.0
    np.testing.assert_allclose([fitted.mean[0], fitted.std[0]], [mean, std], rtol=1e-6, atol=1e-6)
    length = np.array([first, second])
    ehr, mask = tensors.standardise(tensors.Hourly(value, length, ("x",)), fitted)
    for patient in range(2):
        last = None
        for hour in range(4):
            cell = value[patient, hour, 0]
            inside = hour < length[patient]
            last = last if math.isnan(cell) else float(cell)
            z = 0.0 if last is None or not inside else (last - fitted.mean[0]) / fitted.std[0]
            np.testing.assert_allclose(ehr[patient, hour, 0], z, rtol=1e-4, atol=1e-4)
            assert mask[patient, hour, 0] == (inside and not math.isnan(cell))


event = st.tuples(
    st.integers(0, 2),
    st.one_of(st.none(), st.integers(0, 5)),
    st.sampled_from([signal.name for signal in SIGNALS]),
    st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True), st.floats(0, 120)),
)


@given(st.lists(event, max_size=40), st.randoms())
@settings(max_examples=60, deadline=None)
def test_measurements_are_the_same_in_any_order_and_none_is_lost_uncounted(rows: list, shuffle: random.Random) -> None:
    def converted(some: list) -> tuple[list, dict]:
        schema = {"n": pl.UInt32, "event_time": pl.Datetime("us"), "code": pl.String, "value": pl.Float64}
        tally: Tally = Counter()
        timed = [
            (n, None if hour is None else START + timedelta(hours=hour), code, value) for n, hour, code, value in some
        ]
        events = pl.DataFrame(timed, schema=schema, orient="row")
        events = events.with_columns(pl.lit(0, pl.UInt8).alias("rank"), pl.lit("file").alias("table"))
        found = canonical(events, SIGNALS, tally)
        return found.rows(), +tally

    table, counts = converted(rows)
    shuffled = list(rows)
    shuffle.shuffle(shuffled)
    assert converted(shuffled) == (table, counts)
    kept = sum(number for (*_, reason), number in counts.items() if reason == KEPT)
    dropped = sum(number for (table, _, reason), number in counts.items() if reason != KEPT and table == "file")
    assert kept + dropped == len(rows) and kept <= len(table)
    for _, _, code, value in table:
        low, high = SIGNAL_BY_NAME[code].plausible
        assert low <= value <= high


people = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 1)), min_size=1, max_size=80
)  # a stay: whose, and its outcome


@given(people, st.integers(0, 2**32 - 1), st.floats(0.05, 0.8), st.floats(0.05, 0.15), st.randoms())
@settings(max_examples=80, deadline=None)
def test_splits_hold_every_stay_once_no_person_twice_and_only_the_seed_decides(
    stays: list, seed: int, train: float, validation: float, shuffle: random.Random
) -> None:
    rows = [(f"s{n}", f"p{person}", positive) for n, (person, positive) in enumerate(stays)]

    def split(some: list) -> dict[str, list[str]]:
        table = pl.DataFrame(some, schema=["patient_id", "subject_id", "positive"], orient="row")
        return split_by_subject(table, Split(train, validation), np.random.default_rng(seed))

    found = split(rows)
    assert sorted(one for part in found.values() for one in part) == sorted(one[0] for one in rows)
    person = {stay: who for stay, who, _ in rows}
    persons = {part: {person[stay] for stay in ids} for part, ids in found.items()}
    assert sum(map(len, persons.values())) == len(set(person.values()))
    for positive in (0, 1):
        worst = {who: max(p for _, other, p in rows if other == who) for who in set(person.values())}
        those = {who for who, value in worst.items() if value == positive}
        if len(those) >= 3:
            assert all(those & whole for whole in persons.values())
            assert abs(len(those & persons["train"]) - train * len(those)) <= 2
    shuffled = list(rows)
    shuffle.shuffle(shuffled)
    assert {part: sorted(ids) for part, ids in split(shuffled).items()} == {
        part: sorted(ids) for part, ids in found.items()
    }


def test_of_scores_at_one_time_the_lower_middle_one_counts() -> None:
    whole = cohort((HOURS * 3600, HOURS * 3600))
    filling = tensors.empty(whole, CODES, HOURS)
    for value in (3.0, 6.0, 4.0, 4.0, 6.0, 5.0):  # 3, 4, 5, 6: one value is charted twice or not, it is one
        filling.fill(pl.DataFrame({"n": [0, 0], "f": [0, 1], "since": [60, 60], "value": [value, value]}))
    assert filling.settled(["glucose"]).value[0, 0].tolist() == [4.5, 4.0]
