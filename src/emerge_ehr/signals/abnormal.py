"""Abnormal signals: where a patient's hourly value is far from the training patients' mean (paper section 4.1)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emerge_ehr.config import Abnormal
from emerge_ehr.signals.hourly import Hourly, Statistics
from emerge_ehr.signals.signals import Signal


@dataclass(frozen=True)
class AbnormalSignal:
    """The most extreme hour of one signal in one direction.

    ``value`` is in ``unit``; ``hour`` counts from the window's start; ``hours_beyond`` is the number of hours beyond the
    threshold on that side. Where a bin is longer than an hour, ``hour`` is its first, and each bin beyond counts in full.
    """

    code: str
    label: str
    direction: str
    value: float
    unit: str
    hour: int
    z: float
    hours_beyond: int


def find(data: Hourly, statistics: Statistics, signals: Sequence[Signal], rule: Abnormal) -> list[list[AbnormalSignal]]:
    """For each sample the signals with |z| above ``rule.threshold``, most extreme first, at most ``rule.max_signals``.

    ``signals`` names the F features of ``data``.
    """
    abnormal: list[list[AbnormalSignal]] = [[] for _ in range(len(data.value))]
    for feature, signal in enumerate(signals):
        value = data.value[:, :, feature]
        z = (value - statistics.mean[feature]) / statistics.std[feature]
        for direction, sign in (("high", 1.0), ("low", -1.0)):
            signed = np.where(np.isnan(z), -np.inf, sign * z)
            beyond = (signed > rule.threshold).sum(axis=1)
            hour = signed.argmax(axis=1)
            for n in np.flatnonzero(beyond):
                at = int(hour[n])
                extreme, score = round(float(value[n, at]), 4), round(float(z[n, at]), 3)
                abnormal[n].append(
                    AbnormalSignal(
                        signal.name,
                        signal.label,
                        direction,
                        extreme,
                        signal.unit,
                        at * data.bin_hours,
                        score,
                        int(beyond[n]) * data.bin_hours,
                    )
                )
    return [sorted(signals, key=lambda s: (-abs(s.z), s.code))[: rule.max_signals] for signals in abnormal]
