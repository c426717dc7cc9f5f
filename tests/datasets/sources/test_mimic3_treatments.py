"""OUTPUTEVENTS, INPUTEVENTS_MV and PROCEDUREEVENTS_MV of MIMIC-III, which the demo at hand lacks: generated rows."""

import gzip
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from emerge_ehr.datasets.convert import run as convert
from tests.datasets.sources.test_mimic3 import config, generated, write

LASTING = ("SUBJECT_ID", "HADM_ID", "ICUSTAY_ID", "STARTTIME", "ENDTIME", "ITEMID", "RATE", "RATEUOM")
OUT = ("SUBJECT_ID", "HADM_ID", "ICUSTAY_ID", "CHARTTIME", "ITEMID", "VALUE", "VALUEUOM", "ISERROR")


def table(path: Path, columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    lines = [",".join(columns), *(",".join("" if value is None else str(value) for value in row) for row in rows)]
    path.write_bytes(gzip.compress("\n".join(lines).encode() + b"\n"))


def test_urine_is_summed_and_infusions_and_ventilation_are_told_by_the_hour(tmp_path: Path) -> None:
    hospital = generated(persons=2)
    raw = write(tmp_path / "raw", hospital)
    stay = hospital["ICUSTAYS"][0]
    ids, start = (stay["SUBJECT_ID"], stay["HADM_ID"], stay["ICUSTAY_ID"]), stay["INTIME"].replace(microsecond=0)

    def at(hours: float) -> datetime:
        return start + timedelta(hours=hours)

    table(
        raw / "OUTPUTEVENTS.csv.gz",
        OUT,
        [
            (*ids, at(2), 40055, 60, "ml", None),
            (*ids, at(2), 40069, 60, "ml", None),  # another item with the same value
            (*ids, at(2), 40055, 60, "ml", None),  # charted twice
            (*ids, at(3), 40055, 500, "ml", 1),  # an error
            (*ids, at(4), 226559, 90000, "ml", None),  # implausible
            (*ids, at(60), 40055, 70, "ml", None),  # after the window
        ],
    )
    table(
        raw / "INPUTEVENTS_MV.csv.gz",
        LASTING,
        [
            (*ids, at(5.5), at(7), 221906, 0.2, "mcg/kg/min"),
            (*ids, at(9), at(10), 221906, 100, "ng/kg/min"),
            (*ids, at(11), at(12), 221906, 5, "units/hour"),  # no unit of norepinephrine
            (*ids, at(13), at(13), 221749, 1, "mcg/kg/min"),  # no time at all
            (*ids, at(47.5), at(90), 222315, 2.4, "units/hour"),
        ],
    )
    procedure = tuple(name for name in LASTING if not name.startswith("RATE"))
    table(raw / "PROCEDUREEVENTS_MV.csv.gz", procedure, [(*ids, at(-3), at(1.5), 225792)])
    convert.run(config(raw, tmp_path / "out", signals="wide"))
    rows = pl.read_csv(
        tmp_path / "out" / "dynamic.csv", try_parse_dates=True, schema_overrides={"patient_id": pl.String}
    )
    rows = rows.filter(patient_id=str(ids[2]))

    def values(code: str) -> dict[float, float]:
        found = rows.filter(code=code).select((pl.col("event_time") - start).dt.total_seconds() / 3600, "value")
        return dict(found.rows())

    assert values("urine_output") == {2.0: 120.0}
    rate = values("norepinephrine")
    running = {5.5: 0.2, 6.0: 0.2, 9.0: 0.1}
    assert {hour: value for hour, value in rate.items() if value} == pytest.approx(running)
    assert set(rate) == {*map(float, range(48)), 5.5} - {11.0}  # what ran at hour 11 cannot be read
    assert {hour for hour, value in values("vasopressors").items() if value} == {5.5, 6.0, 9.0, 11.0, 47.5}
    assert {hour for hour, value in values("ventilation").items() if value} == {0.0, 1.0}
    counts = json.loads((tmp_path / "out" / "provenance.json").read_text())["measurements"]["dropped or repaired"]
    assert counts["implausible urine_output"] == 1 and counts["in a unit that the signal does not have"] >= 1
    assert counts["whose end is not after their start"] == 1
