"""Source omop: the same tables as from MIMIC-IV's own files, in every form, and what a hospital's own tables may hold."""

import csv
import dataclasses
import json
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from emerge_ehr.config import Cohort, Config, Paths
from emerge_ehr.datasets import sources
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.datasets.sources.omop.concepts import published
from emerge_ehr.datasets.sources.synthetic import Options as Generated
from emerge_ehr.datasets.sources.synthetic.generate import generate
from emerge_ehr.fields import Component, UserError
from emerge_ehr.signals import codes
from emerge_ehr.storage import schema
from tests import omop_of_mimic4

TASKS = ("mortality", "readmission", "los", "phenotyping")
Row = Mapping[str, object]


def config(folder: Path, source: Component, raw: Path, task: str = "mortality") -> Config:
    paths = Paths(raw_dir=raw, kg_dir=folder / "kg", table_dir=folder / f"{source.name} {task}")
    return Config(dataset="d", run_name="r", seed=0, paths=paths, source=source, task=Component(task))


def converted(made: Config) -> dict[str, pl.DataFrame]:
    convert.run(made)
    return {table.file: pl.read_csv(made.table_dir / table.file, infer_schema=False) for table in schema.TABLES}


def record(made: Config) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((made.table_dir / schema.PROVENANCE).read_text())
    return told


# --- compared with MIMIC-IV's own files


@pytest.fixture(scope="module")
def mimic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mimic")
    generate(folder, Generated(stays=60), 3)
    return folder


def both(mimic: Path, folder: Path, task: str, form: str = "csv", **more: Any) -> list[dict[str, pl.DataFrame]]:
    """The tables by source mimic4, and by source omop, of one copy of MIMIC-IV."""
    raw = folder / "omop"
    if not raw.exists():
        omop_of_mimic4.write(mimic, raw, form, **more)
    notes = [str(path) for path in mimic.glob("note/*")]
    own = Component("mimic4", {"notes_file": notes} if notes else {})
    return [
        converted(config(folder, own, mimic, task)),
        converted(config(folder, Component("omop", omop_of_mimic4.OPTIONS), raw, task)),
    ]


def same(own: Mapping[str, pl.DataFrame], ours: Mapping[str, pl.DataFrame]) -> int:
    """Check that the tables of both are the same; returns in how many rows the ethnicity is not.

    The model has one race of a person, MIMIC one of each admission: the example takes the first.
    """
    for table in (schema.COHORT, schema.LABEL, schema.DYNAMIC):
        assert own[table.file].height and ours[table.file].equals(own[table.file]), table.file
    one, other = own[schema.STATIC.file], ours[schema.STATIC.file]
    assert other.drop("ethnicity").equals(one.drop("ethnicity"))
    return int((one["ethnicity"] != other["ethnicity"]).sum())


@pytest.mark.parametrize("task", TASKS)
def test_the_generated_hospital_gives_the_same_tables_as_from_its_own_files(
    mimic: Path, task: str, tmp_path: Path
) -> None:
    own, ours = both(mimic, tmp_path, task)
    same(own, ours)
    notes = own[schema.NOTES.file]
    assert notes.height and ours[schema.NOTES.file].equals(notes)


@pytest.mark.parametrize("form", omop_of_mimic4.FORMS)
@pytest.mark.parametrize("vocabulary", [True, False])
def test_every_form_of_the_tables_gives_the_same_with_and_without_the_vocabulary(
    mimic: Path, form: str, vocabulary: bool, tmp_path: Path
) -> None:
    own, ours = both(mimic, tmp_path, "mortality", form, vocabulary=vocabulary)
    same(own, ours)
    assert ours[schema.NOTES.file].equals(own[schema.NOTES.file])
    made = config(tmp_path, Component("omop", omop_of_mimic4.OPTIONS), tmp_path / "omop")
    told = record(made)
    assert told["notes"]["counts"]["notes read"] == omop_of_mimic4.tables(mimic)["note"].height
    assert {flow["table"] for flow in told["measurements"]["flow"]} == {"measurement"}


@pytest.mark.parametrize("task", TASKS)
def test_the_demo_gives_the_same_cohort_outcomes_and_values_as_from_its_own_files(
    demo_raw: Path, task: str, tmp_path: Path
) -> None:
    own, ours = both(demo_raw, tmp_path, task)
    assert same(own, ours) <= 1
    assert ours[schema.NOTES.file].is_empty()  # the demo has none, and source omop makes none of codes


def test_so_do_whole_admissions_of_the_demo(demo_raw: Path, tmp_path: Path) -> None:
    omop_of_mimic4.write(demo_raw, tmp_path / "omop", "parquet")
    rule = Cohort(anchor="hospital", window="whole", min_stay_hours=1)
    made = [config(tmp_path, Component("mimic4", {}), demo_raw)]
    made.append(config(tmp_path, Component("omop", omop_of_mimic4.OPTIONS), tmp_path / "omop"))
    same(*(converted(dataclasses.replace(one, cohort=rule)) for one in made))


