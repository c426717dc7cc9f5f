"""Source tables: what OneEHR writes is read as it is: dates without times, gender, labels of other kinds, ids as numbers."""

import dataclasses
import json
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from emerge_ehr.config import Cohort, Config, Paths
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.fields import Component, UserError, plural
from emerge_ehr.storage.dataset import Dataset
from tests import dated_tables
from tests.dated_tables import DAY, end_of, read, row, write

ALL_DAYS = Cohort(min_age=0, min_stay_hours=0, window="whole", bin_hours=24)
FORM = "%Y-%m-%d %H:%M:%S"


def converted(folder: Path, rule: Cohort = ALL_DAYS, **settings: Any) -> dict[str, Any]:
    """Converts ``folder/raw`` into ``folder/tables``; returns the provenance."""
    task = Component("given", settings.pop("task", {}))
    paths = Paths(raw_dir=folder / "raw", table_dir=folder / "tables")
    convert.run(Config("own", "own", paths, Component("tables", settings), task, cohort=rule))
    return json.loads((folder / "tables" / "provenance.json").read_text())  # type: ignore[no-any-return]


def stamp(moment: datetime) -> str:
    return moment.strftime(FORM)


def small(
    folder: Path, times: list[tuple[str, str]], known: str, cohort: dict[str, str] | None = None
) -> dict[str, Any]:
    """Tables of patient 1 with measurements at ``times`` (time, code), whose outcome was ``known`` then, converted."""
    write(folder / "raw" / "dynamic.csv", [row(1, when, code, "7") for when, code in times])
    write(folder / "raw" / "static.csv", [{"patient_id": "1", "sex": "F"}])
    outcome = {"label_time": known, "label_code": "outcome", "label_value": "1"}
    write(folder / "raw" / "label.csv", [{"patient_id": "1", **outcome}])
    if cohort is not None:
        write(folder / "raw" / "cohort.csv", [{"patient_id": "1", "subject_id": "ann", **cohort}])
    return converted(folder)


def measured(folder: Path) -> list[tuple[str, str]]:
    return [(one["event_time"], one["code"]) for one in read(folder / "tables" / "dynamic.csv")]


def window_of(folder: Path) -> tuple[str, str]:
    (one,) = read(folder / "tables" / "cohort.csv")
    return one["window_start"], one["window_end"]


def test_no_patient_and_no_measurement_of_a_cohort_with_dates_is_lost(tmp_path: Path) -> None:
    dynamic, label = dated_tables.generate(tmp_path / "raw")
    provenance = converted(tmp_path)
    found = {(one["patient_id"], one["event_time"], one["code"]) for one in read(tmp_path / "tables" / "dynamic.csv")}
    assert found == {(one["patient_id"], stamp(end_of(one["event_time"])), one["code"]) for one in dynamic}
    windows = {one["patient_id"]: one for one in read(tmp_path / "tables" / "cohort.csv")}
    assert set(windows) == {one["patient_id"] for one in label}
    for patient, window in windows.items():
        days = [date.fromisoformat(one["event_time"]) for one in dynamic if one["patient_id"] == patient]
        assert window["window_start"] == f"{min(days)} 00:00:00"
        assert window["window_end"] == f"{max(days) + DAY} 00:00:00"
    known = {one["patient_id"]: date.fromisoformat(one["label_time"]) for one in label}
    written = {one["patient_id"]: one["label_time"] for one in read(tmp_path / "tables" / "label.csv")}
    assert written == {patient: f"{day + DAY} 00:00:00" for patient, day in known.items()}
    counted = provenance["stays"]["measurements with a date only, taken at the end of the day"]
    assert counted == len(dynamic)
    told = " ".join(provenance["warnings"])
    assert f"{counted} of {counted} measurements have a date and no time of day" in told
    assert f"{len(label)} outcomes have a date and no time of day" in told


def test_the_first_day_and_the_last_value_before_it_ends_are_what_a_model_of_the_first_days_sees(
    tmp_path: Path,
) -> None:
    dynamic, _ = dated_tables.generate(tmp_path / "raw")
    converted(tmp_path, dataclasses.replace(ALL_DAYS, window="first", window_hours=48))
    found = {(one["patient_id"], one["event_time"], one["code"]) for one in read(tmp_path / "tables" / "dynamic.csv")}
    first = {
        one["patient_id"]: one["event_time"] for one in sorted(dynamic, key=lambda one: one["event_time"], reverse=True)
    }
    early = [
        one
        for one in dynamic
        if date.fromisoformat(one["event_time"]) < date.fromisoformat(first[one["patient_id"]]) + 2 * DAY
    ]
    assert found == {(one["patient_id"], stamp(end_of(one["event_time"])), one["code"]) for one in early}


