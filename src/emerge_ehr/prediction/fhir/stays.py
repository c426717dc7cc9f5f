"""Which stay of a patient a bundle asks for, and from when to when it is observed.

**Which.** Encounters that are under way or finished count. The latest with an intensive care unit among its locations is
taken, or else of the inpatient ones (class IMP, ACUTE or NONAC); an only one whatever its class, since hospitals have classes of
their own. **From when.** The beginning of its last stay in an ICU, where a Location of the bundle is one by its type; else the
beginning of the encounter.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from emerge_ehr.fields import UserError
from emerge_ehr.prediction.fhir.contents import Contents, Resource
from emerge_ehr.prediction.fhir.times import moment, span, written
from emerge_ehr.preprocess.inputs.new_patients import Expected

COUNTED = ("in-progress", "onleave", "finished")
INPATIENT = ("IMP", "ACUTE", "NONAC")
ACT_CODE, ROLE_CODE = (f"http://terminology.hl7.org/CodeSystem/v3-{name}" for name in ("ActCode", "RoleCode"))
INTENSIVE = ("ICU", "CCU")  # of RoleCode, for adults
DEEPEST = 5  # locations within locations: bed, room, ward, unit, house


class NoStayError(UserError):
    """A patient has no stay to predict for, or none that can be told from the others, or it was too short for the run."""


@dataclass(frozen=True)
class Period:
    """From ``start`` to ``end``, which is None while it lasts. ``element``: where the start stands."""

    start: datetime
    end: datetime | None
    element: str


@dataclass(frozen=True)
class Stay:
    """A patient's stay, and the window of it that is observed. ``admitted``: the beginning of the encounter."""

    patient: Resource
    encounter: Resource
    admitted: datetime
    begins: str
    window_start: datetime
    window_end: datetime


def of(patient: Resource, contents: Contents, run: Expected) -> Stay:
    """The stay of the ``patient``, and the window that the run observes.

    Raises:
        NoStayError: there is no stay, or none that can be told from the others, or it was too short for the run.
        UserError: it has no beginning, or ends before it.
    """
    encounter, others = _chosen(patient, contents)
    whole = _period(encounter, encounter.content.get("period"), "period")
    if whole is None:
        raise encounter.mistake(
            "period.start", "missing, or without a time of day; the observation window begins there"
        )
    if whole.end is None and encounter.content.get("status") == "finished":
        contents.warnings.append(
            f"{encounter.name}: finished, but without period.end; it is taken to have lasted as long as the window"
        )
    intensive = _last_intensive(encounter, contents)
    observed = intensive or whole
    end = _window_end(encounter, observed, whole, contents, run)
    if others:
        contents.warnings.append(
            f"{patient.name}: {others + 1} stays are in the bundle; the risk is of the latest, {encounter.name}, from "
            f"{written(observed.start)} on"
        )
    return Stay(patient, encounter, whole.start, f"{encounter.name}.{observed.element}", observed.start, end)


def count_unused(contents: Contents, stays: Sequence[Stay]) -> None:
    """Count the encounters that are not predicted for in ``contents.left_out``."""
    chosen, predicted = {stay.encounter for stay in stays}, {stay.patient for stay in stays}
    for encounter in contents.of_kind["Encounter"]:
        patient = contents.meant(encounter.content.get("subject"), encounter)
        if encounter in chosen:
            continue
        if (status := encounter.content.get("status")) not in COUNTED:
            reason = f"status {status}"
        elif patient in predicted:
            reason = "not the one that is predicted for"
        else:
            reason = whose(patient)
        contents.left_out[f"Encounter: {reason}"] += 1


def whose(patient: Resource | None) -> str:
    """Why what names this ``patient``, for whom nothing is predicted, is not read."""
    if patient is None or patient.kind != "Patient":
        return "of no patient of the bundle"
    return "of a patient who is not predicted"


