"""The requests to ``--stage serve``: patients as JSON, checked field by field and turned into the tables that predict reads."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import polars as pl
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NaiveDatetime, model_validator

from emerge_ehr.preprocess.inputs import checks, new_patients
from emerge_ehr.preprocess.inputs.new_patients import Expected
from emerge_ehr.preprocess.inputs.tables import NOTES, CheckedTables
from emerge_ehr.storage import schema

MOST_PATIENTS = 256


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half a character (a lone surrogate)") from None
    return text


Text = Annotated[str, Field(strict=True), AfterValidator(_encodable)]
Id = Annotated[str, Field(strict=True, min_length=1, max_length=200), AfterValidator(_encodable)]
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
    type: Text = ""
    text: Text


class Patient(BaseModel):
    """One patient and the observation window, whose end is exclusive."""

    model_config = ConfigDict(extra="forbid")
    patient_id: Id
    age: Annotated[float, Field(strict=True, ge=0, le=120, allow_inf_nan=False)] | None = None
    sex: Literal["F", "M"] | None = None
    window_start: Time
    window_end: Time
    measurements: list[Measurement] = Field(default_factory=list)
    notes: list[Note] = Field(default_factory=list)


class Asked(BaseModel):
    """The body of POST /predict."""

    model_config = ConfigDict(extra="forbid")
    patients: Annotated[list[Patient], Field(min_length=1, max_length=MOST_PATIENTS)]

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        seen: set[str] = set()
        for patient in self.patients:
            if patient.patient_id in seen:
                raise ValueError("a patient_id stands twice")
            seen.add(patient.patient_id)
        return self


def tables(asked: Asked, run: Expected) -> CheckedTables:
    """The request's patients as tables, checked as those of ``--stage predict``.

    Raises:
        UserError: a time lies outside the window, a code is unknown, or a window has another length than the run's.
    """
    cohort = [(p.patient_id, p.age, p.sex, p.window_start, p.window_end) for p in asked.patients]
    measured = [(p.patient_id, m.time, m.code, m.value) for p in asked.patients for m in p.measurements]
    written = [(p.patient_id, n.time, n.type, n.text) for p in asked.patients for n in p.notes]
    dynamic, notes = _frame(measured, DYNAMIC), _frame(written, NOTES)
    checked = new_patients.checked(
        run, _frame(cohort, COHORT), dynamic.lazy(), lambda: None, notes, lambda table: Path(PLACES[table.file])
    )
    checked.warnings.extend(checks.note_warnings(notes, checked.cohort))
    return checked


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
    return Asked(patients=[patient]).model_dump(mode="json")