def test_a_genuine_midnight_stays_where_the_code_has_other_times_of_day(tmp_path: Path) -> None:
    times = [
        ("2150-03-01 10:00:00", "pulse"),
        ("2150-03-02 00:00:00", "pulse"),
        ("2150-03-02 00:00:00", "urea"),  # always at midnight: dates
        ("2150-03-03 00:00:00", "urea"),
        ("2150-03-02 00:00:00", "esr"),
        ("2150-03-02", "ph"),  # a date in words, beside a time
        ("2150-03-03 09:00:00", "ph"),
        ("2150-03-04 11:00:00", "esr"),
    ]
    provenance = small(tmp_path, times, "2150-03-09 10:00:00")
    expected = [
        ("2150-03-01 10:00:00", "pulse"),
        ("2150-03-02 00:00:00", "esr"),
        ("2150-03-02 00:00:00", "pulse"),
        ("2150-03-02 23:59:59", "ph"),
        ("2150-03-02 23:59:59", "urea"),
        ("2150-03-03 09:00:00", "ph"),
        ("2150-03-03 23:59:59", "urea"),
        ("2150-03-04 11:00:00", "esr"),
    ]
    assert measured(tmp_path) == expected
    assert window_of(tmp_path) == ("2150-03-01 10:00:00", "2150-03-04 11:00:01")
    assert "3 of 8 measurements have a date and no time of day" in " ".join(provenance["warnings"])


def test_a_code_with_mostly_midnights_is_doubted(tmp_path: Path) -> None:
    times = [(f"2150-03-{day:02} 00:00:00", "urea") for day in range(1, 9)] + [("2150-03-09 10:00:00", "urea")]
    provenance = small(tmp_path, times, "2150-03-20 10:00:00")
    assert "most times of urea are exactly midnight, but not all" in " ".join(provenance["warnings"])
    assert measured(tmp_path)[0] == ("2150-03-01 00:00:00", "urea")


@pytest.mark.parametrize(
    ("known", "end", "kept"),
    [
        ("2150-03-03", "2150-03-04 00:00:00", 3),  # on that day, when it was over
        ("2150-03-03 14:20:00", "2150-03-03 14:20:00", 2),  # a value of that day may be from after it
        ("2150-03-05 08:00:00", "2150-03-04 00:00:00", 3),
    ],
)
def test_a_record_ends_when_its_outcome_was_known_and_what_may_be_later_is_left_out(
    tmp_path: Path, known: str, end: str, kept: int
) -> None:
    times = [(f"2150-03-0{day}", "urea") for day in (1, 2, 3)]
    provenance = small(tmp_path, times, known)
    assert window_of(tmp_path) == ("2150-03-01 00:00:00", end)
    assert [when for when, _ in measured(tmp_path)] == [stamp(end_of(when)) for when, _ in times[:kept]]
    lost = provenance["stays"].get("measurements from when the outcome was known, left out", 0)
    assert lost == 3 - kept
    assert (f"left out: {plural(lost, 'measurement')} from when the outcome" in " ".join(provenance["warnings"])) == (
        lost > 0
    )


def test_a_record_with_times_lasts_to_its_last_measurement_or_to_the_outcome(tmp_path: Path) -> None:
    times = [("2150-03-01 10:00:00", "pulse"), ("2150-03-02 11:30:00", "pulse")]
    small(tmp_path / "a", times, "2150-03-07 10:00:00")
    assert len(measured(tmp_path / "a")) == 2 and window_of(tmp_path / "a")[1] == "2150-03-02 11:30:01"
    small(tmp_path / "b", times, "2150-03-02 11:30:00")  # at the last observation, as OneEHR's examples have it
    assert len(measured(tmp_path / "b")) == 1 and window_of(tmp_path / "b")[1] == "2150-03-02 11:30:00"
    small(tmp_path / "c", times[:1], "2150-03-02")
    assert measured(tmp_path / "c") == times[:1]
    with pytest.raises(UserError, match="no record is left in the cohort"):  # known before the record
        small(tmp_path / "d", times, "2150-02-02 11:30:00")


