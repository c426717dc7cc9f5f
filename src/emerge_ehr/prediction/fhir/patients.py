"""A bundle's patients as those of a request: age and sex, the window of the stay, measurements and notes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from emerge_ehr.fields import UserError
from emerge_ehr.prediction import requests
from emerge_ehr.prediction.fhir import contents as taken_apart
from emerge_ehr.prediction.fhir import documents, observations, stays
from emerge_ehr.prediction.fhir.contents import Contents, Resource
from emerge_ehr.prediction.fhir.documents import Written
from emerge_ehr.prediction.fhir.observations import Measured
from emerge_ehr.prediction.fhir.stays import NoStayError, Stay
from emerge_ehr.prediction.fhir.times import written
from emerge_ehr.preprocess.inputs.new_patients import Expected

SEX = {"female": "F", "male": "M"}
OLDEST = 120  # years
LONGEST_ID = 200  # characters, as in the service's own JSON; an id of FHIR has 64 at most


class NoPatientError(UserError):
    """A bundle has no Patient, as one that lists a hospital's wards or staff."""


@dataclass(frozen=True)
class Read:
    """The ``patients`` of a bundle, and what is to be told of it: what was left out, and whose window is which."""

    patients: list[requests.Patient]
    left_out: Mapping[str, int]
    windows: list[dict[str, Any]]
    warnings: list[str]

    def lines(self) -> list[str]:
        """What there is to tell, in lines."""
        return [*self.warnings, *(f"{count} left out: {reason}" for reason, count in self.left_out.items())]

    def record(self) -> dict[str, Any]:
        """What an answer tells beside its warnings."""
        return {"left_out": dict(self.left_out), "windows": self.windows}


def read(bundle: Mapping[str, Any], run: Expected) -> Read:
    """The patients of a ``bundle``, as JSON gave it, for a run that expects ``run``.

    Raises:
        NoPatientError: it has no Patient.
        NoStayError: none of its patients has a stay to predict for.
        UserError: it is not a bundle of FHIR R4, or the library that validates is not installed.
    """
    found = taken_apart.read(bundle)
    people = found.of_kind["Patient"]
    if not 1 <= len(people) <= requests.MOST_PATIENTS:
        kind = UserError if people else NoPatientError
        raise kind(f"Bundle.entry: {len(people)} Patients; send 1 to {requests.MOST_PATIENTS}")
    of_people = _stays(people, found, run)
    stays.count_unused(found, of_people)
    measured = observations.measurements(found, of_people, run.signals)
    texts = documents.notes(found, of_people)
    patients = [_patient(*one, found) for one in zip(of_people, measured, texts, strict=True)]
    windows = [_window(*one, found) for one in zip(of_people, measured, texts, strict=True)]
    return Read(patients, dict(sorted(found.left_out.items())), windows, found.warnings)


def _stays(people: Sequence[Resource], found: Contents, run: Expected) -> list[Stay]:
    """The stays of those who have one to predict for; the others are told, and are refused only where nobody is left."""
    of_people: list[Stay] = []
    lacking: list[NoStayError] = []
    for patient in people:
        try:
            of_people.append(stays.of(patient, found, run))
        except NoStayError as error:
            lacking.append(error)
    if not of_people:
        raise lacking[0]
    if lacking:
        found.left_out["Patient: no stay to predict for"] += len(lacking)
    found.warnings += [f"not predicted: {error}" for error in lacking]
    return of_people


def _identity(patient: Resource, found: Contents) -> str:
    return found.identity(patient)[:LONGEST_ID]


def _patient(stay: Stay, measured: Sequence[Measured], texts: Sequence[Written], found: Contents) -> requests.Patient:
    for rows, most, kind in (
        (measured, requests.MOST_MEASUREMENTS, "measurements"),
        (texts, requests.MOST_NOTES, "notes"),
    ):
        if len(rows) > most:
            raise UserError(f"{stay.patient.name}: {len(rows)} {kind}, and at most {most} are read; send fewer")
    return requests.Patient(
        patient_id=_identity(stay.patient, found),
        age=_age(stay, found),
        sex=SEX.get(stay.patient.content.get("gender", "")),  # type: ignore[arg-type]
        window_start=stay.window_start,
        window_end=stay.window_end,
        measurements=[requests.Measurement(time=row.time, code=row.code, value=row.value) for row in measured],
        notes=[requests.Note(time=row.time, type=row.kind, text=row.text) for row in texts],
    )


def _age(stay: Stay, found: Contents) -> float | None:
    """Completed years when the window begins; of a birth date without a month or day, the difference of the years or months."""
    born = stay.patient.content.get("birthDate")
    if born is None:
        return None
    age = completed_years(born, stay.window_start)
    if not 0 <= age <= OLDEST:
        found.warnings.append(
            f"{stay.patient.name}.birthDate: an age of {age} years is not 0 to {OLDEST}; it is not read"
        )
        return None
    return float(age)


def completed_years(born: str, when: datetime) -> int:
    """The age at ``when`` of who was born at the date, or in the month or year, ``born``.

    >>> [completed_years(born, datetime(2150, 6, 1)) for born in ("2080-06-01", "2080-06-02", "2080-07", "2080")]
    [70, 69, 69, 70]
    """
    year, *rest = (int(part) for part in born.split("-"))
    return when.year - year - ((when.month, when.day)[: len(rest)] < tuple(rest))


def _window(stay: Stay, measured: Sequence[Measured], texts: Sequence[Written], found: Contents) -> dict[str, Any]:
    return {
        "patient_id": _identity(stay.patient, found),
        "encounter": stay.encounter.name,
        "begins_at": stay.begins,
        "window_start": written(stay.window_start),
        "window_end": written(stay.window_end),
        "measurements": len(measured),
        "notes": len(texts),
    }
