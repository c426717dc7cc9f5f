"""Records that contradict themselves, in copies of the real demo of MIMIC-IV and in hospitals made for the purpose."""

import dataclasses
import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest

from emerge_ehr.config import Cohort, Config
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.datasets.convert.cohort import select
from emerge_ehr.datasets.sources._mimic import outcomes
from emerge_ehr.storage import schema
from emerge_ehr.storage.table_files import read_table
from tests.examples import edit

ADMISSIONS, STAYS, CHART = "hosp/admissions.csv.gz", "icu/icustays.csv.gz", "icu/chartevents.csv.gz"
LABS, PATIENTS = "hosp/labevents.csv.gz", "hosp/patients.csv.gz"


def converted(config: Config) -> dict[str, Any]:
    """The provenance of the tables."""
    convert.run(config)
    record: dict[str, Any] = json.loads((config.table_dir / schema.PROVENANCE).read_text())
    return record


def dropped(record: dict[str, Any]) -> dict[str, int]:
    return {step["reason"]: step["dropped_stays"] for step in record["cohort_flow"]}


def deaths(config: Config) -> dict[str, float]:
    return dict(read_table(config.table_dir, schema.LABEL).select("patient_id", "label_value").rows())


def added(rows: pl.DataFrame, **values: str) -> pl.DataFrame:
    """The rows, and the first of them again with other values."""
    return pl.concat([rows, rows.head(1).with_columns(pl.lit(value).alias(name) for name, value in values.items())])


def test_a_stay_that_begins_after_the_persons_death_is_no_survivor(demo: Config) -> None:
    """Organ donors are registered again after their death; person 10010471 died on 2155-12-07 at 15:30."""
    converted(demo)
    before = deaths(demo)
    ids = {"subject_id": "10010471", "hadm_id": "29999999"}
    donor = {
        "admittime": "2155-12-07 15:31:00",
        "dischtime": "2155-12-10 12:00:00",
        "deathtime": "",
        "hospital_expire_flag": "0",
    }
    edit(demo.raw_dir / ADMISSIONS, lambda rows: added(rows, **ids, **donor, discharge_location="HOME"))
    times = {"intime": "2155-12-07 15:31:00", "outtime": "2155-12-10 12:00:00"}
    edit(demo.raw_dir / STAYS, lambda rows: added(rows, **ids, stay_id="39999999", **times, los="2.9"))
    hours = [datetime(2155, 12, 7, 16) + timedelta(hours=hour) for hour in range(48)]
    beats = pl.DataFrame({"charttime": [f"{hour:%Y-%m-%d %H:%M:%S}" for hour in hours]})

    def charted(rows: pl.DataFrame) -> pl.DataFrame:
        more = beats.with_columns(
            pl.lit(value).alias(name)
            for name, value in {
                **ids,
                "stay_id": "39999999",
                "itemid": "220045",
                "valuenum": "80",
                "valueuom": "bpm",
            }.items()
        )
        return pl.concat([rows, more], how="diagonal")

    edit(demo.raw_dir / CHART, charted)
    record = converted(demo)
    assert dropped(record)["after the person's death"] == 1
    assert deaths(demo) == before