def test_a_record_with_dates_and_times_begins_and_ends_with_either(tmp_path: Path) -> None:
    times = [
        ("2150-03-01 15:00:00", "pulse"),
        ("2150-03-01", "urea"),
        ("2150-03-02", "urea"),
        ("2150-03-02 09:00:00", "pulse"),
    ]
    small(tmp_path, times, "2150-03-09 10:00:00")
    assert window_of(tmp_path) == ("2150-03-01 15:00:00", "2150-03-03 00:00:00")
    assert len(measured(tmp_path)) == 4


def test_dates_in_the_cohort_file_end_a_stay_with_their_day_and_a_windows_end_is_a_time(tmp_path: Path) -> None:
    times = [(f"2150-03-0{day}", "urea") for day in (1, 2, 3)]
    stay = {"intime": "2150-03-01", "outtime": "2150-03-03"}
    provenance = small(tmp_path / "a", times, "2150-03-03", stay)
    assert window_of(tmp_path / "a") == ("2150-03-01 00:00:00", "2150-03-04 00:00:00")
    assert len(measured(tmp_path / "a")) == 3
    assert "1 stay ends with a date and no time of day" in " ".join(provenance["warnings"])
    window = {"window_start": "2150-03-01 00:00:00", "window_end": "2150-03-03 00:00:00"}
    small(tmp_path / "b", times, "2150-03-03", window)
    assert window_of(tmp_path / "b") == tuple(window.values()) and len(measured(tmp_path / "b")) == 2
    with pytest.raises(
        UserError, match="no record is left"
    ):  # known on the day in whose middle the stay ends: perhaps before that
        small(tmp_path / "c", times, "2150-03-03", {"intime": "2150-03-01", "outtime": "2150-03-03 15:00:00"})


def test_a_cohort_file_without_times_names_the_persons_only(tmp_path: Path) -> None:
    small(tmp_path, [("2150-03-01", "urea")], "2150-03-03", {"ward": "7"})
    (one,) = read(tmp_path / "tables" / "cohort.csv")
    assert (one["subject_id"], one["window_start"]) == ("ann", "2150-03-01 00:00:00")


def test_gender_is_read_as_sex_and_numbers_are_unknown_unless_their_meaning_is_said(tmp_path: Path) -> None:
    dated_tables.generate(tmp_path / "raw")
    converted(tmp_path)
    given = {one["patient_id"]: one["gender"] for one in read(tmp_path / "raw" / "static.csv")}
    assert {one["patient_id"]: one["sex"] for one in read(tmp_path / "tables" / "static.csv")} == given
    dated_tables.generate(tmp_path / "raw", gender="numbers")
    provenance = converted(tmp_path)
    assert {one["sex"] for one in read(tmp_path / "tables" / "static.csv")} == {""}
    assert "the sex (or gender) of 36 patients is a number (0, 1) whose meaning is not said" in " ".join(
        provenance["warnings"]
    )
    provenance = converted(tmp_path, sexes={"1": "M", "0": "F"})
    given = {one["patient_id"]: one["gender"] for one in read(tmp_path / "raw" / "static.csv")}
    meaning = {patient: {"1.0": "M", "0.0": "F"}[number] for patient, number in given.items()}
    assert {one["patient_id"]: one["sex"] for one in read(tmp_path / "tables" / "static.csv")} == meaning
    assert "sex" not in " ".join(provenance["warnings"])


@pytest.mark.parametrize(("code", "value"), [("stage", "2"), ("los", "3.7")])
def test_classes_and_amounts_are_no_outcomes_and_the_labels_that_can_be_chosen_are_named(
    tmp_path: Path, code: str, value: str
) -> None:
    _, label = dated_tables.generate(tmp_path / "raw")
    others = [{**one, "label_code": code, "label_value": value} for one in label]
    write(tmp_path / "raw" / "label.csv", [*label, *others])
    with pytest.raises(UserError) as caught:
        converted(tmp_path)
    told = str(caught.value)
    assert "\n" not in told and f"label_value {value} of patient_id '1' is neither 0 nor 1 (label_code {code})" in told
    assert 'label_codes = ["outcome"]' in told
    provenance = converted(tmp_path, task={"label_codes": ("outcome",)})
    assert provenance["cohort_flow"][-1]["stays"] == len(label)
    write(tmp_path / "raw" / "label.csv", others)
    with pytest.raises(UserError, match=rf"\(label_code {code}\).*mend the file: 1 where it happened, else 0"):
        converted(tmp_path)


