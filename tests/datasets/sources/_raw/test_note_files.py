"""Notes from a user's own CSVs: columns found, windows kept, ids checked."""

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from emerge_ehr.datasets.sources import Notes
from emerge_ehr.datasets.sources._mimic.options import NOTE_IDS
from emerge_ehr.datasets.sources._raw.note_files import read_notes
from emerge_ehr.datasets.sources._raw.note_layout import NoteFiles
from emerge_ehr.fields import UserError

COHORT = pl.DataFrame(
    {
        "patient_id": ["30", "31"],
        "subject_id": ["1", "1"],
        "hadm_id": ["20", "21"],
        "stay_id": ["30", "31"],
        "admittime": [datetime(2150, 1, 1), datetime(2150, 6, 1)],
        "window_start": [datetime(2150, 1, 1), datetime(2150, 6, 1)],
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
    assert extract.table["text"].to_list() == ["hello"] and "carries no time" in extract.warnings[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hadm_id,body\n20,x\n", "no column text or note_text or note"),
        ("visit,text\n20,x\n", "no column stay_id or icustay_id or hadm_id"),
        ("hadm_id,text\n77,x\n", "none of its 1 note matches"),
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


def test_two_times_of_a_note_that_go_by_two_clocks_are_refused(tmp_path: Path) -> None:
    paths = write(tmp_path, "hadm_id,charttime,storetime,text\n20,2150-01-02 10:00:00,2150-01-02 09:00:00Z,x\n")
    with pytest.raises(
        UserError, match=r"storetime of .* \('2150-01-02 09:00:00Z'\) states a zone, and charttime of .* none"
    ):
        read_notes(NoteFiles(paths, NOTE_IDS), COHORT)


def test_notes_of_an_admission_count_by_its_id_where_samples_are_admissions(tmp_path: Path) -> None:
    paths = write(tmp_path, "stay_id,hadm_id,charttime,text\n39,20,2150-01-02 10:00:00,of another stay\n")
    admissions = COHORT.with_columns(pl.col("hadm_id").alias("patient_id"))
    assert read_notes(NoteFiles(paths, NOTE_IDS), admissions).table.select("patient_id", "text").rows() == [
        ("20", "of another stay")
    ]
    with pytest.raises(UserError, match="none of its 1 note"):
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


def counted(tmp_path: Path, text: str, **options: bool) -> Notes:
    return read_notes(NoteFiles(write(tmp_path, text), NOTE_IDS, **options), COHORT)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "kind",
    [
        "DS",
        "AD",
        "ad",
        "Discharge summary",
        "discharge",
        "Physician discharge summary",
        "D/C Summary",
        "DC summary",
        "Death note",
        "hospital_discharge_summary",
        "predischarge",
        "Deceased Note",
        "Post-mortem",
        "Mortality review",
        "dschrg summ",
        "Hospital Course",
        "Expired patient note",
        "brief_dc_summary",
    ],
)
def test_a_discharge_summary_and_its_addendum_are_left_out_by_any_of_their_names(tmp_path: Path, kind: str) -> None:
    text = f"hadm_id,note_type,charttime,text\n20,{kind},2150-01-02 10:00:00,end\n20,Nursing,2150-01-02 10:00:00,kept\n"
    found = counted(tmp_path, text)
    assert found.table["text"].to_list() == ["kept"] and found.counts["discharge summaries excluded"] == 1
    assert len(counted(tmp_path, text, include_discharge_summaries=True).table) == 2


def test_notes_of_long_before_the_admission_are_left_out_and_told(tmp_path: Path) -> None:
    times = ["2149-01-02 10:00:00", "1800-01-01", "2149-12-30 23:00:00", "2149-12-31 01:00:00", "2150-01-01 01:00:00"]
    rows = "".join(f"20,{time},note {n}\n" for n, time in enumerate(times))
    found = counted(tmp_path, f"hadm_id,charttime,text\n{rows}")
    assert found.table["text"].to_list() == ["note 3", "note 4"]
    assert found.counts["notes before the admission excluded"] == 3
    assert "3 of 5 notes are left out: they are dated more than 24 h before the admission" in found.warnings[0]
    late = counted(tmp_path, f"hadm_id,charttime,text\n{rows}", after_window=True)
    assert late.counts["notes before the admission excluded"] == 3


@pytest.mark.parametrize("ids", ["hadm_id,subject_id", "stay_id,subject_id", "stay_id,hadm_id"])
def test_a_note_whose_ids_are_of_two_persons_or_admissions_is_left_out_and_told(tmp_path: Path, ids: str) -> None:
    right = {"hadm_id,subject_id": "20,1", "stay_id,subject_id": "30,1", "stay_id,hadm_id": "30,20"}[ids]
    wrong = f"{right.split(',')[0]},2"
    text = f"{ids},charttime,text\n{right},2150-01-02 10:00:00,right\n{wrong},2150-01-02 10:00:00,another's\n"
    found = counted(tmp_path, text)
    assert found.table["text"].to_list() == ["right"]
    assert found.counts["notes whose ids are of different persons or admissions, left out"] == 1
    assert "1 note is left out, since their ids are of different persons" in found.warnings[0]


def test_every_note_that_is_read_is_kept_or_counted_under_a_reason(tmp_path: Path) -> None:
    rows = [
        "20,1,RR,2150-01-02 10:00:00,kept",
        "20,1,RR,2150-01-02 10:00:00,kept",  # twice
        "20,1,RR,2150-01-02 10:00:00,",
        "20,1,DS,2150-01-02 10:00:00,discharge",
        "20,2,RR,2150-01-02 10:00:00,another's",
        "20,1,RR,2150-01-03 10:00:00,late",
        "20,1,RR,2149-01-03 10:00:00,early",
        "99,9,RR,2150-01-02 10:00:00,nobody's",
        "98,1,RR,2150-01-02 10:00:00,of another admission",
        ",1,RR,2150-01-02 10:00:00,by time",
        ",1,RR,2150-04-02 10:00:00,between the admissions",
        ",7,RR,2150-01-02 10:00:00,of another person",
    ]
    known = pl.DataFrame({"subject_id": ["1", "1", "1", "7"], "hadm_id": ["20", "21", "98", "70"]})
    paths = write(tmp_path, "hadm_id,subject_id,note_type,charttime,text\n" + "\n".join(rows) + "\n")
    found = read_notes(NoteFiles(paths, NOTE_IDS), COHORT, known)
    assert found.table["text"].to_list() == ["by time", "kept"]
    reasons = {
        "notes without text": 1,
        "notes of persons or admissions outside the cohort": 3,
        "notes whose ids are of different persons or admissions, left out": 1,
        "notes of the cohort's persons outside their admissions": 1,
        "discharge summaries excluded": 1,
        "notes before the admission excluded": 1,
        "notes after the window excluded": 1,
        "notes that stand twice, the second left out": 1,
    }
    assert {reason: found.counts[reason] for reason in reasons} == reasons
    assert sum(reasons.values()) + len(found.table) == found.counts["notes read"] == len(rows)
    assert found.counts["notes of an unknown hadm_id"] == 1
    assert any("1 of 12 notes have an id that no admission has" in warning for warning in found.warnings)
    assert any("1 of 3 notes are left out: they stand twice" in warning for warning in found.warnings)


@pytest.mark.parametrize("value", ["20", "20.0", " 20 ", "0020"])
def test_the_id_of_a_note_may_be_written_in_any_usual_way(tmp_path: Path, value: str) -> None:
    assert counted(tmp_path, f"hadm_id,charttime,text\n{value},2150-01-02T10:00Z,x\n").table[
        "patient_id"
    ].to_list() == ["30"]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("admission_id,text", "20,x"),
        ("patient_id,text", "30,x"),  # the sample, as in notes.csv that convert writes
        ("patient_id,note_time,note_type,text", "30,2150-01-01 05:00:00,RR,x"),
        ("patient_id,charttime,text", "1,2150-01-01 05:00:00,x"),  # the person
        ("patient_id,admission_id,charttime,text", "1,20,2150-01-01 05:00:00,x"),
        ("patient_id,admission_id,charttime,text", "1,,2150-01-01 05:00:00,x"),
    ],
)
def test_a_file_may_call_its_ids_patient_and_admission(tmp_path: Path, header: str, row: str) -> None:
    assert counted(tmp_path, f"{header}\n{row}\n").table.select("patient_id", "text").rows() == [("30", "x")]


