"""With landmarks, nothing that a file tells of later than a landmark is before it: on the real demos, without those rows."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from emerge_ehr.config import Cohort, Config, Paths
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.datasets.convert.told import RECORDED, refuse_other_landmarks
from emerge_ehr.fields import Component, UserError
from tests.places import SHARED

HOURS = (6, 12, 24, 48)
LATE = "told only after a landmark that they lie before"
EICU, MIMIC4 = SHARED / "eicu-crd-demo-2.0-half", SHARED / "mimic-iv-demo-2.2"
LIST = "name,label,unit,hour,mimic,eicu\n"
VENTILATION = '{},,"0 no, 1 yes",max,procedure:225792,respiratoryCare:ventilation\n'
Made = Callable[[Path, str, tuple[int, ...]], tuple[pl.DataFrame, dict[str, int]]]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Ventilation in the records of a folder, with the hour of each row, and what was counted."""

    def of(raw: Path, source: str, landmarks: tuple[int, ...]) -> tuple[pl.DataFrame, dict[str, int]]:
        chosen, tables = tmp_path / "list.csv", tmp_path / "tables"
        chosen.write_text(LIST + VENTILATION.format("air") + "heart_rate,,,,,\nsystolic_blood_pressure,,,,,\n")
        rule = Cohort(min_stay_hours=min(landmarks, default=6), landmarks=landmarks)
        config = Config("a", "a", Paths(raw_dir=raw, table_dir=tables), Component(source, {"signals": str(chosen)}))
        convert.run(dataclasses.replace(config, cohort=rule))
        rows = pl.read_csv(tables / "dynamic.csv", schema_overrides={"patient_id": pl.String}).filter(code="air")
        starts = pl.read_csv(tables / "cohort.csv", infer_schema=False).select("patient_id", "window_start")
        times = [pl.col(name).str.to_datetime() for name in ("event_time", "window_start")]
        hours = rows.join(starts, on="patient_id").with_columns((times[0] - times[1]).alias("since"))
        record = json.loads((tables / "provenance.json").read_text())
        assert record[RECORDED] == list(landmarks)
        return hours.select("patient_id", "since", "value").sort("patient_id", "since"), record["measurements"][
            "dropped or repaired"
        ]

    return of


def without(raw: Path, folder: Path, name: str, kept: pl.Expr) -> Path:
    """A copy of the records without the other rows of a table."""
    if not raw.is_dir():
        pytest.skip(f"the demo is not at {raw}")
    for path in raw.rglob("*.csv.gz"):
        place = folder / path.relative_to(raw)
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.name == f"{name}.csv.gz":
            rows = pl.read_csv(path, infer_schema=False).with_columns(pl.lit(0).alias("other")).filter(kept)
            rows.drop("other").write_csv(place.with_suffix(""))
        else:
            place.symlink_to(path)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("landmark", [6, 12, 24])
def test_a_row_of_ventilation_that_is_written_later_tells_nothing_at_a_landmark(
    made: Made, tmp_path: Path, landmark: int
) -> None:
    """As if the records had ended there: eICU's rows are written up to days after the ventilation that they tell of."""
    written = pl.col("respcarestatusoffset").cast(pl.Int64) < landmark * 60
    cut = without(EICU, tmp_path / "raw", "respiratoryCare", written)
    (whole, counts), (then, _) = made(EICU, "eicu", HOURS), made(cut, "eicu", HOURS)
    before = pl.col("since") < pl.duration(hours=landmark)
    assert whole.filter(before).height > 100 and counts[LATE] > 100
    # a stay without any row in these records has no measurement there
    assert whole.filter(before).equals(then.filter(before))
    assert made(EICU, "eicu", ())[0].height > whole.height


@pytest.mark.slow
def test_hours_without_ventilation_are_zero_only_once_the_file_tells_of_the_stay(made: Made, tmp_path: Path) -> None:
    raw = MIMIC4 / "icu" / "icustays.csv.gz"
    if not raw.is_file():
        pytest.skip(f"the demo is not at {MIMIC4}")
    starts = dict(pl.read_csv(raw, infer_schema=False).select("stay_id", "intime").rows())
    since = pl.col("starttime").str.to_datetime() - pl.col("stay_id").replace_strict(starts).str.to_datetime()
    cut = without(MIMIC4, tmp_path / "raw", "procedureevents", since < pl.duration(hours=1))
    (whole, _), (then, _) = made(MIMIC4, "mimic4", (1, 48)), made(cut, "mimic4", (1, 48))
    first = pl.col("since") < pl.duration(hours=1)
    assert whole.filter(first).equals(then.filter(first)) and whole.filter(first).height > 50


def test_tables_of_other_landmarks_are_refused_where_rows_are_told_later() -> None:
    refuse_other_landmarks(Path("t"), {}, (6, 12))
    refuse_other_landmarks(Path("t"), {RECORDED: [6, 12]}, (6, 12))
    with pytest.raises(UserError, match=r"t: converted for cohort.landmarks = \[\], now they are \[6, 12\]"):
        refuse_other_landmarks(Path("t"), {RECORDED: []}, (6, 12))
