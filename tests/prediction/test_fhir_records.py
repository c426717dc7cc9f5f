"""FHIR bundles as record systems write them: several values at one time, ends known by the day, several servers, folders of an
exporter with files of other kinds. What is not read is told, and one patient's gap refuses no other patient."""

import copy
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from emerge_ehr.fields import UserError
from emerge_ehr.prediction import predictor
from emerge_ehr.prediction.fhir import patients
from emerge_ehr.prediction.fhir.patients import Read
from emerge_ehr.prediction.predictor import Predictor
from emerge_ehr.training.trained import Trained
from tests import fhir_bundles
from tests.fhir_bundles import bundle, named, observation, of_unit, searchset

Bundle = dict[str, Any]


@pytest.fixture(scope="module")
def ready(emerge: Trained) -> Predictor:
    return predictor.load(emerge.run_dir, offline=True)


def read(of: Bundle, ready: Predictor) -> Read:
    return patients.read(of, ready.expected)


def at_three(ready: Predictor, *added: dict[str, Any]) -> dict[str, float]:
    """What was measured at 15:00, where the search result itself has nothing."""
    of = searchset()
    of["entry"] += [{"resource": one} for one in added]
    (patient,) = read(of, ready).patients
    return {one.code: one.value for one in patient.measurements if one.time == datetime(2150, 3, 1, 15)}


@pytest.mark.parametrize(
    ("comparator", "seconds", "delayed"), [(">", 3, 1.0), (">=", 3, 1.0), (">", 4, 1.0), ("<", 3, 0.0), ("<=", 2, 0.0)]
)
def test_a_bound_of_a_capillary_refill_counts_where_all_of_it_is_on_one_side_of_three_seconds(
    ready: Predictor, comparator: str, seconds: float, delayed: float
) -> None:
    bound = of_unit(seconds, "s") | {"comparator": comparator}
    assert at_three(ready, observation("44963-7", valueQuantity=bound)) == {"capillary_refill_rate": delayed}
    glucose = of_unit(600, "mg/dL") | {"comparator": comparator}
    assert at_three(ready, observation("2345-7", valueQuantity=glucose)) == {"glucose": 600.0}


def pressure(code: str, value: float, *more: str) -> dict[str, Any]:
    codings = [{"system": fhir_bundles.LOINC, "code": one} for one in (code, *more)]
    return observation(valueQuantity=of_unit(value, "mm[Hg]"), code={"coding": codings})


@pytest.mark.parametrize(
    ("charted", "kept"),
    [
        ([("76536-2", 95), ("76214-6", 60)], 60.0),  # a cuff's and an arterial line's
        ([("8478-0", 95), ("76214-6", 60)], 60.0),
        ([("76536-2", 95), ("8478-0", 60)], 60.0),
        ([("8478-0", 95, "76536-2"), ("8478-0", 60, "76214-6")], 60.0),
        ([("8478-0", 95), ("8478-0", 60), ("8478-0", 62)], 62.0),
    ],
)
def test_of_several_pressures_at_one_time_the_same_one_is_kept_as_when_tables_are_converted(
    ready: Predictor, charted: list[tuple[Any, ...]], kept: float
) -> None:
    rows = [pressure(code, value, *more) for code, value, *more in charted]
    assert at_three(ready, *rows) == at_three(ready, *reversed(rows)) == {"mean_blood_pressure": kept}
    of = searchset()
    of["entry"] += [{"resource": one} for one in rows]
    assert read(of, ready).left_out["Observation: another value at the same time"] == len(rows) - 1


def test_a_value_that_nobody_can_have_is_left_out_and_told(ready: Predictor) -> None:
    """As when tables are converted; the other value of its time counts."""
    of = searchset()
    of["entry"] += [{"resource": pressure("76214-6", 999)}]
    found = read(of, ready)
    assert found.left_out["Observation: no value that mean_blood_pressure can have, 15 to 250 mmHg"] == 1
    assert found.patients == read(searchset(), ready).patients
    assert at_three(ready, pressure("76214-6", 999), pressure("76536-2", 95)) == {"mean_blood_pressure": 95.0}


def test_of_several_scores_at_one_time_the_worse_is_kept_and_summed(ready: Predictor) -> None:
    scores = [("9267-6", 4), ("9267-6", 2), ("9268-4", 6), ("9270-0", 5)]
    found = at_three(ready, *(observation(code, valueInteger=value) for code, value in scores))
    assert (found["gcs_eye"], found["gcs_total"]) == (2.0, 13.0)


