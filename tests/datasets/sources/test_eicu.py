"""Source eicu on generated files of the true layout, against a plain loop over their rows."""

import csv
import gzip
import json
import math
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from emerge_ehr import components
from emerge_ehr.config import Cohort, Config, Download, Paths, load
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.fields import Component, UserError
from emerge_ehr.signals.signals import SIGNAL_BY_NAME
from emerge_ehr.storage import schema
from emerge_ehr.storage.dataset import Dataset
from emerge_ehr.storage.table_files import read_table
from tests.datasets.plain_loops import one_per_moment
from tests.datasets.sources.examples.eicu import (
    CELL_RANKS,
    CELLS,
    COLUMNS,
    INSPIRED,
    LABS,
    ORIGIN,
    OXYGEN,
    WIDE,
    WORDS,
    Rows,
    element,
    hospital,
    stay,
    write,
)
from tests.places import MAIN, ROOT


def rows(raw: Path, name: str) -> list[dict[str, str]]:
    with gzip.open(raw / f"{name}.csv.gz", "rt", newline="") as file:
        return list(csv.DictReader(file))


def config(raw: Path, out: Path, cohort: Cohort | None = None, **options: Any) -> Config:
    return Config(
        dataset="eicu",
        run_name="eicu",
        paths=Paths(raw_dir=raw, table_dir=out),
        source=Component("eicu", options),
        cohort=cohort or Cohort(),
    )


def source(raw: Path, **options: Any) -> Any:
    return components.build("source", Component("eicu", options), raw_dir=raw, kg_dir=raw, seed=0)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eicu")
    hospital(folder)
    return folder


