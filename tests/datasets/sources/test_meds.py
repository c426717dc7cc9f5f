"""Source meds: the real demo written as MIMIC_IV_MEDS writes it, against source mimic4; small shards, against a plain loop."""

import dataclasses
import json
import random
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from emerge_ehr.components import options as plug_options
from emerge_ehr.config import Cohort, Config, Paths, load
from emerge_ehr.datasets import window
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.datasets.convert.cohort import select, with_windows
from emerge_ehr.datasets.convert.harmonise import Measured, write_dynamic
from emerge_ehr.datasets.sources import Source, mimic4
from emerge_ehr.datasets.sources.meds.options import Options
from emerge_ehr.datasets.sources.meds.source import Meds, build
from emerge_ehr.fields import Component, UserError, parse
from emerge_ehr.storage import schema
from emerge_ehr.storage.dataset import Dataset
from emerge_ehr.storage.table_files import read_table
from tests import meds_of_mimic4
from tests.conftest import Once
from tests.datasets.plain_loops import one_per_moment
from tests.datasets.sources.examples.meds import COLUMNS, IDS, Row, at, person, write
from tests.places import MAIN, ROOT

MAPPING = ROOT / "configs" / "mimic4_meds.toml"
STAY = (
    "subject_id",
    "hadm_id",
    "stay_id",
    "admittime",
    "intime",
    "outtime",
    "dischtime",
    "deathtime",
    "death",
    "age",
    "sex",
    "ethnicity",
    "icu_type",
    "died",
)


def source(folder: Path, signals: dict[str, list[Any]] | None = None, **more: Any) -> Meds:
    options = parse(Options, {"signals": signals or {"heart_rate": ["HR"]}, **more}, "test")
    return build(options, raw_dir=folder, kg_dir=folder, seed=0)


def cohort_of(plug: Source) -> pl.DataFrame:
    return with_windows(plug.stays().table, Cohort()).sort("patient_id").with_row_index("n")


def measured(
    plug: Source, cohort: pl.DataFrame, folder: Path, files: slice = slice(None)
) -> tuple[list[Row], Measured]:
    path = folder / "dynamic.csv"
    counts = write_dynamic(plug.measurements(cohort, "stay_id")[files], cohort, plug.signals(), folder, "csv")
    rows = pl.read_csv(path, schema_overrides={"patient_id": pl.String, "value": pl.Float64})
    return rows.sort(pl.all()).rows(), counts


# The real demo


@pytest.fixture(scope="module")
def export(demo_raw: Path, once: Once) -> Path:
    return once("meds_of_mimic4", lambda folder: meds_of_mimic4.write(folder, demo_raw))


def demo(folder: Path) -> Meds:
    options = plug_options("source", load(MAPPING).source)
    return build(options, raw_dir=folder, kg_dir=folder, seed=0)


def test_stays_and_records_of_the_demo_equal_those_of_mimic4(export: Path, demo_raw: Path) -> None:
    ours, theirs = demo(export), mimic4.build(mimic4.Options(), raw_dir=demo_raw, kg_dir=demo_raw, seed=0)
    stays = [plug.stays().table.select(STAY).sort("stay_id") for plug in (ours, theirs)]
    assert stays[0].cast(stays[1].schema).equals(stays[1])
    for kind in ("admissions", "diagnoses"):
        rows = ours.records(kind)
        assert rows.sort(pl.all()).equals(theirs.records(kind).select(rows.columns).sort(pl.all()))


def test_without_ids_the_same_stays_are_found_by_person_and_time(export: Path, tmp_path: Path) -> None:
    for number, path in enumerate(demo(export).inputs()):
        (tmp_path / "data").mkdir(exist_ok=True)
        pl.read_parquet(path).drop("hadm_id", "icustay_id").write_parquet(tmp_path / "data" / f"{number}.parquet")
    bare, full = demo(tmp_path), demo(export)
    facts = [name for name in STAY if name not in ("hadm_id", "stay_id")]
    stays = [plug.stays().table.select(facts).sort("subject_id", "intime") for plug in (bare, full)]
    assert stays[0].equals(stays[1]) and stays[0].height == 140
    assert bare.stays().table["stay_id"].n_unique() == 140
    codes = ["icd_version", "icd_code"]
    diagnoses = [plug.records("diagnoses").select(codes).sort(codes) for plug in (bare, full)]
    assert diagnoses[0].equals(diagnoses[1])


def test_every_charted_value_of_the_demo_equals_mimic4s_up_to_single_precision(
    export: Path, demo_raw: Path, tmp_path: Path
) -> None:
    theirs = mimic4.build(mimic4.Options(), raw_dir=demo_raw, kg_dir=demo_raw, seed=0)
    options = plug_options("source", load(MAPPING).source)
    charted = {
        name: tuple(entry for entry in entries if "RESULT" not in str(entry))
        for name, entries in options.signals.items()
    }
    ours = build(dataclasses.replace(options, signals=charted), raw_dir=export, kg_dir=export, seed=0)
    assert ours.signals() == theirs.signals()
    cohort = select(theirs.stays().table, Cohort())[0].with_row_index("n")
    found, expected = (measured(plug, cohort, tmp_path, slice(n))[0] for plug, n in ((ours, None), (theirs, 1)))
    assert len(found) == len(expected) > 30_000
    for row, other in zip(found, expected, strict=True):
        assert row[:3] == other[:3] and abs(row[3] - other[3]) < 2e-4


