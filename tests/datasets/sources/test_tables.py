"""Source tables: a user's own files, each measurement against a plain loop over the rows, and files with faults."""

import csv
import gzip
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
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
    extract = write_dynamic(tables.measurements(cohort, "stay_id"), cohort, tables.signals(), folder / "out", "csv")
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
    assert "1 code (" in warning and "comment" in warning and "max_levels" in warning
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


ABSENT = (
    "NA",
    "n/a",
    "N/A",
    "NULL",
    "null",
    "Null",
    "NaN",
    "?",
    "-",
    "--",
    "\u2013",
    ".",
    "",
    " ",
    "#N/A",
    "<NA>",
    "\\N",
)


def coded(code: str, values: Sequence[str]) -> list[dict[str, str]]:
    """A value an hour of patient P1, and an hour of the end of the record."""
    times = [(START + timedelta(hours=hour)).strftime(FORM) for hour in range(len(values))]
    return [
        {"patient_id": "P1", "event_time": time, "code": code, "value": value}
        for time, value in zip(times, values, strict=True)
    ]


def test_bounds_are_values_and_words_for_nothing_are_none(tmp_path: Path) -> None:
    generate(tmp_path, patients=1)
    bounds = {">600": 600.0, "GREATER THAN 500": 500.0, "< 0.5": 0.5, "up to 10": 10.0, "≥7": 7.0}
    rows = coded("glucose", [*bounds, *ABSENT, "90", "-3.5"]) + coded("rhythm", ["sinus", *ABSENT, "afib"])
    rows += coded("culture", ["+", "-", "NA", "-"]) + coded("nothing", ABSENT) + coded("end", ["1"] * 40)
    write(tmp_path / "dynamic.csv", rows)
    tables = source(tmp_path)
    names = ["culture=+", "culture=-", "end", "glucose", "rhythm=afib", "rhythm=sinus"]
    assert [signal.name for signal in tables.signals()] == names
    assert any("nothing" in warning and "no value" in warning for warning in tables.stays().warnings)
    found, counts = measured_and_counted(tables, tmp_path)
    assert [row[3] for row in found if row[2] == "glucose"] == [*bounds.values(), 90, -3.5]
    hours = [[row[1][11:13], row[3]] for row in found if row[2] == "rhythm=sinus"]
    assert hours == [["10", 1], [f"{(10 + len(ABSENT) + 1) % 24:02}", 0]]
    assert [row[3] for row in found if row[2] == "culture=-"] == [0, 1, 1]
    assert counts == {"bounds such as >600, taken as the value": 5, "no number": 2 * len(ABSENT) + 1}


@pytest.mark.parametrize(
    ("units", "read"),
    [({}, []), ({"glucose": "mg/dL"}, [10, 600]), ({"glucose": "mmol/L"}, [33.3]), ({"glucose": "ng/mL"}, [5])],
)
def test_a_bound_counts_only_in_the_unit_that_the_config_says(
    tmp_path: Path, units: dict[str, str], read: list[float]
) -> None:
    generate(tmp_path, patients=1)
    bounds = ["less than 10 mg/dL", ">600 MG/DL.", ">33.3 mmol/L", "<5 ng/mL", "<7 g/dL"]
    write(tmp_path / "dynamic.csv", coded("glucose", [*bounds, *["90"] * 95]))
    tables = build(parse(Options, {"units": units}, "test"), raw_dir=tmp_path, kg_dir=tmp_path, seed=0)
    found, counts = measured_and_counted(tables, tmp_path)
    in_window = 48 - len(bounds)
    assert [row[3] for row in found if row[2] == "glucose"] == [*read, *[90] * in_window]
    told = {"bounds such as >600, taken as the value": len(read)} if read else {}
    assert counts == {**told, "no number": len(bounds) - len(read)}


