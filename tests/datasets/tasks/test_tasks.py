"""Every task but phenotyping: plain loops over the real demo's files, and small tables made by hand."""

import csv
import dataclasses
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pytest

from emerge_ehr import components
from emerge_ehr.config import Cohort, Config, load
from emerge_ehr.datasets import timing, wording
from emerge_ehr.datasets.convert import cohort as cohort_rules
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.datasets.sources import Source, mimic4
from emerge_ehr.datasets.tasks import Labels, Task
from emerge_ehr.fields import Component, UserError
from emerge_ehr.storage import schema
from emerge_ehr.storage.table_files import read_table
from tests.examples import chosen

HOURS, DAYS = timedelta(hours=1), timedelta(days=1)
START = datetime(2150, 1, 1)
LABELS = ["patient_id", "label_time", "label_code", "label_value"]


@dataclass(frozen=True)
class Records:
    """A source that has only what it is given."""

    tables: dict[str, pl.DataFrame]

    def records(self, kind: str) -> pl.DataFrame:
        return self.tables[kind]


def task(name: str, **options: Any) -> Task:
    built: Task = components.build("task", Component(name, options))
    return built


def stays_of(*stays: dict[str, Any]) -> pl.DataFrame:
    """One ICU stay each of a survivor: admitted at ``START``, 10 days in hospital, 5 in the ICU, unless told otherwise."""
    usual = {
        "subject_id": "a",
        "hadm_id": "1",
        "admittime": START,
        "intime": START,
        "died": 0,
        "deathtime": None,
        "death": None,
    }
    names = ("admittime", "intime", "outtime", "dischtime", "deathtime", "death", "window_end")
    times = dict.fromkeys(names, pl.Datetime)
    ends = {"outtime": START + 5 * DAYS, "dischtime": START + 10 * DAYS, "window_end": START + 48 * HOURS}
    rows = [{"patient_id": f"stay{row}", **usual, **ends, **stay} for row, stay in enumerate(stays)]
    return pl.DataFrame(rows, schema_overrides={**times, "died": pl.Int64, "hadm_id": pl.String})


def admissions_of(*rows: tuple[str, str, datetime, datetime | None, bool]) -> Records:
    columns = {"subject_id": pl.String, "hadm_id": pl.String, "admittime": pl.Datetime, "dischtime": pl.Datetime}
    table = pl.DataFrame(list(rows), schema={**columns, "planned": pl.Boolean}, orient="row")
    return Records({"admissions": table})


def values(found: Labels, code: str | None = None) -> dict[str, int]:
    table = found.table if code is None else found.table.filter(pl.col("label_code") == code)
    return dict(table.select("patient_id", "label_value").rows())


def times(found: Labels) -> dict[str, datetime]:
    return dict(found.table.select("patient_id", "label_time").rows())


def again(stay: dict[str, Any], *rows: tuple[str, str, datetime, datetime | None, bool], **options: Any) -> int | None:
    """The readmission label of one stay among the admissions ``rows`` and its own."""
    own = ("a", "1", START, START + 10 * DAYS, False)
    found = task("readmission", **options).labels(stays_of(stay), admissions_of(own, *rows))
    return values(found).get("stay0")