def test_an_admission_after_death_is_no_readmission(demo: Config) -> None:
    task = dataclasses.replace(demo, task=dataclasses.replace(demo.task, name="readmission"))
    converted(task)
    labels = pl.read_csv(demo.table_dir / "label.csv", infer_schema=False).filter(pl.col("label_value") == "0")
    cohort = read_table(demo.table_dir, schema.COHORT).join(labels.select("patient_id"), on="patient_id")
    known = pl.read_csv(demo.raw_dir / PATIENTS, infer_schema=False).filter(pl.col("dod").is_null())["subject_id"]
    person, admission = (
        cohort.filter(pl.col("subject_id").is_in(known.to_list())).select("subject_id", "hadm_id").row(0)
    )
    rows = pl.read_csv(demo.raw_dir / ADMISSIONS, infer_schema=False)
    left = datetime.fromisoformat(rows.filter(pl.col("hadm_id") == admission)["dischtime"].item())
    died, again = left + timedelta(days=5), left + timedelta(days=7)
    edit(
        demo.raw_dir / PATIENTS,
        lambda table: table.with_columns(
            pl.when(subject_id=person).then(pl.lit(f"{died:%Y-%m-%d}")).otherwise("dod").alias("dod")
        ),
    )
    stamp = {"admittime": f"{again:%Y-%m-%d} 10:00:00", "dischtime": f"{again:%Y-%m-%d} 12:00:00", "deathtime": ""}
    ids = {"subject_id": person, "hadm_id": "29999999", "hospital_expire_flag": "0"}
    edit(demo.raw_dir / ADMISSIONS, lambda table: added(table, **ids, **stamp))
    converted(task)
    after = pl.read_csv(demo.table_dir / "label.csv", infer_schema=False).filter(pl.col("label_value") == "0")
    assert set(labels["patient_id"]) == set(after["patient_id"])


@pytest.mark.parametrize(
    "first",
    [
        {"died": 0, "deathtime": datetime(2150, 1, 9, 12)},
        {"died": 0, "discharge_location": "DIED"},
        {"died": 1, "discharge_location": "HOME"},
        {"died": 0, "deathtime": datetime(2150, 1, 9, 12, 30)},
    ],
)
def test_a_death_counts_for_later_stays_even_where_its_admission_contradicts_itself(first: dict[str, Any]) -> None:
    """Else an organ donor survives the admission in which the organs are taken."""
    times = dict.fromkeys(("admittime", "dischtime", "deathtime"), pl.Datetime("us"))
    row = {"subject_id": 1, "admittime": datetime(2150, 1, 1, 8), "dischtime": datetime(2150, 1, 9, 12)}
    again = {**row, "admittime": datetime(2150, 1, 9, 12, 31), "dischtime": datetime(2150, 1, 12), "died": 0}
    table = pl.DataFrame(
        [{**row, "deathtime": None, "discharge_location": None, **first}, again],
        schema_overrides={**times, "died": pl.Int64, "discharge_location": pl.String},
    )
    patients = pl.DataFrame({"subject_id": [1], "dod": [None]}, schema_overrides={"dod": pl.Datetime("us")})
    known = outcomes.with_outcomes(table, patients).table
    assert known["died"].to_list() == [None, 0]
    assert outcomes.before_death(known, outcomes.deaths(known, patients)).height == 1


DIED, HOME = (
    {"hospital_expire_flag": "1", "discharge_location": "DIED"},
    {"hospital_expire_flag": "0", "discharge_location": "HOME"},
)


@pytest.mark.parametrize(
    ("of", "values", "reason"),
    [
        (
            "1",
            {"hospital_expire_flag": "0"},
            "flagged as survivors, with a time of death within the admission or by the day after it",
        ),
        ("1", {"hospital_expire_flag": "0", "deathtime": ""}, "flagged as survivors, discharged as dead"),
        ("1", {"discharge_location": "HOME"}, "flagged as dead, discharged alive"),
        ("0", {"hospital_expire_flag": "1"}, "flagged as dead, discharged alive"),
        ("0", {"discharge_location": "DIED"}, "flagged as survivors, discharged as dead"),
        ("1", {"hospital_expire_flag": "2"}, "with a flag other than 0 and 1"),
    ],
)
def test_an_admission_that_contradicts_itself_has_no_outcome(
    demo: Config, of: str, values: dict[str, str], reason: str
) -> None:
    converted(demo)
    before = deaths(demo)
    samples = [sample for sample, died in before.items() if died == float(of)]
    cohort = read_table(demo.table_dir, schema.COHORT)
    place = pl.read_csv(demo.raw_dir / ADMISSIONS, infer_schema=False).filter(
        pl.col("discharge_location").is_in(["HOME", "DIED"])
    )
    of_sample = cohort.join(place.select("hadm_id"), on="hadm_id").filter(pl.col("patient_id").is_in(samples))
    admission = of_sample["hadm_id"][0]
    same = cohort.filter(pl.col("hadm_id") == admission)["patient_id"].to_list()
    edit(
        demo.raw_dir / ADMISSIONS,
        lambda rows: rows.with_columns(
            pl.when(hadm_id=admission).then(pl.lit(value or None)).otherwise(name).alias(name)
            for name, value in values.items()
        ),
    )
    record = converted(demo)
    assert deaths(demo) == {sample: died for sample, died in before.items() if sample not in same}
    assert dropped(record)["outcome unknown"] == len(same)
    assert record["stays"][f"admissions {reason}"] == 1
    assert any(
        re.search(rf"1 of 275 admissions contradict themselves .*{reason}", warning) for warning in record["warnings"]
    )


