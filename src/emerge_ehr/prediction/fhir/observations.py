"""Observations as measurements of the run's signals: panels by their components, coded scores by their points.

Only what was validated counts: final, amended and corrected. A preliminary value may be of a monitor that nobody has looked at.
Of several values of a signal at one time one is kept, as when tables are converted (``datasets/convert/harmonise``).
"""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from emerge_ehr.prediction.fhir.contents import Contents, Resource
from emerge_ehr.prediction.fhir.stays import Stay, whose
from emerge_ehr.prediction.fhir.times import effective, span
from emerge_ehr.signals import codes
from emerge_ehr.signals.signals import Signal
from emerge_ehr.signals.table import WIDE
from emerge_ehr.storage import schema

LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"
FINAL = ("final", "amended", "corrected")
POINTS = "http://hl7.org/fhir/StructureDefinition/ordinalValue"  # an extension of a coding
SCORE_UNIT = "1"
UNSTATED = 1  # the rank of a pressure of which nobody says how it was measured


class Measured(NamedTuple):
    """A measurement in the signal's unit; ``time`` in UTC. ``rank``: see ``signals/codes``."""

    time: datetime
    code: str
    value: float
    rank: int = 0


class LeftOutError(Exception):
    """Why an observation, or a component of one, is not read."""


def measurements(contents: Contents, stays: Sequence[Stay], signals: Sequence[Signal]) -> list[list[Measured]]:
    """The measurements of each stay, in the order of the bundle; what is not read is counted in ``contents.left_out``.

    Raises:
        UserError: a value is no number that can be computed with.
    """
    names = {
        one.name for one in signals if (ours := codes.known(WIDE).described.get(one.name)) and ours.unit == one.unit
    }
    found: list[list[Measured]] = [[] for _ in stays]
    of_patient = {stay.patient: (stay, rows) for stay, rows in zip(stays, found, strict=True)}
    for observation in contents.of_kind["Observation"]:
        try:
            stay, rows, time = _placed(observation, contents, of_patient)
        except LeftOutError as reason:
            contents.left_out[f"Observation: {reason}"] += 1
            continue
        rows.extend(_values(observation, stay, time, names, contents.left_out))
    for rows in found:
        rows[:] = _one_per_moment(rows, contents.left_out)
        rows.extend(_sums(rows, names))
    return found


def _placed(
    observation: Resource, contents: Contents, of_patient: Mapping[Resource, tuple[Stay, list[Measured]]]
) -> tuple[Stay, list[Measured], datetime]:
    """Whose an observation is, and of when."""
    content = observation.content
    if (status := content.get("status")) not in FINAL:
        raise LeftOutError(f"status {status}")
    if content.get("modifierExtension"):
        raise LeftOutError("a modifierExtension, which may change what it means")
    patient = contents.meant(content.get("subject"), observation)
    if patient is None or patient not in of_patient:
        raise LeftOutError(whose(patient))
    if span(content.get("effectivePeriod", {})).backwards:
        raise LeftOutError("effectivePeriod ends before its start")
    time = effective(content)
    if time is None:
        raise LeftOutError("no effective time of day")
    return *of_patient[patient], time


def _values(
    observation: Resource, stay: Stay, time: datetime, names: set[str], left_out: Counter[str]
) -> Iterator[Measured]:
    """The measurements of an observation: its own value, if it has one, and those of its components."""
    content = observation.content
    components = content.get("component", [])
    parts = [(content, "")] if _has_value(content) or not (components or content.get("hasMember")) else []
    parts += [(part, f"component[{number}].") for number, part in enumerate(components)]
    for part, place in parts:
        try:
            measured = _value(observation, part, place, names, time)
            if not stay.window_start <= time < stay.window_end:
                raise LeftOutError("outside the window")
        except LeftOutError as reason:
            left_out[f"Observation: {reason}"] += 1
        else:
            yield measured


def _has_value(part: Mapping[str, Any]) -> bool:
    return any(key.startswith("value") for key in part)


def _value(observation: Resource, part: Mapping[str, Any], place: str, names: set[str], time: datetime) -> Measured:
    """An observation or a component as a measurement of its signal."""
    signal, loincs = _signal(part, names)
    if not _has_value(part):
        raise LeftOutError("no value")
    if "dataAbsentReason" in part:
        raise LeftOutError("a value beside dataAbsentReason")
    ranks = {codes.known(WIDE).rank[loinc] for loinc in loincs}
    rank = min(ranks - {UNSTATED} or ranks)  # a general code beside one that says how it was measured
    if "valueQuantity" in part:
        value = _of_quantity(observation, part["valueQuantity"], f"{place}valueQuantity", loincs[0])
    elif (
        "valueInteger" in part
        and codes.known(WIDE).unit(loincs[0], SCORE_UNIT)
        and codes.known(WIDE).described[signal].score
    ):
        value = _number(observation, part["valueInteger"], f"{place}valueInteger")
    elif "valueCodeableConcept" in part:
        value = _of_answer(observation, part["valueCodeableConcept"], f"{place}valueCodeableConcept", loincs)
    else:
        raise LeftOutError("value not a quantity")
    return Measured(time, signal, value, rank)


