"""Writes chart events and laboratory results. The series part S of the risk is a slow drift, not a single value."""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emerge_ehr.datasets.sources.synthetic.arrays import Bools, Floats, Ints
from emerge_ehr.datasets.sources.synthetic.hospital import Hospital
from emerge_ehr.datasets.sources.synthetic.rounds import HOURS, WINDOW, Rounds
from emerge_ehr.datasets.sources.synthetic.sites import Site

NOISE_MEMORY = 0.6  # correlation of the noise with that of an hour before
NOISE_SPREAD = 0.6  # standard deviation of the noise, in units of the spread between patients
DRIFT = 1.0  # a stay with S = 1 moves from -DRIFT to +DRIFT over the window, in units of the spread between patients

# signal -> usual value, spread between patients, sign of the drift that goes with risk, decimals
VITALS = {
    "heart_rate": (88.0, 11.0, 1, 0),
    "respiratory_rate": (19.0, 3.2, 1, 0),
    "systolic": (120.0, 13.0, -1, 0),
    "diastolic": (64.0, 8.0, -1, 0),
    "oxygen_saturation": (95.0, 1.5, -1, 0),
    "temperature": (37.0, 0.5, 0, 1),  # degrees Celsius
}
EYE = ["None", "To Pain", "To Speech", "Spontaneously"]
VERBAL = ["No Response", "Incomprehensible sounds", "Inappropriate Words", "Confused", "Oriented"]
MOTOR = ["No response", "Abnormal extension", "Abnormal Flexion", "Flex-withdraws", "Localizes Pain", "Obeys Commands"]
VERBAL_TUBE = "No Response-ETT"
REFILL = ["Normal <3 Seconds", "Abnormal >3 Seconds"]

# lab item -> usual value, spread, unit, reference range (low, high), decimals, hours between samples
LABS = {
    50931: (138.0, 38.0, "mg/dL", 70.0, 105.0, 0, 8),
    50820: (7.38, 0.05, "units", 7.35, 7.45, 2, 12),
    50809: (140.0, 38.0, "mg/dL", 70.0, 105.0, 0, 12),
}


@dataclass(frozen=True)
class Readings:
    """An item's M readings: ``stay [M]`` (row of ``Hospital``), ``hour [M]`` (the round of the stay), ``number [M]`` with
    ``digits`` decimals and, if the item is charted as text, ``text [M]``."""

    itemid: int
    unit: str
    stay: Ints
    hour: Ints
    number: Floats
    digits: int
    text: NDArray[np.str_] | None = None
    number_charted: bool = True


def chart_events(hospital: Hospital, rounds: Rounds, site: Site, rng: np.random.Generator) -> pl.DataFrame:
    """``icu/chartevents.csv``: by default 600 rows per stay, with gaps, doubled rows and a few impossible values."""
    drawn = [reading for part in (_vitals, _scores, _others) for reading in part(hospital, rounds, rng)]
    readings = [_as_charted(reading, site) for reading in drawn if reading.itemid not in site.uncharted]
    minute = rng.integers(0, rounds.within, (len(hospital), HOURS))
    events = pl.concat([_table(reading, hospital, rounds, minute, rng) for reading in readings])
    doubled = np.flatnonzero(rng.random(events.height) < 0.02)
    events = pl.concat([events, events[doubled]]).sort("stay_id", "charttime", "itemid", "value")
    blank = pl.lit(None, pl.String)
    return events.select(
        *("subject_id", "hadm_id", "stay_id", blank.alias("caregiver_id"), "charttime", blank.alias("storetime")),
        *("itemid", "value", "valuenum", "valueuom", pl.lit(0).alias("warning")),
    )


def lab_events(hospital: Hospital, rounds: Rounds, site: Site, rng: np.random.Generator) -> pl.DataFrame:
    """``hosp/labevents.csv``: blood glucose and pH; one result in ten lacks its ``hadm_id``, as in the real file."""
    tables = []
    for itemid, (usual, spread, unit, *limits, digits, every) in LABS.items():
        stay, hour = _charted(hospital, rounds, every, 0.85, rng)
        value = _levels(hospital, rounds, usual, spread, rng)[stay, hour].round(digits)
        reading = _as_charted(Readings(itemid, unit, stay, hour, value, digits), site)
        value, (low, high) = reading.number, site.in_its_unit(itemid, np.array(limits)).round(2)
        minute = rng.integers(0, rounds.within, (len(hospital), HOURS))
        table = _table(reading, hospital, rounds, minute, rng, errors=False)
        tables.append(
            table.with_columns(
                pl.Series("hadm_id", hospital.hadm_id[stay]).set(pl.Series(rng.random(len(stay)) < 0.1), None),
                ref_range_lower=pl.lit(low),
                ref_range_upper=pl.lit(high),
                flag=pl.when(pl.Series((value < low) | (value > high))).then(pl.lit("abnormal")),
            )
        )
    labs = pl.concat(tables).sort("subject_id", "charttime", "itemid").with_row_index("labevent_id", 1)
    blank = pl.lit(None, pl.String)
    return labs.select(
        *("labevent_id", "subject_id", "hadm_id", (pl.col("labevent_id") + 50_000_000).alias("specimen_id"), "itemid"),
        *(
            blank.alias("order_provider_id"),
            "charttime",
            (pl.col("charttime") + pl.duration(minutes=45)).alias("storetime"),
        ),
        *("value", "valuenum", "valueuom", "ref_range_lower", "ref_range_upper", "flag"),
        *(pl.lit("ROUTINE").alias("priority"), blank.alias("comments")),
    )