def judged(**values: Any) -> int | None:
    usual = {"admittime": datetime(2150, 1, 1, 8), "dischtime": datetime(2150, 1, 9, 12), "deathtime": None, "died": 0}
    row = {"subject_id": 1, **usual, "discharge_location": None, **values}
    days = {name: [row.pop(name)] for name in ("dod", "dod_hosp") if name in row}
    patients = pl.DataFrame(
        {"subject_id": [1], "dod": [None], **days},
        schema_overrides=dict.fromkeys(["dod", *days], pl.Datetime("us")),
    )
    kinds = dict.fromkeys(("admittime", "dischtime", "deathtime"), pl.Datetime("us"))
    table = pl.DataFrame([row], schema_overrides={**kinds, "died": pl.Int64, "discharge_location": pl.String})
    died: int | None = outcomes.with_outcomes(table, patients).table["died"].item()
    return died


@pytest.mark.parametrize(
    ("values", "died"),
    [
        ({}, 0),
        ({"died": 1}, 1),
        ({"died": 1, "discharge_location": "DEAD/EXPIRED"}, 1),
        ({"died": None}, None),
        ({"died": None, "discharge_location": "HOME"}, 0),
        ({"died": None, "discharge_location": " expired "}, 1),
        ({"died": None, "deathtime": datetime(2150, 1, 5)}, 1),
        ({"died": 1, "deathtime": datetime(2150, 1, 9, 22)}, 1),  # the paperwork was done before
        ({"died": 1, "deathtime": datetime(2150, 3, 9)}, None),
        ({"died": 0, "deathtime": datetime(2150, 3, 9)}, 0),  # at home, after the discharge
        ({"died": 0, "deathtime": datetime(2150, 1, 9, 12, 5)}, None),  # minutes after the discharge
        ({"died": 0, "discharge_location": "HOME", "deathtime": datetime(2150, 1, 10, 12, 5)}, None),
        ({"died": 0, "deathtime": datetime(2150, 1, 9)}, None),  # a date
        ({"died": None, "discharge_location": "HOME", "deathtime": datetime(2150, 1, 9, 12, 5)}, None),
        ({"died": 0, "deathtime": datetime(2150, 1, 8)}, None),
        ({"died": 0, "discharge_location": "UNKNOWN"}, 0),
        ({"died": 0, "dod": datetime(2150, 1, 9)}, 0),  # on the day of discharge, perhaps at home
        ({"died": 0, "dod": datetime(2150, 1, 8)}, None),
        ({"died": 1, "dod": datetime(2150, 1, 8)}, 1),
        ({"died": 0, "deathtime": datetime(2149, 12, 1)}, None),
        ({"died": 1, "dod": datetime(2150, 1, 9)}, 1),
        ({"died": 1, "dod": datetime(2150, 1, 10)}, 1),  # the paperwork was done before
        ({"died": 1, "dod": datetime(2150, 5, 1)}, None),
        ({"died": 1, "dod": datetime(2145, 1, 1)}, None),
        ({"died": 1, "dod": datetime(2151, 1, 9), "deathtime": datetime(2150, 1, 9, 12)}, None),
        ({"died": None, "discharge_location": "DIED", "dod": datetime(2151, 1, 9)}, None),
        ({"died": None, "discharge_location": "HOME", "dod": datetime(2150, 1, 5)}, None),
        ({"died": 0, "discharge_location": "PATIENT EXPIRED"}, None),
        ({"died": 0, "discharge_location": "HOSPICE-EXPIRED"}, None),
        ({"died": 0, "discharge_location": "Home (patient deceased)"}, None),
        ({"died": 1, "discharge_location": "PATIENT EXPIRED"}, 1),
        ({"died": 0, "discharge_location": "DEADWOOD CLINIC"}, 0),
        ({"died": 0, "dod_hosp": datetime(2150, 1, 9)}, None),  # the hospital itself says so
        ({"died": 0, "dod_hosp": datetime(2150, 1, 20)}, 0),
        ({"died": 1, "dod_hosp": datetime(2150, 1, 9)}, 1),
    ],
)
def test_flag_time_and_place_agree_or_the_outcome_is_unknown(values: dict[str, Any], died: int | None) -> None:
    assert judged(**values) == died


