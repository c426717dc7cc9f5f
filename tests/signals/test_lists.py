"""Lists of signals: ours, and what a user is told of mistakes in a list of their own."""

import re
from pathlib import Path

import polars as pl
import pytest

from emerge_ehr.datasets.sources._mimic.items import item_table
from emerge_ehr.datasets.sources.eicu import items as eicu_items
from emerge_ehr.fields import UserError
from emerge_ehr.signals import items, signals, unit_forms, units
from emerge_ehr.signals.signals import SIGNALS, from_record, to_record
from emerge_ehr.signals.table import COLUMNS
from tests.in_process import run
from tests.places import ROOT

WIDE = signals.read("wide")


def written(folder: Path, *rows: str, header: str = "name,label,unit,mimic") -> str:
    file = folder / "own.csv"
    file.write_text("\n".join([header, *rows]) + "\n")
    return str(file)


def test_the_wide_list_begins_with_the_benchmarks_signals_unchanged_and_every_item_is_of_one_of_its_signals() -> None:
    assert WIDE[: len(SIGNALS)] == SIGNALS and len(SIGNALS) == 17 and len(WIDE) > 50
    for columns in (("mimic",), ("mimic", "mimic3"), ("eicu",)):
        read = items.read("wide", *columns)
        assert {item.code for item in read} <= {signal.name for signal in WIDE}
        assert set(items.read("benchmark", *columns)) <= set(read)


def test_reference_ranges_lie_within_plausible_ones_and_laboratory_values_have_a_unit() -> None:
    for signal in WIDE:
        low, high = signal.reference or signal.plausible
        assert signal.plausible[0] <= low <= high <= signal.plausible[1], signal.name
        assert signal.unit, signal.name


# What clinical tables of conversion factors print, in the unit of the list.
CONVERSIONS = [
    ("creatinine", 88.4, "umol/L", 1.0),
    ("bilirubin", 17.1, "µmol/L", 1.0),
    ("blood_urea_nitrogen", 1, "mmol/L", 2.8),
    ("calcium", 2.5, "mmol/L", 10.0),
    ("calcium", 5, "mEq/L", 10.0),
    ("ionized_calcium", 4.6, "mg/dL", 1.15),
    ("magnesium", 1, "mmol/L", 2.43),
    ("magnesium", 1, "meq/L", 1.215),
    ("phosphate", 1, "mmol/L", 3.1),
    ("lactate", 9, "mg/dL", 1.0),
    ("hemoglobin", 140, "g/L", 14.0),
    ("hemoglobin", 6.2, "mmol/L", 10.0),
    ("albumin", 35, "g/L", 3.5),
    ("potassium", 4.1, "MMOL/L", 4.1),
    ("sodium", 140, "mEq/L", 140),
    ("platelets", 210, "10*9/L", 210),
    ("platelets", 210000, "/mm3", 210),
    ("white_blood_cells", 9.1, "10(3)/mcL", 9.1),
    ("aspartate_aminotransferase", 1, "ukat/L", 60),
    ("troponin_t", 52, "ng/L", 0.052),
    ("troponin_i", 0.05, "ug/L", 0.05),
    ("arterial_oxygen_pressure", 13.3, "kPa", 100),
    ("positive_end_expiratory_pressure", 5, "cmH20", 5),
    ("partial_thromboplastin_time", 33, "Seconds", 33),
    ("norepinephrine", 100, "ng/kg/min", 0.1),
    ("hematocrit", 0.31, "fraction", 31),
    ("hematocrit", 0.31, "L/L", 31),
    ("aspartate_aminotransferase", 1000, "nkat/L", 60),
    ("urine_output", 1.5, "L", 1500),
    ("white_blood_cells", 9100, "#/uL", 9.1),
    ("temperature", 98.6, "&#176;F", 37),
]


@pytest.mark.parametrize(("code", "value", "unit", "right"), CONVERSIONS)
def test_a_laboratorys_unit_is_converted(code: str, value: float, unit: str, right: float) -> None:
    row = pl.DataFrame({"code": [code], "unit": [unit]})
    same = (pl.lit(1.0), pl.lit(0.0))
    found = row.select(units.converted(pl.lit(float(value)), pl.col("code"), pl.col("unit"), same, WIDE)).item()
    assert found == pytest.approx(right, rel=0.01)


