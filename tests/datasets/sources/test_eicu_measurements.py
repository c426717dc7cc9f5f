"""Measurements of source eicu that need more than their number: units, bounds, oxygen fractions, stays that nobody has."""

import csv
import gzip
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from emerge_ehr.config import Download, load
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.fields import UserError
from emerge_ehr.storage import schema
from emerge_ehr.storage.table_files import read_table
from tests.datasets.sources.examples.eicu import OXYGEN, Rows, stay
from tests.datasets.sources.test_eicu import config, small, source
from tests.places import ROOT, SHARED

HALF = SHARED / "eicu-crd-demo-2.0-half"


def converted(tmp_path: Path, stays: Rows | None = None, **tables: Rows) -> tuple[dict[int, dict[str, float]], Any]:
    """Signal -> value by minute after unit admission, and the flow of rows in the provenance."""
    convert.run(config(small(tmp_path / "raw", stays or [stay(1, 11, "a")], **tables), tmp_path / "out"))
    rows = read_table(tmp_path / "out", schema.DYNAMIC).join(
        read_table(tmp_path / "out", schema.COHORT).select("patient_id", "window_start"), on="patient_id"
    )
    values: dict[int, dict[str, float]] = {}
    for row in rows.iter_rows(named=True):
        minute = int((row["event_time"] - row["window_start"]).total_seconds() // 60)
        values.setdefault(minute, {})[row["code"]] = row["value"]
    flow = json.loads((tmp_path / "out" / schema.PROVENANCE).read_text())["measurements"]["flow"]
    return values, {(line["table"].removesuffix(".csv.gz"), line["signal"]): line for line in flow}


def result(minute: int, name: str, number: str, text: str, system: str = "", interface: str = "") -> dict[str, Any]:
    return {
        "patientunitstayid": 1,
        "labresultoffset": minute,
        "labname": name,
        "labresult": number,
        "labresulttext": text,
        "labmeasurenamesystem": system,
        "labmeasurenameinterface": interface,
    }


def test_results_are_converted_from_their_unit_and_those_in_another_quantity_s_unit_are_dropped(tmp_path: Path) -> None:
    lab: Rows = [
        result(10, "glucose", "35", "35", "mmol/L", "mmol/L"),
        result(20, "glucose", "90", "90", "mg/dL", "MG/DL"),
        result(30, "glucose", "99.1", "5.5", "mg/dL", "mmol/L"),  # the ICU's system converted it
        result(40, "glucose", "5.5", "99", "mmol/L", "mg/dL"),
        result(50, "glucose", "90", "90", "mEq/L", ""),
        result(60, "glucose", "35", "35", "mg/dL", "mmol/L"),  # which of the units is wrong cannot be told
        result(70, "glucose", "5", "5", "mg/dL", "mmol/L"),  # nobody lives with 5 mg/dL
        result(80, "glucose", "95", ""),
        result(90, "pH", "7.31", "7.31", "", "unit(s)"),
        result(100, "FiO2", "30", "30", "%", "lpm"),
    ]
    values, flow = converted(tmp_path, lab=lab)
    glucose = {minute: round(found["glucose"], 1) for minute, found in values.items() if "glucose" in found}
    assert glucose == {10: 630.5, 20: 90, 30: 99.1, 40: 99.1, 70: 90.1, 80: 95}
    assert values[90]["ph"] == 7.31 and 100 not in values
    line = flow["lab", "glucose"]
    assert line["in_file"] == 8 and line["kept"] == 6
    assert line["dropped"] == {
        "in a unit that the signal does not have": 1,
        "number and text of a result disagree, and both are plausible": 1,
    }
    assert line["repaired"]["converted from another unit"] == 3
    assert flow["lab", "fraction_inspired_oxygen"]["dropped"] == {"in a unit that the signal does not have": 1}


def test_bounds_are_kept_as_values_and_counted_in_every_table(tmp_path: Path) -> None:
    cell = {"nursingchartcelltypevallabel": "Bedside Glucose", "nursingchartcelltypevalname": "Bedside Glucose"}
    tables: dict[str, Rows] = {
        "lab": [
            result(10, "bedside glucose", "", ">600", "mg/dL", "mg/dL"),
            result(20, "bedside glucose", "", "<30 ", "mg/dL", ""),
            result(30, "glucose", "", "GREATER THAN 30", "mg/dL", "mmol/L"),
            result(40, "glucose", "", "see note", "mg/dL", ""),
        ],
        "nurseCharting": [
            {"patientunitstayid": 1, "nursingchartoffset": 50, **cell, "nursingchartvalue": "> 500"},
        ],
        "respiratoryCharting": [
            {"patientunitstayid": 1, "respchartoffset": 60, "respchartvaluelabel": "FiO2", "respchartvalue": ">60%"},
        ],
    }
    values, flow = converted(tmp_path, **tables)
    glucose = {minute: round(found["glucose"], 1) for minute, found in values.items() if "glucose" in found}
    assert glucose == {10: 600, 20: 30, 30: 540.5, 50: 500}
    assert values[60] == {"fraction_inspired_oxygen": 0.6, "heart_rate": 80}
    bounds = {key: line["repaired"].get("bounds such as >600, taken as the value") for key, line in flow.items()}
    assert {key: count for key, count in bounds.items() if count} == {
        ("lab", "glucose"): 3,
        ("nurseCharting", "glucose"): 1,
        ("respiratoryCharting", "fraction_inspired_oxygen"): 1,
    }
    assert flow["lab", "glucose"]["dropped"] == {"no number": 1}


@pytest.mark.parametrize(
    ("number", "text", "value"), [("4000", "40.0", 0.4), ("40", "40", 0.4), ("0.5", "0.50", 0.5), ("1", "1.00", 1.0)]
)
def test_an_oxygen_fraction_that_was_multiplied_twice_is_read_as_the_laboratory_sent_it(
    tmp_path: Path, number: str, text: str, value: float
) -> None:
    values, flow = converted(tmp_path, lab=[result(10, "FiO2", number, text, "%", "%")])
    assert values[10]["fraction_inspired_oxygen"] == value
    assert bool(flow["lab", "fraction_inspired_oxygen"]["repaired"]) == (number == "4000")


def test_litres_a_minute_in_the_cell_of_the_oxygen_fraction_are_dropped_and_counted(tmp_path: Path) -> None:
    charted = ["40", "40%", "0.4", "1.0", "1", "2", "6", "room air", ""]
    chart: Rows = [
        {"patientunitstayid": 1, "respchartoffset": 10 * n, "respchartvaluelabel": "FIO2 (%)", "respchartvalue": text}
        for n, text in enumerate(charted, 1)
    ]
    values, flow = converted(tmp_path, respiratoryCharting=chart)
    found = {m: row["fraction_inspired_oxygen"] for m, row in values.items() if "fraction_inspired_oxygen" in row}
    assert found == {10: 0.4, 20: 0.4, 30: 0.4}
    assert flow["respiratoryCharting", "fraction_inspired_oxygen"]["dropped"] == {
        "an oxygen fraction of 1, which may be litres a minute": 2,
        "implausible": 2,
        "no number": 2,
    }


def test_an_oxygen_fraction_of_one_percent_is_not_pure_oxygen(tmp_path: Path) -> None:
    """A bare 1 is all oxygen in ``lab``; "1%" says that it is not, and nobody breathes that."""
    percents = {10: ("1%", "1", None), 20: ("1.0 %", "", None), 30: ("50%", "50", 0.5), 40: ("0.5%", "", None)}
    lab = [result(minute, "FiO2", number, text, "%", "%") for minute, (text, number, _) in percents.items()]
    chart: Rows = [
        {"patientunitstayid": 1, "respchartoffset": minute + 1, "respchartvaluelabel": "FiO2", "respchartvalue": text}
        for minute, (text, _, _) in percents.items()
    ]
    values, flow = converted(tmp_path, lab=lab, respiratoryCharting=chart)
    found = {minute: row.get("fraction_inspired_oxygen") for minute, row in values.items()}
    for minute, (_, _, value) in percents.items():
        assert (found.get(minute), found.get(minute + 1)) == (value, value)
    for table in ("lab", "respiratoryCharting"):
        assert flow[table, "fraction_inspired_oxygen"]["dropped"] == {"implausible": 3}


def test_a_laboratorys_oxygen_fraction_of_one_in_percent_may_be_either(tmp_path: Path) -> None:
    lab = [
        result(10, "FiO2", "1", "1", "%", "%"),
        result(20, "FiO2", "0.4", "0.40", "%", "%"),
        result(30, "FiO2", "1.0", "1.00"),
    ]
    values, flow = converted(tmp_path, lab=lab)
    assert [values.get(minute, {}).get("fraction_inspired_oxygen") for minute in (10, 20, 30)] == [None, 0.4, 1.0]
    told = {"an oxygen fraction of 1 in percent, which may be 1 % or 100 %": 1}
    assert flow["lab", "fraction_inspired_oxygen"]["dropped"] == told


def test_a_ph_and_its_text_agree_to_the_second_decimal(tmp_path: Path) -> None:
    lab = [result(10, "pH", "7.1", "7.41"), result(20, "pH", "7.4", "7.41"), result(30, "pH", "7.40", "7.4")]
    values, flow = converted(tmp_path, lab=lab)
    assert {minute: found["ph"] for minute, found in values.items() if "ph" in found} == {20: 7.4, 30: 7.4}
    assert flow["lab", "ph"]["dropped"] == {"number and text of a result disagree, and both are plausible": 1}


def test_rows_of_stays_that_are_not_in_patient_are_counted_in_every_table(tmp_path: Path) -> None:
    cell = {"nursingchartcelltypevallabel": "Heart Rate", "nursingchartcelltypevalname": "Heart Rate"}
    beats: Rows = [{"patientunitstayid": key, "observationoffset": 60, "heartrate": 80} for key in (1, 999, 999)]
    cuffs: Rows = [{"patientunitstayid": key, "observationoffset": 60, "noninvasivemean": 80} for key in (1, 999)]
    _, flow = converted(
        tmp_path,
        vitalPeriodic=beats,
        vitalAperiodic=cuffs,
        lab=[{**result(10, "pH", "7.4", "7.4"), "patientunitstayid": key} for key in (1, 998, 999)],
        nurseCharting=[
            {"patientunitstayid": key, "nursingchartoffset": 5, **cell, "nursingchartvalue": "90"} for key in (1, 999)
        ],
        respiratoryCharting=[
            {"patientunitstayid": key, "respchartoffset": 5, "respchartvaluelabel": "FiO2", "respchartvalue": "50"}
            for key in (999, 1)
        ],
    )
    orphans = {key: line["orphans"] or None for key, line in flow.items()}
    assert {key: count for key, count in orphans.items() if count} == {
        ("vitalPeriodic", "heart_rate"): 2,
        ("vitalAperiodic", "mean_blood_pressure"): 1,
        ("lab", "ph"): 2,
        ("nurseCharting", "heart_rate"): 1,
        ("respiratoryCharting", "fraction_inspired_oxygen"): 1,
    }


def test_an_arterial_pressure_counts_before_a_cuff_s_in_whatever_table(tmp_path: Path) -> None:
    def charted(label: str, name: str, value: str) -> dict[str, Any]:
        cell = {"nursingchartcelltypevallabel": label, "nursingchartcelltypevalname": name}
        return {"patientunitstayid": 1, "nursingchartoffset": 90, **cell, "nursingchartvalue": value}

    values, _ = converted(
        tmp_path,
        vitalPeriodic=[{"patientunitstayid": 1, "observationoffset": 60, "systemicmean": 55}],
        vitalAperiodic=[
            {"patientunitstayid": 1, "observationoffset": minute, "noninvasivemean": 75} for minute in (60, 90, 120)
        ],
        nurseCharting=[charted("MAP (mmHg)", "Value", "60"), charted("Non-Invasive BP", "Non-Invasive BP Mean", "77")],
    )
    assert {minute: row["mean_blood_pressure"] for minute, row in values.items() if minute} == {60: 55, 90: 60, 120: 75}


def test_charted_weights_are_read(tmp_path: Path) -> None:
    chart: Rows = [
        {
            "patientunitstayid": 1,
            "nursingchartoffset": minute,
            "nursingchartcelltypevallabel": label,
            "nursingchartcelltypevalname": "Value",
            "nursingchartvalue": "81.5",
        }
        for minute, label in ((10, "Admission Weight"), (20, "Admit weight"), (30, "WEIGHT in Kg"))
    ]
    values, _ = converted(tmp_path, nurseCharting=chart)
    assert [values[minute]["weight"] for minute in (10, 20, 30)] == [81.5] * 3


@pytest.mark.parametrize("spelt", [str.upper, str.lower, str.title, " {} ".format])
def test_results_whose_names_are_spelt_in_another_case_are_the_same_signals(
    tmp_path: Path, spelt: Callable[[str], str]
) -> None:
    cells = (
        ("Heart Rate", "Heart Rate", "91"),
        ("Temperature", "Temperature (F)", "98.6"),
        ("Invasive BP", "Invasive BP Mean", "55"),
        ("Non-Invasive BP", "Non-Invasive BP Mean", "75"),
        ("Glasgow coma score", "GCS Total", "14"),
        ("Pain Score/Goal", "Pain Score", "3"),
    )
    chart: Rows = [
        {
            "patientunitstayid": 1,
            "nursingchartoffset": 10,
            "nursingchartcelltypevallabel": spelt(label),
            "nursingchartcelltypevalname": spelt(cell),
            "nursingchartvalue": value,
        }
        for label, cell, value in cells
    ]
    lab: Rows = [
        {**result(20, spelt(name), number, number), "labresultoffset": 20}
        for name, number in (("pH", "7.3"), ("bedside glucose", "150"), ("FiO2", "50"), ("potassium", "4"))
    ]
    breathed: Rows = [
        {"patientunitstayid": 1, "respchartoffset": 30, "respchartvaluelabel": spelt(label), "respchartvalue": "40"}
        for label in (*OXYGEN[1:], "LPM O2")
    ]
    values, flow = converted(tmp_path, nurseCharting=chart, lab=lab, respiratoryCharting=breathed)
    assert values[10] == {"heart_rate": 91, "temperature": 37, "mean_blood_pressure": 55, "gcs_total": 14}
    assert values[20] == {"ph": 7.3, "glucose": 150, "fraction_inspired_oxygen": 0.5}
    assert values[30] == {"fraction_inspired_oxygen": 0.4}
    assert flow["nurseCharting", "mean_blood_pressure"]["in_file"] == 2


def test_the_real_half_has_every_oxygen_fraction_that_therapists_charted(tmp_path: Path) -> None:
    if not HALF.is_dir():
        pytest.skip(f"the half of the eICU demo is not at {HALF}")
    convert.run(config(HALF, tmp_path / "out"))
    dynamic = read_table(tmp_path / "out", schema.DYNAMIC)
    cohort = {row["patient_id"]: row for row in read_table(tmp_path / "out", schema.COHORT).iter_rows(named=True)}
    with gzip.open(HALF / "patient.csv.gz", "rt", newline="") as file:
        length = {row["patientunitstayid"]: int(row["unitdischargeoffset"]) for row in csv.DictReader(file)}
    charted: set[tuple[str, int]] = set()
    with gzip.open(HALF / "respiratoryCharting.csv.gz", "rt", newline="") as file:
        for row in csv.DictReader(file):
            key, minute, text = row["patientunitstayid"], int(row["respchartoffset"]), row["respchartvalue"].strip("% ")
            inside = key in cohort and 0 <= minute < min(2880, length[key])
            if inside and row["respchartvaluelabel"] in OXYGEN and text not in ("1", "1.0"):
                value = float(text)
                if 0.2 <= (value / 100 if value > 1 else value) <= 1:
                    charted.add((key, minute))
    found = {
        (key, int((time - cohort[key]["window_start"]).total_seconds() // 60))
        for key, time in dynamic.filter(pl.col("code") == "fraction_inspired_oxygen")
        .select("patient_id", "event_time")
        .rows()
    }
    assert charted <= found and len(found - charted) < 40  # the others are the laboratory's
    assert len({key for key, _ in found}) > 150


def test_a_stay_after_a_death_that_its_hospital_stay_contradicts_is_no_survivor(tmp_path: Path) -> None:
    """The unit says that the patient died, the hospital that the patient went home: also for the hospital stay's other units."""
    stays = [stay(1, 11, "a", unitdischargestatus="Expired"), stay(2, 11, "a"), stay(3, 12, "b")]
    extract = source(small(tmp_path, stays)).stays()
    assert dict(extract.table.select("stay_id", "died").rows()) == {"1": None, "2": None, "3": 0}
    assert extract.counts["expired in the unit, discharged alive"] == 1
    assert extract.counts["unit stays of one hospital stay contradict each other"] == 1
    assert extract.table.filter(pl.col("stay_id") != "3")["death"].null_count() == 0


def test_a_patient_expired_is_dead(tmp_path: Path) -> None:
    stays = [stay(1, 11, "a", hospitaldischargestatus="Patient Expired", hospitaldischargelocation="Death")]
    assert source(small(tmp_path, stays)).stays().table["died"].to_list() == [1]


def test_a_discharge_whose_status_and_location_contradict_each_other_has_no_outcome(tmp_path: Path) -> None:
    hospital, unit = "hospitaldischargelocation", "unitdischargelocation"
    dead = {"hospitaldischargestatus": "Expired"}
    stays = [
        stay(1, 11, "a", **{hospital: "Death"}),
        stay(2, 12, "b", **dead, **{hospital: "Home"}),
        stay(3, 13, "c", **dead, **{hospital: "Death", unit: "Death"}),
        stay(4, 14, "d", **dead, **{hospital: "Death", unit: "Floor"}),
        stay(5, 15, "e", **{hospital: "Home", unit: "Floor"}),
        stay(6, 16, "f", **{"hospitaldischargestatus": "", hospital: "Death"}),
        stay(7, 17, "g", unitdischargestatus="Expired", **dead, **{hospital: "Death", unit: "Death"}),
    ]
    extract = source(small(tmp_path, stays)).stays()
    died = dict(extract.table.select("stay_id", "died").rows())
    assert died == {"1": None, "2": None, "3": None, "4": 1, "5": 0, "6": 1, "7": 1}
    assert extract.counts["status and location of a discharge contradict each other"] == 3
    known = extract.table.filter(pl.col("died").is_not_null())
    assert known["deathtime"].to_list() == known["death"].to_list()


TWICE = "the person expired in two hospital stays"


def test_who_expired_in_one_year_is_no_survivor_of_a_later_one(tmp_path: Path) -> None:
    dead, early, late = (
        {"hospitaldischargestatus": "Expired"},
        {"hospitaldischargeyear": 2014},
        {"hospitaldischargeyear": 2015},
    )
    stays = [
        stay(1, 11, "a", **dead, **early),
        stay(2, 12, "a", **late),  # alive, a year after the death
        stay(3, 13, "b", **early),
        stay(4, 14, "b", **late, **dead),
        stay(5, 15, "c", **late, **dead),
        stay(6, 16, "c", **late),  # of one year, nobody knows which was first
        stay(7, 17, "d", **early, **dead, hospitaldischargelocation="Home"),  # a death that may be true
        stay(8, 18, "d", **late),
        stay(9, 19, "e", **early, **dead),
        stay(10, 20, "e", **late, **dead),
    ]
    _, _ = converted(tmp_path, stays)
    labels = dict(read_table(tmp_path / "out", schema.LABEL).select("patient_id", "label_value").rows())
    assert labels == {"1": 1, "3": 0, "4": 1, "5": 1, "6": 0, "9": 1}
    record = json.loads((tmp_path / "out" / schema.PROVENANCE).read_text())
    lost = {step["reason"]: step["dropped_stays"] for step in record["cohort_flow"] if step["dropped_stays"]}
    assert lost == {"after the person's death": 3, "outcome unknown": 1}


def test_who_expired_in_two_hospital_stays_of_a_year_has_no_outcome(tmp_path: Path) -> None:
    dead = {"hospitaldischargestatus": "Expired"}
    year = {"hospitaldischargeyear": 2015}
    stays = [stay(1, 11, "a", **dead, **year), stay(2, 12, "a", **dead, **year), stay(3, 13, "b", **dead, **year)]
    stays += [stay(4, 14, "c", **dead), stay(5, 14, "c", **dead)]  # one hospital stay
    extract = source(small(tmp_path, stays)).stays()
    assert dict(extract.table.select("stay_id", "died").rows()) == {"1": None, "2": None, "3": 1, "4": 1, "5": 1}
    assert extract.counts[TWICE] == 2
    assert any("2 of 5 unit stays have no outcome" in warning and TWICE in warning for warning in extract.warnings)


@pytest.mark.parametrize(
    ("told", "died"),
    [
        ({"unitdischargelocation": "Home"}, None),
        ({"unitdischargelocation": "Skilled Nursing Facility"}, None),
        ({"unitdischargelocation": "Other Hospital"}, None),
        ({"unitdischargelocation": "Floor"}, 1),
        ({"unitdischargelocation": "Other"}, 1),
        ({"hospitaldischargestatus": "Alive", "hospitaldischargelocation": "Morgue"}, None),
        ({"hospitaldischargestatus": "Alive", "hospitaldischargelocation": "Expired"}, None),
        ({"hospitaldischargestatus": "Alive", "unitdischargelocation": "Home"}, 0),
        ({"hospitaldischargeoffset": 600}, None),  # left the unit alive at 4320
        ({"hospitaldischargeoffset": 4200, "unitdischargestatus": "Expired", "unitdischargelocation": "Death"}, 1),
        ({"hospitaldischargeoffset": 600, "unitdischargestatus": "Expired", "unitdischargelocation": "Death"}, None),
        ({"hospitaldischargeoffset": 600, "hospitaldischargestatus": "Alive"}, 0),  # a stay that ends then
    ],
)
def test_place_and_time_of_both_discharges_fit_a_death_or_the_outcome_is_unknown(
    tmp_path: Path, told: dict[str, Any], died: int | None
) -> None:
    extract = source(small(tmp_path, [stay(1, 11, "a", **{"hospitaldischargestatus": "Expired", **told})])).stays()
    assert extract.table["died"].to_list() == [died]
    assert any("have no outcome" in warning for warning in extract.warnings) == (died is None)


def test_ages_are_read_in_every_spelling_and_others_are_told(tmp_path: Path) -> None:
    ages = {"63.0": 63, "63": 63, "> 89": 90, ">89": 90, "90+": 90, "89+": 90, "middle": None, "": None}
    stays = [stay(n, 10 + n, f"p{n}", age=text) for n, text in enumerate(ages)]
    extract = source(small(tmp_path, stays)).stays()
    assert extract.table["age"].to_list() == list(ages.values())
    assert extract.counts["stays whose age is no number, taken as unknown"] == 1
    assert any("1 stays whose age is no number" in warning for warning in extract.warnings)


def test_stays_without_a_person_or_a_hospital_stay_are_left_out_and_told(tmp_path: Path) -> None:
    stays = [stay(1, 11, "a"), stay(2, 12, ""), stay(3, "", "b"), stay(4, "", "c")]
    extract = source(small(tmp_path, stays)).stays()
    assert extract.table["stay_id"].to_list() == ["1"]
    reason = "stays without the id of a person (uniquepid) or of a hospital stay, left out"
    assert extract.counts[reason] == 3 and any(f"3 {reason}" in warning for warning in extract.warnings)
    assert extract.counts["stays of a hospital stay that is two persons', left out"] == 0


DISAGREE = "unit stays of one hospital stay contradict each other"


@pytest.mark.parametrize(
    ("one", "other", "died"),
    [
        ({"hospitaldischargestatus": "Expired"}, {}, (None, None)),
        ({"hospitaldischargestatus": "EXPIRED"}, {"hospitaldischargestatus": "alive"}, (None, None)),
        ({"hospitaldischargestatus": "", "hospitaldischargelocation": "Death"}, {}, (None, None)),
        ({"hospitaldischargestatus": "", "unitdischargestatus": "Expired"}, {}, (None, None)),
        ({"hospitaldischargelocation": "Death"}, {"hospitaldischargelocation": "Home"}, (None, None)),
        ({"unitdischargestatus": "Expired"}, {}, (None, None)),  # as in a hospital stay of the real half
        ({"hospitaldischargestatus": ""}, {}, (None, 0)),  # says nothing, so that it contradicts nothing
        ({"hospitaldischargestatus": ""}, {"hospitaldischargestatus": "Expired"}, (None, 1)),
        ({}, {}, (0, 0)),
        ({"hospitaldischargestatus": "Expired"}, {"hospitaldischargestatus": "Expired"}, (1, 1)),
    ],
)
def test_unit_stays_of_one_hospital_stay_that_disagree_have_no_outcome(
    tmp_path: Path, one: dict[str, Any], other: dict[str, Any], died: tuple[int | None, int | None]
) -> None:
    stays = [stay(1, 11, "a", **one), stay(2, 11, "a", hospitaladmitoffset=-5120, **other), stay(3, 12, "a")]
    extract = source(small(tmp_path, stays)).stays()
    assert dict(extract.table.select("stay_id", "died").rows()) == {"1": died[0], "2": died[1], "3": 0}
    told = sum(extract.counts[reason] for reason in extract.counts if "contradict" in reason or "expired" in reason)
    assert told == (2 if died == (None, None) else 0)
    assert (extract.counts[DISAGREE] > 0) == (died == (None, None))


def test_a_step_down_stay_that_is_left_out_still_contradicts_the_others(tmp_path: Path) -> None:
    stepdown = {"unitstaytype": "stepdown/other", "hospitaldischargestatus": "Expired"}
    extract = source(small(tmp_path, [stay(1, 11, "a"), stay(2, 11, "a", **stepdown)]), include_stepdown=False).stays()
    assert extract.table.select("stay_id", "died").rows() == [("1", None)]


def test_stays_that_disagree_are_left_out_of_the_cohort_with_the_reason(tmp_path: Path) -> None:
    later = {"hospitaladmitoffset": -5120, "hospitaldischargeoffset": 4000, "unitdischargeoffset": 3000}
    dead = {"hospitaldischargestatus": "Expired"}
    in_unit = {**dead, "unitdischargestatus": "Expired"}
    stays = [
        stay(1, 11, "a", **dead),
        stay(2, 11, "a", **later),  # says that the patient left the hospital alive
        stay(3, 12, "b", **in_unit),
        stay(4, 12, "b", **later, **dead),  # begins after the death in the first unit
        stay(5, 13, "c"),
    ]
    _, _ = converted(tmp_path, stays)
    labels = read_table(tmp_path / "out", schema.LABEL)
    assert labels.select("patient_id", "label_value").rows() == [("3", 1), ("5", 0)]
    record = json.loads((tmp_path / "out" / schema.PROVENANCE).read_text())
    lost = {step["reason"]: step["dropped_stays"] for step in record["cohort_flow"] if step["dropped_stays"]}
    assert lost == {"after the person's death": 1, "outcome unknown": 2}
    assert record["stays"][DISAGREE] == 2


def test_a_hospital_stay_of_two_persons_is_nobody_s(tmp_path: Path) -> None:
    raw = small(tmp_path, [stay(1, 11, "a"), stay(2, 11, "b"), stay(3, 12, "a")])
    extract = source(raw).stays()
    assert extract.table["stay_id"].to_list() == ["3"]
    assert extract.counts["stays of a hospital stay that is two persons', left out"] == 2


def test_stays_in_step_down_units_are_counted_and_left_out_on_request(tmp_path: Path) -> None:
    stays = [stay(1, 11, "a", unitstaytype="admit"), stay(2, 11, "a", unitstaytype="stepdown/other")]
    raw = small(tmp_path, stays)
    kept, left_out = source(raw).stays(), source(raw, include_stepdown=False).stays()
    assert (kept.table.height, left_out.table["stay_id"].to_list()) == (2, ["1"])
    assert kept.counts["stays in step-down units, kept (include_stepdown)"] == 1
    assert left_out.counts["stays in step-down units, left out (include_stepdown)"] == 1


def test_sexes_are_read_in_any_case(tmp_path: Path) -> None:
    texts = ("male", "FEMALE", "M", "f", "Unknown")
    stays = [stay(n, 10 + n, f"p{n}", gender=text) for n, text in enumerate(texts)]
    assert source(small(tmp_path, stays)).stays().table["sex"].to_list() == ["M", "F", "M", "F", "Unknown"]


def test_offline_a_part_of_the_demo_will_do_and_what_is_missing_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw = small(tmp_path, [stay(1, 11, "a")])
    for name in ("nurseCharting", "pastHistory"):
        (raw / f"{name}.csv.gz").unlink()
    options = load(ROOT / "configs" / "eicu_demo.toml").source.options
    demo = source(raw, **options)
    demo.download(Download(), offline=True)
    assert "nurseCharting.csv.gz is missing: without charted vital signs" in caplog.text
    (raw / "patient.csv.gz").unlink()
    with pytest.raises(UserError, match=r"patient\.csv\.gz"):
        demo.download(Download(), offline=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "anchor"),
    [
        ("mortality", "icu"),
        ("mortality", "hospital"),
        ("los", "icu"),
        ("phenotyping", "icu"),
        ("phenotyping", "hospital"),
    ],
)
def test_the_real_half_goes_through_every_task_that_eicu_has(tmp_path: Path, task: str, anchor: str) -> None:
    if not HALF.is_dir():
        pytest.skip(f"the half of the eICU demo is not at {HALF}")
    (tmp_path / "eicu.toml").write_text(
        f'dataset = "eicu"\nrun_name = "eicu"\ntask = "{task}"\n[paths]\nraw_dir = {json.dumps(str(HALF))}\n'
        f'table_dir = {json.dumps(str(tmp_path / "out"))}\n[source]\nname = "eicu"\n[cohort]\nanchor = "{anchor}"\n'
    )
    convert.run(load(tmp_path / "eicu.toml"))
    notes = read_table(tmp_path / "out", schema.NOTES)
    kinds = Counter(notes["note_type"])
    assert min(kinds["past history"], kinds["admission diagnosis"], kinds["diagnosis"]) > 100
    labels = read_table(tmp_path / "out", schema.LABEL)
    assert labels["label_value"].n_unique() == 2