def _chosen(patient: Resource, contents: Contents) -> tuple[Resource, int]:
    """The encounter to predict for, and how many others there are of its kind."""
    own = [
        one
        for one in contents.of_kind["Encounter"]
        if one.content.get("status") in COUNTED and contents.meant(one.content.get("subject"), one) is patient
    ]
    if not own:
        raise NoStayError(
            f"{patient.name}: no Encounter of this patient is {', '.join(COUNTED)}; send the stay to predict for, with "
            "subject and period"
        )
    intensive = [one for one in own if any(_intensive_entries(one, contents))]
    candidates = intensive or [one for one in own if _is_inpatient(one)] or own
    if len(candidates) > 1 and candidates is own:
        raise NoStayError(
            f"{patient.name}: {len(own)} Encounters, none inpatient by class ({', '.join(INPATIENT)}) or in an ICU by location; "
            "send the stay to predict for alone"
        )
    begun = [(_start(one), one) for one in candidates]
    latest = max(start for start, _ in begun)
    last = [one for start, one in begun if start == latest]
    if len(last) > 1:
        raise UserError(
            f"{last[1].name}.period.start: the same as of {last[0].name}; send the stay to predict for alone"
        )
    return last[0], len(candidates) - 1


def _start(encounter: Resource) -> datetime:
    period = _period(encounter, encounter.content.get("period"), "period")
    return period.start if period else datetime.min


def _is_inpatient(encounter: Resource) -> bool:
    coding = encounter.content["class"]
    return coding.get("system") == ACT_CODE and coding.get("code") in INPATIENT


def _period(of: Resource, period: Mapping[str, Any] | None, element: str) -> Period | None:
    """A period that has a beginning with a time of day.

    Raises:
        UserError: it ends before it begins.
    """
    found = span(period or {})
    if found.backwards:
        raise of.mistake(f"{element}.end", "is before its start")
    return None if found.start is None else Period(found.start, found.end, f"{element}.start")


def _intensive_entries(encounter: Resource, contents: Contents) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The numbered entries of ``Encounter.location`` that are in an ICU and were or are used."""
    for number, entry in enumerate(encounter.content.get("location", [])):
        if entry.get("status", "active") in ("active", "completed") and _is_intensive(
            encounter, entry["location"], contents
        ):
            yield number, entry


def _is_intensive(encounter: Resource, reference: Mapping[str, Any], contents: Contents) -> bool:
    place = contents.meant(reference, encounter)
    for _ in range(DEEPEST):
        if place is None or place.kind != "Location":
            return False
        codings = [coding for concept in place.content.get("type", []) for coding in concept.get("coding", [])]
        if any(one.get("system") == ROLE_CODE and one.get("code") in INTENSIVE for one in codings):
            return True
        place = contents.meant(place.content.get("partOf"), place)
    return False


def _last_intensive(encounter: Resource, contents: Contents) -> Period | None:
    """The last stay in an ICU: entries that follow each other without a gap, such as one bed after another, are one stay."""
    found: list[Period] = []
    for number, entry in _intensive_entries(encounter, contents):
        element = f"location[{number}].period"
        if (stay := _period(encounter, entry.get("period"), element)) is not None:
            found.append(stay)
        else:
            contents.warnings.append(
                f"{encounter.name}.{element}.start: missing, or without a time of day; this stay in an ICU is not read"
            )
    joined: Period | None = None
    for period in sorted(found, key=lambda one: one.start):
        if joined is None or (joined.end is not None and period.start > joined.end):
            joined = period
        else:
            end = None if joined.end is None or period.end is None else max(joined.end, period.end)
            joined = Period(joined.start, end, joined.element)
    return joined


def _window_end(encounter: Resource, observed: Period, whole: Period, contents: Contents, run: Expected) -> datetime:
    """When the window ends: after the run's hours; if the run takes shorter windows, no later than the stay or the bundle."""
    full = observed.start + timedelta(hours=run.longest)
    ended = min((end for end in (observed.end, whole.end) if end is not None), default=None)
    made = moment(contents.timestamp) if contents.timestamp else None
    known = [end for end in (ended, made) if end is not None]
    end = full if run.shortest == run.longest else min([full, *known])
    hours = f"{run.shortest}" if run.shortest == run.longest else f"{run.shortest} to {run.longest}"
    least = observed.start + timedelta(hours=run.shortest - 1)
    if end <= least or (ended is not None and ended < end):
        shorter = min(known) - observed.start
        raise NoStayError(
            f"{encounter.name}.{observed.element}: the stay is known for {shorter / timedelta(hours=1):.1f} h, and the run "
            f"predicts from {hours} h"
        )
    if made is not None and made < end:
        contents.warnings.append(
            f"{encounter.name}: the bundle was made {(made - observed.start) / timedelta(hours=1):.1f} h after the window began, "
            f"which is {hours} h long: what comes later is not in the risk"
        )
    return end