def test_labels_of_several_times_are_refused_with_the_reason(tmp_path: Path) -> None:
    _, label = dated_tables.generate(tmp_path / "raw")
    write(tmp_path / "raw" / "label.csv", [*label, {**label[3], "label_time": "2021-01-01"}])
    with pytest.raises(
        UserError, match="row 38: patient_id '4' has another row of label_code 'outcome'; one outcome per record"
    ):
        converted(tmp_path)


def test_ids_that_a_spreadsheet_wrote_as_numbers_are_the_same_in_all_tables(tmp_path: Path) -> None:
    _, label = dated_tables.generate(tmp_path / "raw")
    write(tmp_path / "raw" / "label.csv", [{**one, "patient_id": f"{one['patient_id']}.0"} for one in label])
    static = read(tmp_path / "raw" / "static.csv")
    write(tmp_path / "raw" / "static.csv", [{**one, "patient_id": f" {one['patient_id']}.0 "} for one in static])
    provenance = converted(tmp_path)
    assert [step["dropped_stays"] for step in provenance["cohort_flow"]] == [0] * len(provenance["cohort_flow"])
    assert provenance["cohort_flow"][-1]["stays"] == 36


def test_rows_of_patients_whom_another_table_lacks_are_told(tmp_path: Path) -> None:
    dynamic, label = dated_tables.generate(tmp_path / "raw")
    write(tmp_path / "raw" / "label.csv", [*label, {**label[0], "patient_id": "nobody"}])
    told = " ".join(converted(tmp_path)["warnings"])
    assert "label.csv: left out: 1 row of 1 patient who is not in dynamic or static.csv, first: 'nobody'" in told
    stays = [
        {"patient_id": one["patient_id"], "subject_id": "p", "intime": "2020-01-01", "outtime": one["label_time"]}
        for one in label
        if one["patient_id"] != "1"
    ]
    write(tmp_path / "raw" / "cohort.csv", stays)
    told = " ".join(converted(tmp_path)["warnings"])
    lost = sum(one["patient_id"] == "1" for one in dynamic)
    assert f"dynamic.csv: left out: {lost} rows of 1 patient who is not in cohort.csv, first: '1'" in told
    assert "static.csv: left out: 1 row of 1 patient" in told and "label.csv: left out: 2 rows of 2 patients" in told


@pytest.mark.parametrize("with_cohort", [False, True])
def test_patients_missing_from_the_static_table_are_told_and_kept_unless_their_age_matters(
    tmp_path: Path, with_cohort: bool
) -> None:
    dynamic, label = dated_tables.generate(tmp_path / "raw")
    write(tmp_path / "raw" / "static.csv", read(tmp_path / "raw" / "static.csv")[5:])
    if with_cohort:
        days = {one["patient_id"]: one["event_time"] for one in reversed(dynamic)}
        stays = [{"subject_id": patient, "intime": day, "outtime": "2021-01-01"} for patient, day in days.items()]
        write(tmp_path / "raw" / "cohort.csv", [{"patient_id": one["subject_id"], **one} for one in stays])
        write(tmp_path / "raw" / "label.csv", [{**one, "label_time": "2021-02-01"} for one in label])
    provenance = converted(tmp_path)
    told = "static.csv: 5 of 36 patients are not in it: their age and sex are unknown"
    assert told in provenance["warnings"]
    known = {one["patient_id"]: (one["age"], one["sex"]) for one in read(tmp_path / "tables" / "static.csv")}
    assert len(known) == 36 and {patient for patient, facts in known.items() if facts == ("", "")} == set("12345")
    provenance = converted(tmp_path, dataclasses.replace(ALL_DAYS, min_age=18))
    assert told in provenance["warnings"]
    flow = {step["reason"]: step["dropped_stays"] for step in provenance["cohort_flow"]}
    assert flow["younger than 18 years, or age unknown"] == 5
    write(tmp_path / "raw" / "static.csv", [{"patient_id": "99", "age": "50", "sex": "F"}])
    with pytest.raises(UserError, match="no record is left"):
        converted(tmp_path, dataclasses.replace(ALL_DAYS, min_age=18))