def test_labs_of_the_demo_equal_a_plain_loop_with_the_time_of_the_result(
    export: Path, demo_raw: Path, tmp_path: Path
) -> None:
    signals = {
        "glucose": ["LAB//RESULT//50809//*", "LAB//RESULT//50931//*"],
        "creatinine": ["LAB//RESULT//50912//mg/dL"],
    }
    plug = source(export, signals)
    cohort = select(plug.stays().table, Cohort())[0].with_row_index("n")
    expected = set()
    by_person: dict[str, list[dict[str, Any]]] = {}
    for stay in cohort.to_dicts():
        by_person.setdefault(stay["subject_id"], []).append(stay)
    for row in pl.read_csv(demo_raw / "hosp" / "labevents.csv.gz", infer_schema=False).to_dicts():
        code = {"50809": "glucose", "50931": "glucose", "50912": "creatinine"}.get(row["itemid"])
        if code is None or not row["valuenum"] or not row["storetime"]:
            continue
        for stay in by_person.get(row["subject_id"], []):
            time = datetime.fromisoformat(row["storetime"])
            inside = stay["window_start"] <= time < stay["window_end"] and row["hadm_id"] in (None, stay["hadm_id"])
            if inside and not (code == "glucose" and not 10 <= float(row["valuenum"]) <= 2000):
                expected.add((stay["patient_id"], row["storetime"], code, float(row["valuenum"])))
    found, _ = measured(plug, cohort, tmp_path)
    assert {row[2] for row in found} == {"glucose", "creatinine"} and len(found) == len(expected)
    for row, other in zip(found, sorted(expected), strict=True):
        assert row[:3] == other[:3] and abs(row[3] - other[3]) < 2e-4


