"""The value of an hour: the last, the sum or the highest of its values, in any order and in batches of any size."""

import dataclasses
import random
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from emerge_ehr.preprocess.inputs import checks
from emerge_ehr.signals import hourly
from emerge_ehr.signals.signals import Hour, Signal

START = datetime(2150, 1, 1, 6, 30)
CODES: tuple[str, ...] = ("beat", "urine", "rate")
KINDS: tuple[Hour, ...] = ("last", "sum", "max")
WINDOW = 12


@pytest.mark.parametrize("bin_hours", [1, 5])
@pytest.mark.parametrize("seed", range(4))
def test_each_bin_equals_a_plain_loop(seed: int, bin_hours: int) -> None:
    rng = random.Random(seed)
    cohort = pl.DataFrame(
        {
            "patient_id": ["a", "b"],
            "window_start": [START] * 2,
            "window_end": [START + timedelta(hours=WINDOW)] * 2,
        }
    )
    times = rng.sample(range(WINDOW * 60), 200)  # minutes, each once
    rows = [
        (rng.choice("ab"), START + timedelta(minutes=minute), rng.choice(CODES), float(rng.randrange(-5, 100)))
        for minute in times
    ]
    dynamic = pl.DataFrame(rows, schema=["patient_id", "event_time", "code", "value"], orient="row")
    filling = hourly.empty(cohort, CODES, WINDOW, bin_hours, KINDS)
    # a row that stands twice, far apart or next to itself, counts once
    doubled = pl.concat([dynamic[::2], dynamic, dynamic[::3], dynamic[:20], dynamic[:20]])
    placed = hourly.place(doubled.lazy(), cohort, CODES).collect()
    for start in range(0, placed.height, 23):
        filling.fill(placed.slice(start, 23))
    found = filling.settled().value
    for n, patient in enumerate("ab"):
        for f, code in enumerate(CODES):
            for step in range(found.shape[1]):
                begin = START + timedelta(hours=step * bin_hours)
                end = begin + timedelta(hours=bin_hours)
                own = sorted((t, v) for p, t, c, v in rows if p == patient and c == code and begin <= t < end)
                values = [value for _, value in own]
                right = [
                    values[-1] if values else np.nan,
                    sum(values) if values else np.nan,
                    max(values, default=np.nan),
                ][f]
                assert np.isclose(found[n, step, f], right, equal_nan=True), (patient, code, step)


def test_a_sum_below_what_one_value_can_be_is_told_and_one_above_it_is_not() -> None:
    urine = Signal("urine", "urine", "mL", plausible=(0, 5000), hour="sum")
    value = np.array([[[9000.0], [-100.0], [60.0]]], dtype=np.float32)
    found = hourly.Hourly(value, np.array([3]), ("urine",))
    assert [text.split(" lie")[0] for text in checks.implausible((urine,), found)] == ["1 of 3 hourly values of urine"]
    balance = dataclasses.replace(urine, plausible=(-5000, 5000))
    assert not list(checks.implausible((balance,), found))