# --- a small hospital: one person, one admission, one ICU stay

PERSON = {"person_id": 1, "gender_concept_id": 8532, "year_of_birth": 1950}
VISIT = {
    "visit_occurrence_id": 10,
    "person_id": 1,
    "visit_concept_id": 9201,
    "visit_start_date": "2020-03-01",
    "visit_start_datetime": "2020-03-01 08:00:00",
    "visit_end_date": "2020-03-09",
    "visit_end_datetime": "2020-03-09 12:00:00",
    "discharged_to_concept_id": 581476,
}
DETAIL = {
    "visit_detail_id": 100,
    "person_id": 1,
    "visit_detail_concept_id": 32037,
    "visit_detail_start_date": "2020-03-01",
    "visit_detail_start_datetime": "2020-03-01 10:00:00",
    "visit_detail_end_date": "2020-03-06",
    "visit_detail_end_datetime": "2020-03-06 10:00:00",
    "visit_occurrence_id": 10,
}
PULSE = {
    "person_id": 1,
    "measurement_concept_id": 3027018,
    "measurement_date": "2020-03-01",
    "measurement_datetime": "2020-03-01 11:30:00",
    "value_as_number": 80,
    "unit_concept_id": 8541,
    "visit_occurrence_id": 10,
}
EMPTY = {"death": ["person_id", "death_date"], "visit_detail": list(DETAIL)}


def hospital(raw_dir: Path, **tables: Sequence[Row]) -> Path:
    """Write a hospital; ``tables`` replace the usual ones."""
    raw_dir.mkdir(parents=True, exist_ok=True)
    usual: dict[str, Sequence[Row]] = {
        "person": [PERSON],
        "visit_occurrence": [VISIT],
        "visit_detail": [DETAIL],
        "measurement": [PULSE],
        "death": [],
    }
    for name, rows in {**usual, **tables}.items():
        columns = list(dict.fromkeys(column for row in rows for column in row)) or EMPTY[name]
        with (raw_dir / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
    return raw_dir


def small(folder: Path, options: Mapping[str, Any] | None = None, **tables: Sequence[Row]) -> Config:
    raw = hospital(folder / "raw", **tables)
    made = config(folder, Component("omop", dict(options or {})), raw)
    return dataclasses.replace(made, cohort=Cohort(min_stay_hours=1, min_age=0))


def stays(made: Config) -> pl.DataFrame:
    return sources.chosen(made).stays().table


def measured(folder: Path, *rows: Row, options: Mapping[str, Any] | None = None, **tables: Sequence[Row]) -> Any:
    """The measurements besides a heart rate of 80 (time, signal, value), and what the flow says of dropped and repaired rows."""
    death = {"death": [{"person_id": 99, "death_date": "2020-01-01"}]}
    made = small(folder, options, measurement=[PULSE, *rows], **{**death, **tables})
    table = converted(made)[schema.DYNAMIC.file]
    others = table.filter((pl.col("code") != "heart_rate") | (pl.col("value") != "80.0"))
    told = record(made)["measurements"]["flow"]
    return (
        [(time, code, float(value)) for time, code, value in others.select("event_time", "code", "value").rows()],
        {reason: count for flow in told for reason, count in flow["dropped"].items()},
        {reason: count for flow in told for reason, count in flow["repaired"].items()},
    )


def row(concept: int, value: float | None = None, **more: object) -> dict[str, object]:
    return {**PULSE, "measurement_concept_id": concept, "value_as_number": value, "unit_concept_id": 0, **more}


TIME = "2020-03-01 11:30:00"


@pytest.mark.parametrize(
    ("given", "code", "value"),
    [
        (row(3020891, 98.6, unit_concept_id=9289), "temperature", 37),
        (row(3020891, 98.6, unit_source_value="Deg. F"), "temperature", 37),
        (row(3025315, 176.37, unit_concept_id=8739), "weight", 80),
        (row(3036277, 70, unit_concept_id=9330), "height", 177.8),
        (row(3004501, 10, unit_concept_id=8753), "glucose", 180.156),
        (row(3020716, 40, unit_concept_id=8554), "fraction_inspired_oxygen", 0.4),
        (row(3020716, 0.4, unit_concept_id=8554), "fraction_inspired_oxygen", 0.4),
        (row(3020716, 40), "fraction_inspired_oxygen", 0.4),
        (row(3024171, 18), "respiratory_rate", 18),
        (row(3010421, 7.3), "ph", 7.3),
        (row(3008223, 5), "gcs_motor", 5),
        (row(3008223, value_as_concept_id=45880467), "gcs_motor", 5),
        (row(3009094, value_source_value="Inappropriate Words"), "gcs_verbal", 3),
        (row(3045676, 4, unit_concept_id=8555), "capillary_refill_rate", 1),
        (row(3045676, 2, unit_concept_id=8555), "capillary_refill_rate", 0),
        (row(3045676, 3, unit_concept_id=8555, operator_concept_id=4172704), "capillary_refill_rate", 1),
        (row(3045676, 3, unit_concept_id=8555, operator_concept_id=4171756), "capillary_refill_rate", 0),
        (row(3045676, value_as_concept_id=45878745), "capillary_refill_rate", 1),
        (row(3004501, value_source_value="GREATER THAN 500", unit_concept_id=8840), "glucose", 500),
    ],
)
def test_units_and_answers_become_those_of_the_signals(given: Row, code: str, value: float, tmp_path: Path) -> None:
    found, dropped, _ = measured(tmp_path, given)
    assert found == [(TIME, code, pytest.approx(value, abs=0.01))] and not dropped


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (row(3027018, 81, unit_concept_id=8876), "in a unit that the signal does not have"),
        (row(3025315, 80, unit_concept_id=4000000), "in a unit that the signal does not have"),
        (row(3025315, 80, unit_source_value="stone"), "in a unit that the signal does not have"),
        (row(3025315, 80), "without a unit, which the signal needs"),
        (row(3004501, 7), "without a unit, which the signal needs"),
        (row(3008223, value_as_concept_id=45877384), "no number"),  # an answer of another scale
        (row(3045676, 2, unit_concept_id=8555, operator_concept_id=4172704), "no number"),  # may be 2.5 s or 5 s
        (row(3024171, 18, visit_occurrence_id=11), "of another stay or admission in the window"),
    ],
)
def test_what_cannot_be_read_for_sure_is_left_out_and_counted_by_reason(
    given: Row, reason: str, tmp_path: Path
) -> None:
    found, dropped, _ = measured(tmp_path, given)
    assert found == [] and dropped == {reason: 1}


