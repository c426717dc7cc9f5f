"""Numbers and units as charts and laboratories write them."""

import polars as pl
import pytest

from emerge_ehr.signals.numbers import is_bound, number, unit_of_bound
from emerge_ehr.signals.signals import SIGNALS
from emerge_ehr.signals.unit_forms import FAMILIES
from emerge_ehr.signals.units import UNITS, converted, folded, is_known, is_stated


@pytest.mark.parametrize(
    ("text", "value", "bound"),
    [
        ("7.4", 7.4, False),
        (" -3 ", -3, False),
        ("+.5", 0.5, False),
        ("5.", 5, False),
        ("1e2", 100, False),
        ("40%", 40, False),
        ("1,200.5", 1200.5, False),
        (">600", 600, True),
        ("> 20.50", 20.5, True),
        ("<0.02  ", 0.02, True),
        (">=100 %", 100, True),
        ("≥100", 100, True),
        ("GREATER THAN 500", 500, True),
        ("Greater than or equal to 8.0", 8, True),
        ("less than 10", 10, True),
        ("above 90", 90, True),
        (">600 (H)", 600, True),
        ("GREATER THAN 500.  VERIFIED.", 500, True),
        (">1,200.5", 1200.5, True),
        ("1,234,567", 1234567, False),
    ],
)
def test_the_number_in_a_text_is_read_and_a_bound_is_kept_and_marked(text: str, value: float, bound: bool) -> None:
    row = pl.DataFrame({"text": [text]}).select(number(pl.col("text")).alias("v"), is_bound(pl.col("text")).alias("b"))
    assert row.row(0) == (value, bound)


@pytest.mark.parametrize(
    "text",
    ["60-80", "120/80", "7,4", "1,23,456", "nan", "inf", "1e999", ">", "over", "<a", "12 h", "ERROR", "", None,
     "LESS THAN 60 MINUTES AFTER MEAL.", "less than 7 days old", "UNDER 100 SAMPLES.", "> 3 attempts", "up to 2 l",
     ">48,295", ">48,29", "48,295"],
)  # fmt: skip
def test_what_is_not_one_number_is_none(text: str | None) -> None:
    row = pl.DataFrame({"text": [text]}, schema={"text": pl.String})
    assert row.select(number(pl.col("text"))).item() is None
    assert not row.select(is_bound(pl.col("text"))).item()


@pytest.mark.parametrize(
    ("text", "unit"),
    [(">33.3 mmol/L", "mmol/l"), ("GREATER THAN 33 MMOL/L.", "mmol/l"), ("<95 °F", "degf"), (">600 mg/dL, twice", "mg/dl"),
     (">600", None), ("33 mmol/L", None), ("> 60 minutes", None)],
)  # fmt: skip
def test_a_bound_may_state_its_own_unit(text: str, unit: str | None) -> None:
    assert pl.DataFrame({"text": [text]}).select(unit_of_bound(pl.col("text"))).item() == unit


# What one unit of each is in the signal's unit, from the units' definitions.
CONVERSIONS = [
    ("glucose", 10, "mmol/L", 180.156),
    ("glucose", 10, "MG/DL", 10),
    ("glucose", 1.2, "g/L", 120),
    ("temperature", 98.6, "°F", 37),
    ("temperature", 98.6, "Deg. F", 37),
    ("temperature", 98.6, "[degF]", 37),
    ("temperature", 98.6, "?F", 37),
    ("temperature", 37, "Cel", 37),
    ("temperature", 310.15, "K", 37),
    ("weight", 150, "lbs", 68.0388555),
    ("weight", 1600, "oz", 45.359237),
    ("weight", 70000, "g", 70),
    ("height", 70, "Inch", 177.8),
    ("height", 1.7, "m", 170),
    ("mean_blood_pressure", 10, "kPa", 75.0061683),
    ("mean_blood_pressure", 70, "mm[Hg]", 70),
    ("heart_rate", 70, "BPM", 70),
    ("heart_rate", 70, "{beats}/min", 70),
    ("respiratory_rate", 20, "insp/min", 20),
    ("fraction_inspired_oxygen", 0.5, "torr", 0.5),
    ("oxygen_saturation", 98, "%", 98),
    ("ph", 7.4, "unit(s)", 7.4),
    ("gcs_total", 15, "points", 15),
]


def in_signals_unit(code: str, value: float, unit: str | None) -> float | None:
    row = pl.DataFrame({"code": [code], "unit": [unit]}, schema={"code": pl.String, "unit": pl.String})
    same = (pl.lit(1.0), pl.lit(0.0))
    result: float | None = row.select(converted(pl.lit(float(value)), pl.col("code"), pl.col("unit"), same)).item()
    return result


@pytest.mark.parametrize(("code", "value", "unit", "right"), CONVERSIONS)
def test_a_known_unit_is_converted(code: str, value: float, unit: str, right: float) -> None:
    assert in_signals_unit(code, value, unit) == pytest.approx(right, rel=1e-6)


@pytest.mark.parametrize(
    ("code", "unit"),
    [("heart_rate", "mmHg"), ("glucose", "units"), ("fraction_inspired_oxygen", "lpm"), ("capillary_refill_rate", "s"),
     ("weight", "cm"), ("temperature", "%")],
)  # fmt: skip
def test_a_unit_that_the_signal_does_not_have_gives_no_value(code: str, unit: str) -> None:
    assert in_signals_unit(code, 50, unit) is None
    row = pl.DataFrame({"code": [code], "unit": [unit]})
    assert row.select(is_stated(pl.col("unit")) & ~is_known(pl.col("code"), pl.col("unit"))).item()


@pytest.mark.parametrize("unit", [None, "", "  ", "None", "n/a"])
def test_without_a_unit_the_items_own_conversion_is_taken(unit: str | None) -> None:
    row = pl.DataFrame({"code": ["temperature"], "unit": [unit]}, schema={"code": pl.String, "unit": pl.String})
    fahrenheit = (pl.lit(5 / 9), pl.lit(-160 / 9))
    value = row.select(converted(pl.lit(98.6), pl.col("code"), pl.col("unit"), fahrenheit)).item()
    assert value == pytest.approx(37)


def test_every_signal_has_an_entry_and_every_listed_unit_is_written_as_it_is_looked_up() -> None:
    assert set(UNITS) == {signal.name for signal in SIGNALS}
    texts = [unit for family in FAMILIES.values() for listed in family for unit in listed.split("|")]
    assert pl.DataFrame({"unit": texts}).select(folded(pl.col("unit"))).to_series().to_list() == texts