@pytest.mark.slow
def test_the_demo_runs_by_the_mapping_in_configs_to_a_trained_model(
    export: Path, tmp_path: Path, trained: Callable[[Path, Path], Dataset]
) -> None:
    text = MAPPING.read_text().replace('raw_dir = "data/raw/mimic-iv-meds"', f'raw_dir = "{export}"')
    (tmp_path / "meds.toml").write_text(text)
    command = [sys.executable, str(MAIN), "--stage", "convert", "--config", "meds.toml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    tables = tmp_path / "data" / "tables" / "mimic-iv-meds" / "mortality"
    provenance = json.loads((tables / "provenance.json").read_text())
    assert provenance["cohort_flow"][-1]["stays"] == 74
    assert pl.read_csv(tables / "label.csv")["label_value"].sum() == 12
    assert (tables / "notes.csv").read_text() == "patient_id,note_time,note_type,text\n"
    dataset = trained(tmp_path / "meds.toml", tmp_path)
    assert len(dataset.patient_id) == 74 and not dataset.note_mask.any()


# Small shards


def test_every_measurement_equals_a_plain_loop_over_the_rows(tmp_path: Path) -> None:
    """Two overlapping stays of person 1, one of person 2; units, words, static rows and codes of no signal."""
    draw = random.Random(3)
    signals = {
        "heart_rate": ["HR//*"],
        "temperature": ["TEMP//C", {"code": "TEMP//F*", "unit": "fahrenheit"}],
        "weight": [{"code": "WEIGHT", "unit": "pound"}],
        "gcs_eye": ["EYE"],
        "mood": ["MOOD.(x)*"],
    }
    rows = [*person(1), *person(2, (10, 90)), (1, at(20), "ICU_ADMISSION//SICU"), (1, at(80), "ICU_DISCHARGE//SICU")]
    values: list[tuple[int, datetime | None, str, float | None, str | None]] = []
    for _ in range(900):
        code = draw.choice(["HR//bpm", "HR", "TEMP//C", "TEMP//F/x", "WEIGHT", "EYE", "MOOD.(x)1", "MOODxx1", "OTHER"])
        time = None if draw.random() < 0.05 else at(draw.randrange(-30, 110))
        number = draw.choice([None, float(draw.randrange(30, 110))])
        text = draw.choice([" To Pain", "none", "words", None])
        values.append((draw.choice([1, 2]), time, code, number, text))
    write(tmp_path, [*rows, *values[:500]])
    write(tmp_path, values[500:], shard="tuning/a/7")
    plug = source(tmp_path, signals)
    cohort = cohort_of(plug)
    stays = {("1", at(0)): ("1-1", at(48)), ("2", at(10)): ("2-1", at(58)), ("1", at(20)): ("1-2", at(68))}
    assert {(s["subject_id"], s["intime"]): (s["stay_id"], s["window_end"]) for s in cohort.to_dicts()} == stays
    expected: list[tuple[str, str, str, float, int]] = []
    for subject, time, code, number, text in values:
        for (owner, start), (stay, end) in stays.items():
            if str(subject) != owner or time is None:
                continue
            weight = code == "WEIGHT" and start - timedelta(hours=24) <= time <= start
            shown = start if weight else time
            if not start <= shown < end:
                continue
            meaning: dict[str, tuple[str, Callable[[float], float]]] = {
                "HR//bpm": ("heart_rate", lambda x: x),
                "TEMP//C": ("temperature", lambda x: x),
                "TEMP//F/x": ("temperature", lambda x: (x - 32) * 5 / 9),
                "WEIGHT": ("weight", lambda x: x * 0.45359237),
                "EYE": ("gcs_eye", lambda x: x),
                "MOOD.(x)1": ("mood", lambda x: x),
            }
            if code not in meaning:
                continue
            name, unit = meaning[code]
            score = {" To Pain": 2.0, "none": 1.0}.get(text or "") if name == "gcs_eye" else None
            value = number if number is not None else score
            low, high = {"heart_rate": (10, 300), "temperature": (25, 45), "weight": (20, 400), "gcs_eye": (1, 4)}.get(
                name, (-1e9, 1e9)
            )
            if value is not None and low <= unit(value) <= high:
                expected.append((stay, shown.isoformat(" "), name, unit(value), int((shown - time).total_seconds())))
    found, _ = measured(plug, cohort, tmp_path)
    assert {row[2] for row in found} == set(signals)
    plain = sorted(one_per_moment(expected))
    assert [row[:3] for row in found] == [row[:3] for row in plain]
    np.testing.assert_allclose([row[3] for row in found], [row[3] for row in plain], rtol=1e-6)


def test_a_code_with_dates_in_all_shards_counts_at_the_end_of_the_day_and_a_genuine_midnight_stays(
    tmp_path: Path,
) -> None:
    midnight = (at(0) + timedelta(days=1)).replace(hour=0, minute=0, second=0)
    values = [
        (1, midnight, "ESR", 20.0, None),
        (1, midnight + timedelta(days=1), "ESR", 21.0, None),
        (1, midnight, "HR", 70.0, None),
        (1, midnight, "CRP", 5.0, None),
    ]
    write(tmp_path, [*person(1), *values])
    others = [(2, at(3), "CRP", 6.0, None), (2, at(3), "HR", 71.0, None), (2, None, "ESR", 1.0, None)]
    write(tmp_path, [*person(2), *others], shard="b/1")
    plug = source(tmp_path, {"heart_rate": ["HR"], "esr": ["ESR"], "crp": ["CRP"]})
    cohort = cohort_of(plug)
    found, _ = measured(plug, cohort, tmp_path)
    last = timedelta(hours=23, minutes=59, seconds=59)
    times = {(code, datetime.fromisoformat(time)) for patient, time, code, _ in found if patient == "1-1"}
    assert ("esr", midnight + last) in times and ("esr", midnight) not in times
    assert {("crp", midnight), ("heart_rate", midnight)} <= times
    warnings = plug.stays().warnings
    assert sum("2 of 6 measurements have a date and no time of day" in warning for warning in warnings) == 1


def test_rows_that_name_another_stay_or_admission_are_left_out(tmp_path: Path) -> None:
    columns = {**COLUMNS, **IDS}
    rows = [
        (1, at(-5), "HOSPITAL_ADMISSION//X", None, None, 11),
        (1, at(0), "ICU_ADMISSION//M", None, None, 11, 21),
        (1, at(20), "ICU_ADMISSION//S", None, None, 11, 22),
        (1, at(90), "ICU_DISCHARGE//S", None, None, 11, 22),
        (1, at(95), "ICU_DISCHARGE//M", None, None, 11, 21),
        (1, at(99), "HOSPITAL_DISCHARGE//HOME", None, None, 11),
        (1, at(30), "HR", 71.0, None, 11, 21),
        (1, at(31), "HR", 72.0, None, 11, 22),
        (1, at(32), "HR", 73.0, None, 11, None),
        (1, at(33), "HR", 74.0, None, 12, None),
        (1, at(34), "HR", 75.0, None, None, None),
    ]
    plug = source(write(tmp_path, rows, columns))
    cohort = cohort_of(plug)
    assert cohort.select("stay_id", "hadm_id", "outtime").rows() == [("21", "11", at(95)), ("22", "11", at(90))]
    found, counted = measured(plug, cohort, tmp_path)
    assert [(row[0], row[3]) for row in found] == [
        ("21", 71),
        ("21", 73),
        ("21", 75),
        ("22", 72),
        ("22", 73),
        ("22", 75),
    ]
    assert counted.counts["matched by person and time, having no id of the stay or admission"] == 2
    assert counted.counts["of another stay or admission in the window"] == 4


def test_ids_of_measurements_are_not_used_where_the_admissions_have_none(tmp_path: Path) -> None:
    rows = [*person(1), (1, at(3), "HR", 70.0, None, 5, 6)]
    plug = source(write(tmp_path, rows, {**COLUMNS, **IDS}))
    found, counts = measured(plug, cohort_of(plug), tmp_path)
    assert found == [("1-1", at(3).isoformat(" "), "heart_rate", 70.0)] and not counts.counts


def test_a_person_is_as_old_as_birthdays_passed(tmp_path: Path) -> None:
    rows = [*person(1), *person(2, (24, 90)), *person(3)[2:], *person(4), (4, datetime(1850, 1, 1), "MEDS_BIRTH")]
    stays = source(write(tmp_path, rows)).stays()
    assert stays.table["age"].to_list() == [49, 50, None, 91]
    assert stays.table["sex"].to_list() == ["F", "F", None, "F"]
    assert stays.table["ethnicity"].to_list() == ["WHITE"] * 4 and stays.table["icu_type"].to_list() == ["MICU"] * 4
    assert any("age of 1 stays is above 120" in warning for warning in stays.warnings)


@pytest.mark.parametrize(
    ("discharge", "death", "died", "known"),
    [
        ("HOME", None, 0, None),
        ("DIED", None, 1, None),
        ("HOME", at(50), 1, at(50)),
        ("DIED", at(110), 1, at(110)),  # an hour after the paperwork
        ("HOME", at(110), 0, None),
        ("HOME", datetime(2150, 5, 5), 0, None),  # only a date, that of discharge: the code decides
        ("DIED", datetime(2150, 5, 5), 1, datetime(2150, 5, 5, 23, 59, 59)),
        ("HOME", datetime(2150, 5, 4), 1, datetime(2150, 5, 4, 23, 59, 59)),
        ("HOME", at(-900), 0, None),
        (None, at(200), 1, at(200)),  # never discharged
        (None, None, None, None),
    ],
)
def test_death_in_hospital_is_told_by_its_time_or_by_the_discharge(
    tmp_path: Path, discharge: str | None, death: datetime | None, died: int | None, known: datetime | None
) -> None:
    rows = [*person(1)[:-1], *person(2), (2, at(900), "MEDS_DEATH")]
    rows += [(1, at(109), f"HOSPITAL_DISCHARGE//{discharge}")] if discharge else []
    rows += [(1, death, "MEDS_DEATH")] if death else []
    stay = source(write(tmp_path, rows)).stays().table.row(0, named=True)
    assert (stay["died"], stay["deathtime"]) == (died, known)


def test_where_no_code_tells_of_deaths_no_outcome_is_known(tmp_path: Path) -> None:
    stays = source(write(tmp_path, person(1))).stays()
    assert stays.table["died"].to_list() == [None]
    assert any("death: MEDS_DEATH; " in warning and "died: HOSPITAL" in warning for warning in stays.warnings)


def test_a_stay_is_in_the_admission_around_it_or_in_none(tmp_path: Path) -> None:
    rows = [
        *person(1),
        (1, at(-400), "HOSPITAL_ADMISSION//A"),
        (1, at(-300), "HOSPITAL_DISCHARGE//HOME"),
        (1, at(-200), "ICU_ADMISSION//alone"),
        (1, at(-180), "ICU_DISCHARGE//alone"),
        (2, at(0), "ICU_ADMISSION//before paperwork"),
        (2, at(1), "HOSPITAL_ADMISSION//B"),
        (2, at(50), "ICU_DISCHARGE//back to back"),
        (2, at(50), "ICU_ADMISSION//next"),
        (2, at(70), "HOSPITAL_DISCHARGE//DIED"),
        (3, at(-50), "HOSPITAL_ADMISSION//C"),
        (3, at(0), "ICU_ADMISSION//M"),
        (3, at(1), "HOSPITAL_ADMISSION//nearer, and later"),
        (3, at(9), "ICU_DISCHARGE//M"),
        (3, at(10), "HOSPITAL_DISCHARGE//HOME"),
    ]
    stays = source(write(tmp_path, rows)).stays()
    found = stays.table.select("stay_id", "hadm_id", "outtime", "died").rows()
    assert found == [
        ("1-1", "icu-1-1", at(-180), None),
        ("1-2", "1-2", at(100), 0),
        ("2-1", "2-1", at(50), 1),
        ("2-2", "2-1", None, 1),
        ("3-1", "3-1", at(9), None),  # whose end the one discharge is cannot be told
    ]
    assert any("1 of 5 ICU stays lie in no hospital admission" in warning for warning in stays.warnings)


def test_a_visit_whose_discharge_is_missing_does_not_take_the_next_visits(tmp_path: Path) -> None:
    rows = [
        *person(1),
        (1, at(200), "HOSPITAL_ADMISSION//A"),
        (1, at(201), "ICU_ADMISSION//M"),
        (1, at(8000), "HOSPITAL_ADMISSION//B"),
        (1, at(8001), "ICU_ADMISSION//M"),
        (1, at(8100), "ICU_DISCHARGE//M"),
        (1, at(8200), "HOSPITAL_DISCHARGE//HOME"),
    ]
    found = source(write(tmp_path, rows)).stays().table.select("intime", "outtime", "dischtime", "died").rows()
    assert (at(201), None, None, None) in found and (at(8001), at(8100), at(8200), None) in found


def test_notes_are_of_the_admission_and_before_the_windows_end(tmp_path: Path) -> None:
    notes = [
        (1, at(4), "NOTE//RADIOLOGY", None, "first"),
        (1, at(47), "NOTE//Nursing", None, "second"),
        (1, at(-4), "NOTE//Nursing", None, "since admission"),
        (1, at(-6), "NOTE//Nursing", None, "before admission"),
        (1, at(48), "NOTE//Nursing", None, "late"),
        (1, datetime(2150, 5, 3), "NOTE//Nursing", None, "that day, until its end"),
        (1, at(4), "NOTE//Discharge summary", None, "summary"),
        (1, at(4), "NOTE//DS", None, "summary"),
        (1, at(4), "NOTE//Nursing", None, "  "),
        (2, at(4), "NOTE//Nursing", None, "of no stay"),
    ]
    plug = source(write(tmp_path, [*person(1), *notes]), notes=["NOTE//*"])
    cohort = cohort_of(plug)
    extract = window.notes(plug.notes(cohort), cohort)
    assert extract.table.select("note_type", "text").rows() == [
        ("Nursing", "since admission"),
        ("RADIOLOGY", "first"),
        ("Nursing", "second"),
    ]
    assert dict(extract.counts) == {
        "notes read": 10,
        "notes without text": 1,
        "notes of persons or admissions outside the cohort": 2,
        "notes of the cohort": 7,
        "discharge summaries excluded": 2,
        "notes after the window excluded": 2,
    }
    blank = source(write(tmp_path / "blank", [*person(1), (1, at(4), "NOTE//Nursing", None, " ")]), notes=["NOTE//*"])
    told = "text_value of source.notes is empty in all 1 note, which are left out; is it the right column?"
    assert blank.notes(cohort).warnings == (told,)
    without = source(tmp_path)
    empty = window.notes(without.notes(cohort), cohort)
    assert empty.table.is_empty() and empty.table.schema == extract.table.schema and not empty.counts


def test_sums_of_mapped_signals_are_signals_too(tmp_path: Path) -> None:
    plug = source(tmp_path, {"own": ["X"], "gcs_verbal": ["V"], "gcs_eye": ["E"], "gcs_motor": ["M"], "heart_rate": []})
    names = [signal.name for signal in plug.signals()]
    assert names == ["gcs_eye", "gcs_motor", "gcs_total", "gcs_verbal", "heart_rate", "own"]


def test_patterns_that_match_nothing_are_named_in_one_warning(tmp_path: Path) -> None:
    plug = source(write(tmp_path, [*person(1), (1, at(1), "HR", 70.0)]), {"heart_rate": ["HR", "PULSE*"], "ph": ["PH"]})
    (warning,) = plug.stays().warnings
    assert "heart_rate: PULSE*" in warning and "ph: PH" in warning and "heart_rate: HR" not in warning


def test_codes_that_differ_from_a_mapped_one_by_case_alone_are_told(tmp_path: Path) -> None:
    rows = [*person(1), (1, at(1), "HR", 70.0), (1, at(2), "hr", 71.0), (1, at(3), "Hr", 72.0), (1, at(4), "HRV", 5.0)]
    rows += [(1, at(3), "lab//pH", 7.3), (1, at(5), "LAB//K", 4.0), (1, at(6), "Meds_Death")]
    rows += [(1, at(7), "LAB//PH", 7.4), (1, at(8), "temp", 37.0), (1, at(9), "TEMP", 36.0)]
    signals: dict[str, list[Any]] = {"heart_rate": ["HR"], "ph": ["LAB//PH*"], "temperature": ["TEMP", "temp"]}
    plug = source(write(tmp_path, rows), signals)
    told = [warning for warning in plug.stays().warnings if "case alone" in warning]
    assert told == [
        "codes that differ from those of [source] by case alone and are not read: heart_rate: Hr, hr; ph: lab//pH; "
        "death: Meds_Death"
    ]
    found, _ = measured(plug, cohort_of(plug), tmp_path)
    assert {row[3] for row in found} == {70, 7.4, 37, 36}
    both = source(
        tmp_path, {**signals, "heart_rate": ["HR", "Hr", "hr"], "ph": ["LAB//PH*", "lab//pH"]}, death=["Meds_Death"]
    )
    assert not any("case alone" in warning for warning in both.stays().warnings)


def test_shards_of_other_types_and_columns_are_read_alike(tmp_path: Path) -> None:
    rows = [*person(1), (1, at(1), "HR", 70.0, "x"), (1, at(2), "HR", None, "y")]
    write(tmp_path, rows)
    expected = measured(source(tmp_path), cohort_of(source(tmp_path)), tmp_path)[0]
    path = next(tmp_path.rglob("*.parquet"))
    table = pl.read_parquet(path)
    late = table.filter(pl.col("time") > at(1))
    early = table.join(late, on=["time", "code"], how="anti", nulls_equal=True)
    early.drop("text_value").cast(
        {"subject_id": pl.UInt32, "time": pl.Datetime("ms", "UTC"), "code": pl.Categorical}
    ).write_parquet(path)
    late = late.with_columns(pl.col("time").dt.replace_time_zone("UTC").dt.convert_time_zone("America/New_York"))
    late.with_columns(hadm_id=pl.lit(None, pl.Float64)).write_parquet(path.with_name("1.parquet"))
    plug = source(tmp_path)
    assert (
        measured(plug, cohort_of(plug), tmp_path)[0] == expected == [("1-1", at(1).isoformat(" "), "heart_rate", 70.0)]
    )


def test_shards_with_and_without_a_time_zone_are_refused_together(tmp_path: Path) -> None:
    write(tmp_path, person(1))
    other = write(tmp_path, [(1, at(1), "HR", 70.0)], shard="tuning/0") / "data" / "tuning" / "0.parquet"
    pl.read_parquet(other).cast({"time": pl.Datetime("us", "America/New_York")}).write_parquet(other)
    with pytest.raises(UserError, match=r"0\.parquet: its times have no time zone, while those of .*America/New_York"):
        source(tmp_path).stays()


@pytest.mark.parametrize(
    ("unit", "value", "kept"),
    [
        ("mg/dL", 90.0, 90.0),
        ("mmol/L", 5.0, 90.078),
        ("mmol/L//blood", 5.0, 90.078),
        ("bpm", 90.0, None),
        ("mEq/L", 90.0, None),
        ("fasting", 90.0, 90.0),
    ],
)
def test_the_unit_that_a_code_names_counts(tmp_path: Path, unit: str, value: float, kept: float | None) -> None:
    plug = source(write(tmp_path, [*person(1), (1, at(1), f"GLUCOSE//{unit}", value)]), {"glucose": ["GLUCOSE//*"]})
    found, counted = measured(plug, cohort_of(plug), tmp_path)
    assert [row[3] for row in found] == ([kept] if kept else [])
    reason = (
        "in a unit that the signal does not have"
        if kept is None
        else "converted from the unit that the row or its code names"
    )
    assert counted.counts == ({reason: 1} if kept != value else {})


@pytest.mark.parametrize(
    ("pattern", "code", "kept"),
    [
        ("GLUCOSE//mmol/L", "GLUCOSE//mmol/L", 270.234),
        ("GLUC*", "GLUCOSE//mmol/L", 270.234),
        ("GLUCOSE*", "GLUCOSE//mmol/L", 270.234),
        ("GLU_*", "GLU_mmol/L", 270.234),
        ("GLU_mmol/L", "GLU_mmol/L", 270.234),
        ("*//GLUCOSE//mmol/L", "LAB//GLUCOSE//mmol/L", 270.234),
        ("Glucose (mmol/L)", "Glucose (mmol/L)", 270.234),
        ("GLUCOSE//mmHg", "GLUCOSE//mmHg", None),
        ("GLUCOSE//1", "GLUCOSE//1", 15.0),
        ("GLU1*", "GLU11//UNK", 15.0),
        ("LOINC/2345-7", "LOINC/2345-7", 15.0),
    ],
)
def test_a_unit_at_a_codes_end_counts_however_the_pattern_is_written(
    tmp_path: Path, pattern: str, code: str, kept: float | None
) -> None:
    plug = source(write(tmp_path, [*person(1), (1, at(1), code, 15.0)]), {"glucose": [pattern]})
    found, _ = measured(plug, cohort_of(plug), tmp_path)
    assert [row[3] for row in found] == ([kept] if kept else [])


@pytest.mark.parametrize("column", ["unit", "valueuom"])
@pytest.mark.parametrize(
    ("code", "unit", "kept"),
    [
        ("GLUCOSE//UNK", "mmol/L", 270.234),
        ("GLUCOSE//mmol/L", "mg/dL", 15.0),
        ("GLUCOSE//mmol/L", "UNK", 270.234),
        ("GLUCOSE//mg/dL", None, 15.0),
        ("GLUCOSE//UNK", "mmHg", None),
    ],
)
def test_a_rows_own_unit_counts_before_its_codes(
    tmp_path: Path, column: str, code: str, unit: str | None, kept: float | None
) -> None:
    rows: list[Row] = [*person(1), (1, at(1), code, 15.0, None, None, None, unit)]
    plug = source(write(tmp_path, rows, {**COLUMNS, **IDS, column: pl.String}), {"glucose": ["GLUCOSE//*"]})
    found, counted = measured(plug, cohort_of(plug), tmp_path)
    assert [row[3] for row in found] == ([kept] if kept else [])
    assert (kept is not None) or counted.counts == {"in a unit that the signal does not have": 1}


@pytest.mark.parametrize(
    ("unit", "text", "kept"),
    [
        ("mmol/L", ">33.3", 599.9195),
        ("mg/dL", ">33.3 mmol/L", 599.9195),
        ("mmHg", ">33.3 mmol/L", 599.9195),
        ("mmol/L", ">600 mg/dL", 600.0),
        ("mmol/L", ">33.3 mmHg", None),
    ],
)
def test_a_bounds_own_unit_counts_before_its_rows(tmp_path: Path, unit: str, text: str, kept: float | None) -> None:
    rows: list[Row] = [*person(1), (1, at(1), "GLUCOSE//UNK", None, text, None, None, unit)]
    plug = source(write(tmp_path, rows, {**COLUMNS, **IDS, "unit": pl.String}), {"glucose": ["GLUCOSE//*"]})
    found, counted = measured(plug, cohort_of(plug), tmp_path)
    assert [row[3] for row in found] == ([pytest.approx(kept)] if kept else [])
    assert (kept is not None) or counted.counts == {"in a unit that the signal does not have": 1}


OUT = at(109)  # when ``person`` leaves the hospital


@pytest.mark.parametrize(
    ("more", "died"),
    [
        ([(1, OUT - timedelta(hours=3), "MEDS_DEATH")], None),
        ([(1, OUT - timedelta(minutes=1), "MEDS_DEATH")], None),
        ([(1, OUT.replace(hour=0), "MEDS_DEATH")], 0),  # a date: before or after the discharge of that day
        ([(1, OUT + timedelta(hours=3), "MEDS_DEATH")], 0),  # perhaps at home
        ([(1, OUT + timedelta(minutes=1), "HOSPITAL_DISCHARGE//DIED")], None),
        ([(1, OUT - timedelta(minutes=1), "HOSPITAL_DISCHARGE//DIED")], None),
        ([(1, OUT + timedelta(minutes=1), "HOSPITAL_DISCHARGE//PATIENT EXPIRED")], None),
        ([(1, OUT + timedelta(days=40), "HOSPITAL_DISCHARGE//DIED")], 0),  # of an admission that is not there
    ],
)
def test_a_death_and_a_discharge_that_contradict_each_other_leave_the_outcome_unknown(
    tmp_path: Path, more: list[Row], died: int | None
) -> None:
    others = [*person(2)[:-1], (2, OUT, "HOSPITAL_DISCHARGE//DIED")]
    stays = source(write(tmp_path, [*person(1), *more, *others])).stays()
    assert dict(stays.table.select("subject_id", "died").rows()) == {"1": died, "2": 1}
    reason = "stays whose death and discharge contradict each other"
    assert stays.counts[reason] == (died is None)
    assert any(reason in warning for warning in stays.warnings) == (died is None)


def test_a_donor_of_an_admission_that_contradicts_itself_is_no_survivor(tmp_path: Path) -> None:
    both = [(1, OUT + timedelta(minutes=1), "HOSPITAL_DISCHARGE//DIED")]
    rows = [*person(1), *both, *person(1, (115, 200))[2:]]
    stays = source(write(tmp_path, rows)).stays().table
    kept, flow = select(stays, Cohort())
    assert kept["died"].to_list() == [None]
    assert {step.reason: step.dropped_stays for step in flow}["after the person's death"] == 1


def test_a_discharge_of_the_expired_is_a_death_wherever_the_word_stands(tmp_path: Path) -> None:
    rows = [*person(1)[:-1], (1, OUT, "HOSPITAL_DISCHARGE//Patient Expired"), *person(2)]
    stays = source(write(tmp_path, rows)).stays().table
    assert dict(stays.select("subject_id", "died").rows()) == {"1": 1, "2": 0}


def test_stays_with_dates_only_begin_and_end_with_the_end_of_the_day(tmp_path: Path) -> None:
    rows = [(row[0], row[1].replace(hour=0) if row[1] and "ICU" in row[2] else row[1], *row[2:]) for row in person(1)]
    found = source(write(tmp_path, rows)).stays()
    times = found.table.select("intime", "outtime").row(0)
    assert all(str(time)[11:] == "23:59:59" for time in times)
    assert any("intime, outtime is a date without a time of day" in warning for warning in found.warnings)


def test_ids_of_0_are_none(tmp_path: Path) -> None:
    named: list[Row] = [(*row, None, None, "11", "21") for row in person(1)]
    beats: list[Row] = [(1, at(1), "HR", 70.0, None, "0", "0"), (1, at(2), "HR", 80.0, None, "11", "-1")]
    plug = source(write(tmp_path, [*named, *beats], {**COLUMNS, **IDS}))
    found, _ = measured(plug, cohort_of(plug), tmp_path)
    assert [row[3] for row in found] == [70.0, 80.0]


def test_an_oxygen_fraction_of_one_percent_is_not_pure_oxygen(tmp_path: Path) -> None:
    texts = ((None, "1%"), (1.0, "1 %"), (1.0, None), (None, "1"), (None, "60%"), (None, "0.6"))
    values = [(1, at(1 + n), "FIO2", number, text) for n, (number, text) in enumerate(texts)]
    plug = source(write(tmp_path, [*person(1), *values]), {"fraction_inspired_oxygen": ["FIO2"]})
    found, counted = measured(plug, cohort_of(plug), tmp_path)
    assert [row[3] for row in found] == [1, 1, 0.6, 0.6]
    assert counted.counts == {"implausible fraction_inspired_oxygen": 2}


def test_values_of_a_lower_rank_count_before_others_at_the_same_time(tmp_path: Path) -> None:
    rows = [
        *person(1),
        (1, at(1), "ART", 55.0),
        (1, at(1), "CUFF", 70.0),
        (1, at(2), "CUFF", 72.0),
        (1, at(3), "ART", None, ">90"),
    ]
    codes: list[Any] = ["ART", {"code": "CUFF", "rank": 1}]
    plug = source(write(tmp_path, rows), {"mean_blood_pressure": codes})
    found, counted = measured(plug, cohort_of(plug), tmp_path)
    assert [row[3] for row in found] == [55, 72, 90]
    assert counted.counts == {"another value at the same time": 1, "bounds such as >600, taken as the value": 1}


def damaged(folder: Path, how: str) -> None:
    path = next(folder.rglob("*.parquet"))
    if how == "no data":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif how == "garbled":
        path.write_bytes(b"PAR1" + bytes(600) + path.read_bytes()[604:])
    elif how == "column":
        pl.read_parquet(path).rename({"subject_id": "patient_id"}).write_parquet(path)
    elif how == "type":
        pl.read_parquet(path).cast({"time": pl.String}).write_parquet(path)
    elif how == "no stays":
        write(folder, [(1, at(1), "HR", 70.0)])
    else:
        write(folder, person(1))


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("no data", "has no .parquet; paths.raw_dir must be the root of a MEDS dataset"),
        ("truncated", "0.parquet: not a readable parquet file"),
        ("garbled", "0.parquet: cannot be read"),
        ("column", "0.parquet: no column 'subject_id'; MEDS 0.4 was expected; it has: patient_id, time"),
        ("type", "subject_id and time are Int64 and String; MEDS has an integer and a Datetime"),
        (
            "no stays",
            "no code matches source.icu_admission = ICU_ADMISSION//*; set it to this dataset's codes, such as HR",
        ),
        ("no signal", "none of its 7 codes matches [source.signals]; they are such as GENDER//F"),
    ],
)
def test_a_damaged_or_foreign_dataset_is_one_clear_line(tmp_path: Path, how: str, expected: str) -> None:
    rows = [(1, at(hour / 60), "HR", float(hour % 50), f"word {hour}") for hour in range(5000)]
    damaged(write(tmp_path, [*person(1), *rows]), how)
    plug = source(tmp_path)
    with pytest.raises(UserError) as caught:
        plug.inputs()
        measured(plug, cohort_of(plug), tmp_path)
    assert expected in str(caught.value) and str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "key 'signals' is missing"),
        ({"signals": {"ph": "PH"}}, "signals.ph = 'PH'"),
        ({"signals": {"ph": [{"code": "PH", "unit": "kelvin"}]}}, "kelvin"),
        ({"signals": {"ph": [{"code": "PH", "units": "inch"}]}}, "units"),
        ({"signals": {"ph": ["PH"]}, "deaths": ["X"]}, "did you mean 'death'?"),
    ],
)
def test_a_wrong_option_is_one_clear_line(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(Options, options, "[source]")
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_a_code_with_two_meanings_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [*person(1), (1, at(1), "T//oral", 70.0)])
    twice = source(tmp_path, {"temperature": ["T//*", {"code": "T//oral", "unit": "fahrenheit"}]})
    with pytest.raises(UserError, match="code 'T//oral' matches with two meanings: temperature and temperature"):
        twice.measurements(cohort_of(source(tmp_path)), "stay_id")
    same = source(tmp_path, {"temperature": ["T//*", "T//oral"]})
    assert len(same.measurements(cohort_of(same), "stay_id")) == 1


