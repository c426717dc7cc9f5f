"""Abnormal signals: where a patient's hourly value is far from the training patients' mean (paper section 4.1)."""

from dataclasses import dataclass

import numpy as np

from src.config import Abnormal
from src.datasets.preprocess.tensors import Hourly, Statistics
from src.datasets.signals import SIGNAL_BY_NAME


@dataclass(frozen=True)
class AbnormalSignal:
    """The most extreme hour of one signal in one direction. ``hour`` counts from the window's start, ``hours_beyond`` says how
    many hours lay beyond the threshold on that side."""

    code: str
    direction: str
    value: float
    unit: str
    hour: int
    z: float
    hours_beyond: int


def find(data: Hourly, statistics: Statistics, rule: Abnormal) -> list[list[AbnormalSignal]]:
    """For each patient the signals with |z| above ``rule.threshold``, most extreme first, at most ``rule.max_signals``."""
    z = (data.value - statistics.mean) / statistics.std
    found: list[list[AbnormalSignal]] = [[] for _ in range(len(z))]
    for direction, sign in (("high", 1.0), ("low", -1.0)):
        signed = np.where(np.isnan(z), -np.inf, sign * z)
        beyond = (signed > rule.threshold).sum(axis=1)
        hour = signed.argmax(axis=1)
        for n, f in np.argwhere(beyond > 0):
            at = int(hour[n, f])
            code = data.features[f]
            unit = SIGNAL_BY_NAME[code].unit if code in SIGNAL_BY_NAME else ""
            extreme = round(float(data.value[n, at, f]), 4)
            score = round(float(z[n, at, f]), 3)
            found[n].append(AbnormalSignal(code, direction, extreme, unit, at, score, int(beyond[n, f])))
    return [sorted(signals, key=lambda s: (-abs(s.z), s.code))[: rule.max_signals] for signals in found]