def drift(clock: Floats) -> Floats:
    """The planted shape at these hours: from -1 at admission to +1 at the window's end, constant afterwards."""
    return (clock / (WINDOW - 1) * 2 - 1).clip(-1, 1)


def _levels(
    hospital: Hospital, rounds: Rounds, usual: float, spread: float, rng: np.random.Generator, sign: int = 0
) -> Floats:
    """A signal's true course [N, HOURS], at the rounds: the stay's own level, the planted drift and autocorrelated noise."""
    stays = len(hospital)
    memory = NOISE_MEMORY ** np.diff(rounds.clock, axis=1)
    shocks = rng.standard_normal((stays, HOURS)) * NOISE_SPREAD
    noise = np.empty_like(shocks)
    noise[:, 0] = shocks[:, 0]
    for hour in range(1, HOURS):
        kept = memory[:, hour - 1]
        noise[:, hour] = kept * noise[:, hour - 1] + np.sqrt(1 - kept**2) * shocks[:, hour]
    planted = sign * DRIFT * hospital.series[:, None] * drift(rounds.clock)
    levels: Floats = usual + spread * (rng.standard_normal((stays, 1)) + planted + noise)
    return levels


def _as_charted(reading: Readings, site: Site) -> Readings:
    """The reading under the number and in the unit of the site."""
    item = site.items.get(reading.itemid)
    if item is None:
        return reading
    number = site.in_its_unit(reading.itemid, reading.number)
    return replace(reading, itemid=item.itemid, unit=item.unit, digits=item.digits, number=number)


