"""Stage convert on the real MIMIC-IV demo, against a plain pandas-free loop, and on damaged files."""

import csv
import dataclasses
import gzip
import json
import math
import shutil
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from emerge_ehr.config import Config
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.fields import UserError
from emerge_ehr.signals.signals import SIGNAL_BY_NAME
from emerge_ehr.storage import schema
from emerge_ehr.storage.table_files import read_table
from tests.datasets.plain_loops import one_per_moment
from tests.mimic_items import CHART, LAB

# Clinically plausible medians of adult ICU patients' first two days.
MEDIANS = {
    "diastolic_blood_pressure": (45, 80),
    "fraction_inspired_oxygen": (0.3, 0.7),
    "gcs_eye": (2, 4),
    "gcs_motor": (4, 6),
    "gcs_total": (8, 15),
    "gcs_verbal": (1, 5),
    "glucose": (100, 180),
    "heart_rate": (70, 105),
    "height": (155, 185),
    "mean_blood_pressure": (60, 95),
    "oxygen_saturation": (94, 100),
    "respiratory_rate": (14, 24),
    "systolic_blood_pressure": (95, 140),
    "temperature": (36, 37.8),
    "weight": (60, 110),
    "ph": (7.3, 7.45),
}


@pytest.fixture(scope="module")
def tables(demo_config: Config) -> Path:
    convert.run(demo_config)
    return demo_config.table_dir


def rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", newline="") as file:
        return list(csv.DictReader(file))


def test_the_cohort_agrees_with_the_demos_published_numbers(tables: Path) -> None:
    flow = json.loads((tables / schema.PROVENANCE).read_text())["cohort_flow"]
    assert (flow[0]["stays"], flow[0]["patients"]) == (140, 100)
    assert flow[-1]["stays"] == 74
    assert read_table(tables, schema.LABEL)["label_value"].sum() == 12


def test_every_signals_median_is_clinically_plausible(tables: Path) -> None:
    medians = dict(read_table(tables, schema.DYNAMIC).group_by("code").agg(pl.col("value").median()).rows())
    assert set(medians) == set(MEDIANS)
    for code, (low, high) in MEDIANS.items():
        assert low <= medians[code] <= high, (code, medians[code])


ARTERIAL_LINES = {220050, 220051, 220052, 225309, 225310, 225312}
FORM = "%Y-%m-%d %H:%M:%S"


def expected_value(itemid: int, number: str) -> tuple[str, float] | None:
    """One row's canonical value, written out by hand from the units of d_items."""
    if not number or (itemid not in CHART and itemid not in LAB):
        return None
    code, value = ({**CHART, **LAB})[itemid], float(number)
    if itemid == 223761:
        value = (value - 32) * 5 / 9
    elif itemid == 226531:
        value *= 0.45359237
    elif itemid == 226707:
        value *= 2.54
    elif code == "fraction_inspired_oxygen" and value > 1:
        value /= 100
    low, high = SIGNAL_BY_NAME[code].plausible
    value = float(f"{value:.7g}")
    return (code, value) if low <= value <= high else None