STAY = {
    "subject_id": "p",
    "hadm_id": "h",
    "admittime": datetime(2150, 1, 1),
    "dischtime": datetime(2150, 1, 20),
    "deathtime": None,
    "death": None,
    "age": 50,
}


def kept(
    *stays: dict[str, Any], rule: Cohort | None = None, one_calendar: bool = True
) -> tuple[list[str], dict[str, int]]:
    times = dict.fromkeys(("admittime", "dischtime", "intime", "outtime", "deathtime", "death"), pl.Datetime("us"))
    table = pl.DataFrame([{**STAY, **stay} for stay in stays], schema_overrides=times)
    left, flow = select(table, rule or Cohort(), one_calendar=one_calendar)
    return left["patient_id"].to_list(), {step.reason: step.dropped_stays for step in flow if step.dropped_stays}


def stay(name: str, begin: int, end: int, **more: Any) -> dict[str, Any]:
    """An ICU stay from one day of January to another."""
    return {"stay_id": name, "intime": datetime(2150, 1, begin), "outtime": datetime(2150, 1, end), **more}


def test_the_same_hours_are_not_two_samples() -> None:
    stays = [stay("a", 1, 9), stay("b", 4, 7), stay("c", 8, 12), stay("d", 12, 15), stay("e", 4, 9, hadm_id="i")]
    names, flow = kept(*stays)
    assert names == ["a", "d"]
    assert flow == {"overlaps an earlier ICU stay of the same person": 3}
    names, flow = kept(*stays, one_calendar=False)  # eICU: when another admission was, nobody knows
    assert names == ["a", "d", "e"]
    assert flow == {"overlaps an earlier ICU stay of the same admission": 2}


def test_admissions_that_overlap_by_more_than_a_transfer_are_not_two_samples() -> None:
    second = {"hadm_id": "i", "admittime": datetime(2150, 1, 19, 6), "dischtime": datetime(2150, 2, 9)}
    transfer, overlap = stay("b", 20, 24, **second), stay("b", 20, 24, **{**second, "admittime": datetime(2150, 1, 15)})
    rule = Cohort(anchor="hospital")
    assert kept(stay("a", 2, 9), transfer, rule=rule) == (["h", "i"], {})
    names, flow = kept(stay("a", 2, 9), overlap, rule=rule)
    assert names == ["h"] and flow == {"overlaps an earlier admission of the same person": 1}


def test_an_admission_within_another_is_out_however_many_icu_stays_it_has() -> None:
    inner = {"hadm_id": "i", "admittime": datetime(2150, 1, 3), "dischtime": datetime(2150, 1, 12)}
    rule = Cohort(anchor="hospital")
    names, flow = kept(stay("a", 2, 9), stay("b", 4, 5, **inner), stay("c", 6, 8, **inner), rule=rule)
    assert names == ["h"]
    assert flow == {"later ICU stay of the same admission": 1, "overlaps an earlier admission of the same person": 1}