def _charted(
    hospital: Hospital, rounds: Rounds, every: int, share: float, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """The stays and rounds at which an item was charted: a random ``share`` of every ``every``-th round of each stay."""
    hours = np.arange(0, HOURS, every)
    kept = rng.random((len(hospital), len(hours))) < share
    kept &= rounds.clock[:, hours] + rounds.within / 60 < hospital.los_hours[:, None]
    kept &= rounds.made[:, hours]
    stay, column = np.nonzero(kept)
    return stay, hours[column]


def _vitals(hospital: Hospital, rounds: Rounds, rng: np.random.Generator) -> list[Readings]:
    levels = {
        name: _levels(hospital, rounds, mean, spread, rng, sign) for name, (mean, spread, sign, _) in VITALS.items()
    }
    levels["mean"] = (levels["systolic"] + 2 * levels["diastolic"]) / 3 + rng.normal(0, 2, levels["systolic"].shape)
    levels["oxygen_saturation"] = levels["oxygen_saturation"].clip(60, 100)
    levels["respiratory_rate"] = levels["respiratory_rate"].clip(4, 60)
    readings = [
        _numbers(220045, "bpm", levels["heart_rate"], 0, _charted(hospital, rounds, 1, 0.93, rng)),
        _numbers(220210, "insp/min", levels["respiratory_rate"], 0, _charted(hospital, rounds, 1, 0.92, rng)),
        _numbers(220277, "%", levels["oxygen_saturation"], 0, _charted(hospital, rounds, 1, 0.92, rng)),
    ]
    arterial = rng.random(len(hospital)) < 0.4
    stay, hour = _charted(hospital, rounds, 1, 0.9, rng)
    for ids, chosen in (((220050, 220051, 220052), arterial[stay]), ((220179, 220180, 220181), ~arterial[stay])):
        at = stay[chosen], hour[chosen]
        for itemid, name in zip(ids, ("systolic", "diastolic", "mean"), strict=True):
            readings.append(_numbers(itemid, "mmHg", levels[name], 0, at))
    stay, hour = _charted(hospital, rounds, 2, 0.9, rng)
    celsius = (rng.random(len(hospital)) < 0.2)[stay]
    fahrenheit = levels["temperature"] * 9 / 5 + 32
    readings.append(_numbers(223761, "°F", fahrenheit, 1, (stay[~celsius], hour[~celsius])))
    readings.append(_numbers(223762, "°C", levels["temperature"], 1, (stay[celsius], hour[celsius])))
    return readings


def _scores(hospital: Hospital, rounds: Rounds, rng: np.random.Generator) -> list[Readings]:
    """Readings of coma scale and capillary refill, charted as text; they do not depend on the risk."""
    stays = len(hospital)
    alertness = rng.beta(4, 1, (stays, 1)) + rng.normal(0, 0.08, (stays, HOURS))
    at = _charted(hospital, rounds, 4, 0.95, rng)
    tube = (rng.random(stays) < 0.2)[at[0]]
    readings = []
    for itemid, words in ((220739, EYE), (223900, VERBAL), (223901, MOTOR)):
        score = np.ceil(alertness * 1.15 * len(words)).clip(1, len(words))[at].astype(np.int64)
        if itemid == 223900:
            score = np.where(tube, 1, score)
        text = np.array(words)[score - 1]
        if itemid == 223900:
            text = np.where(tube, VERBAL_TUBE, text)
        readings.append(Readings(itemid, "", *at, score.astype(np.float64), 0, text))
    slow = rng.beta(1, 6, (stays, 1))
    for itemid in (223951, 224308):
        stay, hour = _charted(hospital, rounds, 8, 0.7, rng)
        late = (rng.random((stays, HOURS)) < slow)[stay, hour].astype(np.int64)
        text = np.array(REFILL)[late]
        readings.append(Readings(itemid, "", stay, hour, late.astype(np.float64), 0, text, number_charted=False))
    return readings


def _others(hospital: Hospital, rounds: Rounds, rng: np.random.Generator) -> list[Readings]:
    """Readings of inspired oxygen (in percent, of a few stays as a fraction), glucose, pH, weight and height (two units each)."""
    stays = len(hospital)
    at = _charted(hospital, rounds, 4, 0.85, rng)
    oxygen = (_levels(hospital, rounds, 42, 9, rng).clip(21, 100) / 5).round() * 5
    as_fraction = (rng.random(stays) < 0.05)[at[0]]
    fraction = np.where(as_fraction, oxygen[at] / 100, oxygen[at])
    glucose = _levels(hospital, rounds, 140, 38, rng).clip(45, 500)
    acidity = _levels(hospital, rounds, 7.38, 0.05, rng).clip(6.9, 7.7)
    gassed = rng.random(stays) < 0.6
    stay, hour = _charted(hospital, rounds, 8, 0.85, rng)
    readings = [
        Readings(223835, "", *at, fraction, 2),
        _numbers(225664, "", glucose, 0, _charted(hospital, rounds, 4, 0.8, rng)),
        _numbers(223830, "", acidity, 2, (stay[gassed[stay]], hour[gassed[stay]])),
    ]
    female = hospital.female
    height = rng.normal(np.where(female, 162, 176), 7)
    weight = (rng.normal(27, 5, stays).clip(16, 50) * (height / 100) ** 2).clip(35, 220)
    measures = (
        (0.9, (226512, "kg", weight), (226531, "", weight / 0.45359237)),
        (0.6, (226730, "cm", height), (226707, "Inch", height / 2.54)),
    )
    for share, metric, other in measures:
        stay, hour = _charted(hospital, rounds, HOURS, share, rng)
        in_metric = (rng.random(stays) < 0.7)[stay]
        for (itemid, unit, value), chosen in ((metric, in_metric), (other, ~in_metric)):
            readings.append(Readings(itemid, unit, stay[chosen], hour[chosen], value[stay[chosen]], 1))
    return readings


def _numbers(itemid: int, unit: str, levels: Floats, digits: int, at: tuple[Ints, Ints]) -> Readings:
    return Readings(itemid, unit, *at, levels[at], digits)


def _table(
    reading: Readings,
    hospital: Hospital,
    rounds: Rounds,
    minute: Ints,
    rng: np.random.Generator,
    errors: bool = True,
) -> pl.DataFrame:
    """The readings as rows with ids, time, item, value as text, number as text, and unit."""
    number = _with_errors(reading, rng) if errors else reading.number
    at = reading.stay, reading.hour
    after = np.floor(rounds.clock[at] * 60).astype(np.int64) + minute[at] + 1
    time = hospital.intime[reading.stay] + (after * 60).astype("timedelta64[s]")
    text = pl.Series(number.round(reading.digits)).cast(pl.String).str.strip_suffix(".0")
    charted = text if reading.number_charted else pl.repeat(None, len(text), dtype=pl.String, eager=True)
    value = text if reading.text is None else pl.Series(reading.text.astype(object), dtype=pl.String)
    return pl.DataFrame(
        {
            "subject_id": hospital.subject_id[reading.stay],
            "hadm_id": hospital.hadm_id[reading.stay],
            "stay_id": hospital.stay_id[reading.stay],
            "charttime": time.astype("datetime64[m]").astype("datetime64[us]"),
            "itemid": np.full(len(time), reading.itemid),
            "value": value,
            "valuenum": charted,
            "valueuom": pl.repeat(reading.unit or None, len(time), dtype=pl.String, eager=True),
        }
    )


def _with_errors(reading: Readings, rng: np.random.Generator) -> Floats:
    """The numbers, a few of them replaced by typical errors: a heart rate of 0 or 999, Fahrenheit as Celsius."""
    slips: dict[int, list[float]] = {220045: [0, 999], 223762: [99], 220277: [0]}
    if reading.itemid not in slips:
        return reading.number
    wrong: Bools = rng.random(len(reading.number)) < 0.002
    return np.where(wrong, rng.choice(slips[reading.itemid], len(reading.number)), reading.number)