def test_rows_without_a_unit_are_in_the_one_that_the_options_name(tmp_path: Path) -> None:
    found, dropped, _ = measured(tmp_path, row(3004501, 10), options={"units": {"glucose": "mmol/L"}})
    assert found == [(TIME, "glucose", pytest.approx(180.156))] and not dropped


def test_the_standardised_number_counts_before_the_text_that_it_was_made_of(tmp_path: Path) -> None:
    found, dropped, _ = measured(tmp_path, row(3025315, 80, unit_concept_id=9529, value_source_value="176"))
    assert found == [(TIME, "weight", 80.0)] and not dropped


def test_a_bound_counts_as_that_value_and_is_told(tmp_path: Path) -> None:
    given = row(3004501, 600, unit_concept_id=8840, operator_concept_id=4172704)
    found, _, repaired = measured(tmp_path, given)
    assert found == [(TIME, "glucose", 600.0)] and repaired["bounds such as >600, taken as the value"] == 1


def test_pressures_of_an_arterial_line_count_before_others_and_those_before_a_cuffs(tmp_path: Path) -> None:
    mmhg = {"unit_concept_id": 8876}
    earlier = {"measurement_datetime": "2020-03-01 11:00:00", **mmhg}
    rows = [row(concept, value, **mmhg) for concept, value in ((21490853, 90), (3004249, 100), (21492239, 110))]
    found, _, _ = measured(tmp_path, *rows, *(row(c, v, **earlier) for c, v in ((3004249, 100), (21492239, 110))))
    assert [value for _, _, value in found] == [100, 90]


def test_scores_in_the_table_observation_are_read(tmp_path: Path) -> None:
    observed = {
        "person_id": 1,
        "observation_concept_id": 3016335,
        "observation_date": "2020-03-01",
        "observation_datetime": TIME,
        "value_as_string": "To Speech",
    }
    found, _, _ = measured(tmp_path, observation=[observed])
    assert found == [(TIME, "gcs_eye", 3.0)]


def test_a_measurement_with_a_date_only_counts_at_the_end_of_its_day(tmp_path: Path) -> None:
    found, _, repaired = measured(tmp_path, row(3024171, 18, measurement_datetime=None))
    assert found == [("2020-03-01 23:59:59", "respiratory_rate", 18.0)]
    assert repaired["dates without a time of day, taken as the end of the day"] == 1


def test_a_concept_whose_times_are_all_midnight_has_dates(tmp_path: Path) -> None:
    given = [row(3024171, 18, measurement_datetime=f"2020-03-0{day} 00:00:00", measurement_date="") for day in (1, 2)]
    found, _, _ = measured(tmp_path, *given)
    assert [time for time, _, _ in found] == ["2020-03-01 23:59:59", "2020-03-02 23:59:59"]
    told = record(config(tmp_path, Component("omop", {}), tmp_path / "raw"))["warnings"]
    assert any("2 of 3 measurements have a date and no time of day" in line for line in told)


def test_a_hospitals_own_concepts_are_read_as_the_options_say(tmp_path: Path) -> None:
    options = {"concepts": {"2000000001": "9279-1"}}
    found, _, _ = measured(tmp_path, row(2000000001, 18), options=options)
    assert found == [(TIME, "respiratory_rate", 18.0)]