def test_a_death_is_coded_in_any_case_and_two_ways_to_leave_are_a_contradiction(tmp_path: Path) -> None:
    stays = [*person(1), *person(2), *person(3)]
    ids = {**COLUMNS, **IDS}
    rows = [row for row in stays if "HOSPITAL" not in row[2]]
    for number, codes in ((1, ["deceased"]), (2, ["HOME"]), (3, ["DIED", "HOME"])):
        rows.append((number, at(-5), "HOSPITAL_ADMISSION//X", None, None, number))
        rows += [
            (number, at(99 + n), f"HOSPITAL_DISCHARGE//{code}", None, None, number) for n, code in enumerate(codes)
        ]
    found = source(write(tmp_path, rows, ids)).stays()
    assert found.table["died"].to_list() == [1, 0, None]
    assert found.counts == {"stays whose death and discharge contradict each other": 1}


@pytest.mark.parametrize("task", ["mortality", "readmission", "los"])
@pytest.mark.parametrize("told_by", ["MEDS_DEATH", "HOSPITAL_DISCHARGE//died", "both", "neither"])
def test_an_organ_donor_who_is_registered_again_is_no_sample(tmp_path: Path, told_by: str, task: str) -> None:
    dead, again = at(38.5), [row for row in person(1, (60, 160)) if row[2] != "MEDS_BIRTH"]
    by_code = told_by in ("HOSPITAL_DISCHARGE//died", "both")
    rows = [*person(1, (0, 40))[:-1], (1, at(41), "HOSPITAL_DISCHARGE//" + ("died" if by_code else "HOME")), *again]
    rows += [(1, dead, "MEDS_DEATH")] if told_by in ("MEDS_DEATH", "both") else []
    for number in (2, 3, 4):
        rows += [*person(number)[:-1], (number, at(109), f"HOSPITAL_DISCHARGE//{'DIED' if number == 4 else 'HOME'}")]
    rows += [(number, at(hour), "HR", 70.0) for number in (1, 2, 3, 4) for hour in (1, 61)]
    raw = write(tmp_path / "raw", rows)
    paths = Paths(raw_dir=raw, table_dir=tmp_path / "out")
    options = {"signals": {"heart_rate": ["HR"]}}
    rule = Cohort(min_stay_hours=24, window_hours=24)
    convert.run(Config("meds", "meds", paths, Component("meds", options), Component(task, {}), cohort=rule))
    flow = json.loads((tmp_path / "out" / "provenance.json").read_text())["cohort_flow"]
    left_out = {step["reason"]: step["dropped_stays"] for step in flow}
    samples = set(read_table(tmp_path / "out", schema.COHORT)["patient_id"])
    assert ("1-2" in samples) == (told_by == "neither")
    assert left_out.get("after the person's death", 0) == (told_by != "neither")


