"""What eICU's orders and infusions become, against a plain loop over generated files of the documented layout."""

import csv
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from emerge_ehr import components
from emerge_ehr.datasets.treatments import Treatments
from emerge_ehr.fields import Component, UserError
from tests.datasets.sources.examples.eicu import COLUMNS, ORIGIN

ORDERS = (
    "medicationid,patientunitstayid,drugorderoffset,drugstartoffset,drugivadmixture,drugordercancelled,drugname,drughiclseqno,"
    "dosage,routeadmin,frequency,loadingdose,prn,drugstopoffset,gtc"
)
RATES = "infusiondrugid,patientunitstayid,infusionoffset,drugname,drugrate,infusionrate,drugamount,volumeoffluid,patientweight"
ADMITTED = {
    100: -90,
    200: 0,
    300: -600,
}  # unit stay -> hospitaladmitoffset; the first and last are of one hospital stay
ADMISSION = {100: 10, 200: 20, 300: 10}
HOURS = 24


def write(path: Path, header: str, rows: Sequence[dict[str, object]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, header.split(","), restval="")
        writer.writeheader()
        writer.writerows(rows)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def at(stay: int, offset: int) -> datetime:
    return ORIGIN + timedelta(minutes=offset - ADMITTED[stay])


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eicu")
    draw = random.Random(5)
    patients = [
        {"patientunitstayid": stay, "patienthealthsystemstayid": ADMISSION[stay], "hospitaladmitoffset": offset}
        for stay, offset in ADMITTED.items()
    ]
    write(folder / "patient.csv", COLUMNS["patient"], patients)
    beat = [{"patientunitstayid": 100, "observationoffset": 5, "heartrate": 80}]
    write(folder / "vitalPeriodic.csv", COLUMNS["vitalPeriodic"], beat)
    orders, rates = [], []
    for number in range(400):
        stay, start = draw.choice([*ADMITTED, 999]), draw.randrange(-300, 2400)
        orders.append(
            {
                "medicationid": number,
                "patientunitstayid": stay,
                "drugorderoffset": start + draw.choice([-30, 0, 0, 90]),
                "drugstartoffset": start,
                "drugstopoffset": draw.choice([0, start + 60, start + 2000]),
                "drugordercancelled": draw.choice(["No", "No", "Yes"]),
                "drugname": draw.choice(["HEPARIN", "Metoprolol", ""]),
                "dosage": draw.choice(["", "5 mg"]),
                "routeadmin": draw.choice(["IV", "PO"]),
            }
        )
        rates.append(
            {
                "infusiondrugid": number,
                "patientunitstayid": stay,
                "infusionoffset": start,
                "drugname": "Norepinephrine (mcg/min)",
                "drugrate": draw.choice(["8", "0", "0.0", "OFF", "", "0.5", "30 mcg/hr"]),
                "infusionrate": draw.choice(["", "12", "0"]),
            }
        )
    write(folder / "medication.csv", ORDERS, orders)
    write(folder / "infusionDrug.csv", RATES, rates)
    return folder


def cohort(stays: Sequence[int], anchor: str) -> pl.DataFrame:
    rows = [
        {
            "patient_id": str(stay if anchor == "stay_id" else ADMISSION[stay]),
            "stay_id": str(stay),
            "start": at(stay, 0),
        }
        for stay in stays
    ]
    frame = pl.DataFrame(rows).with_columns(
        pl.col("stay_id").cast(pl.Int64).replace_strict(ADMISSION).cast(pl.String).alias("hadm_id"),
        pl.col("start").alias("window_start"),
        (pl.col("start") + timedelta(hours=HOURS)).alias("window_end"),
    )
    return frame.drop("start")


def given(raw: Path, samples: pl.DataFrame, match: str) -> Treatments:
    found: Treatments = components.call(
        "treatments", "source", Component("eicu", {"treatments": True}), raw_dir=raw, cohort=samples, match=match
    )
    return found


def expected(raw: Path, samples: pl.DataFrame, match: str) -> set[tuple[object, ...]]:
    """Patient, start, end, drug, route, dose and kind, by a loop over the raw rows."""
    found: set[tuple[object, ...]] = set()
    for sample in samples.iter_rows(named=True):
        own = {stay for stay in ADMITTED if str(stay if match == "stay_id" else ADMISSION[stay]) == sample[match]}
        inside = (sample["window_start"], sample["window_end"])
        for row in read(raw / "medication.csv"):
            stay = int(row["patientunitstayid"])
            if stay not in own or row["drugordercancelled"] == "Yes" or not row["drugname"]:
                continue
            begun, ordered = at(stay, int(row["drugstartoffset"])), at(stay, int(row["drugorderoffset"]))
            known, stop = max(begun, ordered), at(stay, int(row["drugstopoffset"]))
            if inside[0] <= begun and known < inside[1]:
                end = stop if known <= stop < inside[1] else None
                texts = (row["drugname"], row["routeadmin"], row["dosage"] or None)
                found.add((sample["patient_id"], known, end, *texts, "prescription"))
        for row in read(raw / "infusionDrug.csv"):
            stay = int(row["patientunitstayid"])
            if stay not in own or (row["drugrate"] or row["infusionrate"]) in ("0", "0.0", "OFF"):
                continue
            begun, dose = at(stay, int(row["infusionoffset"])), row["drugrate"] or None
            if inside[0] <= begun < inside[1]:
                found.add((sample["patient_id"], begun, None, row["drugname"], None, dose, "infusion"))
    return found


@pytest.mark.parametrize(("stays", "match"), [([100, 200, 300], "stay_id"), ([100, 200], "hadm_id")])
def test_orders_and_infusions_are_those_of_a_plain_loop(raw: Path, stays: list[int], match: str) -> None:
    samples = cohort(stays, match)
    found = given(raw, samples, match)
    rows = found.table.select("patient_id", "start_time", "end_time", "drug", "route", "dose", "kind").rows()
    assert set(rows) == expected(raw, samples, match) and len(rows) == len(set(rows)) > 50
    assert {row[-1] for row in rows} == {"prescription", "infusion"}
    assert all(found.counts[reason] for reason in found.counts) and sum("cancelled" in one for one in found.counts) == 1


def test_what_is_begun_or_ordered_after_the_window_changes_nothing(raw: Path, tmp_path: Path) -> None:
    samples = cohort([100, 200, 300], "stay_id")
    late = str(HOURS * 60)
    for name, header in (("patient", COLUMNS["patient"]), ("medication", ORDERS), ("infusionDrug", RATES)):
        rows = read(raw / f"{name}.csv")
        if name == "medication":
            rows += [{**row, "drugorderoffset": late, "drugname": "LATE"} for row in rows]
        if name == "infusionDrug":
            rows += [{**row, "infusionoffset": late, "drugname": "LATE"} for row in rows]
        write(tmp_path / f"{name}.csv", header, rows)
    assert given(tmp_path, samples, "stay_id").table.equals(given(raw, samples, "stay_id").table)


def test_a_file_that_was_asked_for_and_is_missing_is_named(raw: Path, tmp_path: Path) -> None:
    for path in raw.glob("*.csv"):
        if path.stem != "infusionDrug":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    made = components.build(
        "source", Component("eicu", {"treatments": True}), raw_dir=tmp_path, kg_dir=tmp_path, seed=0
    )
    with pytest.raises(UserError, match="infusionDrug"):
        made.inputs()
    without = components.build("source", Component("eicu", {}), raw_dir=tmp_path, kg_dir=tmp_path, seed=0)
    assert "medication.csv" not in {path.name for path in without.inputs()}
    asked = components.build("source", Component("eicu", {"treatments": True}), raw_dir=raw, kg_dir=raw, seed=0)
    assert {"medication.csv", "infusionDrug.csv"} <= {path.name for path in asked.inputs()}
