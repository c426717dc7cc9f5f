"""The requests to ``--stage serve``: patients as JSON, checked field by field and turned into the tables that predict reads.

What a request may hold is bounded before anything is built of it, and reading ends at the first list entry that is wrong: a
hostile body must cost little more than its bytes.
"""

import functools
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, NaiveDatetime, model_validator

from emerge_ehr.fields import UserError
from emerge_ehr.preprocess.inputs import checks, new_patients
from emerge_ehr.preprocess.inputs.new_patients import Expected
from emerge_ehr.preprocess.inputs.tables import NOTES, TREATMENTS, CheckedTables
from emerge_ehr.storage import schema

MOST_PATIENTS = 256
MOST_MEASUREMENTS, MOST_NOTES, MOST_TREATMENTS = (
    50_000,
    1000,
    5000,
)  # of one patient: 17 signals every minute of two days are 49,000
LONGEST_NOTE = 500_000  # characters; a long discharge summary has 60,000
MOST_PARTS = 400_000  # objects and lists in a body: what 16 MiB of measurements hold
MOST_KEYS = 30  # of one object; the largest has seven


Word = Annotated[str, Field(strict=True, max_length=200)]
Text = Annotated[str, Field(strict=True, max_length=LONGEST_NOTE)]
Id = Annotated[str, Field(strict=True, min_length=1, max_length=200)]
Time = Annotated[NaiveDatetime, Field(description="YYYY-MM-DDTHH:MM:SS in the hospital's own time, without a zone")]
Number = Annotated[float, Field(strict=True, ge=-schema.LARGEST, le=schema.LARGEST, allow_inf_nan=False)]
DYNAMIC = pl.Schema(
    {"patient_id": pl.String(), "event_time": pl.Datetime("us"), "code": pl.String(), "value": pl.Float64()}
)
COHORT = pl.Schema(
    {
        "patient_id": pl.String(),
        "age": pl.Float64(),
        "sex": pl.String(),
        "window_start": pl.Datetime("us"),
        "window_end": pl.Datetime("us"),
    }
)
# what error messages call the parts of a request, in place of the tables' files
PLACES = {schema.COHORT.file: "patients", schema.DYNAMIC.file: "measurements", schema.NOTES.file: "notes"}
TREATMENTS_PLACE = Path("treatments")


class Measurement(BaseModel):
    """One value, in the unit of the run's signal."""

    model_config = ConfigDict(extra="forbid")
    time: Time
    code: Id
    value: Number


class Note(BaseModel):
    """One note; without a time it is taken to be written inside the window."""

    model_config = ConfigDict(extra="forbid")
    time: Time | None = None
    type: Word = ""
    text: Text


class Treatment(BaseModel):
    """One drug that was begun inside the window, by a prescription or an infusion; of no use to a run without treatments."""

    model_config = ConfigDict(extra="forbid")
    time: Time
    drug: Id
    route: Word | None = None
    kind: Literal["prescription", "infusion"] = "prescription"


class Patient(BaseModel):
    """One patient and the observation window, whose end is exclusive."""

    model_config = ConfigDict(extra="forbid")
    patient_id: Id
    age: Annotated[float, Field(strict=True, ge=0, le=120, allow_inf_nan=False)] | None = None
    sex: Literal["F", "M"] | None = None
    window_start: Time
    window_end: Time
    measurements: Annotated[list[Measurement], Field(max_length=MOST_MEASUREMENTS, fail_fast=True)] = Field(
        default_factory=list
    )
    notes: Annotated[list[Note], Field(max_length=MOST_NOTES, fail_fast=True)] = Field(default_factory=list)
    treatments: Annotated[list[Treatment], Field(max_length=MOST_TREATMENTS, fail_fast=True)] = Field(
        default_factory=list
    )


class Asked(BaseModel):
    """The body of POST /predict."""

    model_config = ConfigDict(extra="forbid")
    patients: Annotated[list[Patient], Field(min_length=1, max_length=MOST_PATIENTS, fail_fast=True)]

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        seen: set[str] = set()
        for patient in self.patients:
            if patient.patient_id in seen:
                raise ValueError("a patient_id stands twice")
            seen.add(patient.patient_id)
        return self