def test_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no ready-made labels"):
        source(tmp_path).records("labels")


@pytest.mark.parametrize(("midnight", "counts_from"), [("date", at(40) - timedelta(seconds=1)), ("time", at(16))])
def test_an_admission_at_midnight_is_a_date_or_a_time_as_the_config_says(
    midnight: str, counts_from: datetime, tmp_path: Path
) -> None:
    write(tmp_path, [*person(1, (16, 120)), (1, at(20), "HR", 70.0)])  # 16 hours after eight o'clock
    assert source(tmp_path, midnight=midnight).stays().table["intime"].to_list() == [counts_from]


def test_a_code_that_ends_in_a_word_stands_for_the_number_that_the_config_says(tmp_path: Path) -> None:
    eyes = [(1, at(hour), f"EYES//0//{word}") for hour, word in enumerate(("spontaan", "geen reactie", "anders"), 1)]
    write(tmp_path, [*person(1), *eyes])
    entries = [{"code": "EYES//*//spontaan", "value": 4}, {"code": "EYES//*//geen reactie", "value": 1}]
    plug = source(tmp_path, {"gcs_eye": entries})
    rows, _ = measured(plug, cohort_of(plug), tmp_path)
    assert [(time, value) for _, time, _, value in rows] == [
        (f"{at(1):%Y-%m-%d %H:%M:%S}", 4.0),
        (f"{at(2):%Y-%m-%d %H:%M:%S}", 1.0),
    ]


def test_a_column_of_ids_that_are_no_admissions_is_left_aside(tmp_path: Path) -> None:
    rows: list[Row] = [(*row, None, None, 459) for subject in (1, 2) for row in person(subject)]
    full = [(*row[:3], None, None, 459) for row in rows]
    write(tmp_path, full, {**COLUMNS, "hadm_id": pl.Int64})
    hospital = source(tmp_path).stays().table["hadm_id"].to_list()
    assert hospital == ["459", "459"]
    assert source(tmp_path, admission_id="").stays().table["hadm_id"].to_list() == ["1-1", "2-1"]