def test_an_end_that_is_a_date_is_the_end_of_that_day_on_the_clock_of_the_start(ready: Predictor) -> None:
    of = searchset()
    named(of, "stay-2150")["period"]["end"] = "2150-03-02"  # 40 hours after the ICU stay began at 8 in the morning
    with pytest.raises(UserError, match=r"the stay is known for 40.0 h"):
        read(of, ready)
    named(of, "stay-2150")["period"]["end"] = "2150-03-03"
    assert read(of, ready).patients == read(searchset(), ready).patients
    named(of, "stay-2150")["period"]["end"] = "2150-03"
    assert read(of, ready).patients == read(searchset(), ready).patients


def test_a_finished_stay_without_an_end_and_an_icu_without_a_time_are_told(ready: Predictor) -> None:
    of = searchset()
    named(of, "stay-2150")["status"] = "finished"
    named(of, "stay-2150")["location"][1]["period"].pop("end")
    named(of, "stay-2150")["location"][2]["period"]["start"] = "2150-03-01"
    warnings = "\n".join(read(of, ready).warnings)
    assert "Encounter/stay-2150: finished, but without period.end" in warnings
    assert "Encounter/stay-2150.location[2].period.start: missing, or without a time of day" in warnings


def test_a_relative_reference_is_of_the_server_of_its_entry(ready: Predictor) -> None:
    """Two servers have a Patient/1; the pulse of the second is not the first one's."""
    entries = []
    for server, rate in (("https://a.example/fhir", 70), ("https://b.example/fhir", 130)):
        stay = copy.deepcopy(named(searchset(), "stay-2150")) | {"subject": {"reference": "Patient/1"}, "id": "2"}
        pulse = observation(id="3", subject={"reference": "Patient/1"}, valueQuantity=of_unit(rate, "/min"))
        person = {"resourceType": "Patient", "id": "1", "gender": "female" if rate == 70 else "male"}
        stay["period"] = {"start": "2150-03-01T13:00:00Z"}
        entries += [
            {"fullUrl": f"{server}/{one['resourceType']}/{one['id']}", "resource": one} for one in (person, stay, pulse)
        ]
    found = read(bundle(*entries), ready)
    assert [(one.patient_id, one.sex, one.measurements[0].value) for one in found.patients] == [
        ("https://a.example/fhir/Patient/1", "F", 70.0),
        ("https://b.example/fhir/Patient/1", "M", 130.0),
    ]
    without = bundle(*entries[:3], *entries[4:])
    assert read(without, ready).left_out == {
        "Encounter: of no patient of the bundle": 1,
        "Observation: of no patient of the bundle": 1,
    }


@pytest.mark.parametrize("identity", [{"id": "1"}, {"identifier": [{"system": "urn:oid:1.2.3", "value": "E4007"}]}])
def test_a_patient_under_two_addresses_is_one_and_has_what_names_either(
    ready: Predictor, identity: dict[str, Any]
) -> None:
    first, second = "urn:uuid:11111111-1111-4111-8111-111111111111", "urn:uuid:22222222-2222-4222-8222-222222222222"
    stay = copy.deepcopy(named(searchset(), "stay-2150")) | {"subject": {"reference": first}}
    person = {"resourceType": "Patient", "gender": "female", **identity}
    pulse = observation(subject={"reference": second})
    found = read(
        bundle(
            {"fullUrl": first, "resource": person},
            {"fullUrl": second, "resource": copy.deepcopy(person)},
            {"resource": stay},
            {"resource": pulse},
        ),
        ready,
    )
    (patient,) = found.patients
    assert found.left_out == {"Patient: stands twice": 1} and [one.value for one in patient.measurements] == [90.0]


def test_a_patient_without_a_stay_is_left_out_and_told_and_refuses_no_other(ready: Predictor) -> None:
    of = searchset()
    of["entry"] += [
        {"resource": {"resourceType": "Patient", "id": "visitor"}},
        {"resource": observation(subject={"reference": "Patient/visitor"})},
        {"resource": named(searchset(), "stay-2150") | {"id": "next", "status": "planned"}},
        {"request": {"method": "DELETE", "url": "Observation/old"}},
    ]
    found = read(of, ready)
    assert found.patients == read(searchset(), ready).patients
    assert found.left_out == read(searchset(), ready).left_out | {
        "Patient: no stay to predict for": 1,
        "Observation: of a patient who is not predicted": 1,
        "Encounter: status planned": 1,
        "entries without a resource, such as a request DELETE": 1,
    }
    assert "not predicted: Patient/visitor: no Encounter of this patient is in-progress" in found.warnings[0]


