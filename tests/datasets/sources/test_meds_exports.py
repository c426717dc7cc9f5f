"""The ready configs for exports of other hospitals' data: each reads the codes that its head says its export writes."""

import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from emerge_ehr import components
from emerge_ehr.config import Config, Paths, load
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.datasets.sources.meds.codes import Coded
from emerge_ehr.datasets.sources.meds.options import Options
from emerge_ehr.fields import Component
from emerge_ehr.signals.signals import SIGNALS
from tests.datasets.sources.examples.meds import COLUMNS, at, write
from tests.places import ROOT

CONFIGS = sorted(path.name for path in (ROOT / "configs").glob("*_meds.toml"))
MISSING = {  # what the head of each config says is not there
    "amsterdamumcdb_meds.toml": {"capillary_refill_rate", "height"},
    "eicu_meds.toml": {"capillary_refill_rate", "gcs_eye", "gcs_motor", "gcs_verbal", "gcs_total"},
    "hirid_meds.toml": {"capillary_refill_rate"},
    "mimic4_meds.toml": set(),
    "sicdb_meds.toml": {"capillary_refill_rate", "gcs_eye", "gcs_motor", "gcs_verbal", "gcs_total"},
}
# signal: how the export charts it (value, unit), and what that is in the signal's own unit
CHARTED = {
    "capillary_refill_rate": (1.0, "UNK", 1.0),
    "diastolic_blood_pressure": (60.0, "mmHg", 60.0),
    "fraction_inspired_oxygen": (40.0, "%", 0.4),
    "gcs_eye": (3.0, "UNK", 3.0),
    "gcs_motor": (5.0, "UNK", 5.0),
    "gcs_verbal": (4.0, "UNK", 4.0),
    "glucose": (6.0, "mmol/L", 108.1),
    "heart_rate": (80.0, "/min", 80.0),
    "height": (170.0, "cm", 170.0),
    "mean_blood_pressure": (75.0, "mmHg", 75.0),
    "oxygen_saturation": (97.0, "%", 97.0),
    "respiratory_rate": (18.0, "/min", 18.0),
    "systolic_blood_pressure": (120.0, "mmHg", 120.0),
    "temperature": (37.0, "°C", 37.0),
    "weight": (70.0, "kg", 70.0),
    "ph": (7.4, "UNK", 7.4),
}
ELSEWHERE = {"fahrenheit": (98.6, "°F"), "inch": (66.93, "Inch"), "pound": (154.32, "lb")}


def code_of(pattern: str, unit: str) -> str:
    """A code that the pattern names, with the unit at its end where it leaves that open."""
    return pattern.removesuffix("*").replace("*", "0") + (unit if pattern.endswith("*") else "")


def stay(options: Options, subject: int, died: bool) -> list[tuple[Any, ...]]:
    """The events of a stay of 100 hours as the export has them: one event where one code is of two kinds."""
    end = next(iter(options.died), "*").replace("*", "x") if died else ""
    discharge = end if end in _of(options.hospital_discharge, end) else options.hospital_discharge[0].replace("*", "45")
    times = {
        options.hospital_admission[0].replace("*", "x"): at(0),
        options.icu_admission[0].replace("*", "x"): at(0),
        options.icu_discharge[0].replace("*", "45")
        if options.icu_discharge != options.hospital_discharge
        else discharge: at(100),
        discharge: at(100),
        options.birth[0]: at(0) - timedelta(days=365.25 * 60),
        **({options.death[0]: at(100)} if died else {}),
    }
    sex = (subject, None, options.gender[0].replace("*", "F"))
    return [sex, *((subject, time, code) for code, time in times.items())]


def _of(patterns: tuple[str, ...], code: str) -> list[str]:
    return [code for pattern in patterns if code.startswith(pattern.split("*")[0])]


@pytest.mark.parametrize("name", CONFIGS)
def test_each_signal_of_a_ready_config_is_read_from_each_of_its_codes(name: str, tmp_path: Path) -> None:
    config = load(ROOT / "configs" / name)
    options: Options = components.options("source", config.source)
    benchmark = {signal.name for signal in SIGNALS if not signal.sum_of}
    assert benchmark - MISSING[name] == set(options.signals)
    rows: list[Any] = [row for subject in (1, 2) for row in stay(options, subject, died=subject == 2)]
    expected: dict[tuple[str, str], float] = {}
    for signal, entries in options.signals.items():
        for number, entry in enumerate(entries):
            given = Coded(entry) if isinstance(entry, str) else entry
            value, unit, own = CHARTED[signal]
            value, unit = ELSEWHERE.get(given.unit, (value, unit))
            rows.append((1, at(1 + number), code_of(given.code, unit), None if given.value else value))
            expected[signal, f"{at(1 + number):%Y-%m-%d %H:%M:%S}"] = given.value or own
    write(tmp_path, rows, COLUMNS)
    paths = Paths(raw_dir=tmp_path, table_dir=tmp_path / "tables")
    convert.run(Config("m", "m", paths, config.source, Component("mortality")))
    dynamic = pl.read_csv(tmp_path / "tables" / "dynamic.csv", infer_schema=False)
    found = {(code, time): float(value) for _, time, code, value in dynamic.rows() if code != "gcs_total"}
    assert found.keys() == expected.keys()
    assert all(found[key] == pytest.approx(value, rel=2e-3) for key, value in expected.items())


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "sicdb_meds.toml"])
def test_who_died_is_read_as_the_head_of_a_ready_config_says(name: str, tmp_path: Path) -> None:
    config = load(ROOT / "configs" / name)
    options: Options = components.options("source", config.source)
    (signal, (entry, *_)) = next(iter(options.signals.items()))
    code = code_of(entry if isinstance(entry, str) else entry.code, CHARTED[signal][1])
    rows: list[Any] = [row for subject in range(1, 5) for row in stay(options, subject, died=subject % 2 == 0)]
    rows += [(subject, at(2), code, CHARTED[signal][0]) for subject in range(1, 5)]
    write(tmp_path, rows, COLUMNS)
    paths = Paths(raw_dir=tmp_path, table_dir=tmp_path / "tables")
    convert.run(Config("m", "m", paths, config.source, Component("mortality")))
    cohort = pl.read_csv(tmp_path / "tables" / "cohort.csv", infer_schema=False)
    labels = pl.read_csv(tmp_path / "tables" / "label.csv", infer_schema=False).join(cohort, on="patient_id")
    assert dict(labels.select("subject_id", "label_value").rows()) == {"1": "0", "2": "1", "3": "0", "4": "1"}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_ready_config_says_what_was_and_was_not_checked(name: str) -> None:
    text = (ROOT / "configs" / name).read_text("utf-8")
    assert tomllib.loads(text)["source"]["name"] == "meds"
    assert name == "mimic4_meds.toml" or "# Not checked:" in text