def test_a_person_without_a_time_column_is_refused_whatever_the_column_is_called(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"notes with only patient_id need a time column .* any of the person's admissions"
    ):
        counted(tmp_path, "patient_id,text\n1,x\n")


def test_a_long_last_note_needs_no_line_end(tmp_path: Path) -> None:
    text = "A long note, with commas. " * 8000
    found = counted(tmp_path, f'hadm_id,charttime,text\n20,2150-01-01 05:00:00,short\n20,2150-01-02 10:00:00,"{text}"')
    assert found.table["text"].to_list() == ["short", text]


@pytest.mark.parametrize(
    "kind", ["Nursing", "Physician ", "General", "Respiratory", "Case Management", "RR", "Inspiratory film"]
)
def test_notes_of_other_kinds_stay(tmp_path: Path, kind: str) -> None:
    text = f"hadm_id,note_type,charttime,text\n20,{kind},2150-01-02 10:00:00,kept\n"
    assert counted(tmp_path, text).table["text"].to_list() == ["kept"]


def test_without_a_column_of_types_the_notes_own_ids_tell_them(tmp_path: Path) -> None:
    rows = "".join(f"1-{kind}-2{n},20,2150-01-02 10:00:00,{kind}\n" for n, kind in enumerate(("DS", "RR", "AD")))
    found = counted(tmp_path, f"note_id,hadm_id,charttime,text\n{rows}x,20,2150-01-02 10:00:00,other\n")
    assert found.table.select("note_type", "text").rows() == [("RR", "RR"), ("note", "other")]
    assert found.counts["discharge summaries excluded"] == 2


