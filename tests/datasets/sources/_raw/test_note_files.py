"""Notes from a user's own CSVs: columns found, windows kept, ids checked."""

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from emerge_ehr.datasets.sources._mimic.options import NOTE_IDS
from emerge_ehr.datasets.sources._raw.note_files import NoteFiles, read_notes
from emerge_ehr.fields import UserError

COHORT = pl.DataFrame(
    {
        "patient_id": ["30", "31"],
        "subject_id": ["1", "1"],
        "hadm_id": ["20", "21"],
        "stay_id": ["30", "31"],
        "admittime": [datetime(2150, 1, 1), datetime(2150, 6, 1)],
        "window_end": [datetime(2150, 1, 3), datetime(2150, 6, 3)],
    }
)


def write(tmp_path: Path, text: str, name: str = "notes.csv") -> tuple[Path, ...]:
    path = tmp_path / name
    path.write_text(text)
    return (path,)


def test_late_notes_and_discharge_summaries_are_excluded_and_counted(tmp_path: Path) -> None:
    paths = write(
        tmp_path,
        "hadm_id,note_type,charttime,text\n20,RR,2150-01-02 10:00:00,kept\n20,RR,2150-01-03 00:00:00,late\n"
        '20,DS,2150-01-02 11:00:00,discharge\n21,RR,2150-06-01 01:00:00,"two\nlines"\n99,RR,2150-06-01 01:00:00,stranger\n',
    )
    extract = read_notes(NoteFiles(paths, NOTE_IDS), COHORT)
    assert extract.table.select("patient_id", "text").rows() == [("30", "kept"), ("31", "two\nlines")]
    assert extract.counts["discharge summaries excluded"] == 1
    assert extract.counts["notes after the window excluded"] == 1
    assert extract.warnings == ()


def test_notes_by_person_go_to_the_admission_they_were_written_in(tmp_path: Path) -> None:
    paths = write(tmp_path, "subject_id,charttime,text\n1,2150-01-01 05:00:00,first\n1,2150-06-02 05:00:00,second\n")
    assert read_notes(NoteFiles(paths, NOTE_IDS), COHORT).table.select("patient_id", "text").rows() == [
        ("30", "first"),
        ("31", "second"),
    ]


def test_a_bare_date_counts_as_the_end_of_its_day(tmp_path: Path) -> None:
    cohort = COHORT.with_columns(pl.lit(datetime(2150, 1, 2, 12)).alias("window_end"))
    paths = write(tmp_path, "hadm_id,chartdate,text\n20,2150-01-01,day before\n20,2150-01-02,same day\n")
    assert read_notes(NoteFiles(paths, NOTE_IDS), cohort).table["text"].to_list() == ["day before"]


def test_notes_without_a_time_are_kept_with_a_warning(tmp_path: Path) -> None:
    extract = read_notes(NoteFiles(write(tmp_path, "HADM_ID,TEXT\n20,hello\n"), NOTE_IDS), COHORT)
    assert extract.table["text"].to_list() == ["hello"] and "carry no time" in extract.warnings[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hadm_id,body\n20,x\n", "no column text or note_text or note"),
        ("visit,text\n20,x\n", "no column stay_id or icustay_id or hadm_id"),
        ("hadm_id,text\n77,x\n", "none of its 1 notes matches"),
        ("subject_id,text\n1,x\n", "need a time column"),
    ],
)
def test_notes_that_cannot_be_used_say_why(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        read_notes(NoteFiles(write(tmp_path, text), NOTE_IDS), COHORT)


def test_a_note_saved_after_the_window_is_late_however_early_its_chart_time(tmp_path: Path) -> None:
    paths = write(
        tmp_path,
        "hadm_id,charttime,storetime,text\n20,2150-01-02 10:00:00,2150-01-03 09:00:00,signed late\n"
        "20,2150-01-02 10:00:00,2150-01-02 11:00:00,kept\n20,2150-01-02 12:00:00,,never signed\n",
    )
    found = read_notes(NoteFiles(paths, NOTE_IDS), COHORT)
    assert found.table["text"].to_list() == ["kept", "never signed"]
    assert found.table["note_time"][0] == datetime(2150, 1, 2, 11)
    chosen = read_notes(NoteFiles(paths, NOTE_IDS, time_column="charttime"), COHORT)
    assert "signed late" in chosen.table["text"].to_list()


def test_notes_of_an_admission_count_by_its_id_where_samples_are_admissions(tmp_path: Path) -> None:
    paths = write(tmp_path, "stay_id,hadm_id,charttime,text\n39,20,2150-01-02 10:00:00,of another stay\n")
    admissions = COHORT.with_columns(pl.col("hadm_id").alias("patient_id"))
    assert read_notes(NoteFiles(paths, NOTE_IDS), admissions).table.select("patient_id", "text").rows() == [
        ("20", "of another stay")
    ]
    with pytest.raises(UserError, match="none of its 1 notes"):
        read_notes(NoteFiles(paths, NOTE_IDS), COHORT)


@pytest.mark.parametrize(("column", "value"), [("encounter", "30"), ("visit", "20"), ("mrn", "1")])
def test_a_file_may_call_its_ids_what_its_source_says(tmp_path: Path, column: str, value: str) -> None:
    ids = {"encounter": "stay_id", "visit": "hadm_id", "mrn": "subject_id"}
    paths = write(tmp_path, f"{column.upper()},note_time,text\n{value},2150-01-02 10:00:00,hello\n")
    assert read_notes(NoteFiles(paths, ids), COHORT).table.select("patient_id", "text").rows() == [("30", "hello")]


def test_a_note_without_the_id_of_a_stay_is_placed_by_the_sources_own_name_of_a_person(tmp_path: Path) -> None:
    paths = write(tmp_path, "encounter,mrn,note_time,text\n,1,2150-01-02 10:00:00,hello\n")
    found = read_notes(NoteFiles(paths, {"encounter": "stay_id", "mrn": "subject_id"}), COHORT)
    assert found.table.select("patient_id", "text").rows() == [("30", "hello")]
    assert found.counts["notes matched by person and time"] == 1