def registered_again(folder: Path, died: tuple[str, str], ended: str = "2150-03-09 10:00:00") -> None:
    """Person ann dies in record 1, which ``ended``, and is registered again in record 2; so is bob, who lives.

    ``died``: the code and the value of the outcome that says so.
    """
    times = {
        "1": ("2150-03-01 10:00:00", ended),
        "2": ("2150-03-09 11:00:00", "2150-03-12 10:00:00"),
        "3": ("2150-03-01 10:00:00", "2150-03-09 10:00:00"),
        "4": ("2150-03-09 11:00:00", "2150-03-12 10:00:00"),
    }
    persons = dict(zip(times, ("ann", "ann", "bob", "bob"), strict=True))
    code, value = died
    other = str(1 - int(value))
    raw = folder / "raw"
    write(raw / "dynamic.csv", [row(n, f"{start[:11]}12:00:00", "pulse", "70") for n, (start, _) in times.items()])
    write(raw / "static.csv", [{"patient_id": n, "age": "50"} for n in times])
    stays = [
        {"patient_id": n, "subject_id": persons[n], "intime": start, "outtime": end}
        for n, (start, end) in times.items()
    ]
    write(raw / "cohort.csv", stays)
    outcomes = [
        {"patient_id": n, "label_time": end, "label_code": code, "label_value": value if n == "1" else other}
        for n, (_, end) in times.items()
    ]
    later = [{**one, "label_time": "2150-05-01", "label_code": "relapse", "label_value": "0"} for one in outcomes]
    write(raw / "label.csv", [*outcomes, *later])


LONG = Cohort(min_age=0, min_stay_hours=48, window="first", window_hours=24)
DONORS = "after the person's death, by the labels"


@pytest.mark.parametrize("died", [("mortality", "1"), ("Death_in_hospital", "1"), ("survival", "0")])
@pytest.mark.parametrize("ended", ["2150-03-09 10:00:00", "2150-03-01 20:00:00"])
@pytest.mark.parametrize("predicted", ["all", "relapse"])
def test_a_record_that_begins_after_the_persons_death_is_left_out(
    tmp_path: Path, died: tuple[str, str], ended: str, predicted: str
) -> None:
    """Organ donors are registered again; the record in which they died may be too short, or its outcome not be predicted."""
    registered_again(tmp_path, died, ended)
    settings = {} if predicted == "all" else {"task": {"label_codes": (predicted,)}}
    provenance = converted(tmp_path, LONG, **settings)
    kept = {one["patient_id"] for one in read(tmp_path / "tables" / "label.csv")}
    assert kept == ({"1", "3", "4"} if ended > "2150-03-03" else {"3", "4"})
    assert {step["reason"]: step["dropped_stays"] for step in provenance["cohort_flow"]}[DONORS] == 1
    assert any(f"1 of 4 are left out: {DONORS}" in warning for warning in provenance["warnings"])


def test_a_death_on_a_day_does_not_make_the_record_of_that_day_one_from_after_it(tmp_path: Path) -> None:
    registered_again(tmp_path, ("died", "1"))
    labels = read(tmp_path / "raw" / "label.csv")
    write(tmp_path / "raw" / "label.csv", [{**labels[0], "label_time": "2150-03-01"}, *labels[1:]])
    converted(tmp_path, LONG, task={"label_codes": ("relapse",)})
    assert {one["patient_id"] for one in read(tmp_path / "tables" / "label.csv")} == set("134")


