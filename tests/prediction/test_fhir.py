"""FHIR bundles: the same patient has the same risk as by the service's own JSON, and whatever is not read is told."""

import base64
import copy
import importlib.util
import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

import emerge_ehr
from emerge_ehr.fields import UserError
from emerge_ehr.prediction import predict, predictor
from emerge_ehr.prediction.fhir import patients
from emerge_ehr.prediction.fhir.patients import Read
from emerge_ehr.prediction.predictor import Predictor
from emerge_ehr.prediction.service import build
from emerge_ehr.signals import codes
from emerge_ehr.signals.signals import SIGNAL_BY_NAME, SIGNALS
from emerge_ehr.training.trained import Trained
from tests import fhir_bundles
from tests.fhir_bundles import bundle, entry, named, observation, of_unit, resource, searchset
from tests.places import ROOT

Bundle = dict[str, Any]


@pytest.fixture(scope="module")
def ready(emerge: Trained) -> Predictor:
    return predictor.load(emerge.run_dir, offline=True)


@pytest.fixture(scope="module")
def client(ready: Predictor) -> TestClient:
    return TestClient(build(ready, ["*"]))


def ask(client: TestClient, body: Any, kind: str = "application/fhir+json", query: str = "") -> Any:
    return client.post(f"/predict{query}", content=json.dumps(body), headers={"content-type": kind})


@pytest.mark.parametrize("hours", [0, -5, 9])
def test_the_same_patients_have_the_same_answers_as_by_our_own_json_to_the_last_bit(
    client: TestClient, patients: list[dict[str, Any]], hours: int
) -> None:
    entries = [one for patient in patients for one in fhir_bundles.of_patient(patient, hours)]
    query = "?explain=true" if hours == 0 else ""
    of_fhir, own = (
        ask(client, bundle(*entries), query=query),
        ask(client, {"patients": patients}, "application/json", query),
    )
    assert of_fhir.status_code == own.status_code == 200, of_fhir.text
    assert of_fhir.json()["predictions"] == own.json()["predictions"]
    assert of_fhir.json()["warnings"] == own.json()["warnings"] and of_fhir.json()["fhir"]["left_out"] == {}


def test_the_stage_predict_takes_a_folder_or_a_file_of_bundles(
    emerge: Trained, ready: Predictor, patients: list[dict[str, Any]], hospital: Any, tmp_path: Path
) -> None:
    named = sorted(patient["patient_id"] for patient in patients)
    own = tmp_path / "own"
    own.mkdir()
    for table in ("cohort", "static", "dynamic", "notes"):
        rows = pl.read_csv(hospital.table_dir / f"{table}.csv", infer_schema=False)
        rows.filter(pl.col("patient_id").is_in(named)).write_csv(own / f"{table}.csv")
    predict.run(emerge.run_dir, own, tmp_path / "own.csv", offline=True, explain=False)
    folder, file = tmp_path / "bundles", tmp_path / "all.json"
    folder.mkdir()
    for patient in patients:
        path = folder / f"{patient['patient_id']}.json"
        path.write_text(json.dumps(bundle(*fhir_bundles.of_patient(patient))))
    file.write_text(json.dumps(bundle(*(one for patient in patients for one in fhir_bundles.of_patient(patient)))))
    for place in (folder, file):
        predict.run(emerge.run_dir, place, tmp_path / "fhir.csv", offline=True, explain=False)
        for suffix in (".csv", ".evidence.jsonl"):
            assert (tmp_path / f"fhir{suffix}").read_bytes() == (tmp_path / f"own{suffix}").read_bytes()
    assert emerge_ehr.Model(ready).predict(file)["patient_id"].to_list()[:1] == named[:1]
    (folder / "twice.json").write_text((folder / f"{named[0]}.json").read_text())
    with pytest.raises(UserError, match=f"Patient/{named[0]} is in .*{named[0]}.json too"):
        ready.tables(folder)
    (folder / "twice.json").write_text("{")
    with pytest.raises(UserError, match=r"twice.json: the file is not JSON"):
        ready.tables(folder)