def _signal(part: Mapping[str, Any], names: set[str]) -> tuple[str, list[str]]:
    """The signal of an observation or a component, and its LOINC codes that say so."""
    if part.get("modifierExtension"):
        raise LeftOutError("a modifierExtension, which may change what it means")
    known = codes.known(WIDE)
    codings = part["code"].get("coding", [])
    loincs = [one["code"] for one in codings if one.get("system") == LOINC and one.get("code") in known.signal]
    if not loincs:
        raise LeftOutError("code not mapped")
    if len({known.signal[loinc] for loinc in loincs}) > 1:
        raise LeftOutError("codes of several signals")
    signal = known.signal[loincs[0]]
    if signal not in names:
        raise LeftOutError("a signal that the run does not know")
    return signal, loincs


def _of_quantity(observation: Resource, quantity: Mapping[str, Any], place: str, loinc: str) -> float:
    """A quantity in the signal's unit. A bound, such as > 600, counts as the bound itself, as when tables are converted, except
    where a limit decides."""
    if "value" not in quantity:
        raise LeftOutError("no value")
    if "code" not in quantity or quantity.get("system") != UCUM:
        raise LeftOutError("no UCUM unit")
    unit = codes.known(WIDE).unit(loinc, quantity["code"])
    if unit is None:
        raise LeftOutError("a unit that the signal has not")
    number, comparator = _number(observation, quantity["value"], place), quantity.get("comparator")
    if comparator is None:
        return _number(observation, unit.of_signal(number), place)
    if comparator not in (*codes.GREATER, *codes.LESS):
        raise LeftOutError("a comparator that R4 does not have")
    value = unit.of_bound(comparator, number)
    if value is None:
        raise LeftOutError("a bound that may be on either side of the limit")
    return _number(observation, value, place)


def _of_answer(observation: Resource, concept: Mapping[str, Any], place: str, loincs: Sequence[str]) -> float:
    """The points of a coded answer: of LOINC's answer lists, or those that the coding states."""
    scores = codes.known(WIDE).scores
    if not codes.known(WIDE).described[codes.known(WIDE).signal[loincs[0]]].score:
        raise LeftOutError("value not a quantity")
    found: set[float] = set()
    for coding in concept.get("coding", []):
        stated = [
            one["valueDecimal"] for one in coding.get("extension", []) if one["url"] == POINTS and "valueDecimal" in one
        ]
        found |= {_number(observation, one, place) for one in stated}
        if coding.get("system") == LOINC:
            found |= {scores[loinc, coding["code"]] for loinc in loincs if (loinc, coding.get("code")) in scores}
    if len(found) != 1:
        raise LeftOutError("an answer whose points are not known")
    return found.pop()


def _number(observation: Resource, value: float | str, place: str) -> float:
    """The value as a number that can be computed with.

    Raises:
        UserError: it is too large.
    """
    number = float(value)
    if not math.isfinite(number) or abs(number) > schema.LARGEST:
        raise observation.mistake(place, "not a finite number that a measurement can have")
    return number


def _one_per_moment(rows: Sequence[Measured], left_out: Counter[str]) -> list[Measured]:
    """One measurement for each signal and time: the plausible ones of the lowest rank count, and of these the median, or of
    scores the worse."""
    moments: dict[tuple[datetime, str], list[Measured]] = defaultdict(list)
    for row in rows:
        moments[row.time, row.code].append(row)
    kept: list[Measured] = []
    for found in moments.values():
        signal = codes.known(WIDE).described[found[0].code]
        low, high = signal.plausible
        plausible = [row for row in found if low <= row.value <= high]
        if len(plausible) < len(found):
            left_out[f"Observation: no value that {signal.name} can have, {low:g} to {high:g} {signal.unit}"] += len(
                found
            ) - len(plausible)
        if not plausible:
            continue
        best = [row for row in plausible if row.rank == min(row.rank for row in plausible)]
        values = [row.value for row in best]
        value = min(values) if signal.score == "low" else max(values) if signal.score else statistics.median(values)
        kept.append(best[0]._replace(value=value))
        if len(plausible) > 1:
            left_out["Observation: another value at the same time"] += len(plausible) - 1
    return kept


def _sums(rows: Sequence[Measured], names: set[str]) -> list[Measured]:
    """The measurements that are the sum of others of the same time, such as the total of the Glasgow coma scale, where it is
    not charted itself; as when tables are converted."""
    sums: list[Measured] = []
    for signal in (one for one in codes.known(WIDE).described.values() if one.sum_of and one.name in names):
        charted = {row.time for row in rows if row.code == signal.name}
        parts: dict[datetime, list[Measured]] = defaultdict(list)
        for row in rows:
            if row.code in signal.sum_of and row.time not in charted:
                parts[row.time].append(row)
        for time, found in parts.items():
            if sorted(row.code for row in found) == sorted(signal.sum_of):
                sums.append(Measured(time, signal.name, sum(row.value for row in found)))
    return sums