def test_a_stay_that_ended_by_death_or_discharge_is_as_short_as_that() -> None:
    """Else its window, which ends there, would tell the outcome by its length."""
    died = stay("a", 1, 9, deathtime=datetime(2150, 1, 2, 6))
    left = stay("b", 1, 9, hadm_id="i", subject_id="q", dischtime=datetime(2150, 1, 2, 6))
    names, flow = kept(died, left, stay("c", 1, 9, hadm_id="k", subject_id="r"))
    assert names == ["c"] and flow == {"ICU stay shorter than 48 h": 2}


def test_a_hospital_admission_after_the_icu_stay_is_out() -> None:
    names, flow = kept(stay("a", 1, 9), stay("b", 1, 9, hadm_id="i", subject_id="q", admittime=datetime(2150, 1, 12)))
    assert names == ["a"] and flow == {"hospital admission after the ICU stay": 1}


def test_ids_that_belong_to_two_are_out() -> None:
    names, flow = kept(
        stay("a", 1, 9), stay("b", 10, 14, subject_id="q"), stay("c", 1, 9, hadm_id="i"), stay("c", 1, 9, hadm_id="k")
    )
    assert not names
    assert flow == {"admission id that two persons have": 2, "stay id that stands twice": 2}


def test_a_stay_after_the_discharge_from_hospital_is_out() -> None:
    names, flow = kept(stay("a", 1, 9), stay("b", 10, 14, hadm_id="i", dischtime=datetime(2150, 1, 8)))
    assert names == ["a"] and flow == {"hospital discharge before the ICU admission": 1}


@pytest.mark.parametrize("end", ["dischtime", "deathtime"])
def test_a_window_of_the_first_hours_ends_with_discharge_or_death(end: str) -> None:
    times = {"intime": datetime(2150, 1, 2), "outtime": datetime(2150, 1, 9), end: datetime(2150, 1, 2, 20)}
    table = pl.DataFrame(
        [{**STAY, "stay_id": "a", **times}], schema_overrides=dict.fromkeys(("deathtime", "death"), pl.Datetime("us"))
    )
    left, _ = select(table, Cohort(min_stay_hours=0))
    assert left["window_end"].item() == datetime(2150, 1, 2, 20)


# Dates without a time of day