def test_ids_are_looked_up_in_the_vocabulary_by_their_codes_and_what_it_says_counts(tmp_path: Path) -> None:
    concepts = [
        (7, "LOINC", "8328-7", "Axillary temperature"),
        (8, "UCUM", "K", "kelvin"),
        (9, "LOINC", "LA6563-6", "Extension to pain"),
        (3027018, "LOINC", "8867-4", "Heart rate"),
        (3024171, "LOINC", "12345-5", "not a respiratory rate"),
    ]
    names = ("concept_id", "vocabulary_id", "concept_code", "concept_name")
    rows = [dict(zip(names, concept, strict=True)) for concept in concepts]
    given = [row(7, 310.15, unit_concept_id=8), row(3008223, value_as_concept_id=9), row(3024171, 18)]
    found, _, _ = measured(tmp_path, *given, concept=rows)
    assert found == [(TIME, "gcs_motor", 2.0), (TIME, "temperature", pytest.approx(37))]


def test_a_published_unit_is_read_whatever_code_the_vocabulary_has_of_it(tmp_path: Path) -> None:
    names = ("concept_id", "vocabulary_id", "concept_code", "concept_name")
    units = [(8653, "UCUM", "C", "degree Celsius"), (8510, "UCUM", "U", "unit"), (8840, "UCUM", "mmol/L", "another")]
    rows = [dict(zip(names, unit, strict=True)) for unit in units]
    given = [row(3020891, 37, unit_concept_id=8653), row(3010421, 7.3, unit_concept_id=8510)]
    found, dropped, _ = measured(tmp_path, *given, row(3004501, 10, unit_concept_id=8840), concept=rows)
    assert [(code, round(value, 1)) for _, code, value in found] == [
        ("glucose", 180.2),
        ("ph", 7.3),
        ("temperature", 37),
    ]
    assert not dropped


