"""Source tables: a user's own files, each measurement against a plain loop over the rows, and files with faults."""

import csv
import json
import math
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from emerge_ehr.config import Cohort
from emerge_ehr.datasets import window
from emerge_ehr.datasets.convert.cohort import with_windows
from emerge_ehr.datasets.convert.harmonise import write_dynamic
from emerge_ehr.datasets.sources.tables import Options, OwnTables, build
from emerge_ehr.fields import UserError, parse
from emerge_ehr.storage.dataset import Dataset
from tests.datasets.sources.examples.tables import FORM, RHYTHMS, START, generate, write
from tests.places import MAIN


def source(folder: Path, **options: int) -> OwnTables:
    return build(Options(**options), raw_dir=folder, kg_dir=folder, seed=0)


def cohort_of(tables: OwnTables) -> pl.DataFrame:
    return with_windows(tables.stays().table, Cohort()).sort("patient_id").with_row_index("n")


def measured(tables: OwnTables, folder: Path) -> list[tuple[str, str, str, float]]:
    return measured_and_counted(tables, folder)[0]


def measured_and_counted(
    tables: OwnTables, folder: Path
) -> tuple[list[tuple[str, str, str, float]], Mapping[str, int]]:
    cohort = cohort_of(tables)
    (folder / "out").mkdir(exist_ok=True)
    _, extract = write_dynamic(tables.measurements(cohort, "stay_id"), cohort, tables.signals(), folder / "out", "csv")
    with (folder / "out" / "dynamic.csv").open(newline="") as file:
        rows = [(r["patient_id"], r["event_time"], r["code"], float(r["value"])) for r in csv.DictReader(file)]
    return rows, extract.counts


def number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def test_every_measurement_equals_a_plain_loop_over_the_rows(tmp_path: Path) -> None:
    rows = generate(tmp_path)
    last: dict[str, datetime] = {}
    first: dict[str, datetime] = {}
    for row in rows:
        time = datetime.strptime(row["event_time"], FORM)
        first[row["patient_id"]] = min(time, first.get(row["patient_id"], time))
        last[row["patient_id"]] = max(time, last.get(row["patient_id"], time))
    expected, without = set(), 0
    for row in rows:
        patient, time = row["patient_id"], datetime.strptime(row["event_time"], FORM)
        if not time < min(last[patient], first[patient] + timedelta(hours=48)):
            continue
        value = number(row["value"])
        without += (value is None and row["code"] == "lactate") or (row["code"] == "rhythm" and not row["value"])
        if row["code"] in ("glucose", "lactate") and value is not None:
            expected.add((patient, row["event_time"], row["code"], round(value, 4)))
        if row["code"] == "rhythm" and row["value"]:
            expected |= {
                (patient, row["event_time"], f"rhythm={word}", float(word == row["value"])) for word in RHYTHMS
            }
    found, counts = measured_and_counted(source(tmp_path), tmp_path)
    assert sorted(found) == sorted(expected)
    assert counts == {"no number": without}


def test_features_are_inferred_and_what_is_left_out_is_told(tmp_path: Path) -> None:
    generate(tmp_path)
    tables = build(parse(Options, {"units": {"glucose": "mmol/L"}}, "test"), raw_dir=tmp_path, kg_dir=tmp_path, seed=0)
    signals = tables.signals()
    names = ["glucose", "lactate", "rhythm=afib", "rhythm=paced", "rhythm=sinus"]
    assert [signal.name for signal in signals] == names
    assert (signals[0].unit, signals[0].plausible, signals[0].reference) == ("mmol/L", (-math.inf, math.inf), None)
    (warning,) = tables.stays().warnings
    assert "1 codes" in warning and "comment" in warning and "max_levels" in warning
    assert [s.name for s in source(tmp_path, max_levels=2).signals()] == ["glucose", "lactate"]


def test_a_code_is_a_number_from_95_of_100_values_on(tmp_path: Path) -> None:
    generate(tmp_path)
    rows = [{"patient_id": "P1", "event_time": "2150-03-01", "code": "a", "value": "7"}] * 95
    rows += [{**rows[0], "value": word} for word in ("low", "low", "high", "high", "high")]
    rows += [{**rows[0], "value": "NA"}] * 30
    write(tmp_path / "dynamic.csv", rows)
    assert [signal.name for signal in source(tmp_path).signals()] == ["a"]
    write(tmp_path / "dynamic.csv", rows[1:])
    assert [signal.name for signal in source(tmp_path).signals()] == ["a=7", "a=high", "a=low"]