@pytest.mark.parametrize("hours", [20, 60])
def test_a_stay_that_is_too_short_is_left_out_and_told_and_refuses_no_other(ready: Predictor, hours: int) -> None:
    of = searchset()
    period = {
        "start": "2150-03-01T13:00:00Z",
        "end": f"2150-03-0{1 + (13 + hours) // 24}T{(13 + hours) % 24:02}:00:00Z",
    }
    second = named(searchset(), "stay-2150") | {"id": "short", "subject": {"reference": "Patient/2"}, "period": period}
    second.pop("location")
    of["entry"] += [{"resource": {"resourceType": "Patient", "id": "2"}}, {"resource": second}]
    found = read(of, ready)
    assert [one.patient_id for one in found.patients][1:] == (["2"] if hours == 60 else [])
    assert found.left_out.get("Encounter: of a patient who is not predicted", 0) == (hours == 20)
    assert any("Encounter/short.period.start: the stay is known for 20.0 h" in one for one in found.warnings) == (
        hours == 20
    )


WARDS = {"resource": {"resourceType": "Location", "id": "ward"}}
VISITOR = {"resource": {"resourceType": "Patient", "id": "visitor"}}


def test_an_exporter_s_folder_is_read_and_what_holds_no_stay_is_told(ready: Predictor, tmp_path: Path) -> None:
    (tmp_path / "hospitalInformation1.json").write_text(json.dumps(bundle(WARDS)))
    (tmp_path / "Visitor.json").write_text(json.dumps(bundle(VISITOR)))
    with pytest.raises(UserError, match=r"Visitor.json: Patient/visitor: no Encounter"):
        ready.tables(tmp_path)
    (tmp_path / "Theodora.JSON").write_text(json.dumps(searchset()))
    (tmp_path / "Patient.ndjson").write_text("{}")
    (tmp_path / "metadata").mkdir()
    made = ready.tables(tmp_path)
    assert made.cohort["patient_id"].to_list() == ["eq081-VQEgP8drUUqCWzHfw3"]
    told = "\n".join(made.warnings)
    assert "hospitalInformation1.json: passed over: Bundle.entry: 0 Patients" in told
    assert "Visitor.json: passed over: Patient/visitor: no Encounter" in told
    assert "2 other files or folders of" in told and "such as Patient.ndjson" in told
    for name in ("Visitor.json", "Theodora.JSON"):
        (tmp_path / name).unlink()
    with pytest.raises(UserError, match=r"hospitalInformation1.json: Bundle.entry: 0 Patients"):
        ready.tables(tmp_path)


def write(place: Path, content: str) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(content)
    return place


ODD_PLACES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no such file": (lambda at: at / "patients.json", r"patients.json: no such file; .* FHIR bundle"),
    "no such lines": (lambda at: at / "patients.ndjson", r"patients.ndjson: no such file; .* FHIR bundle"),
    "a text": (lambda at: write(at / "patients.txt", "{}"), r"patients.txt: '.txt' is not read; .* FHIR bundle"),
    "lines": (lambda at: write(at / "Patient.ndjson", "{}"), r"Patient.ndjson: '.ndjson' is not read; .* FHIR bundle"),
    "a folder of lines": (
        lambda at: write(at / "Patient.ndjson", "{}").parent,
        r"holds FHIR resources as '.ndjson' \(Patient.ndjson\), which is not read; .* FHIR bundle",
    ),
    "a folder further down": (
        lambda at: write(at / "fhir" / "a.json", json.dumps(searchset())).parent.parent,
        r"its FHIR bundles are in the folder 'fhir' within",
    ),
    "tables and bundles": (
        lambda at: write(at / "b.json", json.dumps(searchset())).parent / write(at / "cohort.csv", "").parent,
        r"holds tables \(cohort.csv\) and a FHIR bundle \(b.json\)",
    ),
    "a key twice": (
        lambda at: write(at / "b.json", json.dumps(searchset()).replace('"value": 128', '"value": 128, "value": 60')),
        r"b.json: the key 'value' stands twice in one object of the file",
    ),
}


@pytest.mark.parametrize("odd", ODD_PLACES)
def test_what_is_no_bundle_or_more_than_bundles_is_refused_in_a_line_that_says_what_is_wrong(
    ready: Predictor, tmp_path: Path, odd: str
) -> None:
    make, told = ODD_PLACES[odd]
    with pytest.raises(UserError, match=told) as refused:
        ready.tables(make(tmp_path))
    assert "\n" not in str(refused.value) and "convert" not in str(refused.value)