@pytest.fixture(scope="module")
def tables(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("icu") / "tables"
    convert.run(config(raw, out))
    return out


def number(text: str) -> float | None:
    if text in WORDS:
        return WORDS[text]
    text = text.replace(">", "").replace("LESS THAN", "")
    try:
        return float(text)
    except ValueError:
        return None


def raw_values(raw: Path) -> list[tuple[str, int, str, float | None, int]]:
    """Unit stay, offset, code, value in the canonical unit, and rank of every raw measurement."""
    found: list[tuple[str, int, str, float | None, int]] = []
    for name, cuff in (("vitalPeriodic", 0), ("vitalAperiodic", 2)):
        for row in rows(raw, name):
            for column, code in WIDE.items():
                if row.get(column):
                    at = row["patientunitstayid"], int(row["observationoffset"])
                    found.append((*at, code, float(row[column]), cuff))
    for row in rows(raw, "lab"):
        if row["labname"] in LABS:
            code, value = LABS[row["labname"]], number(row["labresult"])
            if code == "fraction_inspired_oxygen" and value and value > 1:
                value /= 100
            found.append((row["patientunitstayid"], int(row["labresultoffset"]), code, value, 0))
    for row in rows(raw, "nurseCharting"):
        cell = f"{row['nursingchartcelltypevallabel']}/{row['nursingchartcelltypevalname']}"
        if cell in CELLS:
            text, code = row["nursingchartvalue"], CELLS[cell]
            value = number(text)
            if text in WORDS and not fits(code, text):
                value = None
            if value is not None and cell.endswith("(F)"):
                value = (value - 32) * 5 / 9
            rank = CELL_RANKS.get(row["nursingchartcelltypevallabel"], 0)
            found.append((row["patientunitstayid"], int(row["nursingchartoffset"]), code, value, rank))
    return [*found, *inspired(raw)]


def inspired(raw: Path) -> list[tuple[str, int, str, float | None, int]]:
    """The oxygen fractions of ``respiratoryCharting``, as ``raw_values`` has them."""
    return [
        (
            row["patientunitstayid"],
            int(row["respchartoffset"]),
            "fraction_inspired_oxygen",
            INSPIRED[row["respchartvalue"]],
            0,
        )
        for row in rows(raw, "respiratoryCharting")
        if row["respchartvaluelabel"] in OXYGEN and row["respchartvalue"] not in ("1", "1.0")
    ]


def fits(code: str, text: str) -> bool:
    """Whether a worded score has a meaning in that cell; one that begins with its number has in every one."""
    meant = {"Abnormal flexion": "gcs_motor", "Trached or intubated": "gcs_verbal", "Oriented": "gcs_verbal"}
    return "-->" in text or meant[text] == code


def expected(raw: Path, sample: str, windows: dict[str, tuple[int, int]]) -> tuple[set[Any], int]:
    """Measurements by a plain loop, and how many in the windows were no number. ``windows``: id -> minutes from hospital
    admission; ``sample``: the patient table's column with that id."""
    patients = {row["patientunitstayid"]: row for row in rows(raw, "patient")}
    values: list[tuple[str, str, str, float, int]] = []
    blank = 0

    def add(key: str, minute: int, code: str, value: float | None, rank: int = 0) -> None:
        nonlocal blank
        if key not in windows or not windows[key][0] <= minute < windows[key][1]:
            return
        if value is None:
            blank += 1
            return
        low, high = SIGNAL_BY_NAME[code].plausible
        if low <= round(value, 4) <= high:
            values.append((key, str(ORIGIN + timedelta(minutes=minute)), code, value, rank))

    for unit, offset, code, value, rank in raw_values(raw):
        add(patients[unit][sample], offset - int(patients[unit]["hospitaladmitoffset"]), code, value, rank)
    for column, code in (("admissionheight", "height"), ("admissionweight", "weight")):
        for patient in patients.values():
            if patient[column]:
                add(patient[sample], -int(patient["hospitaladmitoffset"]), code, float(patient[column]))
    return one_per_moment(values), blank


def check(raw: Path, tables: Path, sample: str, windows: dict[str, tuple[int, int]]) -> None:
    cohort = read_table(tables, schema.COHORT)["patient_id"].to_list()
    plain, blank = expected(raw, sample, {key: windows[key] for key in cohort})
    with (tables / "dynamic.csv").open(newline="") as file:
        found = [(r["patient_id"], r["event_time"], r["code"], float(r["value"])) for r in csv.DictReader(file)]
    assert Counter(row[2] for row in found) == Counter(row[2] for row in plain)
    for ours, theirs in zip(sorted(found), sorted(plain), strict=True):
        assert ours[:3] == theirs[:3] and math.isclose(ours[3], theirs[3], abs_tol=2e-4)
    assert {row[2] for row in found} == set(SIGNAL_BY_NAME) - {"capillary_refill_rate"}
    dropped = json.loads((tables / schema.PROVENANCE).read_text())["measurements"]["dropped or repaired"]
    assert dropped["no number"] == blank > 0


def test_every_measurement_of_icu_windows_equals_a_plain_loop(raw: Path, tables: Path) -> None:
    windows = {}
    for row in rows(raw, "patient"):
        start = -int(row["hospitaladmitoffset"])
        end = min(2880, int(row["unitdischargeoffset"]), int(row["hospitaldischargeoffset"]))
        windows[row["patientunitstayid"]] = (start, start + end)
    check(raw, tables, "patientunitstayid", windows)


def test_hospital_windows_take_all_unit_stays_of_the_admission(raw: Path, tmp_path: Path) -> None:
    convert.run(config(raw, tmp_path / "out", Cohort(anchor="hospital", window_hours=96)))
    first = {row["patienthealthsystemstayid"]: row for row in reversed(rows(raw, "patient"))}
    windows = {
        key: (0, min(96 * 60, int(row["hospitaldischargeoffset"]) - int(row["hospitaladmitoffset"])))
        for key, row in first.items()
    }
    check(raw, tmp_path / "out", "patienthealthsystemstayid", windows)


def test_the_cohort_is_adults_of_known_outcome_with_long_stays(raw: Path, tables: Path) -> None:
    def wanted(row: dict[str, str]) -> bool:
        adult = row["age"] not in ("", "17")
        end = min(int(row["unitdischargeoffset"]), int(row["hospitaldischargeoffset"]))
        return adult and end >= 2880 and row["hospitaldischargestatus"] != ""

    kept = {row["patientunitstayid"]: row for row in rows(raw, "patient") if wanted(row)}
    cohort = read_table(tables, schema.COHORT)
    assert set(cohort["patient_id"]) == set(kept) and len(kept) > 20
    for row in cohort.iter_rows(named=True):
        patient = kept[row["patient_id"]]
        assert (row["subject_id"], row["hadm_id"]) == (patient["uniquepid"], patient["patienthealthsystemstayid"])
        assert row["window_start"] == ORIGIN - timedelta(minutes=int(patient["hospitaladmitoffset"]))
    label = dict(read_table(tables, schema.LABEL).select("patient_id", "label_value").rows())
    assert label == {key: int(row["hospitaldischargestatus"] == "Expired") for key, row in kept.items()}
    static = {row["patient_id"]: row for row in read_table(tables, schema.STATIC).iter_rows(named=True)}
    for key, row in kept.items():
        assert static[key]["age"] == (90 if row["age"] == "> 89" else int(row["age"]))
        assert static[key]["sex"] == {"Male": "M", "Female": "F"}.get(row["gender"])


def test_plain_files_with_names_in_other_case_give_the_same_tables(raw: Path, tables: Path, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    for name in COLUMNS:
        text = gzip.decompress((raw / f"{name}.csv.gz").read_bytes())
        (tmp_path / "raw" / f"{name.upper()}.csv").write_bytes(text)
    convert.run(config(tmp_path / "raw", tmp_path / "out"))
    for name in ("dynamic.csv", "static.csv", "label.csv", "cohort.csv", "notes.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (tables / name).read_bytes()


def small(raw: Path, patients: Sequence[dict[str, Any]], **others: Rows) -> Path:
    """A heart rate an hour for each stay, and the given rows."""
    raw.mkdir(exist_ok=True)
    beats = [
        {"patientunitstayid": row["patientunitstayid"], "observationoffset": 60, "heartrate": 80} for row in patients
    ]
    for name in COLUMNS:
        write(raw, name, patients if name == "patient" else others.get(name, beats if name == "vitalPeriodic" else []))
    return raw


def test_death_is_stamped_with_the_unit_or_the_hospital_discharge(tmp_path: Path) -> None:
    patients = [
        stay(1, 11, "a", unitdischargestatus="Expired", hospitaldischargestatus="Expired"),
        stay(2, 12, "b", hospitaldischargestatus="Expired"),
        stay(3, 13, "c"),
        stay(4, 14, "d", hospitaldischargestatus=""),
        stay(5, 15, "e", unitdischargestatus="Expired", hospitaldischargestatus=""),
        stay(6, 16, "f", unitdischargestatus="Expired"),
    ]
    extract = source(small(tmp_path, patients)).stays()
    found = {row["stay_id"]: (row["died"], row["deathtime"]) for row in extract.table.iter_rows(named=True)}
    unit, home = ORIGIN + timedelta(minutes=4320 + 120), ORIGIN + timedelta(minutes=9000 + 120)
    assert found == {
        "1": (1, unit),
        "2": (1, home),
        "3": (0, None),
        "4": (None, None),
        "5": (1, unit),
        "6": (None, None),
    }
    assert extract.counts["expired in the unit, discharged alive"] == 1


def test_a_charted_total_that_differs_from_the_sum_of_its_parts_is_kept_and_counted(tmp_path: Path) -> None:
    scores = {"Eyes": "4", "Motor": "6", "Verbal": "3", "GCS Total": "14"}
    chart: Rows = [
        {
            "patientunitstayid": 1,
            "nursingchartoffset": offset,
            "nursingchartcelltypevallabel": "Glasgow coma score",
            "nursingchartcelltypevalname": name,
            "nursingchartvalue": "13" if name == "GCS Total" and offset == 90 else score,
        }
        for offset in (30, 90)
        for name, score in scores.items()
    ]
    convert.run(config(small(tmp_path / "raw", [stay(1, 11, "a")], nurseCharting=chart), tmp_path / "out"))
    dynamic = read_table(tmp_path / "out", schema.DYNAMIC).filter(pl.col("code") == "gcs_total")
    minutes = (dynamic["event_time"] - (ORIGIN + timedelta(minutes=120))).dt.total_minutes().to_list()
    assert list(zip(minutes, dynamic["value"].to_list(), strict=True)) == [(30, 14), (90, 13)]
    counted = json.loads((tmp_path / "out" / schema.PROVENANCE).read_text())["measurements"]["dropped or repaired"]
    assert counted == {"sums that differ from a charted total, which is kept": 1}


def test_height_and_weight_before_a_late_window_count_at_its_start(tmp_path: Path) -> None:
    patients = [
        stay(1, 11, "a", admissionweight="70.00"),
        stay(2, 11, "a", admissionweight="75.00", hospitaladmitoffset=-3120, hospitaldischargeoffset=6000),
    ]
    late = [{"patientunitstayid": 2, "observationoffset": 5900, "heartrate": 80}]
    cohort = Cohort(anchor="hospital", window="last", window_hours=24)
    convert.run(config(small(tmp_path / "raw", patients, vitalPeriodic=late), tmp_path / "out", cohort))
    start = read_table(tmp_path / "out", schema.COHORT)["window_start"].item()
    weight = read_table(tmp_path / "out", schema.DYNAMIC).filter(pl.col("code") == "weight")
    assert weight.select("event_time", "value").rows() == [(start, 75.0)]


FORM = "notes/Progress Notes"


@pytest.fixture
def noted(tmp_path: Path) -> Path:
    """One admission of two unit stays (the second begins 5000 minutes after the first) and another without notes."""
    patients = [
        stay(1, 11, "a"),
        stay(2, 11, "a", hospitaladmitoffset=-5120, hospitaldischargeoffset=4000, unitdischargeoffset=3000),
        stay(3, 12, "b"),
    ]
    note: Rows = [
        element(3, 1, 10, 40, f"{FORM}/Vital Signs/Resp Rate/Resp Current", "Resp Current", "24"),
        element(2, 1, 10, 40, f"{FORM}/Allergies / Preadmission Medications/Unknown", "Unknown", "Unknown"),
        element(
            1, 1, 10, 40, f"{FORM}/Organ System dx(s) and rx(s)/Gastrointestinal/Dx/Dx", "Dx", "nausea-with vomiting"
        ),
        element(4, 1, 10, 40, f"{FORM}/Assessment and Plan/View Options/System View", "System View", "SystemView"),
        element(5, 1, 10, 40, "notes/Shared/View and Save/Save Options/Print/Copies/Copies", "Copies", "1"),
        element(6, 1, 60, 2881, f"{FORM}/Late entry", "Late entry", ""),
        element(7, 2, 5, 6, f"{FORM}/Second unit", "Second unit", ""),
    ]
    diagnosis: Rows = [
        {
            "diagnosisid": number,
            "patientunitstayid": 1,
            "diagnosisoffset": offset,
            "diagnosisstring": string,
            "icd9code": codes,
        }
        for number, offset, string, codes in (
            (1, 2879, "cardiovascular|shock / hypotension|sepsis", "038.9, A41.9"),
            (2, 2879, "pulmonary|respiratory failure|hypoxemia", "799.02, J96.91"),
            (3, 2880, "neurologic|altered mental status / pain|coma", ""),
            (4, 2880, "endocrine|diabetes", "V58.67, E934.2, E11.9"),
        )
    ]
    return small(tmp_path / "raw", patients, note=note, diagnosis=diagnosis)


def test_notes_are_assembled_and_end_with_the_window(noted: Path, tmp_path: Path) -> None:
    convert.run(config(noted, tmp_path / "out"))
    notes = read_table(tmp_path / "out", schema.NOTES)
    first = (
        "1",
        datetime(2100, 1, 1, 2, 40),
        "Comprehensive Progress",
        "Organ System dx(s) and rx(s):\n- Dx: nausea-with vomiting\n\nAllergies / Preadmission Medications:\n"
        "- Unknown\n\nVital Signs:\n- Resp Rate: Resp Current: 24",
    )
    listed = (
        "1",
        datetime(2100, 1, 3, 1, 59),
        "diagnosis",
        "Diagnoses:\n- sepsis\n- hypoxemia",
    )
    of_first_stay = notes.filter(pl.col("patient_id") == "1").rows()
    assert of_first_stay == [first, listed]
    # a later unit stay of the admission knows all that was written before its own window's end
    of_second_stay = notes.filter(pl.col("patient_id") == "2")
    assert of_second_stay.height == 5 and {row[1:] for row in of_second_stay.rows()} > {first[1:], listed[1:]}
    assert "3" not in notes["patient_id"].to_list()
    counts = json.loads((tmp_path / "out" / schema.PROVENANCE).read_text())["notes"]["counts"]
    assert {reason: count for reason, count in counts.items() if count} == {
        "note elements about the form left out": 2,
        "notes of the cohort": 10,
        "notes after the window excluded": 3,
    }


def test_notes_after_the_window_are_kept_only_on_request_and_with_a_warning(noted: Path, tmp_path: Path) -> None:
    convert.run(config(noted, tmp_path / "out", notes_after_window=True))
    assert read_table(tmp_path / "out", schema.NOTES).height == 10
    assert any("leak" in text for text in json.loads((tmp_path / "out" / schema.PROVENANCE).read_text())["warnings"])


def test_diagnosis_codes_of_both_versions_are_taken_apart(noted: Path) -> None:
    assert source(noted).records("diagnoses").rows() == [
        ("11", 9, "0389"),
        ("11", 9, "79902"),
        ("11", 9, "E9342"),
        ("11", 9, "V5867"),
        ("11", 10, "A419"),
        ("11", 10, "E119"),
        ("11", 10, "J9691"),
    ]


def test_records_that_eicu_lacks_are_refused(raw: Path) -> None:
    with pytest.raises(UserError, match="readmission cannot be labelled"):
        source(raw).records("admissions")
    with pytest.raises(UserError, match="no ready-made labels"):
        source(raw).records("labels")


def test_missing_tables_are_said_and_the_rest_is_read(raw: Path, tmp_path: Path) -> None:
    for name in ("patient", "vitalAperiodic"):
        (tmp_path / f"{name}.csv.gz").write_bytes((raw / f"{name}.csv.gz").read_bytes())
    assert [path.name for path in source(tmp_path).inputs()] == ["patient.csv.gz", "vitalAperiodic.csv.gz"]
    convert.run(config(tmp_path, tmp_path / "out"))
    assert read_table(tmp_path / "out", schema.NOTES).is_empty()
    codes = {"height", "weight", "systolic_blood_pressure", "diastolic_blood_pressure", "mean_blood_pressure"}
    assert set(read_table(tmp_path / "out", schema.DYNAMIC)["code"]) == codes
    warnings = json.loads((tmp_path / "out" / schema.PROVENANCE).read_text())["warnings"]
    for name in set(COLUMNS) - {"patient", "vitalAperiodic"}:
        assert any(f"{name}.csv.gz is missing: without" in warning for warning in warnings)


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def rename_column(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"nursingchartvalue", b"value", 1)))


def spell(path: Path) -> None:
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b",140.0000,", b",high,")))


