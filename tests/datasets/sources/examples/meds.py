"""Shards of a MEDS dataset."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

START = datetime(2150, 5, 1, 8)
COLUMNS = {
    "subject_id": pl.Int64,
    "time": pl.Datetime("us"),
    "code": pl.String,
    "numeric_value": pl.Float32,
    "text_value": pl.String,
}
IDS = {"hadm_id": pl.Int64, "icustay_id": pl.Int64}
Row = tuple[Any, ...]


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def write(folder: Path, rows: list[Row], columns: dict[str, Any] = COLUMNS, shard: str = "train/0") -> Path:
    """A shard of ``subject, time, code, number, text[, hadm, icustay]``; short rows end in nulls."""
    path = folder / "data" / f"{shard}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    full = [(*row, *[None] * (len(columns) - len(row))) for row in rows]
    pl.DataFrame(full, schema=columns, orient="row").write_parquet(path)
    return folder


def person(subject: int, hours: tuple[float, float] = (0, 100)) -> list[Row]:
    """One person with one ICU stay inside one hospital stay, discharged home."""
    return [
        (subject, None, "GENDER//F"),
        (subject, datetime(2100, 5, 2), "MEDS_BIRTH"),
        (subject, at(hours[0] - 5), "HOSPITAL_ADMISSION//ELECTIVE//HOME"),
        (subject, at(hours[0] - 5), "RACE//WHITE"),
        (subject, at(hours[0]), "ICU_ADMISSION//MICU"),
        (subject, at(hours[1]), "ICU_DISCHARGE//MICU"),
        (subject, at(hours[1] + 9), "HOSPITAL_DISCHARGE//HOME"),
    ]


OPTIONS = {"signals": {"heart_rate": ["HR"]}, "notes": ["NOTE//*"]}


def raw_files(raw_dir: Path, late: float = 90) -> None:
    rows: list[Row] = []
    for subject in range(1, 7):
        rows += person(subject)[:-1]
        rows.append((subject, at(109), "HOSPITAL_DISCHARGE//" + ("DIED" if subject % 3 == 0 else "HOME")))
        rows += [(subject, at(hour), "HR", 60 + hour) for hour in (-1, 0, 1, 47)]
        rows += [(subject, at(hour), "HR", late) for hour in (48, 60)]
        rows += [(subject, at(hour), "NOTE//Nursing", None, f"of hour {hour}") for hour in (1, 47, 48, 60)]
    write(raw_dir, rows)


def change_after_window(raw_dir: Path) -> None:
    raw_files(raw_dir, late=71)