def read(of: Bundle, ready: Predictor) -> Read:
    return patients.read(of, ready.expected)


def test_a_record_system_s_search_result_is_read_as_a_person_reads_it(ready: Predictor, client: TestClient) -> None:
    """Panels, coded scores, kilopascals, a clock five hours behind UTC, a bed in an ICU, notes as base64."""
    found = read(searchset(), ready)
    (patient,) = found.patients
    assert (patient.age, patient.sex) == (68.0, "F")
    assert patient.window_start == datetime(2150, 3, 1, 13) and patient.window_end == datetime(2150, 3, 3, 13)
    measured = {(one.code, f"{one.time:%H:%M}"): one.value for one in patient.measurements}
    assert measured == {
        ("heart_rate", "13:30"): 128.0,
        ("systolic_blood_pressure", "13:45"): 84.0,
        ("diastolic_blood_pressure", "13:45"): pytest.approx(48.0, abs=0.01),
        ("gcs_eye", "14:00"): 3.0,
        ("gcs_motor", "14:00"): 6.0,
        ("gcs_verbal", "14:00"): 4.0,
        ("gcs_total", "14:00"): 13.0,
    }
    assert [(note.type, note.text) for note in patient.notes] == [("H&P", "Known pneumonia, now in septic shock.")]
    assert found.left_out == {"DocumentReference: not text/plain": 1}
    answer = ask(client, searchset(), "application/json").json()
    assert [one["surface"] for one in answer["predictions"][0]["diseases"]] == ["pneumonia", "septic shock"]
    (window,) = answer["fhir"]["windows"]
    assert window["begins_at"] == "Encounter/stay-2150.location[1].period.start"
    assert (window["window_start"], window["measurements"], window["notes"]) == ("2150-03-01T13:00:00Z", 7, 1)


LEFT_OUT: dict[str, dict[str, Any]] = {
    "status entered-in-error": observation(status="entered-in-error"),
    "status cancelled": observation(status="cancelled"),
    "status preliminary": observation(status="preliminary"),
    "no effective time of day": observation(effectiveDateTime="2150-03-01"),
    "code not mapped": observation("4548-4"),
    "a signal that the run does not know": observation("718-7"),
    "codes of several signals": observation(
        code={"coding": [{"system": fhir_bundles.LOINC, "code": one} for one in ("8867-4", "9279-1")]}
    ),
    "value not a quantity": observation(valueString="90 per minute"),
    "no value": observation(valueQuantity={"unit": "/min"}),
    "a value beside dataAbsentReason": observation(dataAbsentReason={"text": "the probe fell off"}),
    "effectivePeriod ends before its start": observation(
        effectiveDateTime=None, effectivePeriod={"start": "2150-03-01T16:00:00Z", "end": "2150-03-01T15:00:00Z"}
    ),
    "a modifierExtension, which may change what it means": observation(
        modifierExtension=[{"url": "https://example.org/negated", "valueBoolean": True}]
    ),
    "a bound that may be on either side of the limit": observation(
        "44963-7", valueQuantity=of_unit(2, "s") | {"comparator": ">"}
    ),
    "a comparator that R4 does not have": observation(valueQuantity=of_unit(90, "/min") | {"comparator": "~"}),
    "no UCUM unit": observation(valueQuantity={"value": 90, "unit": "bpm"}),
    "a unit that the signal has not": observation(valueQuantity=of_unit(90, "Hz")),
    "outside the window": observation(effectiveDateTime="2150-03-01T12:59:59Z"),
    "of no patient of the bundle": observation(subject={"reference": "Patient/another"}),
    "an answer whose points are not known": observation("9267-6", valueCodeableConcept={"text": "opens eyes"}),
}


@pytest.mark.parametrize("reason", LEFT_OUT)
def test_what_is_not_read_is_counted_by_reason_and_changes_no_measurement(ready: Predictor, reason: str) -> None:
    plain, more = searchset(), searchset()
    more["entry"].append({"resource": LEFT_OUT[reason]})
    before, after = read(plain, ready), read(more, ready)
    assert after.left_out == before.left_out | {f"Observation: {reason}": 1}
    assert after.patients == before.patients