@pytest.mark.parametrize("others", [{}, {"readmission": 30}, {"readmission": 30, "birth": -400}])
def test_a_record_ends_with_the_first_of_the_outcomes_that_are_predicted(
    tmp_path: Path, others: dict[str, int]
) -> None:
    """Another label, from later or from long before, neither lengthens the record nor removes the death."""
    days = [date(2150, 3, day) for day in (1, 2, 3, 4)]
    raw = tmp_path / "raw"
    write(raw / "dynamic.csv", [row(n, f"{day} 10:00:00", "pulse", "70") for n in "12" for day in days])
    write(raw / "static.csv", [{"patient_id": n, "age": "50"} for n in "12"])
    moment = datetime(2150, 3, 3, 9)
    codes = {"death": 0, **others}
    outcomes = [
        {"patient_id": n, "label_time": stamp(moment + later * DAY), "label_code": code, "label_value": value}
        for n, value in (("1", "1"), ("2", "0"))
        for code, later in codes.items()
    ]
    write(raw / "label.csv", outcomes)
    for chosen in [("death",), ()]:
        provenance = converted(tmp_path, task={"label_codes": chosen})
        labels = read(tmp_path / "tables" / "label.csv")
        assert {one["patient_id"]: one["label_value"] for one in labels if one["label_code"] == "death"} == {
            "1": "1.0",
            "2": "0.0",
        }
        ends = {one["window_end"] for one in read(tmp_path / "tables" / "cohort.csv")}
        assert ends == {"2150-03-03 09:00:00"}
    assert not any("almost the same name" in warning for warning in provenance["warnings"])


def test_outcomes_that_differ_by_case_alone_are_told(tmp_path: Path) -> None:
    _, label = dated_tables.generate(tmp_path / "raw")
    write(
        tmp_path / "raw" / "label.csv",
        [{**one, "label_code": ("Death", "death")[n % 2]} for n, one in enumerate(label)],
    )
    told = "label.csv: label_code 'Death' and 'death' are two outcomes with almost the same name"
    assert any(warning.startswith(told) for warning in converted(tmp_path)["warnings"])


def test_an_outcome_that_is_no_death_leaves_later_records_in(tmp_path: Path) -> None:
    registered_again(tmp_path, ("readmitted", "1"))
    provenance = converted(tmp_path, LONG)
    assert {one["patient_id"] for one in read(tmp_path / "tables" / "label.csv")} == set("1234")
    assert DONORS not in {step["reason"] for step in provenance["cohort_flow"]}


def test_a_day_is_a_step_of_the_series_and_holds_the_last_value_of_that_day(
    tmp_path: Path, trained: Callable[[Path, Path], Dataset]
) -> None:
    dynamic, _ = dated_tables.generate(tmp_path / "raw")
    (tmp_path / "own.toml").write_text(
        'dataset = "own"\nrun_name = "own"\ntask = "given"\nsource = "tables"\n[paths]\nraw_dir = "raw"\ntable_dir = "tables"\n'
        '[cohort]\nmin_age = 0\nmin_stay_hours = 0\nwindow = "whole"\nbin_hours = 24\n'
    )
    converted(tmp_path)
    dataset = trained(tmp_path / "own.toml", tmp_path)
    first = {
        one["patient_id"]: one["event_time"] for one in sorted(dynamic, key=lambda one: one["event_time"], reverse=True)
    }
    days = {one["patient_id"]: 0 for one in dynamic}
    names = [feature["name"] for feature in dataset.metadata["features"]]
    mean, std = (np.array(dataset.metadata["statistics"][name]) for name in ("mean", "std"))
    values = {}
    for one in dynamic:
        day = (date.fromisoformat(one["event_time"]) - date.fromisoformat(first[one["patient_id"]])).days
        days[one["patient_id"]] = max(days[one["patient_id"]], day + 1)
        values[one["patient_id"], day, names.index(one["code"])] = float(one["value"])
    assert dataset.ehr_length.tolist() == [days[patient] for patient in dataset.patient_id]
    assert dataset.ehr.shape[1] == max(days.values())
    for n, patient in enumerate(dataset.patient_id):
        for day in range(dataset.ehr.shape[1]):
            for feature in range(len(names)):
                given = values.get((patient, day, feature))
                assert (dataset.ehr_mask[n, day, feature] > 0) == (given is not None)
                if given is not None:
                    z = (given - mean[feature]) / std[feature]
                    np.testing.assert_allclose(dataset.ehr[n, day, feature], z, atol=1e-4)
    records = pl.read_csv(tmp_path / "data" / "processed" / "own" / "given" / "rag_records.csv", infer_schema=False)
    assert records["summary"].str.contains("the whole stay in steps of 24 h", literal=True).all()
    signals = [signal for text in records["abnormal_signals"] for signal in json.loads(text)]
    assert signals and all(signal["hour"] % 24 == 0 and signal["hours_beyond"] % 24 == 0 for signal in signals)
    assert sum(json.loads(text)["unsupported"] != [] for text in records["faithfulness"]) == 0