@pytest.mark.parametrize(
    ("name", "damage", "expected"),
    [
        ("patient", Path.unlink, r"patient\.csv\.gz: missing"),
        ("vitalPeriodic", halve, r"vitalPeriodic\.csv\.gz: cannot be read"),
        ("patient", halve, r"patient\.csv\.gz: cannot be read"),
        ("nurseCharting", rename_column, "no column 'nursingchartvalue'"),
        ("lab", spell, r"lab\.csv\.gz row \d+: labresult 'high' is not a number"),
    ],
)
def test_a_damaged_file_is_one_clear_line_and_writes_nothing(
    raw: Path, tmp_path: Path, name: str, damage: Callable[[Path], None], expected: str
) -> None:
    (tmp_path / "raw").mkdir()
    for path in raw.iterdir():
        (tmp_path / "raw" / path.name).write_bytes(path.read_bytes())
    damage(tmp_path / "raw" / f"{name}.csv.gz")
    with pytest.raises(UserError, match=expected) as caught:
        convert.run(config(tmp_path / "raw", tmp_path / "out"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_without_any_table_of_measurements_nothing_is_converted(raw: Path, tmp_path: Path) -> None:
    for name in ("patient", "note"):
        (tmp_path / f"{name}.csv.gz").write_bytes((raw / f"{name}.csv.gz").read_bytes())
    with pytest.raises(
        UserError, match="none of vitalPeriodic, vitalAperiodic, lab, nurseCharting, respiratoryCharting"
    ):
        source(tmp_path).inputs()


def test_offline_without_the_demos_files_says_which_are_missing(tmp_path: Path) -> None:
    chosen = load(ROOT / "configs" / "eicu_demo.toml").source
    demo = components.build("source", chosen, raw_dir=tmp_path, kg_dir=tmp_path, seed=0)
    with pytest.raises(UserError, match=r"nurseCharting\.csv\.gz"):
        demo.download(Download(), offline=True)
    with pytest.raises(UserError, match=r"patient\.csv\.gz: missing"):
        source(tmp_path).download(Download(), offline=True)


@pytest.mark.slow
def test_convert_by_the_command_line_then_a_trained_model(
    raw: Path, tables: Path, tmp_path: Path, trained: Callable[[Path, Path], Dataset]
) -> None:
    text = f"""
dataset = "eicu"
run_name = "eicu"
[paths]
raw_dir = {json.dumps(str(raw))}
[source]
name = "eicu"
"""
    (tmp_path / "eicu.toml").write_text(text)
    command = [sys.executable, str(MAIN), "--config", "eicu.toml", "--stage", "convert"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "data" / "tables" / "eicu" / "mortality"
    assert (out / "dynamic.csv").read_bytes() == (tables / "dynamic.csv").read_bytes()
    assert trained(tmp_path / "eicu.toml", tmp_path).note_mask.any()
