"""The 17 signals of the in-hospital-mortality benchmark (Harutyunyan et al. 2019), and codes of the user's own.

A value outside ``plausible`` cannot come from a living patient in the stated unit; it is dropped and counted. The bounds are
ours: those of the benchmark's published outlier table, narrowed where clinical limits are tighter. ``reference`` is the usual
adult range, used for wording only; whether a signal is abnormal is decided by its z-score.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Signal:
    """A measured quantity; ``plausible`` and ``reference`` are inclusive ranges in ``unit``.

    ``percent``: a value above 1 was charted in percent. ``sum_of``: where all these signals were charted at one time, their sum
    is a measurement of this one. ``score``: only certain numbers occur, so that a mean of two values means nothing; the worse
    of two is the low or the high one. ``dated``: its times are dates without a time of day.
    """

    name: str
    label: str
    unit: str = ""
    plausible: tuple[float, float] = (-math.inf, math.inf)
    reference: tuple[float, float] | None = None
    percent: bool = False
    sum_of: tuple[str, ...] = ()
    score: Literal["", "low", "high"] = ""
    dated: bool = False


SIGNALS = (
    Signal("capillary_refill_rate", "capillary refill", "0 normal, 1 delayed", (0, 1), (0, 0), score="high"),
    Signal("diastolic_blood_pressure", "diastolic blood pressure", "mmHg", (10, 200), (60, 90)),
    Signal("fraction_inspired_oxygen", "fraction of inspired oxygen", "fraction", (0.2, 1), (0.21, 0.4), percent=True),
    Signal("gcs_eye", "GCS eye opening", "points", (1, 4), (4, 4), score="low"),
    Signal("gcs_motor", "GCS motor response", "points", (1, 6), (6, 6), score="low"),
    Signal(
        "gcs_total",
        "GCS total",
        "points",
        (3, 15),
        (15, 15),
        sum_of=("gcs_eye", "gcs_motor", "gcs_verbal"),
        score="low",
    ),
    Signal("gcs_verbal", "GCS verbal response", "points", (1, 5), (5, 5), score="low"),
    Signal("glucose", "glucose", "mg/dL", (10, 2000), (70, 140)),
    Signal("heart_rate", "heart rate", "beats/min", (10, 300), (60, 100)),
    Signal("height", "height", "cm", (100, 240), (145, 200)),
    Signal("mean_blood_pressure", "mean blood pressure", "mmHg", (15, 250), (65, 105)),
    Signal("oxygen_saturation", "oxygen saturation", "%", (20, 100), (94, 100)),
    Signal("respiratory_rate", "respiratory rate", "breaths/min", (1, 100), (12, 20)),
    Signal("systolic_blood_pressure", "systolic blood pressure", "mmHg", (30, 300), (90, 140)),
    Signal("temperature", "temperature", "degrees Celsius", (25, 45), (36, 38)),
    Signal("weight", "weight", "kg", (20, 400), (45, 120)),
    Signal("ph", "pH", "pH", (6.3, 8.0), (7.35, 7.45)),
)
SIGNAL_BY_NAME = {signal.name: signal for signal in SIGNALS}


def described(code: str) -> Signal:
    """The benchmark's signal called ``code``; for a code of the user's own, a signal without unit or ranges."""
    return SIGNAL_BY_NAME.get(code) or Signal(code, code.replace("_", " "))


def to_record(signal: Signal) -> dict[str, Any]:
    """The signal as JSON values, for ``provenance.json`` and ``metadata.json``."""
    dated = {"dated": True} if signal.dated else {}
    return {"name": signal.name, "label": signal.label, "unit": signal.unit, "reference": signal.reference, **dated}


def from_record(entry: Mapping[str, Any]) -> Signal:
    """The inverse of ``to_record``, without what only ``convert`` needs, such as the plausible range."""
    reference = entry["reference"] and tuple(entry["reference"])
    return Signal(entry["name"], entry["label"], entry["unit"], reference=reference, dated=entry.get("dated", False))