def test_a_note_of_long_before_is_early_whenever_it_was_stored(tmp_path: Path) -> None:
    rows = "20,1800-01-01,2150-01-02 10:00:00,old\n20,2150-01-01 09:00:00,2150-01-02 10:00:00,right\n"
    found = counted(tmp_path, f"hadm_id,charttime,storetime,text\n{rows}")
    assert found.table["text"].to_list() == ["right"] and found.counts["notes before the admission excluded"] == 1


@pytest.mark.parametrize("word", ["nan", "None", "NULL", "<NA>", "NaT", "NA", "", " "])
def test_a_word_for_no_id_is_none_and_the_note_is_placed_by_person_and_time(tmp_path: Path, word: str) -> None:
    found = counted(tmp_path, f"hadm_id,subject_id,charttime,text\n{word},1,2150-06-02 10:00:00,x\n")
    assert found.table.select("patient_id", "text").rows() == [("31", "x")] and not found.warnings


@pytest.mark.parametrize("blank", ["", "NA"])
def test_a_note_without_a_stays_id_is_placed_by_its_admissions(tmp_path: Path, blank: str) -> None:
    rows = f"30,20,2150-01-02 10:00:00,by stay\n{blank},21,2150-06-02 10:00:00,by admission\n{blank},99,2150-06-02 10:00:00,x\n"
    found = counted(tmp_path, f"stay_id,hadm_id,charttime,text\n{rows}")
    assert found.table.select("patient_id", "text").rows() == [("30", "by stay"), ("31", "by admission")]
    assert found.counts["notes of persons or admissions outside the cohort"] == 1


@pytest.mark.parametrize("more", [["30,{}", "31,{}"], ["1,{}", "1,{}"]])
def test_stays_and_persons_in_one_column_are_both_read_and_told(tmp_path: Path, more: list[str]) -> None:
    cohort = COHORT.with_columns(pl.Series("subject_id", ["1", "2"]))
    rows = [
        row.format("2150-01-01 05:00:00,other") for row in (more if more[0][0] == "3" else ["1,{}", "2,{}", "1,{}"])
    ]
    rows.append(("1,{}" if more[0][0] == "3" else "30,{}").format("2150-01-02 05:00:00,of the minority"))
    paths = write(tmp_path, "patient_id,charttime,text\n" + "\n".join(rows) + "\n")
    found = read_notes(NoteFiles(paths, NOTE_IDS), cohort)
    assert ("30", "of the minority") in found.table.select("patient_id", "text").rows()
    assert any("1 of" in warning and "matched by person and time" in warning for warning in found.warnings)
