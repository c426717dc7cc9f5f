"""The wide list of signals on the real demos: every row against a plain loop, medians, windows, and the default as it was."""

import csv
import dataclasses
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from emerge_ehr.config import Config
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.fields import Component
from emerge_ehr.signals import signals
from emerge_ehr.signals.signals import SIGNAL_BY_NAME
from tests.conftest import Once
from tests.datasets.convert.test_convert import rows
from tests.places import SHARED

FORM = "%Y-%m-%d %H:%M:%S"
# What the default gave before lists of signals were files: SHA-256 of the measurements of each demo.
BEFORE = {
    "mimic4": ("mimic-iv-demo-2.2", "c9e2b189229da046a97bc844fc57ec2998aba28df228f3115bc47d0fda9f280c"),
    "mimic3": ("mimic-iii-demo-1.4-half", "ed43457de659727dd158ae0b627b15eb96878297eba30c597f802836e02e8e91"),
    "eicu": ("eicu-crd-demo-2.0-half", "499bfd55035ea38c339c55197d97620b5ff01e90c026b6e8f26389417076ddb7"),
}
SOURCES = [pytest.param(name, marks=[] if name == "mimic4" else [pytest.mark.slow]) for name in BEFORE]
# Medians of adult ICU patients that clinicians would expect.
MEDIANS = {
    "albumin": (2.2, 4),
    "anion_gap": (8, 18),
    "bicarbonate": (20, 28),
    "bilirubin": (0.3, 3),
    "blood_urea_nitrogen": (12, 40),
    "calcium": (7.5, 9.5),
    "chloride": (98, 110),
    "creatinine": (0.7, 2),
    "hematocrit": (25, 38),
    "hemoglobin": (8, 13),
    "international_normalized_ratio": (1, 2),
    "ionized_calcium": (1, 1.3),
    "lactate": (1, 4),
    "magnesium": (1.6, 2.4),
    "arterial_carbon_dioxide_pressure": (33, 45),
    "arterial_oxygen_pressure": (75, 150),
    "partial_thromboplastin_time": (25, 50),
    "phosphate": (2.5, 4.5),
    "platelets": (120, 280),
    "positive_end_expiratory_pressure": (5, 8),
    "potassium": (3.5, 4.7),
    "prothrombin_time": (11, 20),
    "sodium": (134, 144),
    "white_blood_cells": (7, 15),
}


def converted(source: str, shared: Config, folder: Path, **options: Any) -> None:
    """The tables of a demo, with these options of its source."""
    raw = SHARED / BEFORE[source][0]
    if not raw.is_dir():
        pytest.skip(f"the demo is not at {raw}")
    paths = dataclasses.replace(shared.paths, raw_dir=raw, table_dir=folder)
    convert.run(dataclasses.replace(shared, source=Component(source, options), paths=paths))


@pytest.fixture(scope="module")
def made(demo_config: Config, once: Once) -> Callable[..., Path]:
    """The tables of a source with a list of signals, made once."""

    def of(source: str, chosen: str = "") -> Path:
        options = {"signals": chosen} if chosen else {}
        return once(f"signals_{source}_{chosen}", lambda folder: converted(source, demo_config, folder, **options))

    return of


def dynamic(folder: Path) -> pl.DataFrame:
    return pl.read_csv(folder / "dynamic.csv", schema_overrides={"patient_id": pl.String}, try_parse_dates=True)


@pytest.mark.parametrize("source", SOURCES)
def test_without_the_key_the_measurements_are_those_of_before_byte_for_byte_and_within_the_wide_list_too(
    source: str, made: Callable[..., Path]
) -> None:
    alone = made(source)
    assert hashlib.sha256((alone / "dynamic.csv").read_bytes()).hexdigest() == BEFORE[source][1]
    among = dynamic(made(source, "wide")).filter(pl.col("code").is_in(list(SIGNAL_BY_NAME)))
    assert among.equals(dynamic(alone))


@pytest.mark.parametrize("source", SOURCES)
def test_medians_are_those_of_adult_icu_patients_and_no_row_is_outside_its_window(
    source: str, made: Callable[..., Path]
) -> None:
    folder = made(source, "wide")
    found = dynamic(folder)
    medians = dict(found.group_by("code").agg(pl.col("value").median()).rows())
    for code, (low, high) in MEDIANS.items():
        assert low <= medians[code] <= high, (source, code, medians[code])
    cohort = pl.read_csv(folder / "cohort.csv", schema_overrides={"patient_id": pl.String}, try_parse_dates=True)
    placed = found.join(cohort, on="patient_id")
    assert placed.height == found.height
    assert placed["event_time"].is_between(placed["window_start"], placed["window_end"], closed="left").all()
    plausible = {signal.name: signal.plausible for signal in signals.read("wide")}
    for code, low, high in (
        found.group_by("code").agg(pl.col("value").min(), pl.col("value").max().alias("high")).rows()
    ):
        if code != "urine_output":
            assert plausible[code][0] <= low <= high <= plausible[code][1], code


@pytest.mark.parametrize("source", SOURCES)
def test_what_a_source_does_not_have_is_told(source: str, made: Callable[..., Path]) -> None:
    folder = made(source, "wide")
    told = "\n".join(json.loads((folder / "provenance.json").read_text())["warnings"])
    if source == "mimic3":
        assert "OUTPUTEVENTS.csv.gz is missing: without urine_output" in told
        assert "INPUTEVENTS_MV.csv.gz is missing: without norepinephrine and vasopressors" in told
        assert "PROCEDUREEVENTS_MV.csv.gz is missing: without ventilation" in told
    if source == "eicu":
        assert "names no item of this source for capillary_refill_rate, urine_output and norepinephrine" in told
    if source == "mimic4":
        assert "is missing" not in told and "no item of this source" not in told