@pytest.mark.parametrize(
    ("code", "value", "unit", "signal", "expected"),
    [
        ("8310-5", 101.3, "[degF]", "temperature", 38.5),
        ("8331-1", 311.65, "K", "temperature", 38.5),
        ("29463-7", 176.37, "[lb_av]", "weight", 80.0),
        ("8302-2", 70, "[in_i]", "height", 177.8),
        ("15074-8", 10, "mmol/L", "glucose", 180.156),
        ("3150-0", 40, "%", "fraction_inspired_oxygen", 0.4),
        ("3150-0", 0.4, "{fraction}", "fraction_inspired_oxygen", 0.4),
        ("59408-5", 97, "%", "oxygen_saturation", 97.0),
        ("2744-1", 7.31, "[pH]", "ph", 7.31),
        ("8478-0", 10, "kPa", "mean_blood_pressure", 75.0062),
        ("9279-1", 22, "{breaths}/min", "respiratory_rate", 22.0),
        ("44963-7", 2.5, "s", "capillary_refill_rate", 0.0),
        ("44971-0", 3.5, "s", "capillary_refill_rate", 1.0),
        ("9269-2", 9, "{score}", "gcs_total", 9.0),
    ],
)
def test_units_become_those_of_the_run(
    ready: Predictor, code: str, value: float, unit: str, signal: str, expected: float
) -> None:
    of = searchset()
    of["entry"].append({"resource": observation(code, valueQuantity=of_unit(value, unit))})
    (patient,) = read(of, ready).patients
    added = [one for one in patient.measurements if one.time == datetime(2150, 3, 1, 15)]
    assert [(one.code, one.value) for one in added] == [(signal, pytest.approx(expected, abs=1e-3))]


def test_every_signal_has_a_code_and_every_row_converts_into_its_plausible_range() -> None:
    known = codes.known()
    assert set(known.signal.values()) == set(SIGNAL_BY_NAME)
    for loinc, name in known.signal.items():
        signal = SIGNAL_BY_NAME[name]
        units = [unit for (code, _), unit in known.units.items() if code == loinc]
        points = [score for (code, _), score in known.scores.items() if code == loinc]
        assert units and all(signal.plausible[0] <= score <= signal.plausible[1] for score in points)
        assert any(unit.above is not None or (unit.scale, unit.offset) == (1.0, 0.0) for unit in units)
        if points:
            assert sorted(points) == [float(n) for n in range(1, int(signal.plausible[1]) + 1)]