def test_new_records_are_read_with_the_same_words_for_nothing(tmp_path: Path) -> None:
    generate(tmp_path, patients=1)
    write(tmp_path / "dynamic.csv", coded("culture", ["+", "-"]) + coded("rhythm", ["sinus", "-"]))
    learned = source(tmp_path).signals()
    assert [signal.name for signal in learned] == ["culture=+", "culture=-", "rhythm=sinus"]
    new = coded("culture", ["-", "n/a", "-"]) + coded("rhythm", ["-", "sinus", "NULL"])
    write(tmp_path / "dynamic.csv", new)
    tables = OwnTables(Options(), tmp_path, learned)
    found = {(row[1][11:13], row[2], row[3]) for row in measured(tables, tmp_path)}
    assert found == {("10", "culture=+", 0), ("10", "culture=-", 1), ("11", "rhythm=sinus", 1)} | {
        ("12", "culture=+", 0),
        ("12", "culture=-", 1),
    }
    assert not any("does not know" in warning for warning in tables.stays().warnings)


def timed(times: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    return [
        {"patient_id": "P1", "event_time": time, "code": code, "value": "7"} for code in times for time in times[code]
    ]


def moments(tables: OwnTables, folder: Path) -> set[tuple[str, str]]:
    return {(row[2], row[1]) for row in measured(tables, folder)}


def test_which_codes_have_dates_is_as_a_run_knows_it_whatever_new_records_look_like(tmp_path: Path) -> None:
    generate(tmp_path, patients=1)
    midnight, next_one = "2150-03-02 00:00:00", "2150-03-03 00:00:00"
    write(tmp_path / "dynamic.csv", timed({"urea": [midnight, next_one], "pulse": [midnight, "2150-03-04 10:00:00"]}))
    learned = source(tmp_path).signals()
    new = {"urea": ["2150-03-01 11:00:00", midnight], "pulse": [midnight, next_one, "2150-03-03"]}
    write(tmp_path / "dynamic.csv", timed(new))
    tables = OwnTables(Options(), tmp_path, learned)
    assert moments(tables, tmp_path) == {
        ("urea", "2150-03-01 11:00:00"),  # it says a time of day
        ("urea", "2150-03-02 23:59:59"),  # in training, its midnights were dates
        ("pulse", midnight),  # in training, its midnights were times
        ("pulse", next_one),
    }
    assert any("2 of 5 measurements have a date" in warning for warning in tables.stays().warnings)
    write(tmp_path / "dynamic.csv", timed({"pulse": [midnight, next_one]}))
    tables = OwnTables(Options(), tmp_path, learned)
    assert moments(tables, tmp_path) == {("pulse", midnight), ("pulse", next_one)}
    told = [warning for warning in tables.stays().warnings if "midnight" in warning or "date" in warning]
    assert told == [
        "dynamic.csv: every time of pulse is exactly midnight, but the run learned from times of day, so that they count as "
        "times and are not moved; are they dates?"
    ]


def test_which_ends_are_dates_is_as_a_run_knows_it_whatever_new_records_look_like(tmp_path: Path) -> None:
    """One new record more, or another time in it, moves the end of none of the others."""
    generate(tmp_path, patients=2, hours=50)
    midnight, time = "2150-03-04 00:00:00", "2150-03-04 15:00:00"

    def end(learned: bool, ends: Sequence[str], dated: tuple[str, ...] = ()) -> tuple[str, tuple[str, ...]]:
        labels = [{"patient_id": f"P{n}", "label_time": end, "label_code": "dead"} for n, end in enumerate(ends, 1)]
        write(tmp_path / "label.csv", [{**one, "label_value": "" if learned else "1"} for one in labels])
        signals = tuple(source(tmp_path).signals()) if learned else None
        found = OwnTables(Options(), tmp_path, signals, ("dead",), dated).stays()
        return found.table.sort("stay_id")["outtime"].to_list()[0].strftime(FORM), found.dated

    assert end(False, [midnight, midnight]) == ("2150-03-04 12:30:01", ("label_time of dead",))
    assert end(False, [midnight, time]) == (midnight, ())
    for ends in ([midnight], [midnight, time], [midnight, midnight]):
        assert end(True, ends, ("label_time of dead",))[0] == "2150-03-04 12:30:01"
        assert end(True, ends)[0] == midnight

    times = {"subject_id": "s", "intime": "2150-03-02 11:00:00"}
    for dated, last in ((("outtime",), "2150-03-05 00:00:00"), ((), midnight)):
        for ends in ([midnight], [midnight, time]):
            stays = [{"patient_id": f"P{n}", **times, "outtime": one} for n, one in enumerate(ends, 1)]
            write(tmp_path / "cohort.csv", stays)
            assert end(True, ends, dated)[0] == last


def test_new_records_need_nothing_of_the_labels_but_the_times_of_the_runs_outcomes(tmp_path: Path) -> None:
    generate(tmp_path, patients=3, hours=50)
    known = {"label_time": "2150-03-03 15:00:00", "label_code": "dead"}
    (tmp_path / "label.csv").write_text(
        "patient_id,label_time,label_code\nP1,2150-03-03 15:00:00,dead\nP1,2150-03-03 16:00:00,dead\nP2,,dead\nP3,soon,other\n"
    )
    learned = source(tmp_path).signals()
    found = OwnTables(Options(), tmp_path, learned, ("dead",)).stays().table.sort("stay_id")
    assert found["outtime"].dt.strftime(FORM).to_list()[0] == known["label_time"]
    assert found["outtime"].dt.day().to_list()[1:] == [5, 6]


def test_without_a_cohort_file_a_stay_is_from_the_first_to_the_last_event(tmp_path: Path) -> None:
    rows = generate(tmp_path, patients=2)
    stays = source(tmp_path).stays().table.sort("stay_id")
    times = [datetime.strptime(row["event_time"], FORM) for row in rows if row["patient_id"] == "P1"]
    first = stays.row(0, named=True)
    just_after = max(times) + timedelta(seconds=1)  # so that the last measurement is in
    assert (first["intime"], first["outtime"]) == (min(times), just_after)
    assert (first["admittime"], first["dischtime"]) == (min(times), just_after)
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
    assert [stay[name].day for name in ("admittime", "intime", "outtime", "dischtime")] == [
        2,
        2,
        4,
        10,
    ]  # the end of a day is exclusive
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
    assert "1 note carries no time" in extract.warnings[0]


def test_empty_notes_are_left_out_and_counted_and_a_file_of_nothing_else_is_told(tmp_path: Path) -> None:
    generate(tmp_path, patients=2)
    cohort = cohort_of(source(tmp_path))
    note = {"patient_id": "P1", "note_time": "2150-03-02 12:00:00", "note_type": "progress", "text": "stable"}
    write(tmp_path / "notes.csv", [note, {**note, "text": ""}, {**note, "text": " \n "}])
    extract = source(tmp_path).notes(cohort)
    assert extract.table["text"].to_list() == ["stable"] and not extract.warnings
    assert dict(extract.counts) == {"notes read": 3, "notes without text": 2, "notes of the cohort": 1}
    write(tmp_path / "notes.csv", [{**note, "text": ""}, {**note, "text": " "}])
    extract = source(tmp_path).notes(cohort)
    told = "notes.csv: text is empty in all 2 notes, which are left out; is it the right column?"
    assert extract.table.is_empty() and extract.warnings == (told,)


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
        ("dynamic.csv", HEADER + "a,2150-01-01,x,1\na,,x,1\n", "row 3: event_time is empty"),
        ("dynamic.csv", HEADER + ",2150-01-01,x,1\n", "row 2: patient_id is empty"),
        ("dynamic.csv", HEADER + "a,2150-01-01,,1\n", "row 2: code is empty"),
        ("dynamic.csv", HEADER + "a,2150-01-01,x,1,9\n", "row 2: has 5 fields, its header has 4"),
        ("dynamic.csv", HEADER + "a,2150-01-01,x,\n", "none of its 1 code can be used: 1 code"),
        ("dynamic.csv", HEADER + "a,2150-01-01,x,y\na,2150-01-01,x=y,3\n", "'x=y' is both a code and a word"),
        ("static.csv", None, "static.csv: missing"),
        ("static.csv", "patient_id,age\nP1,abc\n", "row 2: age 'abc' is not a number"),
        ("static.csv", "patient_id,age\nP1,150\n", "row 2: age '150' is outside 0-120"),
        ("static.csv", "patient_id,age\nP1,50\nP1,51\n", "stands twice"),
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


COLUMNS = {"dynamic": "event_time", "label": "label_time", "cohort": "outtime", "notes": "note_time"}


@pytest.mark.parametrize("file", COLUMNS)
def test_times_by_two_clocks_are_refused_in_a_column_and_between_tables(tmp_path: Path, file: str) -> None:
    generate(tmp_path, patients=2)
    times = {"intime": "2150-03-02 10:30:00", "outtime": "2150-03-04 12:00:00"}
    write(tmp_path / "cohort.csv", [{"patient_id": f"P{n}", "subject_id": str(n), **times} for n in (1, 2)])
    note = {"note_time": "2150-03-02 12:00:00", "note_type": "progress", "text": "x"}
    write(tmp_path / "notes.csv", [{"patient_id": f"P{n}", **note} for n in (1, 2)])

    def read() -> object:
        notes = source(tmp_path).notes(cohort_of(source(tmp_path))).table
        return measured(source(tmp_path), tmp_path), notes.rows(), source(tmp_path).records("labels").rows()

    expected, column = read(), COLUMNS[file]
    path, number = tmp_path / f"{file}.csv", iter(range(10_000))
    original = path.read_text()
    respell(path, column, lambda time: time + "Z" * (next(number) > 0))
    told = rf"{file}.csv: {column} has times with a zone \(row 3: '.*Z'\) and times without one \(row 2: '"
    with pytest.raises(UserError, match=told):
        read()
    path.write_text(original)
    respell(path, column, lambda time: time + "Z")
    with pytest.raises(
        UserError, match=rf"^{column} of .*{file}.csv \('.*Z'\) states a zone, and .* none; it is unknown"
    ):
        read()
    for other, name in {**COLUMNS, "cohort ": "intime"}.items():
        respell(tmp_path / f"{other.strip()}.csv", name, lambda time: time.removesuffix("Z") + "Z")
    assert read() == expected


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


def respell(path: Path, column: str, change: Callable[[str], str]) -> None:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    write(path, [{**row, column: change(row[column])} for row in rows])


@pytest.mark.parametrize("file", ["dynamic.csv", "static.csv", "label.csv"])
@pytest.mark.parametrize("spelt", ["{}.0", " {} ", "{}.00"])
def test_ids_are_read_one_way_in_all_tables(tmp_path: Path, file: str, spelt: str) -> None:
    generate(tmp_path, patients=4)
    for name in ("dynamic.csv", "static.csv", "label.csv"):
        respell(tmp_path / name, "patient_id", lambda patient: patient.removeprefix("P"))
    expected = measured(source(tmp_path), tmp_path), source(tmp_path).stays().table.rows()
    respell(tmp_path / file, "patient_id", spelt.format)
    assert (measured(source(tmp_path), tmp_path), source(tmp_path).stays().table.rows()) == expected
    assert source(tmp_path).records("labels")["patient_id"].to_list() == ["1", "2", "3", "4"]


@pytest.mark.parametrize("file", ["dynamic.csv", "static.csv", "label.csv", "notes.csv"])
@pytest.mark.parametrize("with_cohort", [True, False])
def test_ids_that_differ_by_leading_zeros_are_never_joined_nor_lost_in_silence(
    tmp_path: Path, file: str, with_cohort: bool
) -> None:
    generate(tmp_path, patients=4)
    times = {"window_start": "2150-01-01", "window_end": "2150-01-20"}
    write(tmp_path / "cohort.csv", [{"patient_id": f"P{n}", "subject_id": f"S{n}", **times} for n in range(1, 5)])
    notes = [{"patient_id": f"P{n}", "note_time": "2150-01-03", "note_type": "n", "text": "x"} for n in range(1, 5)]
    write(tmp_path / "notes.csv", notes)
    for name in ("dynamic.csv", "static.csv", "label.csv", "cohort.csv", "notes.csv"):
        respell(tmp_path / name, "patient_id", lambda patient: patient.replace("P", "10"))
    if not with_cohort:
        (tmp_path / "cohort.csv").unlink()
    source(tmp_path).stays()
    respell(tmp_path / file, "patient_id", lambda patient: f"00{patient}")
    with pytest.raises(
        UserError, match=r"patient_id '0*101' is not in .*, which has '0*101'; write ids one way"
    ) as caught:
        source(tmp_path).stays()
    assert "\n" not in str(caught.value)


def test_rows_of_patients_that_nobody_knows_are_counted_and_told(tmp_path: Path) -> None:
    rows = generate(tmp_path, patients=4)
    times = {"window_start": "2150-01-01", "window_end": "2150-01-20"}
    write(tmp_path / "cohort.csv", [{"patient_id": f"P{n}", "subject_id": f"S{n}", **times} for n in (1, 2)])
    write(tmp_path / "notes.csv", [{"patient_id": "P9", "note_time": "", "note_type": "n", "text": "x"}])
    found = source(tmp_path).stays()
    strangers = sum(row["patient_id"] in ("P3", "P4") for row in rows)
    known = "of patients that are not in cohort.csv"
    assert found.counts == {
        f"rows of dynamic.csv {known}": strangers,
        f"rows of static.csv {known}": 2,
        f"rows of label.csv {known}": 2,
        f"rows of notes.csv {known}": 1,
    }
    told = f"dynamic.csv: left out: {strangers} rows of 2 patients who are not in cohort.csv, first: 'P3'"
    assert told in found.warnings


NAMED = "{} row 2: {} '{}' is empty or a word for nothing"


@pytest.mark.parametrize("word", ["NA", "n/a", "NULL", "nan", "None", "<NA>", "unknown"])
@pytest.mark.parametrize(
    ("file", "column"),
    [
        ("dynamic.csv", "patient_id"),
        ("static.csv", "patient_id"),
        ("label.csv", "patient_id"),
        ("cohort.csv", "subject_id"),
    ],
)
def test_a_word_for_nothing_is_no_id(tmp_path: Path, word: str, file: str, column: str) -> None:
    generate(tmp_path, patients=2, hours=2)
    write(tmp_path / "cohort.csv", [{"patient_id": f"P{n}", "subject_id": f"S{n}"} for n in (1, 2)])
    respell(tmp_path / file, column, lambda _: word)
    with pytest.raises(UserError, match=re.escape(NAMED.format(file, column, word))):
        source(tmp_path).stays()


def test_blank_rows_at_the_end_are_passed_over_and_counted(tmp_path: Path) -> None:
    rows = generate(tmp_path, patients=2, hours=2)
    write(tmp_path / "cohort.csv", [{"patient_id": f"P{n}", "subject_id": f"S{n}"} for n in (1, 2)])
    before = source(tmp_path).stays().table
    names = ("dynamic.csv", "static.csv", "label.csv", "cohort.csv")
    for name in names:
        commas = "," * (tmp_path / name).read_text().splitlines()[0].count(",")
        (tmp_path / name).write_text((tmp_path / name).read_text() + f"{commas}\n{commas}\n")
    found = source(tmp_path).stays()
    assert found.table.equals(before) and found.counts == {f"blank rows of {name}": 2 for name in names[:3]}
    assert len(source(tmp_path).records("labels")) == 2 and len(measured(source(tmp_path), tmp_path)) > len(rows) / 2


@pytest.mark.parametrize("file", ["dynamic.csv", "static.csv", "label.csv"])
def test_lines_that_end_with_a_carriage_return_alone_are_refused_plainly(tmp_path: Path, file: str) -> None:
    generate(tmp_path, patients=2, hours=2)
    (tmp_path / file).write_bytes((tmp_path / file).read_bytes().replace(b"\r\n", b"\r"))
    with pytest.raises(UserError, match=rf"{file}: its lines end with a carriage return alone") as caught:
        source(tmp_path).stays()
    assert "\n" not in str(caught.value) and "\r" not in str(caught.value)


def test_a_bound_with_a_comma_between_digits_is_no_number_as_it_is_without_the_bound(tmp_path: Path) -> None:
    generate(tmp_path, patients=1)
    write(tmp_path / "dynamic.csv", coded("crp", [">48,295", "48,29", "> 5 mg/dL, hemolysed", *["7"] * 60]))
    found, counts = measured_and_counted(source(tmp_path), tmp_path)
    # a bound in a unit of its own is none either: in which unit the other values are, nobody says
    assert {row[3] for row in found} == {7} and counts["no number"] == 3
    assert "bounds such as >600, taken as the value" not in counts


def test_an_age_in_a_word_for_nothing_is_unknown(tmp_path: Path) -> None:
    generate(tmp_path, patients=3, hours=2)
    ages = {"P1": "NA", "P2": "unknown", "P3": "61"}
    write(tmp_path / "static.csv", [{"patient_id": patient, "age": age, "sex": "F"} for patient, age in ages.items()])
    table = source(tmp_path).stays().table
    assert dict(table.select("stay_id", "age").rows()) == {"P1": None, "P2": None, "P3": 61}


def test_sex_and_gender_complete_each_other_and_a_contradiction_is_unknown(tmp_path: Path) -> None:
    generate(tmp_path, patients=6, hours=2)
    pairs = {
        "P1": ("", "F"),
        "P2": ("NA", "male"),
        "P3": ("M", ""),
        "P4": ("F", "female"),
        "P5": ("F", "M"),
        "P6": ("", ""),
    }
    rows = [{"patient_id": patient, "sex": sex, "gender": gender} for patient, (sex, gender) in pairs.items()]
    write(tmp_path / "static.csv", rows)
    found = source(tmp_path).stays()
    assert found.table.sort("stay_id")["sex"].to_list() == ["F", "M", "M", "F", None, None]
    assert "static.csv: sex and gender of 1 patients contradict each other, and count as unknown" in found.warnings


def test_words_that_may_be_nothing_are_words_among_words_and_none_among_numbers(tmp_path: Path) -> None:
    generate(tmp_path, patients=1)
    rows = coded("pain", ["none", "severe", "bad", "none"]) + coded("smokes", ["yes", "Unknown", "no"])
    rows += coded("crp", ["3", "none", "missing", "Unknown", "4", "None"]) + coded("empty", ["none", "None", "unknown"])
    write(tmp_path / "dynamic.csv", rows)
    tables = source(tmp_path)
    names = ["crp", "pain=bad", "pain=none", "pain=severe", "smokes=Unknown", "smokes=no", "smokes=yes"]
    assert [signal.name for signal in tables.signals()] == names
    assert any("left out: 1 code (3 rows) with no value: empty" in one for one in tables.stays().warnings)
    found, counts = measured_and_counted(tables, tmp_path)
    assert [row[3] for row in found if row[2] == "pain=none"] == [1, 0, 0, 1]
    assert [row[3] for row in found if row[2] == "crp"] == [3, 4] and counts["no number"] == 4


def test_one_person_in_two_cases_is_one_person(tmp_path: Path) -> None:
    generate(tmp_path, patients=3, hours=2)
    names = {"P1": "Ann1", "P2": "ANN1", "P3": "Bob"}
    write(tmp_path / "cohort.csv", [{"patient_id": one, "subject_id": name} for one, name in names.items()])
    found = source(tmp_path).stays()
    assert found.table.sort("stay_id")["subject_id"].to_list() == ["ANN1", "ANN1", "Bob"]
    assert any("'Ann1' and 'ANN1' are taken as one person" in warning for warning in found.warnings)


def test_one_person_under_two_spellings_is_one_person(tmp_path: Path) -> None:
    generate(tmp_path, patients=3)
    names = {"P1": "0123", "P2": "123", "P3": "7"}
    for name in ("dynamic.csv", "static.csv", "label.csv"):
        respell(tmp_path / name, "patient_id", names.__getitem__)
    found = source(tmp_path).stays()
    assert dict(found.table.select("stay_id", "subject_id").rows()) == {"0123": "123", "123": "123", "7": "7"}
    assert any("'0123' and '123' are taken as one person" in warning for warning in found.warnings)


def test_sexes_in_words_or_lower_case_are_read(tmp_path: Path) -> None:
    generate(tmp_path, patients=4)
    words = iter(["female", "M", "f", "Male"])
    respell(tmp_path / "static.csv", "sex", lambda _: next(words))
    assert source(tmp_path).stays().table.sort("stay_id")["sex"].to_list() == ["F", "M", "F", "M"]


@pytest.mark.parametrize("name", ["notes.csv.gz", "static.csv.gz", "Label.csv", "cohort.CSV"])
def test_a_table_under_another_name_is_not_passed_over(tmp_path: Path, name: str) -> None:
    generate(tmp_path, patients=2)
    plain = tmp_path / name.lower().removesuffix(".gz")
    plain.unlink(missing_ok=True)
    text = b"patient_id\nP1\n"
    (tmp_path / name).write_bytes(gzip.compress(text, compresslevel=1) if name.endswith(".gz") else text)
    with pytest.raises(UserError, match=rf"{name}: must be {plain.name}; unzip or rename it"):
        source(tmp_path).inputs()


def test_values_become_those_in_the_unit_that_the_config_gives_their_code(tmp_path: Path) -> None:
    time = "2150-03-02 10:00:00"
    codes = {
        "glucose": [("5", "mmol/L"), ("90.078", "MG/DL"), ("7", ""), ("<18.0156", "mg/dL"), ("< 4 mmol/L", "mmol/L")],
        "temp": [("98.6", "°F"), ("36.5", "C")],
        "fio2": [("40", "%"), ("0.5", "fraction")],
        "own": [("1", "dogs"), ("2", "Dogs")],
        "other": [("3", "g"), ("4", "mg")],
    }
    rows = [
        {"patient_id": f"P{n}", "event_time": time, "code": code, "value": value, "uom": unit}
        for code, values in codes.items()
        for n, (value, unit) in enumerate(values)
    ]
    write(tmp_path / "dynamic.csv", rows)
    write(tmp_path / "static.csv", [{"patient_id": f"P{n}"} for n in range(5)])
    units = {"glucose": "mmol/L", "temp": "degC", "fio2": "fraction", "own": "dogs"}
    tables = build(Options(units=units), raw_dir=tmp_path, kg_dir=tmp_path, seed=0)
    found, counts = measured_and_counted(tables, tmp_path)
    values = {(code, patient): value for patient, _, code, value in found}
    assert [values["glucose", f"P{n}"] for n in range(5)] == pytest.approx([5, 5, 7, 1, 4], rel=1e-4)
    assert [values[pair] for pair in (("temp", "P0"), ("fio2", "P0"), ("fio2", "P1"))] == pytest.approx([37, 0.4, 0.5])
    assert [values[pair] for pair in (("own", "P1"), ("other", "P0"), ("other", "P1"))] == [2, 3, 4]
    flow = [count for reason, count in counts.items() if "converted from the unit that the row states" in reason]
    (told,) = [warning for warning in tables.stays().warnings if "units" in warning]
    assert "'uom' says several units of 1 code: other (g, mg); their values are taken as they are" in told
    for code, unit, expected in (
        ("glucose", "mg/g", "uom 'mg/g' of glucose is not converted to 'mmol/L' (source.units); units that are"),
        ("own", "cats", "uom 'cats' of own is not converted to 'dogs' (source.units); convert"),
    ):
        write(tmp_path / "dynamic.csv", [*rows, {**rows[0], "code": code, "uom": unit}])
        with pytest.raises(UserError, match=re.escape(f"dynamic.csv row {len(rows) + 2}: {expected}")):
            tables = build(Options(units=units), raw_dir=tmp_path, kg_dir=tmp_path, seed=0)
            tables.stays()
    assert flow == [4]


@pytest.mark.parametrize(
    ("units", "told"),
    [(("mg/dL", "umol/L"), "several units of 1 code: glucose (mg/dL, umol/L)"), (("mg/dL", "MG/DL"), "")],
)
def test_a_column_of_units_is_not_passed_over_in_silence(tmp_path: Path, units: tuple[str, str], told: str) -> None:
    rows = generate(tmp_path, patients=4)
    of_glucose = {id(row): n for n, row in enumerate(row for row in rows if row["code"] == "glucose")}
    with_unit = [{**row, "Unit": units[of_glucose[id(row)] % 2] if id(row) in of_glucose else ""} for row in rows]
    write(tmp_path / "dynamic.csv", with_unit)
    warnings = [warning for warning in source(tmp_path).stays().warnings if "units" in warning]
    assert len(warnings) == bool(told) and all(
        told in warning and "taken as they are" in warning for warning in warnings
    )