def with_dates(config: Config, path: str, *names: str, every: int = 1) -> dict[str, Any]:
    """Convert with dates in the place of times, in every so many rows."""
    some = pl.int_range(pl.len()) % every == 0
    texts = [pl.when(some).then(pl.col(name).str.slice(0, 10)).otherwise(name).alias(name) for name in names]
    edit(config.raw_dir / path, lambda rows: rows.with_columns(texts))
    return converted(config)


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("names", [("intime", "outtime"), ("outtime",), ("intime",)])
def test_stays_that_begin_or_end_with_a_date_do_so_at_the_end_of_that_day(
    demo: Config, names: tuple[str, ...], every: int
) -> None:
    rows = pl.read_csv(demo.raw_dir / STAYS, try_parse_dates=True)
    record = with_dates(demo, STAYS, *names, every=every)
    reason = f"stays whose {', '.join(names)} is a date without a time of day, taken as the end of that day"
    assert record["stays"][reason] == -(-140 // every)
    assert any(reason in warning for warning in record["warnings"])
    cohort = read_table(demo.table_dir, schema.COHORT).select("patient_id", "window_start")
    began = rows.with_columns(pl.col("stay_id").cast(pl.String).alias("patient_id")).join(cohort, on="patient_id")
    assert began.height > 40 and (began["window_start"] >= began["intime"]).all()
    if names == ("outtime",):  # nobody who stayed is lost
        stayed = began.filter(pl.col("outtime") - pl.col("intime") >= timedelta(hours=48))["patient_id"]
        assert stayed.len() == (rows["outtime"] - rows["intime"] >= timedelta(hours=48)).sum()


def test_admissions_with_dates_only_last_until_the_end_of_the_day(demo: Config) -> None:
    hospital = dataclasses.replace(demo, cohort=dataclasses.replace(demo.cohort, anchor="hospital"))
    record = with_dates(hospital, ADMISSIONS, "dischtime", "deathtime")
    assert any("dischtime is a date without a time of day" in warning for warning in record["warnings"])
    lost = [step for step in record["cohort_flow"] if "before" in step["reason"] and step["dropped_stays"]]
    assert not lost


# Measurements


def measured(config: Config) -> pl.DataFrame:
    return read_table(config.table_dir, schema.DYNAMIC)


def blanked(column: str) -> Callable[[pl.DataFrame], pl.DataFrame]:
    odd = pl.int_range(pl.len()) % 2 == 1
    return lambda rows: rows.with_columns(pl.when(~odd).then(column).alias(column))


@pytest.mark.parametrize("blank", [("stay_id",), ("stay_id", "hadm_id"), ("stay_id", "subject_id")])
def test_chart_rows_without_a_stays_id_are_matched_by_person_or_admission_and_time(
    demo: Config, blank: tuple[str, ...]
) -> None:
    converted(demo)
    before = measured(demo)
    for column in blank:
        edit(demo.raw_dir / CHART, blanked(column))
    record = converted(demo)
    assert measured(demo).equals(before)
    assert record["measurements"]["dropped or repaired"]["matched by person and time, having no id of the stay"] > 4000


@pytest.mark.parametrize("missing", ["0", "-1"])
def test_an_id_of_0_is_none(demo: Config, missing: str) -> None:
    converted(demo)
    before = measured(demo)
    odd = pl.int_range(pl.len()) % 2 == 1
    edit(
        demo.raw_dir / CHART,
        lambda rows: rows.with_columns(pl.when(odd).then(pl.lit(missing)).otherwise("stay_id").alias("stay_id")),
    )
    edit(
        demo.raw_dir / LABS,
        lambda rows: rows.with_columns(
            pl.when(pl.col("hadm_id").is_null()).then(pl.lit(missing)).otherwise("hadm_id").alias("hadm_id")
        ),
    )
    record = converted(demo)
    assert measured(demo).equals(before)
    assert record["measurements"]["dropped or repaired"]["matched by person and time, having no id of the stay"] > 4000


def test_many_rows_of_stays_that_do_not_exist_are_warned_of(demo: Config) -> None:
    odd = pl.int_range(pl.len()) % 2 == 1
    edit(
        demo.raw_dir / CHART,
        lambda rows: rows.with_columns(pl.when(odd).then(pl.lit("11111111")).otherwise("stay_id").alias("stay_id")),
    )
    told = "rows of a stay that is not in the table of stays, left out: .* of heart_rate"
    assert any(re.search(told, warning) for warning in converted(demo)["warnings"])


@pytest.mark.parametrize("whose", ["another person's", "nobody's"])
def test_chart_rows_whose_ids_fit_nobody_are_left_out_and_counted(demo: Config, whose: str) -> None:
    before = converted(demo)["measurements"]["rows"]["heart_rate"]
    cohort = read_table(demo.table_dir, schema.COHORT)
    stay = cohort["stay_id"][0]
    own = pl.col("stay_id") == stay
    beats = pl.read_csv(demo.raw_dir / CHART, infer_schema=False).filter(own & (pl.col("itemid") == "220045"))
    column, value = ("subject_id", "10000032") if whose == "another person's" else ("stay_id", "11111111")
    edit(
        demo.raw_dir / CHART,
        lambda rows: rows.with_columns(pl.when(own).then(pl.lit(value)).otherwise(column).alias(column)),
    )
    record = converted(demo)["measurements"]
    flow = next(row for row in record["flow"] if row["signal"] == "heart_rate")
    lost = before - record["rows"]["heart_rate"]
    assert lost > 20
    if whose == "nobody's":
        assert flow["orphans"] == beats.height
    else:
        assert flow["dropped"]["of another person than the stay's"] >= lost


@pytest.mark.parametrize(
    ("written", "factor"), [("mmol/L", 1 / 18.0156), ("MMOL/L ", 1 / 18.0156), ("mg/dL", 1.0), ("", 1.0)]
)
def test_laboratory_units_are_converted(demo: Config, written: str, factor: float) -> None:
    converted(demo)
    before = measured(demo).filter(pl.col("code") == "glucose")

    def changed(rows: pl.DataFrame) -> pl.DataFrame:
        number = pl.col("valuenum").cast(pl.Float64) * factor
        glucose = pl.col("itemid").is_in(["50809", "50931"])
        return rows.with_columns(
            pl.when(glucose).then(number.cast(pl.String)).otherwise("valuenum").alias("valuenum"),
            pl.when(glucose).then(pl.lit(written)).otherwise("valueuom").alias("valueuom"),
        )

    edit(demo.raw_dir / LABS, changed)
    record = converted(demo)
    after = measured(demo).filter(pl.col("code") == "glucose")
    assert after.select("patient_id", "event_time").equals(before.select("patient_id", "event_time"))
    assert (after["value"] / before["value"] - 1).abs().max() < 1e-5  # type: ignore[operator]
    told = record["measurements"]["dropped or repaired"].get("converted from another unit than the item's", 0)
    assert (told > 400) == (factor != 1)


def test_a_heart_rate_in_mmhg_is_no_heart_rate(demo: Config) -> None:
    record = converted(demo)
    beats = record["measurements"]["rows"]["heart_rate"]
    change = pl.when((pl.col("itemid") == "220045") & (pl.int_range(pl.len()) % 3 == 0)).then(pl.lit("mmHg"))
    edit(demo.raw_dir / CHART, lambda rows: rows.with_columns(change.otherwise("valueuom").alias("valueuom")))
    record = converted(demo)
    lost = record["measurements"]["dropped or repaired"]["in a unit that the signal does not have"]
    assert record["measurements"]["rows"]["heart_rate"] + lost == beats and lost > 500
    assert any("in a unit that the signal does not have" in warning for warning in record["warnings"])


def test_a_laboratorys_oxygen_fraction_of_one_percent_is_not_pure_oxygen(demo: Config) -> None:
    converted(demo)
    before = measured(demo).filter(pl.col("code") == "fraction_inspired_oxygen")
    fraction, odd = pl.col("itemid") == "50816", pl.int_range(pl.len()) % 2 == 1
    text = pl.when(fraction & odd).then(pl.lit("1")).otherwise("valuenum")

    def changed(rows: pl.DataFrame) -> pl.DataFrame:
        percent = pl.when(fraction).then(text + "%").otherwise("value")
        return rows.with_columns(percent.alias("value"), text.alias("valuenum"))

    edit(demo.raw_dir / LABS, changed)
    record = converted(demo)
    after = measured(demo).filter(pl.col("code") == "fraction_inspired_oxygen")
    lost = record["measurements"]["dropped or repaired"]["implausible fraction_inspired_oxygen"]
    assert before.height > after.height > 0 and lost >= before.height - after.height
    assert after.join(before, on=after.columns).height == after.height


def test_arterial_pressures_count_before_the_cuffs_and_lower_ones_are_not_hidden(demo: Config) -> None:
    converted(demo)
    rows = pl.read_csv(demo.raw_dir / CHART, infer_schema=False)
    wide = rows.filter(pl.col("itemid").is_in(["220050", "220179"])).group_by("stay_id", "charttime").agg(
        pl.col("valuenum").filter(pl.col("itemid") == "220050").first().cast(pl.Float64).alias("arterial"),
        pl.col("valuenum").filter(pl.col("itemid") == "220179").first().cast(pl.Float64).alias("cuff"),
    )  # fmt: skip
    found = measured(demo).filter(pl.col("code") == "systolic_blood_pressure").with_columns(
        pl.col("event_time").dt.strftime("%Y-%m-%d %H:%M:%S").alias("charttime")
    )  # fmt: skip
    both = found.join(wide.drop_nulls(), left_on=["patient_id", "charttime"], right_on=["stay_id", "charttime"])
    both = both.filter(pl.col("arterial").is_between(30, 300))
    assert both.height > 100 and (both["value"] == both["arterial"]).all()
    assert (both["cuff"] > both["arterial"]).sum() > 30


@pytest.mark.parametrize("subject", ["", "10000032"])
def test_laboratory_rows_are_those_of_their_admissions_person(demo: Config, subject: str) -> None:
    converted(demo)
    glucose = measured(demo).filter(pl.col("code") == "glucose")
    odd = (pl.int_range(pl.len()) % 2 == 1) & pl.col("hadm_id").is_not_null()
    change = pl.when(odd).then(pl.lit(subject or None, pl.String)).otherwise("subject_id").alias("subject_id")
    edit(demo.raw_dir / LABS, lambda rows: rows.with_columns(change))
    record = converted(demo)
    after = measured(demo).filter(pl.col("code") == "glucose")
    lost = record["measurements"]["dropped or repaired"].get("of another person than the stay's", 0)
    if subject:
        assert glucose.height - after.height <= lost and lost > 100
    else:
        assert after.equals(glucose) and not lost


def test_measurements_with_a_date_only_count_at_the_end_of_their_day(demo: Config) -> None:
    edit(demo.raw_dir / LABS, lambda rows: rows.with_columns(pl.col("charttime").str.slice(0, 10)))
    record = converted(demo)
    glucose = measured(demo).filter(pl.col("code") == "glucose")
    assert glucose.height > 50 and (glucose["event_time"].dt.strftime("%H:%M:%S") == "23:59:59").all()
    assert (
        record["measurements"]["dropped or repaired"]["dates without a time of day, taken as the end of the day"] > 100
    )


def test_the_flow_of_rows_adds_up(demo: Config) -> None:
    record = converted(demo)
    flow = [row for row in record["measurements"]["flow"] if row["table"] != "sums of scores"]
    assert {row["table"] for row in flow} == {"chartevents.csv.gz", "labevents.csv.gz"}
    for row in flow:
        assert row["in_file"] >= row["in_windows"] == row["kept"] + sum(row["dropped"].values())
    kept = sum(row["kept"] for row in flow)
    assert kept == measured(demo).height
    chart = pl.read_csv(demo.raw_dir / CHART, infer_schema=False)
    beats = next(row for row in flow if row["signal"] == "heart_rate")
    assert beats["in_file"] == chart.filter(pl.col("itemid") == "220045").height


# Codes


@pytest.mark.parametrize("task", ["mortality", "phenotyping"])  # codes make the surrogate notes, or the labels
def test_icd9_codes_that_lost_their_zeros_are_noticed(demo: Config, task: str) -> None:
    config = dataclasses.replace(demo, task=dataclasses.replace(demo.task, name=task))
    told = "ICD-9 codes of .* begins with 0"
    before = converted(config)
    assert not any(re.search(told, warning) for warning in before["warnings"])
    number = pl.when(icd_version="9").then(pl.col("icd_code").str.replace(r"^0+", "")).otherwise("icd_code")
    edit(demo.raw_dir / "hosp/diagnoses_icd.csv.gz", lambda rows: rows.with_columns(number.alias("icd_code")))
    after = converted(config)
    assert any(re.search(told, warning) for warning in after["warnings"])
    lost = [record["notes"]["counts"]["diagnoses without a title, left out"] for record in (before, after)]
    assert lost[1] > lost[0] + 20


@pytest.mark.parametrize("task", ["mortality", "phenotyping"])
def test_zeros_that_only_most_icd9_codes_lost_are_noticed(demo: Config, task: str) -> None:
    config = dataclasses.replace(demo, task=dataclasses.replace(demo.task, name=task))
    told = r"^\d+ of the \d+ ICD-9 codes of .* are unknown, but would be known with a 0 in front"
    assert not any(re.search(told, warning) for warning in converted(config)["warnings"])
    lost = (pl.col("icd_version") == "9") & (pl.int_range(pl.len()) % 10 != 0)
    number = pl.when(lost).then(pl.col("icd_code").str.replace(r"^0+", "")).otherwise("icd_code")
    edit(demo.raw_dir / "hosp/diagnoses_icd.csv.gz", lambda rows: rows.with_columns(number.alias("icd_code")))
    assert any(re.search(told, warning) for warning in converted(config)["warnings"])