MISTAKES: dict[str, tuple[Callable[[Bundle], object], str]] = {
    "no bundle": (lambda b: b.update(resourceType="Patient"), "resourceType: 'Patient' is not 'Bundle'"),
    "old versions": (lambda b: b.update(type="history"), "Bundle.type: a 'history'"),
    "no type": (lambda b: b.pop("type"), "Bundle.type: Value for the field"),
    "entries that are none": (lambda b: b.update(entry=[3]), "Bundle.entry[0]: not an entry with a resource"),
    "entries that are no list": (lambda b: b.update(entry={}), "Bundle.entry: not a list"),
    "no patient": (lambda b: b.update(entry=b["entry"][1:]), "Bundle.entry: 0 Patients"),
    "a value as words": (
        lambda b: named(b, "hr-1")["valueQuantity"].update(value="fast"),
        "Observation/hr-1.valueQuantity.value: ",
    ),
    "a value in a component": (
        lambda b: named(b, "bp-1")["component"][1]["valueQuantity"].update(value=[]),
        "Observation/bp-1.component[1].valueQuantity.value: ",
    ),
    "a value beyond all numbers": (
        lambda b: named(b, "hr-1")["valueQuantity"].update(value=1e300),
        "Observation/hr-1.valueQuantity: not a finite number",
    ),
    "a time without a zone": (
        lambda b: named(b, "hr-1").update(effectiveDateTime="2150-03-01T13:30:00"),
        "Observation/hr-1.effectiveDateTime: a time of day without a zone is no time of R4; write it as 2150-03-01T13:30:00Z",
    ),
    "an element that there is not": (
        lambda b: named(b, "hr-1").update(pulse=1),
        "Observation/hr-1.pulse: Extra inputs",
    ),
    "no code": (lambda b: named(b, "hr-1").pop("code"), "Observation/hr-1.code: Field required"),
    "an id twice": (
        lambda b: b["entry"].append({"resource": observation(id="hr-1")}),
        "Observation/hr-1: stands twice, with different content (Bundle.entry[9])",
    ),
    "extensions in extensions": (
        lambda b: named(b, "hr-1").update(extension=[nested(300)]),
        "Observation/hr-1: nested too deeply",
    ),
    "no stay": (
        lambda b: named(b, "stay-2150").update(status="planned"),
        "no Encounter of this patient is in-progress",
    ),
    "a stay without a beginning": (
        lambda b: named(b, "stay-2150").update(period={"start": "2150-03-01"}),
        "Encounter/stay-2150.period.start: missing, or without a time of day",
    ),
    "a time without seconds": (
        lambda b: named(b, "hr-1").update(effectiveDateTime="2150-03-01T13:30Z"),
        "Observation/hr-1.effectiveDateTime: a time of day without seconds is no time of R4",
    ),
    "a stay of R5": (
        lambda b: named(b, "stay-2150").update({"class": [{"coding": [{"code": "IMP"}]}]}),
        "('class' is as in FHIR R5; FHIR R4 is read, so convert the bundle)",
    ),
    "a stay that ended early": (
        lambda b: named(b, "stay-2150")["period"].update(end="2150-03-02T08:00:00-05:00"),
        "Encounter/stay-2150.location[1].period.start: the stay is known for 24.0 h, and the run predicts from 48 h",
    ),
    "a stay that ends on a day before it begins": (
        lambda b: named(b, "stay-2150")["period"].update(end="2150-02-27"),
        "Encounter/stay-2150.period.end: is before its start",
    ),
    "an ICU that is left before it is entered": (
        lambda b: named(b, "stay-2150")["location"][1]["period"].update(end="2150-02"),
        "Encounter/stay-2150.location[1].period.end: is before its start",
    ),
    "a stay in an ICU that ended the day after": (
        lambda b: (
            named(b, "stay-2150")["location"].__delitem__(2)
            or named(b, "stay-2150")["location"][1]["period"].update(end="2150-03-02")
        ),
        "Encounter/stay-2150.location[1].period.start: the stay is known for 40.0 h, and the run predicts from 48 h",
    ),
    "a stay that ends before it begins": (
        lambda b: named(b, "stay-2150")["period"].update(end="2149-03-02T08:00:00-05:00"),
        "Encounter/stay-2150.period.end: is before its start",
    ),
    "a note too long": (
        lambda b: named(b, "note-1")["content"][1]["attachment"].update(data=base64.b64encode(b"x" * 500_001).decode()),
        "DocumentReference/note-1.content[1].attachment.data: longer than 500000",
    ),
}


def nested(depth: int) -> dict[str, Any]:
    return {"url": "https://example.org/in", "extension": [nested(depth - 1)] if depth else []}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_bad_bundle_is_refused_in_one_line_that_names_resource_and_element(client: TestClient, mistake: str) -> None:
    change, told = MISTAKES[mistake]
    of = searchset()
    change(of)
    answer = ask(client, of)
    assert answer.status_code == 422 and told in answer.json()["detail"], answer.text
    assert "\n" not in answer.json()["detail"] and len(answer.content) < 500