def test_a_vocabulary_with_tabs_as_it_is_downloaded_is_read(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    lines = ["concept_id\tconcept_name\tvocabulary_id\tconcept_code", '7\tsome "quoted, name\tLOINC\t8328-7']
    (raw / "CONCEPT.csv").write_text("\n".join(lines) + "\n")
    found, _, _ = measured(tmp_path, row(7, 37, unit_concept_id=586323))
    assert found == [(TIME, "temperature", 37.0)]


# --- stays


def detail(number: int, start: str, end: str, **more: object) -> dict[str, object]:
    times = {"visit_detail_start_datetime": f"2020-03-{start}:00", "visit_detail_end_datetime": f"2020-03-{end}:00"}
    return {**DETAIL, "visit_detail_id": number, **times, **more}


def test_details_that_adjoin_are_one_stay_and_others_are_not(tmp_path: Path) -> None:
    ward = detail(104, "05 20:00", "06 01:00", visit_detail_concept_id=9201)
    rows = [
        detail(100, "01 10:00", "02 10:00"),
        detail(101, "02 10:01", "03 10:00"),
        detail(102, "03 12:00", "05 10:00"),
        ward,
    ]
    table = stays(small(tmp_path, visit_detail=rows))
    ends = table.select("stay_id", pl.col("outtime").cast(pl.String).str.slice(0, 13)).rows()
    assert ends == [("100", "2020-03-03 10"), ("102", "2020-03-05 10")] and set(table["hadm_id"]) == {"10"}


def test_a_detail_that_names_no_visit_is_of_the_admission_that_it_begins_in(tmp_path: Path) -> None:
    table = stays(small(tmp_path, visit_detail=[detail(100, "02 10:00", "03 10:00", visit_occurrence_id="")]))
    assert table.select("hadm_id", "stay_id").rows() == [("10", "100")]


def test_a_visit_may_itself_be_intensive_care(tmp_path: Path) -> None:
    table = stays(
        small(
            tmp_path,
            visit_occurrence=[{**VISIT, "visit_concept_id": 32037}],
            visit_detail=[detail(5, "02 10:00", "03 10:00", visit_detail_concept_id=9201)],
        )
    )
    assert table.select("hadm_id", "stay_id", pl.col("intime").dt.hour()).rows() == [("10", "10", 8)]


def test_without_intensive_care_admissions_are_the_stays_and_it_is_told(tmp_path: Path) -> None:
    ward = [detail(100, "02 10:00", "03 10:00", visit_detail_concept_id=9201)]
    made = small(tmp_path, visit_detail=ward)
    extract = sources.chosen(made).stays()
    assert extract.table.select("hadm_id", "stay_id", pl.col("outtime").dt.hour()).rows() == [("10", "10", 12)]
    assert any("every admission is a stay" in warning for warning in extract.warnings)
    with pytest.raises(UserError, match=r"source.icu = \[32037\]; set it to this hospital's"):
        stays(small(tmp_path, {"stays": "icu"}, visit_detail=ward))
    assert stays(small(tmp_path, {"stays": "admissions"}))["stay_id"].to_list() == ["10"]


def test_visits_that_are_no_admissions_are_none_and_another_hospitals_kinds_can_be_named(tmp_path: Path) -> None:
    visits = [
        VISIT,
        {**VISIT, "visit_occurrence_id": 11, "visit_concept_id": 9202, "visit_start_datetime": "2020-03-20 08:00:00"},
    ]
    made = small(tmp_path, visit_occurrence=visits)
    assert sources.chosen(made).records("admissions")["hadm_id"].to_list() == ["10"]
    with pytest.raises(UserError, match=r"none of 2 visits has a concept of source.admissions = \[7\]"):
        stays(small(tmp_path, {"admissions": [7]}, visit_occurrence=visits, visit_detail=[]))


def test_an_admission_is_planned_if_its_kind_is_one_of_those_that_the_options_name(tmp_path: Path) -> None:
    made = small(
        tmp_path, {"planned": [2000001804]}, visit_occurrence=[{**VISIT, "visit_source_concept_id": 2000001804}]
    )
    assert sources.chosen(made).records("admissions")["planned"].to_list() == [True]


DIED, HOME, SILENT = {"discharged_to_concept_id": 4216643}, {}, {"discharged_to_concept_id": 0}


@pytest.mark.parametrize(
    ("visit", "death", "died"),
    [
        (HOME, ("", ""), 0),
        (HOME, ("2020-03-09", ""), 0),  # on the day of discharge, perhaps elsewhere
        (HOME, ("2020-03-30", ""), 0),
        (HOME, ("2020-03-05", ""), None),
        (HOME, ("2020-03-05", "2020-03-05 10:00:00"), None),
        (DIED, ("", ""), 1),
        (DIED, ("2020-03-09", "2020-03-09 11:00:00"), 1),
        (DIED, ("2020-03-30", ""), None),
        (SILENT, ("", ""), 0),
        (SILENT, ("2020-03-09", "2020-03-09 11:00:00"), 1),
        (SILENT, ("2020-03-05", ""), 1),
        (SILENT, ("2020-03-09", ""), 1),
        (SILENT, ("2020-03-30", ""), 0),
        ({"discharged_to_concept_id": 0, "discharged_to_source_value": "Expired in ICU"}, ("", ""), 1),
        ({"discharged_to_concept_id": 0, "discharged_to_source_value": "Nursing home"}, ("2020-03-05", ""), None),
    ],
)
def test_who_died_in_hospital_follows_from_the_place_and_the_time_of_death_where_they_agree(
    visit: Row, death: tuple[str, str], died: int | None, tmp_path: Path
) -> None:
    other = [{"person_id": 99, "death_date": "2020-01-01", "death_datetime": ""}]
    own = [{"person_id": 1, "death_date": death[0], "death_datetime": death[1]}] if death[0] else []
    made = small(tmp_path, visit_occurrence=[{**VISIT, **visit}], death=other + own)
    extract = sources.chosen(made).stays()
    assert extract.table["died"].to_list() == [died]
    told = [warning for warning in extract.warnings if "contradict themselves about death" in warning]
    assert bool(told) is (died is None)


def test_without_any_word_of_deaths_nobody_is_said_to_have_survived(tmp_path: Path) -> None:
    made = small(tmp_path, visit_occurrence=[{**VISIT, **SILENT}])
    assert stays(made)["died"].to_list() == [None]


@pytest.mark.parametrize(
    ("born", "age"),
    [
        ({"year_of_birth": 1950}, 70),
        ({"year_of_birth": 1950, "month_of_birth": 3, "day_of_birth": 1}, 70),
        ({"year_of_birth": 1950, "month_of_birth": 3, "day_of_birth": 2}, 69),
        ({"year_of_birth": "", "birth_datetime": "1950-12-24 00:00:00"}, 69),
        ({"year_of_birth": ""}, None),
    ],
)
def test_ages_are_completed_years_where_the_birthday_is_known(born: Row, age: int | None, tmp_path: Path) -> None:
    assert stays(small(tmp_path, person=[{**PERSON, **born}]))["age"].to_list() == [age]


# --- diagnoses and notes


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("428.0", (9, "4280")),
        ("I50.9", (10, "I509")),
        ("E849.0", (9, "E8490")),
        ("E86.0", (10, "E860")),
        ("V4501XA", (10, "V4501XA")),
        ("V4501", None),
        ("flu", None),
    ],
)
def test_the_version_of_an_icd_code_is_that_of_its_form_or_left_out(
    code: str, expected: tuple[int, str] | None, tmp_path: Path
) -> None:
    condition = {"person_id": 1, "condition_start_date": "2020-03-02", "condition_source_value": code}
    made = small(tmp_path, condition_occurrence=[condition])
    source = sources.chosen(made)
    found = source.records("diagnoses").rows()
    assert found == ([("10", *expected)] if expected else [])
    told = any("may be of ICD-9 or ICD-10" in warning for warning in source.stays().warnings)
    assert told is (code == "V4501")
    stated = dataclasses.replace(made, source=Component("omop", {"icd_version": "9"}))
    if code == "V4501":
        assert sources.chosen(stated).records("diagnoses").rows() == [("10", 9, "V4501")]


