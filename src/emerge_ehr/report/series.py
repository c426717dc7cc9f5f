"""A patient's signals, hour by hour (or bin by bin), as small figures: what was measured, carried forward, and is abnormal."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emerge_ehr.report import wording
from emerge_ehr.report.figures import path
from emerge_ehr.report.wording import number
from emerge_ehr.signals.signals import described

WIDTH, HEIGHT, EDGE = 300, 62, 5


@dataclass(frozen=True)
class SignalFigure:
    """The figure of one signal.

    ``line`` steps from measurement to measurement, as the model's input does; ``before`` is the training mean, which the model
    reads before the first measurement. ``dots``: the normal measurements; ``abnormal``: those beyond the threshold. ``band``: top
    and height of the normal range. ``values``: the measurements by hour, for the page's script; empty where the last one is
    carried forward. ``axis``: the greatest and the least value that the figure has room for. ``reference``: the usual adult range
    in words, and the y coordinates of its bounds that lie within the figure.
    """

    code: str
    label: str
    unit: str
    line: str
    before: str
    dots: str
    abnormal: tuple[tuple[float, float, str, str], ...]
    band: tuple[float, float]
    values: str
    last: str
    spread: str
    hours: int
    axis: tuple[str, str]
    reference: tuple[str, tuple[float, ...]] | None


@dataclass(frozen=True)
class SignalScale:
    """Training mean and standard deviation of the F features, with names and units; ``threshold`` in standard deviations.

    ``bin_hours``: how long a step of the series is.
    """

    names: tuple[str, ...]
    units: tuple[str, ...]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    threshold: float
    bin_hours: int
    reference: tuple[tuple[float, float] | None, ...]

    def values(self, ehr: NDArray[np.float32]) -> NDArray[np.float64]:
        """Convert standardised values [T,F] to the signals' units [T,F]."""
        values_in_units: NDArray[np.float64] = ehr * self.std + self.mean
        return values_in_units


def scale(metadata: Mapping[str, Any], threshold: float, bin_hours: int) -> SignalScale:
    """The scale that ``metadata.json`` records."""
    features, statistics = metadata["features"], metadata["statistics"]
    return SignalScale(
        tuple(feature["name"] for feature in features),
        tuple(feature["unit"] for feature in features),
        np.array(statistics["mean"]),
        np.array(statistics["std"]),
        threshold,
        bin_hours,
        tuple(feature.get("reference") and (feature["reference"][0], feature["reference"][1]) for feature in features),
    )


def signals(
    rule: SignalScale, ehr: NDArray[np.float32], measured: NDArray[np.bool_], length: int
) -> tuple[list[SignalFigure], list[str]]:
    """The figures of one patient, most abnormal first, and the names of signals never measured. ``ehr``: z-scores [T,F];
    ``measured`` [T,F]; ``length``: observed hours."""
    values = rule.values(ehr)
    extreme = np.where(measured, np.abs(ehr), 0).max(axis=0)
    order = np.argsort(-np.where(extreme > rule.threshold, extreme, 0), kind="stable").tolist()
    present = [f for f in order if measured[:, f].any()]
    absent = [described(name).label for f, name in enumerate(rule.names) if not measured[:, f].any()]
    return [_signal(rule, f, values[:, f], ehr[:, f], measured[:, f], length) for f in present], absent


def place(hour: float, hours: int) -> float:
    """The x coordinate of the middle of an hour."""
    return round((hour + 0.5) / hours * WIDTH, 1)


def _signal(
    rule: SignalScale,
    feature: int,
    value: NDArray[np.float64],
    z: NDArray[np.float32],
    measured: NDArray[np.bool_],
    length: int,
) -> SignalFigure:
    hours = np.flatnonzero(measured)
    known, mean, spread = value[hours], float(rule.mean[feature]), rule.threshold * float(rule.std[feature])
    least, most = described(rule.names[feature]).plausible
    bottom, top = max(mean - spread, least), min(mean + spread, most)  # of the band
    low, high = min(known.min(), bottom), max(known.max(), top)
    high = high if high > low else low + 1.0

    def up(measurement: float) -> float:
        return round(HEIGHT - EDGE - float((measurement - low) / (high - low)) * (HEIGHT - 2 * EDGE), 1)

    places = [(place(float(hour), len(value)), up(measurement)) for hour, measurement in zip(hours, known, strict=True)]
    beyond = np.abs(z[hours]) > rule.threshold
    unit = rule.units[feature]
    end = round(length / len(value) * WIDTH, 1)
    return SignalFigure(
        code=rule.names[feature],
        label=described(rule.names[feature]).label,
        unit=wording.unit(unit),
        line=f"M{places[0][0]:g} {places[0][1]:g}"
        + "".join(f"H{x:g}V{y:g}" for x, y in places[1:])
        + (f"H{end:g}" if end > places[-1][0] else ""),
        before=path([(0, up(mean)), (places[0][0], up(mean))]),
        dots="".join(f"M{x:g} {y:g}h0" for (x, y), marked in zip(places, beyond, strict=True) if not marked),
        abnormal=tuple(
            (
                *places[n],
                "high" if z[hours[n]] > 0 else "low",
                f"{wording.moment(int(hours[n]), rule.bin_hours)}: {wording.measured(float(known[n]), unit)} "
                f"(z {z[hours[n]]:+.1f})",
            )
            for n in np.flatnonzero(beyond)
        ),
        band=(up(top), round(up(bottom) - up(top), 1)),
        values=",".join(number(float(value[hour])) if measured[hour] else "" for hour in range(length)),
        last=number(float(known[-1])),
        spread="–".join(dict.fromkeys(number(float(measurement)) for measurement in (known.min(), known.max()))),
        hours=len(hours),
        axis=(_end(high), _end(low)),
        reference=_reference(rule.reference[feature], unit, low, high, up),
    )


def _end(value: float) -> str:
    """An end of the axis, with three significant digits: there is no room for more."""
    return number(float(f"{value:.3g}"))


def _reference(
    bounds: tuple[float, float] | None, unit: str, low: float, high: float, up: Callable[[float], float]
) -> tuple[str, tuple[float, ...]] | None:
    """The usual range in words, and where its bounds lie in a figure from ``low`` to ``high``; None where none is known."""
    if bounds is None:
        return None
    words = [wording.measured(bound, unit) if bounds[0] == bounds[1] else number(bound) for bound in bounds]
    return "–".join(dict.fromkeys(words)), tuple(up(bound) for bound in dict.fromkeys(bounds) if low <= bound <= high)