def test_without_a_cohort_file_a_stay_is_from_the_first_to_the_last_event(tmp_path: Path) -> None:
    rows = generate(tmp_path, patients=2)
    stays = source(tmp_path).stays().table.sort("stay_id")
    times = [datetime.strptime(row["event_time"], FORM) for row in rows if row["patient_id"] == "P1"]
    first = stays.row(0, named=True)
    assert (first["intime"], first["outtime"]) == (min(times), max(times))
    assert (first["admittime"], first["dischtime"]) == (min(times), max(times))
    assert {first["subject_id"], first["hadm_id"], first["stay_id"]} == {"P1"}
    assert (first["age"], first["sex"], first["died"], first["deathtime"]) == (30, "F", None, None)
    assert first["ethnicity"] is None and first["icu_type"] is None


def test_a_patient_without_events_or_without_static_row_is_still_a_candidate(tmp_path: Path) -> None:
    rows = generate(tmp_path, patients=2)
    write(tmp_path / "static.csv", [{"patient_id": "P1"}, {"patient_id": "P7"}])
    stays = {row["stay_id"]: row for row in source(tmp_path).stays().table.to_dicts()}
    assert set(stays) == {row["patient_id"] for row in rows} | {"P7"}
    assert stays["P7"]["intime"] is None and stays["P2"]["age"] is None and stays["P2"]["subject_id"] == "P2"


def test_a_cohort_file_gives_persons_and_times(tmp_path: Path) -> None:
    generate(tmp_path, patients=2)
    window = {"window_start": "2150-03-02 12:00", "window_end": "2150-03-04T12:00:00"}
    row = {"patient_id": "P1", "subject_id": "ann", "hadm_id": "8", "stay_id": "9", **window}
    write(tmp_path / "cohort.csv", [row])
    (stay,) = source(tmp_path).stays().table.to_dicts()
    assert (stay["subject_id"], stay["stay_id"], stay["hadm_id"]) == ("ann", "P1", "P1")
    assert (stay["intime"], stay["outtime"]) == (datetime(2150, 3, 2, 12), datetime(2150, 3, 4, 12))
    times = {"intime": "2150-03-02 11:00", "dischtime": "2150-03-09", "admittime": ""}
    write(tmp_path / "cohort.csv", [{"patient_id": "P1", "subject_id": "ann", **window, **times}])
    (stay,) = source(tmp_path).stays().table.to_dicts()
    assert [stay[name].day for name in ("admittime", "intime", "outtime", "dischtime")] == [2, 2, 4, 9]
    assert stay["intime"].hour == stay["admittime"].hour == 11
    found = measured(source(tmp_path), tmp_path)
    assert {row[0] for row in found} == {"P1"} and min(row[1] for row in found) >= "2150-03-02 11:00:00"


def test_notes_up_to_the_windows_end_are_kept(tmp_path: Path) -> None:
    generate(tmp_path, patients=2)
    cohort = cohort_of(source(tmp_path))
    empty = source(tmp_path).notes(cohort).table
    assert empty.is_empty() and empty.schema["note_time"] == pl.Datetime("us")
    start = START + timedelta(days=1)
    times = {
        "early": start.strftime(FORM),
        "late": (start + timedelta(hours=48)).strftime(FORM),
        "last day": (start + timedelta(days=2)).strftime("%Y-%m-%d"),  # a bare date: until the window's end, or after?
        "first day": start.strftime("%Y-%m-%d"),
        "untimed": "",
    }
    notes = [{"patient_id": "P1", "note_time": t, "note_type": "progress", "text": name} for name, t in times.items()]
    write(tmp_path / "notes.csv", [*notes, {**notes[0], "patient_id": "nobody"}])
    extract = window.notes(source(tmp_path).notes(cohort), cohort)
    assert sorted(extract.table["text"]) == ["early", "first day", "untimed"]
    assert extract.table.columns == empty.columns
    assert dict(extract.counts) == {"notes read": 6, "notes of the cohort": 5, "notes after the window excluded": 2}
    assert "1 notes carry no time" in extract.warnings[0]


def test_labels_come_as_they_are_and_other_records_are_refused(tmp_path: Path) -> None:
    generate(tmp_path, patients=4)
    assert source(tmp_path).records("labels")["label_value"].to_list() == [0, 1, 0, 1]
    with pytest.raises(UserError, match="has no diagnoses"):
        source(tmp_path).records("diagnoses")
    (tmp_path / "label.csv").unlink()
    with pytest.raises(UserError, match=r"label.csv: missing; its columns: patient_id, label_time"):
        source(tmp_path).records("labels")
    assert [path.name for path in source(tmp_path).inputs()] == ["dynamic.csv", "static.csv"]


