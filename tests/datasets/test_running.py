"""What runs by the hour in MIMIC: rows that others correct, and rows that cannot be read."""

from datetime import datetime
from pathlib import Path

import polars as pl

from emerge_ehr.datasets.sources._mimic import running
from emerge_ehr.signals.items import wanted

HEADER = "hadm_id,stay_id,starttime,endtime,itemid,rate,rateuom,statusdescription"
HOURS = 4


def hourly(folder: Path, *rows: str) -> dict[str, list[float]]:
    """Signal -> its values at the whole hours of a window of one stay."""
    path = folder / "inputevents.csv"
    path.write_text("\n".join([HEADER, *rows]) + "\n")
    times = {"window_start": datetime(2150, 1, 1), "window_end": datetime(2150, 1, 1, HOURS)}
    cohort = pl.DataFrame({"n": 0, "stay_id": "7", "hadm_id": "1", **times}, schema_overrides={"n": pl.UInt32})
    read = wanted("wide", "mimic").of("input")
    found = running.running(path, read, cohort, "stay_id", "stay_id").frame.collect()
    # convert counts a null as no number
    kept = (
        found.drop_nulls("value")
        .filter(~pl.any_horizontal(*running.DROPS) & (pl.col("event_time").dt.minute() == 0))
        .sort("event_time")
    )
    return {code: kept.filter(code=code)["value"].to_list() for code in ("norepinephrine", "vasopressors")}


def test_a_row_that_another_one_corrects_does_not_count(tmp_path: Path) -> None:
    wrong = "1,7,2150-01-01 01:00:00,2150-01-01 03:00:00,221906,0.5,mcg/kg/min,Rewritten"
    right = "1,7,2150-01-01 01:00:00,2150-01-01 02:00:00,221906,0.05,mcg/kg/min,FinishedRunning"
    assert hourly(tmp_path, wrong, right) == {"norepinephrine": [0, 0.05, 0, 0], "vasopressors": [0, 1, 0, 0]}


def test_hours_are_not_called_free_of_an_infusion_whose_rate_cannot_be_read(tmp_path: Path) -> None:
    row = "1,7,2150-01-01 01:00:00,2150-01-01 02:00:00,221906,0.05,drops/fortnight,FinishedRunning"
    assert hourly(tmp_path, row) == {"norepinephrine": [0, 0, 0], "vasopressors": [0, 1, 0, 0]}
    assert hourly(tmp_path, row.replace("0.05,drops/fortnight", ",mcg/kg/min"))["norepinephrine"] == [0, 0, 0]