def note(text: str, **more: object) -> dict[str, object]:
    usual = {
        "person_id": 1,
        "note_date": "2020-03-01",
        "note_datetime": TIME,
        "note_title": "Progress",
        "visit_occurrence_id": 10,
    }
    return {**usual, "note_text": text, **more}


def test_notes_count_from_their_time_and_those_of_later_or_of_other_admissions_are_counted(tmp_path: Path) -> None:
    written = [
        note("in time"),
        note("a day without a time of day", note_datetime=""),
        note("without an admission", visit_occurrence_id=""),
        note("of another admission", visit_occurrence_id=11),
        note("after the window", note_datetime="2020-03-03 11:00:00"),
        note("a day that ends after the window", note_date="2020-03-03", note_datetime="2020-03-03 00:00:00"),
        note("all that was", note_title="Discharge summary"),
        note(" "),
    ]
    made = small(tmp_path, note=written, death=[{"person_id": 99, "death_date": "2020-01-01"}])
    table = converted(made)[schema.NOTES.file]
    assert table.select("note_time", "text").rows() == [
        (TIME, "in time"),
        (TIME, "without an admission"),
        ("2020-03-01 23:59:59", "a day without a time of day"),
    ]
    counts = record(made)["notes"]["counts"]
    assert counts["notes of persons or admissions outside the cohort"] == counts["notes without text"] == 1
    assert counts["discharge summaries excluded"] == 1 and counts["notes after the window excluded"] == 2


def test_notes_that_are_all_empty_are_told(tmp_path: Path) -> None:
    made = small(tmp_path, note=[note(" "), note("")])
    assert converted(made)[schema.NOTES.file].is_empty()
    told = "note: note_text is empty in all 2 notes, which are left out; is it the right column?"
    assert told in record(made)["warnings"]


def test_discharge_summaries_are_kept_if_the_options_say_so(tmp_path: Path) -> None:
    notes = [note("all that was", note_title="Discharge summary")]
    death = [{"person_id": 99, "death_date": "2020-01-01"}]
    made = small(tmp_path, {"include_discharge_summaries": True}, note=notes, death=death)
    assert converted(made)[schema.NOTES.file]["text"].to_list() == ["all that was"]


# --- refusals


def test_optional_tables_that_are_missing_are_told_with_what_is_lost(tmp_path: Path) -> None:
    warnings = sources.chosen(small(tmp_path)).stays().warnings
    (told,) = [warning for warning in warnings if "tables that are not there" in warning]
    assert all(f"{name} (" in told for name in ("observation", "condition_occurrence", "note", "concept"))
    assert "death (" not in told
    with pytest.raises(UserError, match=r"no table condition_occurrence"):
        sources.chosen(small(tmp_path)).records("diagnoses")


def _without_a_column(raw: Path) -> None:
    table = pl.read_csv(raw / "measurement.csv", infer_schema=False)
    table.drop("person_id").write_csv(raw / "measurement.csv")


def _two_files(raw: Path) -> None:
    pl.read_csv(raw / "person.csv").write_parquet(raw / "person.parquet")


def _no_time(raw: Path) -> None:
    text = (raw / "measurement.csv").read_text()
    (raw / "measurement.csv").write_text(text.replace(TIME, "noon"))


MISTAKES = {
    r"no table measurement \(measurement.csv, ": lambda raw: (raw / "measurement.csv").unlink(),
    r"measurement.csv: table measurement has no column 'person_id'; it has: ": _without_a_column,
    r"person.csv: stands beside person.parquet; leave one": _two_files,
    r"holds several databases \(a.duckdb, b.sqlite\)": lambda raw: [
        (raw / n).touch() for n in ("a.duckdb", "b.sqlite")
    ],
    r"a.db: neither a DuckDB nor a SQLite database": lambda raw: (raw / "a.db").write_bytes(b"what " * 9),
    r"measurement.csv row 2: measurement_datetime 'noon' is not a time": _no_time,
}


@pytest.mark.parametrize("message", MISTAKES)
def test_a_mistake_is_told_in_one_line_that_says_what_to_do(message: str, tmp_path: Path) -> None:
    made = small(tmp_path)
    MISTAKES[message](made.raw_dir)
    with pytest.raises(UserError, match=message) as caught:
        convert.run(made)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", ["sqlite", "duckdb", "parquet"])