def places(of: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to every value within."""
    if path:
        yield path
    for key in of if isinstance(of, dict) else range(len(of)) if isinstance(of, list) else ():
        yield from places(of[key], (*path, key))


ODD = (None, 3, -1e308, "x", "", [], {}, [None], [{}], True, "\ud800")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_stands_in_one_place_the_bundle_is_read_or_refused_in_a_line(
    ready: Predictor, data: st.DataObject
) -> None:
    of = searchset()
    *path, last = data.draw(st.sampled_from(list(places(of))))
    parent = of
    for key in path:
        parent = parent[key]
    if data.draw(st.booleans()) and isinstance(parent, dict):
        parent.pop(last)
        parent[f"_{last}"] = {"extension": [{"url": "https://example.org/why", "valueString": "unknown"}]}
    else:
        parent[last] = data.draw(st.sampled_from(ODD))
    try:
        assert read(of, ready).patients
    except UserError as error:
        assert "\n" not in str(error)


def second_stay(of: Bundle, start: str, *, intensive: bool, code: str = "IMP") -> None:
    places = [{"location": {"reference": "Location/icu-east"}, "period": {"start": start}}] if intensive else []
    stay = {
        "resourceType": "Encounter",
        "id": "second",
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": code},
        "subject": {"reference": "Patient/eq081-VQEgP8drUUqCWzHfw3"},
        "period": {"start": start},
        **({"location": places} if places else {}),
    }
    of["entry"].append({"resource": stay})


def test_of_several_stays_the_latest_in_intensive_care_counts_and_that_is_told(ready: Predictor) -> None:
    of = searchset()
    second_stay(of, "2150-06-01T08:00:00Z", intensive=False)
    assert read(of, ready).windows[0]["encounter"] == "Encounter/stay-2150" and not read(of, ready).warnings[1:]
    of = searchset()
    second_stay(of, "2150-02-01T08:00:00Z", intensive=True)
    found = read(of, ready)
    assert found.windows[0]["encounter"] == "Encounter/stay-2150"
    assert "2 stays are in the bundle; the risk is of the latest, Encounter/stay-2150" in found.warnings[0]
    of = searchset()
    of["entry"] = [one for one in of["entry"] if one["resource"]["resourceType"] != "Location"]
    (patient,) = read(of, ready).patients
    assert patient.window_start == datetime(
        2150, 3, 1, 2, 14
    )  # the encounter's own: nobody says that a place is an ICU
    second_stay(of, "2150-03-01T08:00:00Z", intensive=False, code="AMB")
    with pytest.raises(UserError, match=r"2 Encounters, none inpatient by class"):
        read(of, ready)


def test_a_bundle_made_before_the_window_is_over_and_a_page_of_several_are_told(ready: Predictor) -> None:
    of = searchset()
    of["timestamp"] = "2150-03-02T08:00:00-05:00"
    of["link"].append({"relation": "next", "url": "https://fhir.hospital.example/R4/page/2"})
    warnings = read(of, ready).warnings
    assert "one page of several" in warnings[0] and "made 24.0 h after the window began" in warnings[1]


def document(**changes: Any) -> Bundle:
    of = searchset()
    resource(of, "DocumentReference").update(changes)
    return of


CHARSET = "its charset is none of utf-8, ascii, iso8859-1, iso8859-15, cp1252"


def text_of(**attachment: str) -> dict[str, Any]:
    """The content of a document: a text in German, but for what is changed."""
    data = base64.b64encode("Pneumonie, früher Asthma.".encode(attachment.pop("encoding", "utf-8"))).decode()
    return {"attachment": {"contentType": "text/plain", "data": data, **attachment}}


@pytest.mark.parametrize(
    "attachment",
    [
        {"contentType": "text/plain; charset=utf-8; format=flowed"},
        {"contentType": "text/plain; format=flowed"},
        {"contentType": 'Text/Plain;charset="UTF8"'},
        {"contentType": "text/plain; format=flowed; charset=ISO-8859-1", "encoding": "latin-1"},
        {"contentType": "text/plain; charset=latin1", "encoding": "latin-1"},
    ],
)
def test_parameters_of_a_content_type_are_read_as_they_may_be_written(
    ready: Predictor, attachment: dict[str, str]
) -> None:
    (note,) = read(document(content=[text_of(**attachment)]), ready).patients[0].notes
    assert note.text == "Pneumonie, früher Asthma."


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": "superseded"}, "status superseded"),
        ({"docStatus": "preliminary"}, "docStatus preliminary"),
        ({"date": "2150-03-03T13:00:00Z"}, "after the window"),
        ({"context": {"encounter": [{"reference": "Encounter/of-last-year"}]}}, "of another stay"),
        ({"context": {}, "date": "2149-03-01T13:00:00Z"}, "of another stay"),
        ({"subject": {"reference": "Patient/another"}}, "of no patient of the bundle"),
        ({"type": {"coding": [{"system": fhir_bundles.LOINC, "code": "18842-5"}]}}, "a discharge summary or the like"),
        ({"type": {"text": "Discharge Summary"}}, "a discharge summary or the like"),
        ({"content": [text_of(contentType="text/plain; charset=utf-7")]}, CHARSET),
        ({"content": [text_of(contentType="text/plain; charset=none-such")]}, CHARSET),
        ({"content": [text_of(data="!")]}, "data not text in utf-8 as base64"),
        ({"content": [text_of(data="/w==")]}, "data not text in utf-8 as base64"),
    ],
)
def test_notes_of_others_of_other_stays_or_written_later_are_left_out(
    ready: Predictor, changes: dict[str, Any], reason: str
) -> None:
    found = read(document(**changes), ready)
    assert found.left_out[f"DocumentReference: {reason}"] >= 1 and not found.patients[0].notes


def test_the_same_resource_twice_counts_once(ready: Predictor) -> None:
    of = searchset()
    of["entry"] += copy.deepcopy(of["entry"][5:6])
    found = read(of, ready)
    assert found.left_out["Observation: stands twice"] == 1
    assert found.patients == read(searchset(), ready).patients


def test_a_bundle_that_holds_too_much_is_refused_before_it_is_read(client: TestClient) -> None:
    assert "at most 20000 entries" in ask(client, bundle(*[{}] * 20_001)).json()["detail"]
    assert "more than 400000 objects" in ask(client, {**bundle(), "entry": [[]] * 500_000}).json()["detail"]


def test_without_the_library_the_answer_says_how_to_install_it(
    client: TestClient, patients: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "fhir" else real(name, *rest))
    answer = ask(client, searchset())
    assert answer.status_code == 501 and "pip install 'emerge-ehr[fhir]'" in answer.json()["detail"]
    assert ask(client, {"patients": patients[:1]}, "application/json").status_code == 200


@given(st.sampled_from([one.name for one in SIGNALS]), st.floats(-1e29, 1e29), st.integers(-14, 14))
def test_a_value_in_the_runs_own_unit_is_the_same_number_on_every_clock(name: str, value: float, hours: int) -> None:
    code, unit = fhir_bundles.CHARTED[name]
    found = codes.known().unit(code, unit)
    assert found is not None and (found.above is not None or found.of_signal(value) == value)
    assert patients.written(datetime(2150, 3, 1, 13)) == "2150-03-01T13:00:00Z"
    from emerge_ehr.prediction.fhir.times import moment

    assert moment(fhir_bundles.zoned("2150-03-01T13:00:00", hours)) == datetime(2150, 3, 1, 13)


def test_an_entry_is_named_by_its_place_where_it_has_no_id(client: TestClient) -> None:
    of = searchset()
    of["entry"].append(entry(observation(status="done"), "one"))
    of["entry"][-1]["resource"].pop("id")
    of["entry"][-1]["resource"]["effectiveDateTime"] = "yesterday"
    assert ask(client, of).json()["detail"].startswith("Bundle.entry[9] (Observation).effectiveDateTime: ")


def test_the_example_of_the_page_is_answered_as_the_page_says(client: TestClient) -> None:
    page = (ROOT / "docs" / "fhir.md").read_text("utf-8")
    asked, told = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL))
    answer = ask(client, asked).json()
    assert {"fhir": answer["fhir"]} == told and answer["predictions"][0]["diseases"][0]["surface"] == "pneumonia"
