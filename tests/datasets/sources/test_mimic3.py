"""The MIMIC-III source on generated files in the true v1.4 layout, against plain loops over the same rows."""

import csv
import dataclasses
import gzip
import json
import math
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from emerge_ehr.config import Config, Download, load
from emerge_ehr.datasets import window
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.datasets.sources import Source, mimic3
from emerge_ehr.fields import Component, UserError
from emerge_ehr.signals.signals import SIGNAL_BY_NAME
from emerge_ehr.storage import schema
from emerge_ehr.storage.dataset import Dataset
from emerge_ehr.storage.table_files import read_table
from tests.datasets.plain_loops import one_per_moment
from tests.datasets.sources.examples.mimic3 import (
    FORM,
    HEADERS,
    ITEMS,
    SIGNAL_OF,
    UNRELATED,
    UNRELATED_LABS,
    WORDS,
    Row,
    Tables,
    generated,
    write,
)
from tests.examples import edit
from tests.mimic_items import CAREVUE, CHART, LAB
from tests.places import MAIN, ROOT

ARTERIAL_LINES = {220050, 220051, 220052, 225309, 225310, 225312, 51, 52, 8368, 6701, 6702, 8555}
DEMO = ROOT / "configs" / "mimic3_demo.toml"


def rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", newline="") as file:
        return list(csv.DictReader(file))


def config(raw: Path, out: Path, **options: Any) -> Config:
    loaded = load(DEMO)
    paths = dataclasses.replace(loaded.paths, raw_dir=raw, table_dir=out)
    return dataclasses.replace(loaded, paths=paths, source=Component("mimic3", options))


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("mimic3") / "1.4", generated())