@pytest.fixture(scope="module")
def long_stays(demo_raw: Path) -> dict[str, datetime]:
    stays = {row["stay_id"]: row for row in rows(demo_raw / "icu" / "icustays.csv.gz")}
    return {stay: datetime.strptime(row["intime"], FORM) for stay, row in stays.items() if float(row["los"]) >= 2}


def of_mimic4(made: Callable[..., Path], code: str) -> dict[tuple[str, datetime], float]:
    with (made("mimic4", "wide") / "dynamic.csv").open(newline="") as file:
        found = [row for row in csv.DictReader(file) if row["code"] == code]
    return {(row["patient_id"], datetime.strptime(row["event_time"], FORM)): float(row["value"]) for row in found}


def test_urine_is_the_sum_of_all_items_at_a_time(
    made: Callable[..., Path], demo_raw: Path, long_stays: dict[str, datetime]
) -> None:
    found = of_mimic4(made, "urine_output")
    items = {"226559", "226560", "226561", "226563", "226564", "226565", "226567", "226557", "226558", "226584"}
    sums: dict[tuple[str, datetime], float] = defaultdict(float)
    for row in rows(demo_raw / "icu" / "outputevents.csv.gz"):
        time, start = datetime.strptime(row["charttime"], FORM), long_stays.get(row["stay_id"])
        if row["itemid"] in items and start is not None and start <= time < start + timedelta(hours=48):
            sums[row["stay_id"], time] += float(row["value"])
    assert found == pytest.approx(sums) and len(sums) > 2000


def test_norepinephrine_and_ventilation_are_what_ran_at_that_time(
    made: Callable[..., Path], demo_raw: Path, long_stays: dict[str, datetime]
) -> None:
    rate, air = of_mimic4(made, "norepinephrine"), of_mimic4(made, "ventilation")
    ran = [row for row in rows(demo_raw / "icu" / "inputevents.csv.gz") if row["itemid"] == "221906"]
    blown = [row for row in rows(demo_raw / "icu" / "procedureevents.csv.gz") if row["itemid"] == "225792"]

    def at(of: list[dict[str, str]], stay: str, time: datetime) -> list[dict[str, str]]:
        own = (row for row in of if row["stay_id"] == stay)
        return [
            r for r in own if datetime.strptime(r["starttime"], FORM) <= time < datetime.strptime(r["endtime"], FORM)
        ]

    for (stay, time), value in rate.items():
        assert value == pytest.approx(max((float(row["rate"]) for row in at(ran, stay, time)), default=0), rel=1e-6)
    assert all(value == bool(at(blown, stay, time)) for (stay, time), value in air.items())
    for found in (rate, air):
        hours = {(stay, start + timedelta(hours=hour)) for stay, start in long_stays.items() for hour in range(48)}
        covered = {stay for stay, _ in found}
        assert {key for key in hours if key[0] in covered} <= set(found)  # 0 where nothing ran
    assert max(rate.values()) > 0.1 and 0 < sum(air.values()) < len(air)


def test_potassium_is_what_the_laboratory_measured(
    made: Callable[..., Path], demo_raw: Path, long_stays: dict[str, datetime]
) -> None:
    found = of_mimic4(made, "potassium")
    whose = {row["stay_id"]: row for row in rows(demo_raw / "icu" / "icustays.csv.gz") if row["stay_id"] in long_stays}
    drawn: dict[tuple[str, datetime], set[float]] = defaultdict(set)
    for row in rows(demo_raw / "hosp" / "labevents.csv.gz"):
        if row["itemid"] in ("50971", "50822", "52610", "52452") and row["valuenum"]:
            time = datetime.strptime(row["charttime"], FORM)
            for stay, record in whose.items():
                same = row["subject_id"] == record["subject_id"] and row["hadm_id"] in ("", record["hadm_id"])
                if same and long_stays[stay] <= time < long_stays[stay] + timedelta(hours=48):
                    drawn[stay, time].add(float(row["valuenum"]))
    assert set(found) == {key for key, values in drawn.items() if any(1 <= value <= 15 for value in values)}
    assert all(
        found[key] == pytest.approx(sum(values) / len(values)) for key, values in drawn.items() if len(values) < 3
    )


@pytest.mark.slow
def test_ventilation_of_eicu_does_not_use_what_was_written_after_the_window(
    made: Callable[..., Path], demo_config: Config, tmp_path: Path
) -> None:
    folder = made("eicu", "wide")
    raw = tmp_path / "raw"
    raw.mkdir()
    for path in (SHARED / BEFORE["eicu"][0]).glob("*.csv.gz"):
        if path.name != "respiratoryCare.csv.gz":
            (raw / path.name).symlink_to(path)
    table = pl.read_csv(SHARED / BEFORE["eicu"][0] / "respiratoryCare.csv.gz", infer_schema=False)
    late = pl.col("respcarestatusoffset").cast(pl.Int64) >= 48 * 60
    offsets = [name for name in table.columns if name.endswith("offset") and name != "respcarestatusoffset"]
    changed = table.with_columns(pl.when(late).then(pl.lit("60")).otherwise(name).alias(name) for name in offsets)
    assert table.filter(late).height > 100
    changed.write_csv(raw / "respiratoryCare.csv")
    paths = dataclasses.replace(demo_config.paths, raw_dir=raw, table_dir=tmp_path / "tables")
    convert.run(dataclasses.replace(demo_config, source=Component("eicu", {"signals": "wide"}), paths=paths))
    assert (tmp_path / "tables" / "dynamic.csv").read_bytes() == (folder / "dynamic.csv").read_bytes()
