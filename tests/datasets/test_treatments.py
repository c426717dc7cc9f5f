"""Treatments are kept where they were begun in the window, known by then, and counted where they are not."""

import csv
import gzip
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from emerge_ehr import components
from emerge_ehr.config import Cohort, Config, Paths
from emerge_ehr.datasets import treatments
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.fields import Component, UserError
from emerge_ehr.storage import schema
from emerge_ehr.storage.table_files import read_table
from tests import dated_tables, treated_demo

Once = Callable[[str, Callable[[Path], None]], Path]
FILE = Path("treatments.csv")
START = datetime(2150, 1, 1, 8)
END = START + timedelta(hours=48)
COHORT = pl.DataFrame(
    {"patient_id": ["1"], "hadm_id": ["10"], "stay_id": ["100"], "window_start": [START], "window_end": [END]}
)


def row(
    start: str | None, end: str | None = None, ordered: str | None = None, drug: str | None = "Heparin"
) -> tuple[str | None, ...]:
    return ("1", start, end, ordered, drug, None, None, "prescription")


def rows(*given: tuple[str | None, ...]) -> pl.DataFrame:
    return pl.DataFrame(list(given), schema=dict.fromkeys(treatments.RAW, pl.String), orient="row")


LEFT_OUT = {
    "without a start": row(None),
    "with a start that is not a time": row("soon"),
    "without the name of a drug": row("2150-01-01 09:00:00", drug=" "),
    "begun before the window": row("2150-01-01 07:59:59"),
    "begun after the window": row("2150-01-03 08:00:00"),
    "ordered after the window, though begun inside it by their start": row(
        "2150-01-02 09:00:00", ordered="2150-01-03 08:00:00"
    ),
    "that ended before they began, as orders that were cancelled": row("2150-01-02 09:00:00", "2150-01-02 08:00:00"),
}


def test_times_of_which_only_some_state_a_zone_are_refused() -> None:
    mixed = rows(row("2150-01-01 09:00:00Z"), row("2150-01-01 10:00:00"))
    told = r"^treatments.csv: start_time has times with a zone \('2150-01-01 09:00:00Z'\) and times without one \('2150-01-01 10"
    with pytest.raises(UserError, match=told):
        treatments.of_windows(mixed, COHORT, FILE)


@pytest.mark.parametrize("reason", LEFT_OUT)
def test_a_row_that_tells_nothing_of_the_window_is_left_out_and_counted(reason: str) -> None:
    found = treatments.of_windows(rows(LEFT_OUT[reason], row("2150-01-01 08:00:00")), COHORT, FILE)
    assert found.table["start_time"].to_list() == [START]
    assert found.counts == {"rows of the cohort's stays": 2, reason: 1}
    assert bool(found.warnings) == (reason in treatments.DAMAGED)


@pytest.mark.parametrize(
    ("given", "start", "end"),
    [
        (row("2150-01-02 09:00:00", "2150-01-03 07:59:59"), datetime(2150, 1, 2, 9), datetime(2150, 1, 3, 7, 59, 59)),
        (
            row("2150-01-02 09:00:00", "2150-01-03 08:00:00"),
            datetime(2150, 1, 2, 9),
            None,
        ),  # the end is not known in the window
        (row("2150-01-02 09:00:00", "later"), datetime(2150, 1, 2, 9), None),
        (
            row("2150-01-02 09:00:00", None, "2150-01-02 11:30:00"),
            datetime(2150, 1, 2, 11, 30),
            None,
        ),  # known from the order on
        (row("2150-01-02"), datetime(2150, 1, 2, 23, 59, 59), None),
    ],
)
def test_no_more_is_kept_than_was_known_in_the_window(
    given: tuple[str | None, ...], start: datetime, end: datetime | None
) -> None:
    assert treatments.of_windows(rows(given), COHORT, FILE).table.select("start_time", "end_time").row(0) == (
        start,
        end,
    )


def test_rows_that_stand_twice_are_one_and_rows_of_others_are_none() -> None:
    once = row("2150-01-02 09:00:00")
    found = treatments.of_windows(rows(once, once, ("2", *once[1:])), COHORT, FILE)
    assert found.table.height == 1 and found.counts["that stand twice, the second left out"] == 1