@pytest.mark.parametrize(
    ("code", "unit"), [("creatinine", "U/L"), ("sodium", "mg/dL"), ("albumin", "umol/L"), ("lactate", "mEq/L")]
)
def test_a_unit_from_which_nothing_known_leads_to_the_signals_gives_no_value(code: str, unit: str) -> None:
    row = pl.DataFrame({"code": [code], "unit": [unit]})
    assert row.select(units.scale(pl.col("code"), pl.col("unit"), WIDE)).item() is None


def test_a_row_with_a_name_alone_stands_for_our_signal_and_a_new_one_may_have_items_of_its_own(tmp_path: Path) -> None:
    own = written(tmp_path, "lactate,,,", "heart_rate,,,", "ammonia,,umol/L,lab:50866")
    lactate, beats, ammonia = signals.read(own)
    assert lactate == next(signal for signal in WIDE if signal.name == "lactate") and beats in SIGNALS
    assert (ammonia.label, ammonia.unit, ammonia.reference) == ("ammonia", "umol/L", None)
    found = {(item.table, item.name): item.code for item in items.read(own, "mimic")}
    assert (
        found["lab", "50866"] == "ammonia"
        and found["lab", "50813"] == "lactate"
        and found["chart", "220045"] == "heart_rate"
    )


def test_the_list_that_the_documentation_prints_is_read_as_it_says(tmp_path: Path) -> None:
    (block,) = re.findall(r"```csv\n(.*?)```", (ROOT / "docs" / "signals.md").read_text("utf-8"), re.DOTALL)
    header, *rows = block.strip().splitlines()
    own = written(tmp_path, *rows, header=header)
    beats, lactate, ammonia = signals.read(own)
    assert beats in SIGNALS and lactate in WIDE and ammonia.name == "ammonia"
    assert {item.code for item in items.read(own, "mimic")} == {"heart_rate", "lactate", "ammonia"}


def test_what_a_record_tells_of_a_signal_comes_back_and_of_the_benchmarks_it_tells_no_more_than_before() -> None:
    for signal in WIDE:
        record = to_record(signal)
        again = from_record(record)
        assert to_record(again) == record
        told = ("name", "label", "unit", "reference", "hour", "high_shows", "low_shows", "score")
        assert [getattr(again, name) for name in told] == [getattr(signal, name) for name in told]
        if signal in SIGNALS:
            assert set(record) == {"name", "label", "unit", "reference"}
        else:
            assert again.plausible == signal.plausible


