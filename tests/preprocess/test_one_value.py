"""Signals that have one value wherever they were measured."""

import numpy as np

from emerge_ehr.preprocess.inputs import checks
from emerge_ehr.signals.hourly import Hourly
from emerge_ehr.signals.signals import Signal

NAMES = ("diabetes", "dialysis", "rare", "everywhere", "pressure")


def test_codes_written_as_one_alone_are_warned_of() -> None:
    """Zeros beside the ones, too few patients to tell, and what everybody has are passed over."""
    value = np.full((40, 3, len(NAMES)), np.nan, dtype=np.float32)
    value[:12, 1, 0] = 1
    value[:12, 1, 1], value[12:, 1, 1] = 1, 0
    value[:9, 1, 2] = 1
    value[:, 1, 3] = 1
    value[:30, :, 4] = np.arange(90).reshape(30, 3)
    found = Hourly(value, np.full(40, 3), NAMES)
    signals = tuple(Signal(name, name, "", plausible=(-1000, 1000)) for name in NAMES)
    (told,) = checks.one_value(signals, found)
    assert told.startswith("1 signal has one value only") and "diabetes (always 1)" in told
    assert not list(checks.one_value(signals[1:], Hourly(value[:, :, 1:], np.full(40, 3), NAMES[1:])))