def test_a_field_that_cannot_be_read_is_told_with_its_column_whatever_the_form(
    mimic: Path, form: str, tmp_path: Path
) -> None:
    made = small(tmp_path)
    text = pl.read_csv(made.raw_dir / "visit_occurrence.csv", infer_schema=False)
    text = text.with_columns(pl.lit("noon").alias("visit_start_datetime"))
    raw = tmp_path / "other"
    raw.mkdir()
    if form == "parquet":
        for path in made.raw_dir.glob("*.csv"):
            pl.read_csv(path, infer_schema=False).write_parquet(raw / f"{path.stem}.parquet")
        text.write_parquet(raw / "visit_occurrence.parquet")
    else:
        _database(
            raw / f"cdm.{form}",
            {
                **_tables(made.raw_dir),
                "visit_occurrence": text,
            },
        )
    with pytest.raises(UserError, match="a field of column visit_start_datetime is not a time"):
        stays(dataclasses.replace(made, paths=dataclasses.replace(made.paths, raw_dir=raw)))


def test_times_of_another_zone_than_the_visits_are_refused_rather_than_shifted(mimic: Path, tmp_path: Path) -> None:
    made = small(tmp_path)
    convert.run(made)
    expected = pl.read_csv(made.table_dir / "dynamic.csv")
    whole = [path.stem for path in sorted(made.raw_dir.glob("*.csv"))]

    def zoned(name: str, zones: Mapping[str, str]) -> Config:
        raw = tmp_path / name
        raw.mkdir()
        for table in whole:
            rows = pl.read_csv(made.raw_dir / f"{table}.csv", infer_schema=False)
            times = [column for column in rows.columns if column.endswith("_datetime")]
            zone = zones.get(table)
            read = [pl.col(column).str.to_datetime(strict=False).dt.replace_time_zone(zone) for column in times]
            rows.with_columns(read).write_parquet(raw / f"{table}.parquet")
        paths = dataclasses.replace(made.paths, raw_dir=raw, table_dir=tmp_path / f"{name} tables")
        return dataclasses.replace(made, paths=paths)

    same = zoned("same", dict.fromkeys(whole, "Europe/Berlin"))
    convert.run(same)
    assert pl.read_csv(same.table_dir / "dynamic.csv").equals(expected)
    for name, zones, told in (
        (
            "bare",
            {"measurement": "UTC"},
            "measurement_datetime of measurement is in UTC, while visit_start_datetime of .* is in none",
        ),
        (
            "two",
            {**dict.fromkeys(whole, "UTC"), "measurement": "Europe/Berlin"},
            "measurement_datetime of measurement is in Europe/Berlin, while visit_start_datetime of .* is in UTC; write all",
        ),
    ):
        with pytest.raises(UserError, match=told):
            convert.run(zoned(name, zones))
        assert not (tmp_path / f"{name} tables").exists()