MISTAKES = {
    "unknown column": (["lactate,,"], "name,labl,unit", "unknown column 'labl', did you mean 'label'?"),
    "column twice": (["lactate,,"], "name,label,label", "column 'label' stands twice"),
    "no name": (["lactate"], "label", "has no column 'name'"),
    "no row": ([], "name,unit", "holds no signal"),
    "short row": (["lactate"], "name,unit", "row 2: 1 fields, the header has 2"),
    "unnamed": ([",mg/dL"], "name,unit", "row 2: name is empty"),
    "bad name": (["Serum Lactate,mg/dL"], "name,unit", "row 2: name 'Serum Lactate' is not of small letters"),
    "name twice": (["lactate,", "lactate,"], "name,unit", "row 3: name 'lactate' stands twice, first in row 2"),
    "not ours": (["lactat,"], "name,unit", "row 2: 'lactat' is none of our signals, did you mean 'lactate'?"),
    "unit unknown": (["a,mg per dL"], "name,unit", "row 2: unit 'mg per dL' is unknown; there are mmHg, "),
    "range reversed": (
        ["a,5,2"],
        "name,plausible_low,plausible_high",
        "row 2: plausible_low 5 is above plausible_high 2",
    ),
    "half a range": (["a,5,"], "name,reference_low,reference_high", "give both reference_low and reference_high"),
    "no number": (["a,five"], "name,plausible_low", "row 2: plausible_low 'five' is not a number"),
    "infinite": (["a,inf"], "name,plausible_low", "row 2: plausible_low 'inf' is not a number"),
    "mass": (["a,-3"], "name,molar_mass", "row 2: molar_mass is a number of g/mol"),
    "hour": (["a,mean"], "name,hour", "row 2: hour 'mean' is none of last, sum, max"),
    "sum": (["a,b;c"], "name,sum_of", "row 2: sum_of names 'b', which has no row"),
    "no table": (
        ["a,50813"],
        "name,mimic",
        "mimic item '50813' of a is not table:item; the tables are chart, lab, output",
    ),
    "other table": (["a,labs:50813"], "name,mimic", "mimic item 'labs:50813' of a is not table:item"),
    "no id": (["a,lab:lactate"], "name,mimic", "mimic item 'lab:lactate' of a: an itemid is a whole number"),
    "no such id": (["a,lab:3000000000"], "name,mimic", "an itemid is a whole number up to 2147483647"),
    "item twice, spelt otherwise": (
        ["a,lab:50971", "b,lab:050971"],
        "name,mimic",
        "row 3: item 'lab:50971' of b stands twice, first for a",
    ),
    "sum of rates": (["a,mL,sum,input:1"], "name,unit,hour,mimic", "row 2: hour of a is sum, but items in 'input'"),
    "amount of a rate": (["a,mL,input:1"], "name,unit,mimic", "row 2: unit 'mL' of a does not fit items in 'input'"),
    "rate without a unit": (
        ["a,x,input:1"],
        "name,label,mimic",
        "or that of a rate: L/min, mcg/kg/min, mL/hour, mcg/hour, mmol/hour, mEq/hour, units/hour",
    ),
    "value of a period": (
        ["a,mL/hour,procedure:1"],
        "name,unit,mimic",
        "row 2: unit 'mL/hour' of a does not fit items in 'procedure'",
    ),
    "item twice": (["a,lab:1", "b,lab:2; lab:1"], "name,mimic", "row 3: item 'lab:1' of b stands twice, first for a"),
    "item's unit": (["a,mg/dL,lab:1 [kPa]"], "name,unit,mimic", "row 2: unit 'kpa' of item"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_users_own_list_is_one_line_that_says_where(mistake: str, tmp_path: Path) -> None:
    rows, header, told = MISTAKES[mistake]
    own = written(tmp_path, *rows, header=header)
    with pytest.raises(UserError) as caught:
        signals.read(own)
        items.read(own, *(name for name in ("mimic", "eicu") if name in COLUMNS))
    assert (
        told.lower() in str(caught.value).lower()
        and str(caught.value).startswith(own)
        and "\n" not in str(caught.value)
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "is neither benchmark nor wide nor a file"),
        (b"name,label\n\xff\xfe,x\n", "not a CSV in UTF-8"),
        (b"", "has no column 'name'"),
    ],
)
def test_the_command_line_refuses_a_list_that_cannot_be_read_before_any_work(
    content: bytes | None, told: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "own.csv").write_bytes(content)
    config = 'dataset = "d"\nrun_name = "r"\n[paths]\nraw_dir = "raw"\n[source]\nname = "mimic4"\nsignals = "own.csv"\n'
    (tmp_path / "c.toml").write_text(config)
    done = run(tmp_path, "--stage", "convert", "--config", "c.toml")
    assert done.returncode == 2 and told in done.stderr and not (tmp_path / "data").exists()


def test_a_list_of_many_items_keeps_the_items_of_a_sum_apart(tmp_path: Path) -> None:
    """Two of one rank at one time with the same value would count once; there is no end to their number."""
    rows = [
        f"s{n},,mL,sum,output:{n}; output:{n + 1000},nurseCharting:a|{n}; nurseCharting:b|{n}" for n in range(1, 301)
    ]
    own = written(tmp_path, *rows, header="name,label,unit,hour,mimic,eicu")
    of_eicu = items.wanted(own, "eicu").of("nurseCharting")
    for table in (item_table(items.wanted(own, "mimic")), eicu_items.item_table(of_eicu)):
        assert table.height == table["rank"].n_unique() == 600


def test_rates_of_infusions_are_converted() -> None:
    found = unit_forms.forms("mL/hour"), unit_forms.forms("mcg/hour")
    assert found[0] and found[1]
    assert (found[0]["l/hour"], found[0]["ml/min"]) == ((1000, 0), (60, 0))
    assert found[1]["mg/hour"] == (1000, 0) and found[1]["mg/min"][0] == pytest.approx(60_000)