def read(body: bytes) -> Asked:
    """The patients in a request's body.

    Raises:
        UserError: as ``parsed``.
        ValidationError: a field is wrong.
    """
    return Asked.model_validate(parsed(body))


def parsed(body: bytes, name: str = "the body") -> Any:
    """A request's body, or a file, as JSON values; messages call it by its ``name``.

    Raises:
        UserError: it is not JSON, holds too much, or has an object with a key twice.
    """
    if body.count(b"{") + body.count(b"[") > MOST_PARTS:
        raise UserError(f"{name} holds more than {MOST_PARTS} objects and lists; send fewer patients at a time")
    try:
        return json.loads(body, object_pairs_hook=functools.partial(_object, name))
    except RecursionError:
        raise UserError(f"{name} is nested too deeply") from None
    except ValueError as error:  # no JSON, no text, or a number with thousands of digits; its text may quote the body
        place = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise UserError(f"{name} is not JSON in UTF-8{place}") from None


def _object(name: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MOST_KEYS:
        raise UserError(f"an object in {name} has more than {MOST_KEYS} keys")
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise UserError(f"the key {twice[:40]!r} stands twice in one object of {name}; send it once")
    return found


def numbered(requests: Sequence[Asked]) -> Asked:
    """The patients of all ``requests``, in their order, with their numbers as ids: two requests may name one alike."""
    patients = [patient for one in requests for patient in one.patients]
    width = len(str(len(patients)))
    named = [patient.model_copy(update={"patient_id": f"{n:0{width}}"}) for n, patient in enumerate(patients)]
    return Asked.model_construct(patients=named)


def tables(asked: Asked, run: Expected) -> CheckedTables:
    """The request's patients as tables, checked as those of ``--stage predict``.

    Raises:
        UserError: a time lies outside the window, a code is unknown, or a window has another length than the run's.
    """
    cohort = [(p.patient_id, p.age, p.sex, p.window_start, p.window_end) for p in asked.patients]
    measured = [(p.patient_id, m.time, m.code, m.value) for p in asked.patients for m in p.measurements]
    written = [(p.patient_id, n.time, n.type, n.text) for p in asked.patients for n in p.notes]
    dynamic, notes = _frame(measured, DYNAMIC), _frame(written, NOTES)
    people = _frame(cohort, COHORT)
    checked = new_patients.checked(
        run,
        people,
        dynamic.lazy(),
        lambda: None,
        notes,
        lambda table: Path(PLACES[table.file]),
        _treatments(asked, people) if run.treatments else None,
    )
    checked.warnings.extend(checks.note_warnings(notes, checked.cohort))
    if not run.treatments and any(patient.treatments for patient in asked.patients):
        checked.warnings.append(new_patients.IGNORED)
    return checked


def _treatments(asked: Asked, people: pl.DataFrame) -> pl.DataFrame:
    given = [(p.patient_id, t.time, None, t.drug, t.route, None, t.kind) for p in asked.patients for t in p.treatments]
    treatments = _frame(given, TREATMENTS)
    checks.refuse_treatments_outside(TREATMENTS_PLACE, treatments, people)
    return treatments


def _frame(rows: list[tuple[Any, ...]], columns: pl.Schema) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=columns, orient="row")


def example(run: Expected) -> dict[str, Any]:
    """A request that the service of this run accepts."""
    start = datetime(2150, 1, 1, 8)
    signal = run.signals[0].name
    patient = Patient(
        patient_id="1",
        age=70,
        sex="F",
        window_start=start,
        window_end=start + timedelta(hours=run.longest),
        measurements=[Measurement(time=start + timedelta(minutes=30), code=signal, value=1.0)],
        notes=[Note(time=start + timedelta(minutes=45), type="Admission note", text="Known pneumonia.")],
    )
    asked = Asked(patients=[patient]).model_dump(mode="json")
    if run.treatments:
        given = Treatment(time=start + timedelta(minutes=50), drug="Metoprolol", kind="prescription")
        asked["patients"][0]["treatments"] = [given.model_dump(mode="json")]
    else:
        del asked["patients"][0]["treatments"]
    return asked
