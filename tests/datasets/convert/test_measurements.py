"""Values whose number and text, unit, time or ids contradict each other, in MIMIC-IV: edits of a hundredth of the real demo."""

from collections.abc import Callable
from datetime import datetime, timedelta

import polars as pl
import pytest

from emerge_ehr.config import Config
from emerge_ehr.datasets.convert.harmonise import MEASUREMENT, one_per_moment
from emerge_ehr.signals.signals import SIGNALS
from tests.datasets.convert.test_contradictions import CHART, LABS, converted, measured
from tests.examples import edit

BEAT = pl.col("itemid") == "220045"
GLUCOSE = pl.col("itemid").is_in(["50809", "50931"])


def with_values(when: pl.Expr, **texts: str | None) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Other texts in the columns of some rows."""
    return lambda rows: rows.with_columns(
        pl.when(when).then(pl.lit(text, pl.String)).otherwise(name).alias(name) for name, text in texts.items()
    )


def values_of(config: Config, code: str) -> set[float]:
    return set(measured(config).filter(pl.col("code") == code)["value"])


@pytest.mark.parametrize(
    ("texts", "value"),
    [
        ({"value": ">33.3 mmol/L", "valuenum": None, "valueuom": "mg/dL"}, 599.9195),
        ({"value": ">600", "valuenum": None}, 600),
        ({"value": ">600", "valuenum": "0"}, 600),
        ({"value": None, "valuenum": ">600"}, 600),
        ({"value": None, "valuenum": None, "comments": "GREATER THAN 33 MMOL/L."}, 594.5148),
    ],
)
def test_a_laboratorys_bound_counts_in_its_own_unit(demo: Config, texts: dict[str, str | None], value: float) -> None:
    edit(demo.raw_dir / LABS, with_values(GLUCOSE, **texts))
    record = converted(demo)
    assert list(values_of(demo, "glucose")) == [pytest.approx(value)]
    assert record["measurements"]["dropped or repaired"]["bounds such as >600, taken as the value"] > 400


@pytest.mark.parametrize("comment", ["LESS THAN 60 MINUTES AFTER MEAL.", "LESS THAN 7 DAYS OLD.", "UNDER 100 SAMPLES."])
def test_a_remark_that_counts_something_else_is_no_bound(demo: Config, comment: str) -> None:
    edit(demo.raw_dir / LABS, with_values(GLUCOSE, value=None, valuenum=None, comments=comment))
    record = converted(demo)["measurements"]
    assert not values_of(demo, "glucose")
    assert "bounds such as >600, taken as the value" not in record["dropped or repaired"]
    assert record["dropped or repaired"]["no number"] > 400


@pytest.mark.parametrize("text", [">120", "120"])
def test_number_and_text_that_disagree_are_left_out_and_told(demo: Config, text: str) -> None:
    edit(demo.raw_dir / CHART, with_values(BEAT & (pl.int_range(pl.len()) % 2 == 0), value=text, valuenum="12"))
    record = converted(demo)
    reason = "number and text of a result disagree, and both are plausible"
    assert record["measurements"]["dropped or repaired"][reason] > 2000
    assert 12 not in values_of(demo, "heart_rate")
    assert any(reason in warning for warning in record["warnings"])


@pytest.mark.parametrize("form", ["{} ", "{}Z", "{} UTC", "{}+00:00", " {}"])
@pytest.mark.parametrize("file", [CHART, LABS])
def test_a_date_is_a_date_whatever_stands_around_it(demo: Config, file: str, form: str) -> None:
    def dated(rows: pl.DataFrame) -> pl.DataFrame:
        before, after = form.split("{}")
        day = pl.concat_str(pl.lit(before), pl.col("charttime").str.slice(0, 10), pl.lit(after))
        return rows.with_columns(day.alias("charttime"))

    edit(demo.raw_dir / file, dated)
    record = converted(demo)
    found = measured(demo).filter(pl.col("code") == ("heart_rate" if file == CHART else "glucose"))
    assert found.height > 50 and (found["event_time"].dt.strftime("%H:%M:%S") == "23:59:59").all()
    assert (
        record["measurements"]["dropped or repaired"]["dates without a time of day, taken as the end of the day"] > 100
    )


def test_chart_rows_without_a_stay_that_name_another_admission_are_counted_and_told(demo: Config) -> None:
    kept = converted(demo)["measurements"]["rows"]["heart_rate"]
    other = (pl.col("hadm_id").cast(pl.Int64) + 1).cast(pl.String)
    edit(
        demo.raw_dir / CHART,
        lambda rows: rows.with_columns(pl.lit(None, pl.String).alias("stay_id"), other.alias("hadm_id")),
    )
    record = converted(demo)
    beats = next(row for row in record["measurements"]["flow"] if row["signal"] == "heart_rate")
    reason = "of another admission than the stay's"
    assert beats["kept"] + beats["dropped"][reason] >= kept and beats["dropped"][reason] > 0.9 * kept
    assert any(reason in warning for warning in record["warnings"])


def test_the_latest_weight_before_the_window_counts(demo: Config) -> None:
    converted(demo)
    stay = str(measured(demo)["patient_id"][0])
    stays = pl.read_csv(demo.raw_dir / "icu/icustays.csv.gz", infer_schema=False).filter(stay_id=stay)
    begin = datetime.fromisoformat(stays["intime"].item())

    def weighed(rows: pl.DataFrame) -> pl.DataFrame:
        own = rows.filter(stay_id=stay).head(1).with_columns(itemid=pl.lit("226512"), valueuom=pl.lit("kg"), value=None)
        times = {"80": 22.0, "90": 1.6, "85": 5.0}
        new = [
            own.with_columns(valuenum=pl.lit(kilograms), charttime=pl.lit(str(begin - timedelta(hours=hours))))
            for kilograms, hours in times.items()
        ]
        return pl.concat([rows, *(row.cast(pl.String) for row in new)])

    edit(demo.raw_dir / CHART, weighed)
    converted(demo)
    assert measured(demo).filter(pl.col("patient_id") == stay, pl.col("code") == "weight")["value"].to_list() == [90]


def test_of_a_refill_that_is_delayed_on_one_side_the_delayed_one_counts() -> None:
    charted = {"capillary_refill_rate": (1.0, 0.0), "gcs_eye": (4.0, 3.0)}
    rows = [(7, 1, code, value, 0, "a") for code, pair in charted.items() for value in pair]
    events = pl.DataFrame(rows, schema=[*MEASUREMENT, "rank", "table"], orient="row")
    assert dict(one_per_moment(events, SIGNALS).select("code", "value").rows()) == {
        "capillary_refill_rate": 1,
        "gcs_eye": 3,
    }


@pytest.mark.parametrize("change", ["{} ", "dotted", "lower"])
@pytest.mark.parametrize("file", ["hosp/diagnoses_icd.csv.gz", "hosp/d_icd_diagnoses.csv.gz"])
def test_codes_have_their_titles_however_they_are_spelt(demo: Config, file: str, change: str) -> None:
    converted(demo)
    before = (demo.table_dir / "notes.csv").read_bytes()
    code = pl.col("icd_code")
    spelt = {
        "{} ": pl.concat_str(code, pl.lit("  ")),
        "dotted": pl.concat_str(code.str.slice(0, 3), pl.lit("."), code.str.slice(3)),
        "lower": code.str.to_lowercase(),
    }[change]
    edit(demo.raw_dir / file, lambda rows: rows.with_columns(spelt.alias("icd_code")))
    converted(demo)
    assert (demo.table_dir / "notes.csv").read_bytes() == before


def test_doubled_codes_and_titles_name_a_diagnosis_once_and_are_told(demo: Config) -> None:
    converted(demo)
    before = (demo.table_dir / "notes.csv").read_bytes()
    for name in ("diagnoses_icd", "d_icd_diagnoses"):
        edit(demo.raw_dir / f"hosp/{name}.csv.gz", lambda rows: pl.concat([rows, rows]))
    record = converted(demo)
    assert (demo.table_dir / "notes.csv").read_bytes() == before
    assert record["notes"]["counts"]["diagnoses that stand twice, left out"] == 4506
    assert any("4506 of 9012 diagnoses that stand twice" in warning for warning in record["warnings"])