def test_every_measurement_equals_a_plain_loop_over_the_raw_rows(tables: Path, demo_raw: Path) -> None:
    stays = {row["stay_id"]: row for row in rows(demo_raw / "icu" / "icustays.csv.gz")}
    long = {k: r for k, r in stays.items() if float(r["los"]) >= 2}
    start = {k: datetime.strptime(r["intime"], FORM) for k, r in long.items()}
    values: list[tuple[str, str, str, float, int]] = []

    def add(stay: str, time: str, itemid: str, number: str) -> None:
        found = expected_value(int(itemid), number)
        early = timedelta(hours=24) if found and found[0] in ("height", "weight") else timedelta(0)
        before = 0  # of heights and weights from before the window, the latest counts
        if start[stay] - early <= datetime.strptime(time, FORM) < start[stay]:
            before = int((start[stay] - datetime.strptime(time, FORM)).total_seconds())
            time = start[stay].strftime(FORM)
        if found and start[stay] <= datetime.strptime(time, FORM) < start[stay] + timedelta(hours=48):
            cuff = "blood_pressure" in found[0] and int(itemid) not in ARTERIAL_LINES
            values.append((stay, time, *found, int(cuff) + before))

    for row in rows(demo_raw / "icu" / "chartevents.csv.gz"):
        if int(row["itemid"]) in CHART:
            for stay, record in long.items():
                same_admission = row["subject_id"] == record["subject_id"] and row["hadm_id"] in ("", record["hadm_id"])
                if row["stay_id"] == stay or (not row["stay_id"] and same_admission):
                    add(stay, row["charttime"], row["itemid"], row["valuenum"])
    for row in rows(demo_raw / "hosp" / "labevents.csv.gz"):
        if int(row["itemid"]) in LAB:
            number = row["valuenum"] or ("500" if row["comments"].startswith("GREATER THAN 500.") else "")
            for stay, record in long.items():
                if record["subject_id"] == row["subject_id"] and row["hadm_id"] in ("", record["hadm_id"]):
                    add(stay, row["charttime"], row["itemid"], number)
    expected = one_per_moment(values)
    with (tables / "dynamic.csv").open(newline="") as file:
        found = [(r["patient_id"], r["event_time"], r["code"], float(r["value"])) for r in csv.DictReader(file)]
    assert len(found) == len({row[:3] for row in found})
    assert Counter(row[2] for row in found) == Counter(row[2] for row in expected)
    for ours, plain in zip(sorted(found), sorted(expected), strict=True):
        assert ours[:3] == plain[:3] and math.isclose(ours[3], plain[3], rel_tol=1e-6)


def test_surrogate_notes_are_marked_and_warned_of(tables: Path) -> None:
    assert set(read_table(tables, schema.NOTES)["note_type"]) == {"surrogate"}
    warnings = json.loads((tables / schema.PROVENANCE).read_text())["warnings"]
    assert any("leak the future" in warning for warning in warnings)


def test_running_twice_changes_no_byte(tables: Path, demo_config: Config) -> None:
    before = {path.name: path.read_bytes() for path in tables.iterdir()}
    convert.run(demo_config)
    assert {path.name: path.read_bytes() for path in tables.iterdir()} == before


def test_an_unzipped_copy_gives_the_same_tables(
    tables: Path, demo_config: Config, demo_raw: Path, tmp_path: Path
) -> None:
    for name in convert.components.build(
        "source", demo_config.source, raw_dir=demo_raw, kg_dir=demo_config.kg_dir, seed=0
    ).inputs():
        target = tmp_path / "raw" / name.relative_to(demo_raw).with_suffix("")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(gzip.decompress(name.read_bytes()))
    convert.run(moved(demo_config, tmp_path / "raw", tmp_path / "out"))
    assert (tmp_path / "out" / "dynamic.csv").read_bytes() == (tables / "dynamic.csv").read_bytes()


def moved(config: Config, raw: Path, out: Path) -> Config:
    return dataclasses.replace(config, paths=dataclasses.replace(config.paths, raw_dir=raw, table_dir=out))


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        ("truncated", "chartevents.csv.gz"),
        ("column", "no column 'itemid'"),
        ("missing", "labevents.csv.gz: missing"),
        ("text", "icustays"),
    ],
)
def test_a_damaged_raw_file_is_one_clear_line_and_writes_nothing(
    demo_config: Config, demo_raw: Path, tmp_path: Path, damage: str, expected: str
) -> None:
    raw = tmp_path / "raw"
    shutil.copytree(demo_raw, raw)
    chart = raw / "icu" / "chartevents.csv.gz"
    if damage == "truncated":
        chart.write_bytes(chart.read_bytes()[: chart.stat().st_size // 2])
    elif damage == "column":
        chart.write_bytes(gzip.compress(b"stay_id,charttime,item,value,valuenum\n1,2,3,4,5\n"))
    elif damage == "missing":
        (raw / "hosp" / "labevents.csv.gz").unlink()
    else:
        stays = raw / "icu" / "icustays.csv.gz"
        stays.write_bytes(gzip.compress(gzip.decompress(stays.read_bytes()).replace(b"31269608", b"abc", 1)))
    with pytest.raises(UserError, match=expected) as caught:
        convert.run(moved(demo_config, raw, tmp_path / "out"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