HEADER = "patient_id,event_time,code,value\n"


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("dynamic.csv", None, "dynamic.csv.gz: missing"),
        ("dynamic.csv", "", "empty; a header line"),
        ("dynamic.csv", HEADER, "no rows"),
        ("dynamic.csv", "patient_id,time,code,value\n", "no column 'event_time'; it has: patient_id, time"),
        ("dynamic.csv", HEADER + "a,2150-01-01,x,1\na,noon,x,1\n", "row 3: event_time 'noon' is not a time"),
        ("dynamic.csv", HEADER + "a,2150-01-01,x,1\na,,x,1\n", "row 3: event_time None is empty"),
        ("dynamic.csv", HEADER + ",2150-01-01,x,1\n", "row 2: patient_id None is empty"),
        ("dynamic.csv", HEADER + "a,2150-01-01,,1\n", "row 2: code None is empty"),
        ("dynamic.csv", HEADER + "a,2150-01-01,x,1,9\n", "cannot be read"),
        ("dynamic.csv", HEADER + "a,2150-01-01,x,\n", "none of its 1 codes can be used: 1 codes"),
        ("dynamic.csv", HEADER + "a,2150-01-01,x,y\na,2150-01-01,x=y,3\n", "'x=y' is both a code and a word"),
        ("static.csv", None, "static.csv: missing"),
        ("static.csv", "patient_id,age\nP1,abc\n", "row 2: age 'abc' is not a number"),
        ("static.csv", "patient_id,age\nP1,150\n", "row 2: age '150' is outside 0-120"),
        ("static.csv", "patient_id,age\nP1,50\nP1,51\n", "stands twice"),
        ("static.csv", "patient_id,sex\nP1,Female\n", "row 2: sex 'Female' is not one of F, M"),
        ("static.csv", "id\nP1\n", "no column 'patient_id'"),
        ("cohort.csv", "patient_id,window_start,window_end\n", "no column 'subject_id'"),
    ],
)  # fmt: skip
def test_a_faulty_file_is_one_clear_line(tmp_path: Path, file: str, content: str | None, expected: str) -> None:
    generate(tmp_path, patients=1, hours=2)
    (tmp_path / file).unlink(missing_ok=True)
    if content is not None:
        (tmp_path / file).write_text(content)
    with pytest.raises(UserError) as caught:
        source(tmp_path).inputs()
        measured(source(tmp_path), tmp_path)
    assert expected in str(caught.value) and file in str(caught.value) and "\n" not in str(caught.value)


def test_excel_and_gzip_copies_read_the_same(tmp_path: Path) -> None:
    generate(tmp_path, patients=2)
    expected = measured(source(tmp_path), tmp_path)
    text = (tmp_path / "dynamic.csv").read_bytes()
    (tmp_path / "dynamic.csv").write_bytes(b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n").replace(b"\r\r", b"\r"))
    assert measured(source(tmp_path), tmp_path) == expected
    for name in ("static", "label"):
        path = tmp_path / f"{name}.csv"
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert source(tmp_path).stays().table["age"].to_list() == [30, 31]


def test_a_users_files_become_tables_and_a_trained_model(
    tmp_path: Path, trained: Callable[[Path, Path], Dataset]
) -> None:
    generate(tmp_path / "raw")
    config = tmp_path / "own.toml"
    config.write_text(
        'dataset = "own"\nrun_name = "own"\n[source]\nname = "tables"\n[task]\nname = "given"\n'
        f'[paths]\nraw_dir = "{tmp_path / "raw"}"\ntable_dir = "{tmp_path / "tables"}"\n'
    )
    command = [sys.executable, str(MAIN), "--stage", "convert", "--config", str(config)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    provenance = json.loads((tmp_path / "tables" / "provenance.json").read_text())
    assert provenance["cohort_flow"][-1]["stays"] == 12
    assert set(provenance["measurements"]["rows"]) == {"glucose", "lactate", *(f"rhythm={word}" for word in RHYTHMS)}
    assert (tmp_path / "tables" / "notes.csv").read_text() == "patient_id,note_time,note_type,text\n"
    dataset = trained(config, tmp_path)
    assert dataset.metadata["label_names"] == ["relapse"]
    assert [feature["name"] for feature in dataset.metadata["features"]][:2] == ["glucose", "lactate"]