@pytest.mark.parametrize("form", ["csv", "sqlite", "duckdb"])
def test_times_that_state_utc_beside_visits_that_state_no_zone_are_refused_in_every_form(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")  # of this machine, which is to change nothing
    made = small(tmp_path)
    convert.run(made)
    expected = pl.read_csv(made.table_dir / "dynamic.csv")

    def zoned(name: str, *tables: str) -> Config:
        raw = tmp_path / name
        raw.mkdir()
        written = {}
        for table, rows in _tables(made.raw_dir).items():
            times = [column for column in rows.columns if column.endswith("_datetime")] if table in tables else []
            written[table] = rows.with_columns(
                pl.when(pl.col(time) != "").then(pl.col(time) + "+00:00") for time in times
            )
            if form == "csv":
                written[table].write_csv(raw / f"{table}.csv")
        if form != "csv":
            _database(raw / f"cdm.{form}", written)
        if form == "duckdb":
            _store_zones(raw / "cdm.duckdb", tables)
        paths = dataclasses.replace(made.paths, raw_dir=raw, table_dir=tmp_path / f"{name} tables")
        return dataclasses.replace(made, paths=paths)

    same = zoned("same", *_tables(made.raw_dir))
    convert.run(same)
    assert pl.read_csv(same.table_dir / "dynamic.csv").equals(expected)
    told = "measurement_datetime of measurement is in UTC, while visit_start_datetime of visit_occurrence is in none; write"
    with pytest.raises(UserError, match=told):
        convert.run(zoned("other", "measurement"))
    told = "visit_detail_start_datetime of visit_detail is in no time zone, while visit_start_datetime of .* is in UTC"
    with pytest.raises(UserError, match=told):
        convert.run(zoned("bare", "visit_occurrence"))


def _store_zones(path: Path, tables: Sequence[str]) -> None:
    """Store the times of ``tables`` as moments."""
    with duckdb.connect(str(path)) as connection:
        query = "select table_name, column_name from information_schema.columns where column_name like '%_datetime'"
        for table, column in connection.execute(query).fetchall():
            kind = "timestamptz" if table in tables else "timestamp"
            text = f"nullif({column}, '')::{kind}"
            connection.execute(f"alter table {table} alter {column} type {kind} using {text}")


def _tables(folder: Path) -> dict[str, pl.DataFrame]:
    return {path.stem: pl.read_csv(path, infer_schema=False) for path in folder.glob("*.csv")}


def _database(path: Path, tables: Mapping[str, pl.DataFrame], schemas: Sequence[str] = ("main",)) -> None:
    connection: Any = sqlite3.connect(path) if path.suffix == ".sqlite" else duckdb.connect(str(path))
    for place in schemas:
        if place != "main":
            connection.execute(f"create schema {place}")
        for name, table in tables.items():
            connection.execute(
                f"create table {place}.{name} ({', '.join(f'{column} text' for column in table.columns)})"
            )
            for values in table.rows():
                connection.execute(f"insert into {place}.{name} values ({', '.join('?' * table.width)})", values)
    connection.commit()
    connection.close()


def test_of_several_schemas_of_a_database_the_options_name_one(tmp_path: Path) -> None:
    made = small(tmp_path)
    raw = tmp_path / "other"
    raw.mkdir()
    _database(
        raw / "hospital.duckdb",
        _tables(made.raw_dir),
        ("cdm", "old"),
    )
    made = dataclasses.replace(made, paths=dataclasses.replace(made.paths, raw_dir=raw))
    with pytest.raises(UserError, match=r"table \w+ is in several schemas \(cdm, old\); set source.schema to one"):
        stays(made)
    assert stays(dataclasses.replace(made, source=Component("omop", {"schema": "CDM"})))["stay_id"].to_list() == ["100"]


def test_views_of_a_database_are_read_as_tables_are(tmp_path: Path) -> None:
    made = small(tmp_path)
    raw = tmp_path / "other"
    raw.mkdir()
    tables = _tables(made.raw_dir)
    _database(raw / "hospital.duckdb", tables, ("stored",))
    with duckdb.connect(str(raw / "hospital.duckdb")) as connection:
        connection.execute("create schema seen")
        for name in tables:
            connection.execute(f"create view seen.{name} as select * from stored.{name}")
    source = Component("omop", {"schema": "seen"})
    seen = dataclasses.replace(made, source=source, paths=dataclasses.replace(made.paths, raw_dir=raw))
    assert stays(seen).equals(stays(made))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"concepts": {"heart": "8867-4"}}, "concepts: 'heart' = '8867-4' is not a concept id and a LOINC code"),
        ({"concepts": {"5": "0-0"}}, "concepts: '5' = '0-0' is not"),
        ({"units": {"pulse": "/min"}}, "units: 'pulse' is none of the signals"),
        ({"units": {"glucose": "stone"}}, "units: glucose is not read in 'stone'; UCUM units that are: .*mmol/L"),
    ],
)
def test_options_that_name_something_unknown_are_refused(options: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        stays(small(tmp_path, options))


def test_without_duckdb_a_duckdb_file_is_refused_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "cdm.duckdb").write_bytes(b"\0" * 8 + b"DUCK" + b"\0" * 9)
    with pytest.raises(UserError, match=r"it needs duckdb: pip install 'emerge-ehr\[omop\]'"):
        sources.chosen(config(tmp_path, Component("omop", {}), tmp_path / "raw")).inputs()


# --- the table of published concepts


def test_every_published_concept_means_something_that_the_codes_of_the_signals_know() -> None:
    known = codes.known()
    units = {unit for _, unit in known.units}
    answers = {answer for _, answer in known.scores} | {"normal", "abnormal"}
    table = published()
    assert table["concept_id"].is_unique().all()
    for kind, meant in (("code", set(known.signal)), ("unit", units), ("answer", answers)):
        named = set(table.filter(kind=kind)["means"])
        assert named and named <= meant, named - meant
    assert {known.signal[code] for code in table.filter(kind="code")["means"]} == set(known.signal.values())
    loinc = table.filter((pl.col("kind") == "code") & (pl.col("vocabulary_id") == "LOINC"))
    assert loinc["concept_code"].equals(loinc["means"].rename("concept_code"))


def test_concepts_that_no_signal_has_are_listed_the_most_frequent_first(tmp_path: Path) -> None:
    others = [number for number in range(900_000_001, 900_000_016) for _ in range(number - 900_000_000)]
    rows = [PULSE, *({**PULSE, "measurement_concept_id": number} for number in [*others, ""])]
    names = [
        {
            "concept_id": number,
            "vocabulary_id": "Own",
            "concept_code": f"c{number}",
            "concept_name": f"Lactate {number}",
        }
        for number in (900_000_014, 900_000_015)
    ]
    told = sources.chosen(small(tmp_path, measurement=rows, concept=names)).stays().counts
    listed = {reason: count for reason, count in told.items() if reason.startswith("...")}
    assert told["rows of measurement not read, of 16 concepts that no signal has"] == len(others) + 1
    assert list(listed.values()) == list(range(15, 5, -1))
    assert list(listed)[:3] == [
        "... of concept 900000015 (Lactate 900000015)",
        "... of concept 900000014 (Lactate 900000014)",
        "... of concept 900000013",
    ]


def test_where_every_concept_is_a_signals_none_is_listed(tmp_path: Path) -> None:
    assert not [reason for reason in sources.chosen(small(tmp_path)).stays().counts if "concept" in reason]