@pytest.fixture(scope="module")
def tables(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tables") / "out"
    convert.run(config(raw, out))
    return out


def provenance(tables: Path) -> Any:
    return json.loads((tables / schema.PROVENANCE).read_text())


def in_cohort(raw: Path) -> dict[str, dict[str, str]]:
    """Stays of two days or more, of those whose birth is known."""
    born = {row["SUBJECT_ID"]: row["DOB"] for row in rows(raw / "PATIENTS.csv.gz")}
    stays = {row["ICUSTAY_ID"]: row for row in rows(raw / "ICUSTAYS.csv.gz")}
    return {key: row for key, row in stays.items() if float(row["LOS"]) >= 2 and born[row["SUBJECT_ID"]]}


def expected_value(itemid: int, number: str, words: str) -> tuple[str, float] | None:
    if itemid not in SIGNAL_OF:
        return None
    value = float(number) if number else WORDS.get((itemid, words))
    if value is None:
        return None
    code, unit = SIGNAL_OF[itemid], ITEMS[itemid][1] if itemid in ITEMS else ""
    pounds = {"lb": 1.0, "oz": 1 / 16}.get(unit, 1.0 if itemid == 226531 else None)
    if unit.endswith("F"):
        value = (value - 32) / 1.8
    elif pounds:
        value *= 0.45359237 * pounds
    elif unit.lower() == "inch":
        value *= 2.54
    elif code == "fraction_inspired_oxygen" and value > 1:
        value /= 100
    low, high = SIGNAL_BY_NAME[code].plausible
    return (code, round(value, 4)) if low <= round(value, 4) <= high else None


def expected(raw: Path) -> tuple[set[tuple[str, str, str, float]], int]:
    """Every measurement of the cohort by a plain loop, and how many rows in the window were marked as errors."""
    stays, errors = in_cohort(raw), 0
    found: list[tuple[str, str, str, float, int]] = []
    start = {key: datetime.strptime(row["INTIME"], FORM) for key, row in stays.items()}

    def placed(stay: str, time: str, code: str) -> str | None:
        moment, opened = datetime.strptime(time, FORM), start[stay]
        if code in ("height", "weight") and opened - timedelta(hours=24) <= moment < opened:
            moment = opened
        return moment.strftime(FORM) if opened <= moment < opened + timedelta(hours=48) else None

    def by_time(row: Mapping[str, str]) -> str:
        """The stay of the row's admission that its time lies in."""
        own = [
            key
            for key, stay in stays.items()
            if stay["HADM_ID"] == row["HADM_ID"] and placed(key, row["CHARTTIME"], "")
        ]
        return next(iter(own), "")

    for row in rows(raw / "CHARTEVENTS.csv.gz"):
        item = int(row["ITEMID"])
        stay = row["ICUSTAY_ID"] or by_time(row)
        if stay not in stays or item not in SIGNAL_OF:
            continue
        time = placed(stay, row["CHARTTIME"], SIGNAL_OF[item])
        errors += time is not None and row["ERROR"] == "1"
        value = expected_value(item, row["VALUENUM"], row["VALUE"])
        if time and value and row["ERROR"] != "1":
            cuff = "blood_pressure" in value[0] and item not in ARTERIAL_LINES
            # of heights and weights from before the window, which count at its start, the latest counts
            moved = datetime.strptime(time, FORM) - datetime.strptime(row["CHARTTIME"], FORM)
            found.append((stay, time, *value, int(cuff) + int(moved.total_seconds())))
    for row in rows(raw / "LABEVENTS.csv.gz"):
        for stay, record in stays.items():
            value = expected_value(int(row["ITEMID"]), row["VALUENUM"], "")
            if value and record["SUBJECT_ID"] == row["SUBJECT_ID"] and row["HADM_ID"] in ("", record["HADM_ID"]):
                time = placed(stay, row["CHARTTIME"], "")
                found += [(stay, time, *value, 0)] if time else []
    return one_per_moment(found), errors


def test_every_measurement_equals_a_plain_loop_over_the_raw_rows(raw: Path, tables: Path) -> None:
    plain_rows, errors = expected(raw)
    with (tables / "dynamic.csv").open(newline="") as file:
        found = [(r["patient_id"], r["event_time"], r["code"], float(r["value"])) for r in csv.DictReader(file)]
    assert len(found) > 1000 and len(found) == len(set(found))
    assert Counter(row[2] for row in found) == Counter(row[2] for row in plain_rows)
    assert {row[2] for row in found} == set(SIGNAL_BY_NAME)
    for ours, theirs in zip(sorted(found), sorted(plain_rows), strict=True):
        assert ours[:3] == theirs[:3] and math.isclose(ours[3], theirs[3], abs_tol=2e-4)
    dropped = provenance(tables)["measurements"]["dropped or repaired"]
    assert errors > 20
    assert dropped["marked as errors in the file"] == errors
    assert dropped["matched by person and time, having no id of the admission"] > 0
    assert dropped["matched by person and time, having no id of the stay"] > 10


@pytest.mark.parametrize("itemid", ITEMS)
def test_an_item_comes_out_in_the_signals_unit(itemid: int, source_values: Mapping[int, tuple[str, float]]) -> None:
    code, _, _, value = ITEMS[itemid]
    found = source_values[itemid]
    assert found[0] == code and found[1] == pytest.approx(value, abs=1e-4)


@pytest.fixture(scope="module")
def source_values(tmp_path_factory: pytest.TempPathFactory) -> dict[int, tuple[str, float]]:
    """Item -> its only measurement: one person an item, charted once."""
    hospital = generated(persons=1)
    tables: Tables = {name: [] for name in HEADERS}
    for number, (item, (_, unit, value, _)) in enumerate(ITEMS.items()):
        ids: Row = {"SUBJECT_ID": number, "HADM_ID": 1000 + number, "ICUSTAY_ID": item}
        for name in ("PATIENTS", "ADMISSIONS", "ICUSTAYS"):
            tables[name].append({**hospital[name][0], **ids})
        time = hospital["ICUSTAYS"][0]["INTIME"].replace(second=0) + timedelta(hours=2)
        row = {**ids, "ITEMID": item, "CHARTTIME": time, "VALUE": f"{value}", "VALUENUM": value, "VALUEUOM": unit}
        tables["LABEVENTS" if item in LAB else "CHARTEVENTS"].append(row)
    tables["NOTEEVENTS"] = [{**ids, "CHARTTIME": time, "CATEGORY": "Nursing", "TEXT": "stable"}]
    folder = tmp_path_factory.mktemp("units")
    convert.run(config(write(folder / "raw", tables), folder / "out"))
    found = read_table(folder / "out", schema.DYNAMIC).select("patient_id", "code", "value").rows()
    return {int(patient): (code, value) for patient, code, value in found}


def test_the_item_maps_name_each_item_once_and_signals_that_exist() -> None:
    assert not set(CAREVUE) & set(CHART) and not set(CAREVUE) & set(LAB)
    assert set(CAREVUE.values()) == set(SIGNAL_BY_NAME)
    assert all(SIGNAL_OF[item] == code for item, code in {**CAREVUE, **CHART, **LAB}.items() if item in SIGNAL_OF)
    assert not (set(UNRELATED) | set(UNRELATED_LABS)) & (set(CAREVUE) | set(CHART) | set(LAB))


def test_notes_in_error_late_or_of_discharge_are_dropped_and_counted(raw: Path, tables: Path) -> None:
    notes, stays = read_table(tables, schema.NOTES), in_cohort(raw)
    written = {row["TEXT"] for row in rows(raw / "NOTEEVENTS.csv.gz") if row["TEXT"].startswith("keep")}
    ours = {text for text in written if any(f" {row['HADM_ID']}: " in text for row in stays.values())}
    assert set(notes["text"]) == ours and notes.height == len(ours) == 4 * len(stays)
    assert set(notes["note_type"]) == {"Physician", "Radiology", "ECG", "Nursing"}
    counts = provenance(tables)["notes"]["counts"]
    assert counts["notes entered in error"] == len(rows(raw / "ICUSTAYS.csv.gz"))
    assert counts["discharge summaries excluded"] == len(stays)
    assert counts["notes after the window excluded"] == 2 * len(stays)
    assert counts["notes matched by person and time"] == len(stays)


def test_a_note_with_only_a_date_counts_as_written_at_that_days_end(tables: Path) -> None:
    times = read_table(tables, schema.NOTES).filter(pl.col("note_type") == "ECG")["note_time"]
    assert set(times.dt.strftime("%H:%M:%S")) == {"23:59:59"}


def test_discharge_summaries_and_late_notes_come_in_when_asked_for(raw: Path, tmp_path: Path) -> None:
    chosen = {"include_discharge_summaries": True, "notes_after_window": True}
    convert.run(config(raw, tmp_path / "out", **chosen))
    fates = Counter(text.split()[0].strip(":") for text in read_table(tmp_path / "out", schema.NOTES)["text"])
    assert fates == {"keep": 4 * fates["discharge"], "late": 2 * fates["discharge"], "discharge": fates["discharge"]}


def test_notes_come_from_the_users_file_when_one_is_named(raw: Path, tmp_path: Path) -> None:
    stay = next(iter(in_cohort(raw).values()))
    (tmp_path / "own.csv").write_text(f"hadm_id,charttime,text\n{stay['HADM_ID']},{stay['INTIME']},mine\n")
    convert.run(config(raw, tmp_path / "out", notes_file=[str(tmp_path / "own.csv")]))
    assert read_table(tmp_path / "out", schema.NOTES)["text"].to_list() == ["mine"]


def test_ages_are_birthdays_and_shifted_births_are_ninety(raw: Path) -> None:
    stays = source(raw).stays().table
    born = {row["SUBJECT_ID"]: row["DOB"] for row in rows(raw / "PATIENTS.csv.gz")}
    expected_ages: dict[str, int | None] = {}
    for row in rows(raw / "ICUSTAYS.csv.gz"):
        if not born[row["SUBJECT_ID"]]:
            expected_ages[row["ICUSTAY_ID"]] = None
            continue
        entered, birth = (datetime.strptime(time, FORM) for time in (row["INTIME"], born[row["SUBJECT_ID"]]))
        age = entered.year - birth.year - ((entered.month, entered.day) < (birth.month, birth.day))
        expected_ages[row["ICUSTAY_ID"]] = 90 if age > 250 else age
    assert dict(stays.select("stay_id", "age").rows()) == expected_ages
    assert Counter(expected_ages.values())[90] >= 5 and None in expected_ages.values()


def test_stays_carry_the_outcome_and_the_person(raw: Path) -> None:
    stays = source(raw).stays().table
    hospital = {row["HADM_ID"]: row for row in rows(raw / "ADMISSIONS.csv.gz")}
    for hadm, died, deathtime, ethnicity in stays.select("hadm_id", "died", "deathtime", "ethnicity").rows():
        row = hospital[hadm]
        assert str(died) == row["HOSPITAL_EXPIRE_FLAG"] and ethnicity == row["ETHNICITY"]
        assert (deathtime.strftime(FORM) if deathtime else "") == row["DEATHTIME"]
    assert set(stays["icu_type"]) == {"MICU"} and set(stays["sex"]) == {"F", "M"}


def source(raw: Path, **options: Any) -> Source:
    return mimic3.build(mimic3.Options(**options), raw_dir=raw, kg_dir=raw, seed=0)


def test_admissions_say_which_were_planned(raw: Path) -> None:
    found = source(raw).records("admissions")
    planned = {row["HADM_ID"]: row["ADMISSION_TYPE"] == "ELECTIVE" for row in rows(raw / "ADMISSIONS.csv.gz")}
    assert dict(found.select("hadm_id", "planned").rows()) == planned and any(planned.values())


def test_diagnoses_are_icd_9_codes_with_their_leading_zeros(raw: Path) -> None:
    found = source(raw).records("diagnoses")
    assert set(found["icd_version"]) == {9} and set(found["icd_code"]) == {"0389", "99591"}
    assert found.schema["hadm_id"] == pl.String


def test_ready_made_labels_are_refused(raw: Path) -> None:
    with pytest.raises(UserError, match="no ready-made labels"):
        source(raw).records("labels")


def test_measurements_of_an_admission_take_in_rows_without_an_icu_stay(raw: Path) -> None:
    stays = source(raw).stays().table.rename({"admittime": "window_start", "dischtime": "window_end"})
    cohort = stays.with_row_index("n").with_columns(pl.col("hadm_id").alias("patient_id"))
    charted = window.measurements(source(raw).measurements(cohort, "hadm_id")[0].frame, cohort)
    events = charted.filter(pl.col("code") == "heart_rate").collect()
    plain_rows = [row for row in rows(raw / "CHARTEVENTS.csv.gz") if row["ITEMID"] in ("211", "220045")]
    hospital = {row["HADM_ID"]: row for row in rows(raw / "ADMISSIONS.csv.gz")}
    inside = [
        row
        for row in plain_rows
        if hospital[row["HADM_ID"]]["ADMITTIME"] <= row["CHARTTIME"] < hospital[row["HADM_ID"]]["DISCHTIME"]
    ]
    assert events.height == len(inside) and any(not row["ICUSTAY_ID"] for row in inside)


@pytest.mark.slow
def test_the_demo_runs_from_the_command_line_to_a_trained_model_with_surrogate_notes(
    raw: Path, tables: Path, tmp_path: Path, trained: Callable[[Path, Path], Dataset]
) -> None:
    write(tmp_path / "data/raw/mimiciii-demo/1.4", generated(), demo=True)
    command = [sys.executable, str(MAIN), "--config", str(DEMO), "--stage", "convert"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "data/tables/mimic-iii-demo/mortality"
    for name in ("dynamic.csv", "static.csv", "label.csv", "cohort.csv"):
        assert (out / name).read_bytes() == (tables / name).read_bytes(), name
    notes = read_table(out, schema.NOTES)
    assert set(notes["note_type"]) == {"surrogate"} and "leak the future" in done.stderr
    assert notes["text"][0] == "Diagnoses:\nSepticemia, unspecified.\nSepsis.\nProcedures:\nSpinal tap."
    dataset = trained(DEMO, tmp_path)
    assert dataset.note_mask.all() and any("leak the future" in text for text in dataset.metadata["warnings"])


def test_the_demo_is_listed_file_by_file_when_it_is_missing(tmp_path: Path) -> None:
    loaded = load(DEMO)
    with pytest.raises(UserError, match=r"CHARTEVENTS\.csv") as caught:
        source(tmp_path, **loaded.source.options).download(Download(), offline=True)
    assert all(f"{name}.csv" in str(caught.value) for name in (*mimic3.TABLES, *mimic3.CODES))


def test_a_credentialed_copy_needs_no_code_tables_when_it_has_notes(raw: Path) -> None:
    source(raw).download(Download(), offline=False)
    assert {path.name for path in source(raw).inputs()} == {f"{name}.csv.gz" for name in (*mimic3.TABLES, "NOTEEVENTS")}


def damaged(raw: Path, folder: Path, name: str, change: Callable[[bytes], bytes] | None) -> Path:
    """A copy of the files with one changed, or left out."""
    folder.mkdir()
    for path in raw.iterdir():
        if path.name != f"{name}.csv.gz":
            (folder / path.name).symlink_to(path)
        elif change:
            (folder / path.name).write_bytes(change(path.read_bytes()))
    return folder


def zipped(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda data: gzip.compress(change(gzip.decompress(data)))


DAMAGES: Iterable[tuple[str, Callable[[bytes], bytes] | None, str]] = [
    ("CHARTEVENTS", lambda data: data[: len(data) // 2], r"CHARTEVENTS\.csv\.gz: .*cannot be read"),
    ("CHARTEVENTS", zipped(lambda text: text.replace(b'"ERROR"', b'"MISTAKE"', 1)), r"no column 'error'"),
    ("ICUSTAYS", zipped(lambda text: text.replace(b'"ICUSTAY_ID"', b'"STAY"', 1)), r"ICUSTAYS.*no column 'icustay_id'"),
    ("ICUSTAYS", zipped(lambda text: text.replace(b"206504", b"20650x", 1)), r"ICUSTAYS.*20650x"),
    ("NOTEEVENTS", lambda data: data[: len(data) // 2], r"NOTEEVENTS\.csv\.gz: .*cannot be read"),
    ("LABEVENTS", None, r"LABEVENTS\.csv\.gz: missing"),
    (
        "ADMISSIONS",
        zipped(lambda text: text.replace(b",142000,", b",999,", 1)),
        r"1 of 32 rows are not in .*ADMISSIONS",
    ),
]


@pytest.mark.parametrize(("name", "change", "message"), DAMAGES)
def test_a_damaged_raw_file_is_one_clear_line_and_writes_nothing(
    raw: Path, tmp_path: Path, name: str, change: Callable[[bytes], bytes] | None, message: str
) -> None:
    folder = damaged(raw, tmp_path / "raw", name, change)
    with pytest.raises(UserError, match=message) as caught:
        convert.run(config(folder, tmp_path / "out"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_the_notes_extract_is_empty_of_other_peoples_texts(raw: Path) -> None:
    stays = source(raw).stays().table.filter(pl.col("stay_id") == "206504")
    end = pl.col("intime") + timedelta(hours=48)
    start = pl.col("intime").alias("window_start")
    cohort = stays.with_columns(pl.col("stay_id").alias("patient_id"), start, end.alias("window_end"))
    found = source(raw).notes(cohort)
    assert found.table.height == 4 and all(" 142000: " in text for text in found.table["text"])


def edited(raw: Path, folder: Path, name: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> Path:
    """A copy of the raw files with one table changed."""
    shutil.copytree(raw, folder)
    edit(folder / f"{name}.csv.gz", change)
    return folder


def test_a_stay_after_the_date_of_death_of_any_register_is_out(raw: Path, tables: Path, tmp_path: Path) -> None:
    """``DOD`` is a date at midnight, of the hospital's or the social security's register; a stay of that day may still be."""
    cohort = read_table(tables, schema.COHORT)
    person, second = cohort.filter(pl.col("subject_id").is_duplicated()).sort("subject_id", "window_start").select(
        "subject_id", "window_start"
    ).row(1)  # fmt: skip
    for days, left_out in ((-1, 1), (0, 0)):
        died = f"{second + timedelta(days=days):%Y-%m-%d} 00:00:00"
        dod = pl.when(SUBJECT_ID=person).then(pl.lit(died)).otherwise("DOD").alias("DOD")
        out = tmp_path / f"out{days}"
        convert.run(
            config(edited(raw, tmp_path / f"raw{days}", "PATIENTS", lambda rows, dod=dod: rows.with_columns(dod)), out)
        )
        flow = {step["reason"]: step["dropped_stays"] for step in provenance(out)["cohort_flow"]}
        assert flow.get("after the person's death", 0) == left_out


@pytest.mark.parametrize(("days", "known"), [(0, False), (3, True)])
def test_the_hospitals_own_date_of_death_contradicts_a_flag_of_survival(
    raw: Path, tables: Path, tmp_path: Path, days: int, known: bool
) -> None:
    labels = read_table(tables, schema.LABEL).filter(pl.col("label_value") == 0)
    cohort = read_table(tables, schema.COHORT).join(labels, on="patient_id").filter(pl.col("subject_id").is_unique())
    person, admission, sample = cohort.select("subject_id", "hadm_id", "patient_id").row(0)
    left = next(row["DISCHTIME"] for row in rows(raw / "ADMISSIONS.csv.gz") if row["HADM_ID"] == admission)
    died = f"{datetime.strptime(left, FORM) + timedelta(days=days):%Y-%m-%d} 00:00:00"
    values = {"DOD": None, "DOD_HOSP": died, "DOD_SSN": None}
    change = [
        pl.when(SUBJECT_ID=person).then(pl.lit(text, pl.String)).otherwise(name).alias(name)
        for name, text in values.items()
    ]
    folder = edited(raw, tmp_path / "raw", "PATIENTS", lambda table: table.with_columns(change))
    convert.run(config(folder, tmp_path / "out"))
    assert (sample in read_table(tmp_path / "out", schema.LABEL)["patient_id"].to_list()) == known
    reason = "admissions flagged as survivors, with a registered date of death before the discharge"
    assert (reason in provenance(tmp_path / "out")["stays"]) == (not known)


def test_stays_with_dates_only_end_with_the_day_and_are_told(raw: Path, tables: Path, tmp_path: Path) -> None:
    dates = [pl.col(name).str.slice(0, 10) for name in ("INTIME", "OUTTIME")]
    folder = edited(raw, tmp_path / "raw", "ICUSTAYS", lambda table: table.with_columns(dates))
    convert.run(config(folder, tmp_path / "out"))
    begun = read_table(tmp_path / "out", schema.COHORT)["window_start"]
    assert begun.len() and (begun.dt.strftime("%H:%M:%S") == "23:59:59").all()
    assert any(
        "intime, outtime is a date without a time of day" in text for text in provenance(tmp_path / "out")["warnings"]
    )


def test_a_stays_id_of_0_is_none(raw: Path, tables: Path, tmp_path: Path) -> None:
    odd = pl.int_range(pl.len()) % 2 == 1
    none = pl.when(odd).then(pl.lit("0")).otherwise("ICUSTAY_ID").alias("ICUSTAY_ID")
    folder = edited(raw, tmp_path / "raw", "CHARTEVENTS", lambda table: table.with_columns(none))
    convert.run(config(folder, tmp_path / "out"))
    assert read_table(tmp_path / "out", schema.DYNAMIC).equals(read_table(tables, schema.DYNAMIC))


def test_carevues_oxygen_fractions_are_read_whatever_their_unit_says(raw: Path, tables: Path, tmp_path: Path) -> None:
    """Item 190 is a fraction in "torr"; some rows hold percent. 7018 is the gas of an ECMO, not of the patient's breath."""

    start = read_table(tables, schema.COHORT)["window_start"][0]
    charted = [("190", "0.5", "torr"), ("190", "60", "torr"), ("7018", "1.0", ""), ("7570", "45", "%")]
    charted += [
        ("190", "1%", ""),
        ("3420", "55%", ""),
        ("190", "1", "torr"),
    ]  # a text that says percent is not all oxygen
    times = [f"{start + timedelta(hours=40, minutes=n):{FORM}}" for n in range(len(charted))]

    def more(rows: pl.DataFrame) -> pl.DataFrame:
        row = rows.filter(pl.col("ICUSTAY_ID") == read_table(tables, schema.COHORT)["stay_id"][0]).head(1)
        made = [
            {
                "ITEMID": item,
                "VALUE": value,
                "VALUENUM": value.strip("%"),
                "VALUEUOM": unit,
                "CHARTTIME": time,
                "ERROR": None,
            }
            for time, (item, value, unit) in zip(times, charted, strict=True)
        ]
        columns = [row.with_columns(pl.lit(text, pl.String).alias(name) for name, text in one.items()) for one in made]
        return pl.concat([rows, *columns])

    convert.run(config(edited(raw, tmp_path / "raw", "CHARTEVENTS", more), tmp_path / "out"))
    sample = read_table(tables, schema.COHORT)["patient_id"][0]
    read = read_table(tmp_path / "out", schema.DYNAMIC).filter(
        (pl.col("patient_id") == sample) & (pl.col("code") == "fraction_inspired_oxygen")
    )
    shown = dict(read.select(pl.col("event_time").dt.strftime(FORM), "value").rows())
    assert [shown.get(time) for time in times] == [0.5, 0.6, None, 0.45, None, 0.55, 1.0]