# A unit of a list of one's own, with a molar mass and charge; a value in another unit; and what that is in the list's.
OWN = [
    ("fL", 0, 0, 90, "um3", 90),
    ("pg", 0, 0, 30, "picograms", 30),
    ("mOsm/kg", 0, 0, 290, "mOsm/kg H2O", 290),
    ("mOsm/kg", 0, 0, 290, "mmol/kg", 290),
    ("mIU/L", 0, 0, 2.5, "u[IU]/mL", 2.5),
    ("uIU/mL", 0, 0, 2.5, "mcU/ml", 2.5),
    ("IU/mL", 0, 0, 300, "mIU/mL", 0.3),
    ("mm/hour", 0, 0, 20, "mm/hr", 20),
    ("mg/g", 0, 0, 0.03, "mg/mg", 30),
    ("ng/mL FEU", 0, 0, 0.5, "ug{FEU}/mL", 500),
    ("/hpf", 0, 0, 5, "#/hpf", 5),
    ("L/min/m2", 0, 0, 2.5, "L/min/m^2", 2.5),
    ("dynes*sec/cm5", 0, 0, 1200, "dyn.s/cm5", 1200),
    ("minutes", 0, 0, 90, "sec", 1.5),
    ("mEq/hour", 0, 0, 10, "mEq./hour", 10),
    ("mEq/hour", 74.55, 1, 0.7455, "grams/hour", 10),
    ("mEq/hour", 40.08, 2, 5, "mmol/h", 10),
    ("mmol/hour", 0, 0, 0.1, "mmol/min", 6),
    ("mcg/hour", 180.156, 0, 1, "mmol/h", 180156),
    ("g/hour", 0, 0, 100, "mg/min", 6),
    ("units/kg/hour", 0, 0, 18, "U/kg/h", 18),
    ("mL/kg/hour", 0, 0, 0.5, "mL/kg/h", 0.5),
    ("mcg/kg/min", 0, 0, 60, "ug/kg/h", 1),
    ("mg/24hr", 0, 0, 1, "mg/hour", 24),
    ("mg/hour", 0, 0, 240, "mg/(24.h)", 10),
    ("mmol/hour", 0, 0, 48, "mmol/24 hrs", 2),
    ("mL/hour", 0, 0, 2.4, "L/day", 100),
    ("mg/dL", 0, 0, 5, "mg/Liter", 0.5),
    ("mmol/L", 0, 0, 90, "umol/Liter", 0.09),
    ("mEq/L", 0, 0, 4, "mval/l", 4),
    ("K/uL", 0, 0, 9.8, "/nl", 9.8),
    ("K/uL", 0, 0, 240, "Gpt/l", 240),
    ("K/uL", 0, 0, 240, "10^3/mcL", 240),
    ("M/uL", 0, 0, 4.5, "/pl", 4.5),
    ("M/uL", 0, 0, 4.5, "Tpt/l", 4.5),
    ("cmH2O", 0, 0, 10, "mbar", 10.19716),
    ("mmHg", 0, 0, 10, "mbar", 7.50061683),
]


@pytest.mark.parametrize(("unit", "molar_mass", "charge", "value", "other", "right"), OWN)
def test_units_of_laboratories_and_infusions_may_stand_in_a_list_of_ones_own(
    unit: str, molar_mass: float, charge: int, value: float, other: str, right: float, tmp_path: Path
) -> None:
    row = f"own,own,{unit},{molar_mass or ''},{charge or ''},lab:1"
    (signal,) = signals.read(written(tmp_path, row, header="name,label,unit,molar_mass,charge,mimic"))
    rows = pl.DataFrame({"code": ["own"], "unit": [other]})
    same = (pl.lit(1.0), pl.lit(0.0))
    found = rows.select(units.converted(pl.lit(float(value)), pl.col("code"), pl.col("unit"), same, (signal,))).item()
    assert found == pytest.approx(right, rel=1e-6)


@pytest.mark.parametrize(
    ("unit", "other"),
    [
        ("mOsm/kg", "mOsm/L"),
        ("ng/mL FEU", "ng/mL"),
        ("mEq/hour", "mL/hour"),
        ("mEq/hour", "mEq/L"),
        ("mmol/hour", "mEq/h"),
        ("mg/24hr", "mg/L"),
        ("mg/dL", "mL/dL"),
        ("mg/dL", "Gpt/L"),
    ],
)
def test_what_is_another_quantity_is_not_converted(unit: str, other: str) -> None:
    known = unit_forms.forms(unit)
    assert known and pl.select(units.folded(pl.lit(other))).item() not in known


def test_a_rate_of_sedimentation_is_none_of_an_infusion(tmp_path: Path) -> None:
    own = written(tmp_path, "own,own,mm/hour,input:1")
    with pytest.raises(UserError, match=r"unit 'mm/hour' of own does not fit items in 'input'.*mEq/hour") as error:
        items.read(own, "mimic")
    assert "mm/hour" not in str(error.value).partition("rate:")[2]