def csv_rows(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", newline="") as file:
        yield from csv.DictReader(file)


def moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S")


@pytest.fixture(scope="module")
def demo(demo_raw: Path) -> tuple[pl.DataFrame, Source]:
    """All 140 stays of the demo, in windows of at most 48 h."""
    source = mimic4.build(mimic4.Options(), raw_dir=demo_raw, kg_dir=demo_raw, seed=0)
    cohort, _ = cohort_rules.select(source.stays().table, Cohort(min_stay_hours=0.1))
    assert cohort.height == 140
    return cohort, source


@pytest.fixture(scope="module")
def admissions(demo_raw: Path) -> dict[str, dict[str, str]]:
    return {row["hadm_id"]: row for row in csv_rows(demo_raw / "hosp" / "admissions.csv.gz")}


@pytest.fixture(scope="module")
def icu_stays(demo_raw: Path) -> list[dict[str, str]]:
    return list(csv_rows(demo_raw / "icu" / "icustays.csv.gz"))


# --- the words of every task


@pytest.mark.parametrize("name", components.names("task"))
def test_every_outcome_of_a_task_has_words_of_its_own(name: str) -> None:
    built: Task = components.build("task", chosen("task", name))
    codes = built.codes or ("aki_1", "aki_2")
    outcomes = built.outcomes(codes)
    assert len({outcome.title for outcome in outcomes}) == len(codes)
    for outcome in outcomes:
        assert "_" not in outcome.title and outcome.absent != outcome.present
    assert built.outcomes(codes[-1:]) == outcomes[-1:]


def test_outcomes_are_worded_as_clinicians_say_them() -> None:
    assert [own.title for own in task("mortality_readmission").outcomes(("mortality", "readmission"))] == [
        "in-hospital death",
        "readmission",
    ]
    assert task("mortality").outcomes(("mortality",))[0].present == "died"
    assert task("los").outcomes(("los_7",))[0].title == "a stay longer than 7 days"
    assert task("phenotyping").outcomes(("phenotype_essential_hypertension",))[0].title == "essential hypertension"


def test_a_given_outcome_is_called_what_the_config_says_and_several_by_their_codes_too() -> None:
    named = task("given", outcome="acute kidney injury")
    assert [own.title for own in named.outcomes(["aki"])] == ["acute kidney injury"]
    assert [own.title for own in named.outcomes(["aki_2", "aki_3"])] == [
        "aki 2 (acute kidney injury)",
        "aki 3 (acute kidney injury)",
    ]
    assert [own.title for own in task("given").outcomes(["aki_2"])] == ["aki 2"]


@pytest.mark.parametrize(
    ("name", "anchor", "word", "candidate"),
    [
        ("mortality", "icu", "stay", "stay"),
        ("readmission", "hospital", "admission", "stay"),
        ("given", "icu", "record", "record"),
        ("given", "hospital", "record", "record"),
    ],
)
def test_a_sample_is_called_what_task_and_anchor_make_of_it(
    name: str, anchor: Literal["icu", "hospital"], word: str, candidate: str, tmp_path: Path
) -> None:
    (tmp_path / "own.toml").write_text(
        'dataset = "own"\nrun_name = "own"\n[paths]\nraw_dir = "raw"\n[source]\nname = "tables"\n'
        f'[task]\nname = "{name}"\n[cohort]\nanchor = "{anchor}"\n'
    )
    config = load(tmp_path / "own.toml")
    assert (wording.sample(config).word, wording.candidate(config).word) == (word, candidate)


def test_the_cohort_flow_of_a_users_own_tables_speaks_of_no_intensive_care() -> None:
    stays = stays_of({}, {}).rename({"patient_id": "stay_id"}).with_columns(age=pl.lit(50.0))
    for sample, words in ((task("given").sample, "records in the source"), (None, "ICU stays in the source")):
        _, flow = cohort_rules.select(stays.drop("window_end"), Cohort(), sample)
        assert flow[0].reason == words
        assert any("ICU" in step.reason for step in flow) == (sample is None)


# --- mortality


def test_mortality_in_the_demo_agrees_with_a_plain_loop(
    demo: tuple[pl.DataFrame, Source], admissions: dict[str, dict[str, str]], icu_stays: list[dict[str, str]]
) -> None:
    expected = {}
    for stay in icu_stays:
        row = admissions[stay["hadm_id"]]
        known = moment(row["deathtime"] or row["dischtime"])
        expected[stay["stay_id"]] = (known, "mortality", int(row["hospital_expire_flag"]))
    found = task("mortality").labels(*demo)
    assert {row[0]: row[1:] for row in found.table.rows()} == expected
    assert sum(row[2] for row in expected.values()) == 20


def test_death_is_known_when_it_happens_and_survival_at_discharge() -> None:
    died, later = START + 7 * DAYS, START + 400 * DAYS
    cohort = stays_of({"died": 1, "deathtime": died}, {"died": 1}, {}, {"deathtime": later}, {"dischtime": None})
    found = task("mortality").labels(cohort, Records({}))
    leaving = START + 10 * DAYS
    expected = {"stay0": died, "stay1": leaving, "stay2": leaving, "stay3": leaving, "stay4": START + 5 * DAYS}
    assert times(found) == expected
    assert values(found) == {"stay0": 1, "stay1": 1, "stay2": 0, "stay3": 0, "stay4": 0}


def test_an_unknown_outcome_is_no_survival() -> None:
    found = task("mortality").labels(stays_of({"died": None}, {"died": 7}, {"died": 0}), Records({}))
    assert values(found) == {"stay2": 0}
    assert found.undefined == {"outcome unknown": ["stay0", "stay1"]}


# --- death within so many hours


def test_death_within_hours_in_the_demo_agrees_with_a_plain_loop(
    demo: tuple[pl.DataFrame, Source], admissions: dict[str, dict[str, str]], icu_stays: list[dict[str, str]]
) -> None:
    built, hours = task("death_within"), (24, 48, 168)
    assert built.timing is not None
    ends = timing.with_ends(demo[0], built.labels(*demo).table)
    label, defined = built.timing.labels(ends)
    assert defined.all()
    found = dict(zip(ends["patient_id"], label.tolist(), strict=True))
    windows = dict(demo[0].select("patient_id", "window_end").rows())
    expected = {}
    for stay in icu_stays:
        row, end = admissions[stay["hadm_id"]], windows[stay["stay_id"]]
        died = row["hospital_expire_flag"] == "1"
        expected[stay["stay_id"]] = [float(died and moment(row["deathtime"]) <= end + of * HOURS) for of in hours]
    assert found == expected
    assert 0 < sum(row[0] for row in expected.values()) < sum(row[2] for row in expected.values()) < 20


# --- readmission


@pytest.mark.parametrize(("days", "planned"), [(30, "count"), (30, "ignore"), (7, "count"), (365, "ignore")])
def test_readmission_in_the_demo_agrees_with_a_plain_loop(
    days: int,
    planned: str,
    demo: tuple[pl.DataFrame, Source],
    admissions: dict[str, dict[str, str]],
    icu_stays: list[dict[str, str]],
) -> None:
    expected = {}
    for stay in icu_stays:
        row = admissions[stay["hadm_id"]]
        if row["hospital_expire_flag"] == "1":
            continue
        left, entered = moment(row["dischtime"]), moment(row["admittime"])
        known, value = left + days * DAYS, 0
        for other in admissions.values():
            arranged = other["admission_type"] in ("ELECTIVE", "SURGICAL SAME DAY ADMISSION")
            if other["subject_id"] != row["subject_id"] or (planned == "ignore" and arranged):
                continue
            begins = moment(other["admittime"])
            if begins > entered and left - 24 * HOURS <= begins <= left + days * DAYS:
                known, value = min(known, max(begins, left)), 1
        expected[stay["stay_id"]] = (known, "readmission", value)
    found = task("readmission", days=days, planned=planned).labels(*demo)
    assert {row[0]: row[1:] for row in found.table.rows()} == expected
    assert 0 < sum(row[2] for row in expected.values()) < len(expected)
    assert len(found.undefined["died in hospital"]) == 20


def test_who_died_in_hospital_or_whose_discharge_is_unknown_has_no_readmission_label() -> None:
    cohort = stays_of({"died": 1}, {"died": None}, {"died": None, "dischtime": None}, {"dischtime": None}, {})
    found = task("readmission").labels(cohort, admissions_of(("a", "2", START + 12 * DAYS, None, False)))
    assert values(found) == {"stay4": 1}
    assert found.undefined == {
        "died in hospital": ["stay0"],
        "outcome or discharge time unknown": ["stay1", "stay2", "stay3"],
        "another admission of the person overlaps by more than 24 h": [],
    }


def test_the_thirtieth_day_still_counts_to_the_second() -> None:
    limit = START + 40 * DAYS
    assert again({}, ("a", "2", limit, None, False)) == 1
    assert again({}, ("a", "2", limit + timedelta(seconds=1), None, False)) == 0
    assert again({}, ("a", "2", START + 17 * DAYS, None, False), days=7) == 1
    assert again({}, ("a", "2", START + 17 * DAYS + HOURS, None, False), days=7) == 0


def test_a_planned_admission_counts_unless_told_otherwise_and_never_hides_an_unplanned_one() -> None:
    planned, urgent = ("a", "2", START + 12 * DAYS, None, True), ("a", "3", START + 20 * DAYS, None, False)
    assert again({}, planned) == 1
    assert again({}, planned, planned="ignore") == 0
    assert again({}, planned, urgent, planned="ignore") == 1


def test_a_transfer_that_begins_within_a_day_before_discharge_is_the_next_admission_and_an_earlier_one_is_not() -> None:
    left = START + 10 * DAYS
    assert again({}, ("a", "2", left - 24 * HOURS, None, False)) == 1
    assert again({}, ("a", "2", START - 5 * DAYS, None, False)) == 0
    short = {"dischtime": START + 12 * HOURS}
    assert again(short, ("a", "2", START, None, False)) == 0
    assert again(short, ("a", "2", START - HOURS, None, False)) == 0
    assert again(short, ("a", "2", START + HOURS, None, False)) == 1


@pytest.mark.parametrize(
    "other",
    [
        ("a", "2", START + 9 * DAYS - HOURS, None, False),
        ("a", "2", START + 9 * DAYS - HOURS, START + 12 * DAYS, True),
        ("a", "2", START + 3 * DAYS, START + 5 * DAYS, False),
        ("a", "2", START - 3 * DAYS, START + 5 * DAYS, False),
    ],
)
@pytest.mark.parametrize("planned", ["count", "ignore"])
def test_an_admission_that_overlaps_by_more_than_a_transfer_leaves_the_readmission_unknown(
    other: tuple[str, str, datetime, datetime | None, bool], planned: str
) -> None:
    own = ("a", "1", START, START + 10 * DAYS, False)
    found = task("readmission", planned=planned).labels(stays_of({}), admissions_of(own, other))
    assert not values(found)
    assert found.undefined["another admission of the person overlaps by more than 24 h"] == ["stay0"]
    assert "1 of 1 readmissions are unknown" in found.warnings[0]
    both = task("mortality_readmission", planned=planned).labels(stays_of({}), admissions_of(own, other))
    assert values(both) == {"stay0": 0} and both.warnings == found.warnings


def test_a_readmission_is_known_when_it_begins_but_never_before_discharge() -> None:
    def known(*rows: tuple[str, str, datetime, datetime | None, bool]) -> datetime:
        return times(task("readmission").labels(stays_of({}), admissions_of(*rows)))["stay0"]

    left = START + 10 * DAYS
    assert known(("a", "3", left + 9 * DAYS, None, False), ("a", "2", left + 4 * DAYS, None, False)) == left + 4 * DAYS
    assert known(("a", "2", left - HOURS, None, False)) == left
    assert known(("a", "2", left + 90 * DAYS, None, False)) == known() == left + 30 * DAYS


def test_the_last_discharge_and_other_persons_admissions_give_no_readmission() -> None:
    assert again({}) == 0
    assert again({}, ("b", "2", START + 12 * DAYS, None, False)) == 0


def test_stays_of_one_admission_share_their_readmission() -> None:
    cohort = stays_of({}, {"intime": START + 6 * DAYS, "outtime": START + 9 * DAYS})
    own, next_one = ("a", "1", START, START + 10 * DAYS, False), ("a", "2", START + 12 * DAYS, None, False)
    assert values(task("readmission").labels(cohort, admissions_of(own))) == {"stay0": 0, "stay1": 0}
    assert values(task("readmission").labels(cohort, admissions_of(own, next_one))) == {"stay0": 1, "stay1": 1}


# --- mortality and readmission


@pytest.mark.parametrize("options", [{}, {"days": 365, "planned": "ignore"}])
def test_the_multitask_labels_are_those_of_both_tasks(
    options: dict[str, Any], demo: tuple[pl.DataFrame, Source]
) -> None:
    both, again = task("mortality_readmission", **options), task("readmission", **options)
    found, death, returned = both.labels(*demo), task("mortality").labels(*demo), again.labels(*demo)
    assert values(found, "mortality") == values(death)
    assert values(found, "readmission") == values(returned)
    assert found.undefined == death.undefined
    died = {patient for patient, value in values(death).items() if value}
    assert died and not died & set(values(found, "readmission"))
    assert both.codes == ("mortality", "readmission")


# --- length of stay


def test_length_of_stay_in_the_demo_agrees_with_a_plain_loop(
    demo: tuple[pl.DataFrame, Source], admissions: dict[str, dict[str, str]], icu_stays: list[dict[str, str]]
) -> None:
    expected = {}
    for stay in icu_stays:
        entered, own = moment(stay["intime"]), admissions[stay["hadm_id"]]
        discharge = own["dischtime"].replace("00:00:00", "23:59:59")
        left = min(moment(time) for time in (stay["outtime"], discharge, own["deathtime"]) if time)
        for days in (3, 7):
            if left - entered > 48 * HOURS:
                known = min(left, entered + days * DAYS)
                expected[stay["stay_id"], f"los_{days}"] = (known, int(left - entered > days * DAYS))
    found = task("los").labels(*demo)
    assert {(patient, code): (time, value) for patient, time, code, value in found.table.rows()} == expected
    short = {stay["stay_id"] for stay in icu_stays} - {patient for patient, _ in expected}
    assert set(found.undefined["left the ICU by the end of the observation window"]) == short


@pytest.mark.parametrize("end", ["deathtime", "dischtime"])
def test_a_stay_is_no_longer_than_life_or_the_hospitals_stay(end: str) -> None:
    over = START + 2.5 * DAYS
    found = task("los").labels(stays_of({end: over, "outtime": START + 8 * DAYS}), Records({}))
    assert found.table["label_value"].to_list() == [0, 0]
    assert set(found.table["label_time"]) == {over}


def test_exactly_three_days_is_not_longer() -> None:
    cohort = stays_of({"outtime": START + 3 * DAYS}, {"outtime": START + 3 * DAYS + timedelta(seconds=1)})
    assert values(task("los", days=[3]).labels(cohort, Records({}))) == {"stay0": 0, "stay1": 1}


def test_who_left_the_icu_by_the_end_of_the_window_has_no_length_to_predict() -> None:
    end = START + 48 * HOURS
    cohort = stays_of({"outtime": end}, {"outtime": end - HOURS}, {"outtime": None}, {"outtime": end + HOURS})
    found = task("los").labels(cohort, Records({}))
    assert set(found.table["patient_id"]) == {"stay3"}
    assert found.undefined == {
        "ICU discharge time unknown": ["stay2"],
        "left the ICU by the end of the observation window": ["stay0", "stay1"],
    }


@pytest.mark.parametrize("hours", [72, 80])
def test_a_window_that_shows_the_length_of_stay_is_refused(hours: int) -> None:
    with pytest.raises(
        UserError, match=r"los: 3 days after ICU admission lie inside the observation window of 1 stays"
    ):
        task("los").labels(stays_of({"window_end": START + hours * HOURS}), Records({}))


# --- given


def given_labels(*rows: tuple[str, str, int]) -> Records:
    table = [(patient, START + DAYS, code, value, "kept out") for patient, code, value in rows]
    return Records({"labels": pl.DataFrame(table, schema=[*LABELS, "comment"], orient="row")})


def test_given_labels_are_those_of_the_cohort_as_they_come() -> None:
    source = given_labels(("stay0", "sepsis", 1), ("stay0", "shock", 0), ("stay9", "sepsis", 1), ("stay1", "shock", 1))
    found = task("given").labels(stays_of({}, {}, {}), source)
    assert found.table.rows() == [
        ("stay0", START + DAYS, "sepsis", 1),
        ("stay0", START + DAYS, "shock", 0),
        ("stay1", START + DAYS, "shock", 1),
    ]
    assert found.undefined == {"no label": ["stay2"]}
    assert task("given").codes is None


def test_given_labels_can_be_chosen_and_ordered() -> None:
    source = given_labels(("stay0", "sepsis", 1), ("stay0", "shock", 0), ("stay0", "pain", 1), ("stay1", "pain", 1))
    chosen = task("given", label_codes=["shock", "sepsis"], outcome="an infection")
    found = chosen.labels(stays_of({}, {}), source)
    assert set(found.table["label_code"]) == {"shock", "sepsis"}
    assert found.undefined == {"no label": ["stay1"]}
    assert (chosen.codes, chosen.question) == (("shock", "sepsis"), "an infection")


def test_a_label_code_that_nobody_has_is_refused_with_those_there_are() -> None:
    source = given_labels(("stay0", "sepsis", 1), ("stay0", "shock", 0))
    with pytest.raises(UserError, match=r"has the label 'sepsi'; they have: sepsis, shock"):
        task("given", label_codes=["shock", "sepsi"]).labels(stays_of({}), source)


# --- through stage convert


@pytest.mark.parametrize("name", ["readmission", "mortality_readmission", "los"])
def test_convert_writes_labels_known_after_the_window_only(name: str, demo_config: Config, tmp_path: Path) -> None:
    paths = dataclasses.replace(demo_config.paths, table_dir=tmp_path / "tables")
    convert.run(dataclasses.replace(demo_config, paths=paths, task=Component(name)))
    written = read_table(tmp_path / "tables", schema.LABEL)
    stays = read_table(tmp_path / "tables", schema.COHORT)
    assert set(written["patient_id"]) == set(stays["patient_id"])
    timed = written.join(stays, on="patient_id")
    assert (timed["label_time"] >= timed["window_end"]).all()
    assert set(written["label_code"]) == set(task(name).codes or ())