def write(path: Path, header: str, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as file:
        file.write("\n".join([header, *lines]) + "\n")


def given(name: str, folder: Path) -> treatments.Treatments:
    found = components.call(
        "treatments", "source", Component(name, {"treatments": True}), raw_dir=folder, cohort=COHORT, match="stay_id"
    )
    assert isinstance(found, treatments.Treatments)
    return found


def test_mimic3_has_dates_of_prescriptions_and_times_of_infusions_of_both_systems(tmp_path: Path) -> None:
    write(
        tmp_path / "PRESCRIPTIONS.csv.gz",
        "HADM_ID,STARTDATE,ENDDATE,DRUG_TYPE,DRUG,DOSE_VAL_RX,DOSE_UNIT_RX,ROUTE",
        "10,2150-01-02 00:00:00,2150-01-02 00:00:00,MAIN,Metoprolol,25,mg,PO",
        "10,2150-01-02 00:00:00,2150-01-02 00:00:00,BASE,D5W,250,ml,IV",
        "10,2150-01-03 00:00:00,,MAIN,Aspirin,325,mg,PO",
        "11,2150-01-02 00:00:00,,MAIN,Warfarin,5,mg,PO",
    )
    write(tmp_path / "D_ITEMS.csv.gz", "ITEMID,LABEL", "221906,Norepinephrine", "30120,Levophed-k")
    write(
        tmp_path / "INPUTEVENTS_MV.csv.gz",
        "ICUSTAY_ID,HADM_ID,STARTTIME,ENDTIME,ITEMID,RATE,RATEUOM,STATUSDESCRIPTION",
        "100,10,2150-01-01 09:00:00,2150-01-01 10:00:00,221906,0.1,mcg/kg/min,FinishedRunning",
        "100,10,2150-01-01 10:00:00,2150-01-01 11:00:00,221906,0.2,mcg/kg/min,Rewritten",
    )
    write(
        tmp_path / "INPUTEVENTS_CV.csv.gz",
        "ICUSTAY_ID,HADM_ID,CHARTTIME,ITEMID,RATE,RATEUOM",
        "100,10,2150-01-01 12:00:00,30120,5,mcgmin",
        "101,10,2150-01-01 12:00:00,30120,5,mcgmin",
    )
    found = given("mimic3", tmp_path)
    assert found.table.select("start_time", "end_time", "drug", "dose", "kind").rows() == [
        (datetime(2150, 1, 1, 9), datetime(2150, 1, 1, 10), "Norepinephrine", "0.1 mcg/kg/min", "infusion"),
        (datetime(2150, 1, 1, 12), None, "Levophed-k", "5 mcgmin", "infusion"),
        # a date is known at its end: that of aspirin ends after the window
        (datetime(2150, 1, 2, 23, 59, 59), datetime(2150, 1, 2, 23, 59, 59), "Metoprolol", "25 mg", "prescription"),
    ]
    assert found.counts["rows of the cohort's stays that are diluents (drug_type BASE), left out"] == 1
    assert found.counts["rows of the cohort's stays that others correct (Rewritten), left out"] == 1
    assert found.counts["begun after the window"] == 1


@pytest.fixture(scope="module")
def demo(demo_config: Config, once: Once) -> Path:
    return treated_demo.made(demo_config, once) / "tables"


@pytest.mark.slow
def test_the_demos_treatments_are_those_of_a_plain_loop(demo: Path, demo_config: Config) -> None:
    cohort = read_table(demo, schema.COHORT)
    of_admission: dict[str, list[tuple[str, datetime, datetime]]] = {}
    for patient, hadm, start, end in cohort.select("patient_id", "hadm_id", "window_start", "window_end").rows():
        of_admission.setdefault(hadm, []).append((patient, start, end))
    of_stay = {patient: (start, end) for own in of_admission.values() for patient, start, end in own}
    expected: set[tuple[str, datetime, str, str]] = set()
    raw = demo_config.paths.raw_dir
    with gzip.open(raw / "hosp" / "pharmacy.csv.gz", "rt") as file:
        entered = {one["pharmacy_id"]: one["entertime"] for one in csv.DictReader(file)}
    with gzip.open(raw / "hosp" / "prescriptions.csv.gz", "rt") as file:
        for one in csv.DictReader(file):
            begun = datetime.fromisoformat(one["starttime"])
            order = datetime.fromisoformat(entered.get(one["pharmacy_id"]) or one["starttime"])
            cancelled = bool(one["stoptime"]) and datetime.fromisoformat(one["stoptime"]) < begun
            for patient, start, end in of_admission.get(one["hadm_id"], []):
                if one["drug_type"] != "BASE" and not cancelled and start <= begun < end and order < end:
                    expected.add((patient, max(begun, order), one["drug"].strip(), "prescription"))
    with gzip.open(raw / "icu" / "d_items.csv.gz", "rt") as file:
        labels = {one["itemid"]: one["label"] for one in csv.DictReader(file)}
    with gzip.open(raw / "icu" / "inputevents.csv.gz", "rt") as file:
        for one in csv.DictReader(file):
            begun = datetime.fromisoformat(one["starttime"])
            if one["stay_id"] in of_stay and of_stay[one["stay_id"]][0] <= begun < of_stay[one["stay_id"]][1]:
                expected.add((one["stay_id"], begun, labels[one["itemid"]], "infusion"))
    found = read_table(demo, schema.TREATMENTS)
    assert set(found.select("patient_id", "start_time", "drug", "kind").rows()) == expected
    assert Counter(found["kind"].to_list()).keys() == {"prescription", "infusion"}
    ends = found.join(cohort.select("patient_id", "window_end"), on="patient_id").filter(
        pl.col("end_time") >= pl.col("window_end")
    )
    assert ends.is_empty()


@pytest.mark.slow
def test_without_the_option_the_demos_tables_are_the_same_and_treatments_of_before_are_removed(
    demo: Path, demo_config: Config, tmp_path: Path
) -> None:
    plain = replace(demo_config, paths=replace(demo_config.paths, table_dir=tmp_path / "tables"))
    (tmp_path / "tables").mkdir()
    for name in (schema.PROVENANCE, schema.TREATMENTS.file):
        (tmp_path / "tables" / name).write_bytes((demo / name).read_bytes())
    convert.run(plain)
    assert not (tmp_path / "tables" / schema.TREATMENTS.file).exists()
    for table in schema.TABLES:
        assert (tmp_path / "tables" / table.file).read_bytes() == (demo / table.file).read_bytes()
    without, with_them = (
        json.loads((folder / schema.PROVENANCE).read_text()) for folder in (tmp_path / "tables", demo)
    )
    assert "treatments" not in without and with_them["treatments"]["rows"] > 0
    told = ("treatments", "source", "inputs", "tables", "inputs_open")
    assert {k: v for k, v in without.items() if k not in told} == {k: v for k, v in with_them.items() if k not in told}
    more = {Path(name).name for name in with_them["inputs"].keys() - without["inputs"].keys()}
    assert more == {"prescriptions.csv.gz", "pharmacy.csv.gz", "inputevents.csv.gz", "d_items.csv.gz"}


def own(folder: Path, **options: bool) -> Config:
    paths = Paths(raw_dir=folder / "raw", table_dir=folder / "tables")
    cohort = Cohort(min_stay_hours=0, window="whole", bin_hours=24)
    source, task = Component("tables", options), Component("given")
    return Config(dataset="own", run_name="own", paths=paths, source=source, task=task, cohort=cohort)


def treatment(patient: str, start: str, drug: str = "Metoprolol", kind: str = "prescription") -> dict[str, str]:
    return {
        "patient_id": patient,
        "start_time": start,
        "end_time": "",
        "drug": drug,
        "route": "PO",
        "dose": "",
        "kind": kind,
    }


def test_a_hospitals_own_treatments_are_read_where_they_are_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dynamic, _ = dated_tables.generate(tmp_path / "raw")
    day = dynamic[0]["event_time"]
    table = tmp_path / "raw" / schema.TREATMENTS.file
    with pytest.raises(UserError, match=r"treatments\.csv: missing; source\.treatments = true needs it"):
        convert.run(own(tmp_path, treatments=True))
    dated_tables.write(
        table, [treatment("1", day), treatment("1", "", "Aspirin"), treatment("1", "x"), treatment("99", day)]
    )
    convert.run(own(tmp_path))
    assert "treatments.csv is not read; source.treatments = true would read it" in caplog.text
    assert not (tmp_path / "tables" / schema.TREATMENTS.file).exists()
    convert.run(own(tmp_path, treatments=True))
    assert read_table(tmp_path / "tables", schema.TREATMENTS)["drug"].to_list() == ["Metoprolol"]
    counts = json.loads((tmp_path / "tables" / schema.PROVENANCE).read_text())["treatments"]["counts"]
    assert counts["without a start"] == counts["with a start that is not a time"] == 1
    assert (counts["rows"], counts["rows of the cohort's stays"]) == (4, 3)
    assert "treatments: 1 of 3 rows are without a start, and left out" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "pill"}, r"row 2: kind 'pill' is not one of prescription, infusion"),
        ({"patient_id": "001"}, r"patient_id '001' is not in .*, which has '1'; write ids one way"),
    ],
)
def test_a_wrong_field_of_own_treatments_is_named(tmp_path: Path, change: dict[str, str], message: str) -> None:
    dynamic, _ = dated_tables.generate(tmp_path / "raw")
    dated_tables.write(
        tmp_path / "raw" / schema.TREATMENTS.file, [{**treatment("1", dynamic[0]["event_time"]), **change}]
    )
    with pytest.raises(UserError, match=message):
        convert.run(own(tmp_path, treatments=True))


def test_a_source_without_treatments_refuses_the_option_and_so_do_pooled_sites(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="treatments"):
        components.build("source", Component("omop", {"treatments": True}), raw_dir=tmp_path, kg_dir=tmp_path, seed=0)
    sites = {name: {"source": {"name": "mimic4", "treatments": True}, "raw_dir": name} for name in ("a", "b")}
    with pytest.raises(UserError, match="pooled sites are read without treatments"):
        components.build("source", Component("pooled", {"sites": sites}), raw_dir=tmp_path, kg_dir=tmp_path, seed=0)
