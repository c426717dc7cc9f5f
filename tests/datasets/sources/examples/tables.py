"""A user's own files."""

import csv
import random
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from tests.examples import edit

FORM = "%Y-%m-%d %H:%M:%S"
START = datetime(2150, 3, 1, 10, 30)
RHYTHMS = ("sinus", "afib", "paced")


def generate(folder: Path, patients: int = 12, hours: int = 60) -> list[dict[str, str]]:
    """``dynamic, static, label`` of samples 1..: two numeric codes (one with a few words), one in words, one of free text."""
    draw = random.Random(5)
    rows = []
    for number in range(1, patients + 1):
        for hour in range(hours + 1):
            time = (START + timedelta(days=number, hours=hour)).strftime(FORM)
            for code in ("glucose", "lactate", "rhythm", "comment"):
                if draw.random() < 0.7:
                    value = {
                        "glucose": f"{draw.uniform(3, 12):.1f}",  # mmol/L: implausible for the benchmark's mg/dL
                        "lactate": "hemolysed" if draw.random() < 0.02 else f"{draw.uniform(0.5, 9):.2f}",
                        "rhythm": "" if draw.random() < 0.1 else draw.choice(RHYTHMS),
                        "comment": f"seen at {draw.random()}",
                    }[code]
                    rows.append({"patient_id": f"P{number}", "event_time": time, "code": code, "value": value})
    draw.shuffle(rows)
    write(folder / "dynamic.csv", rows)
    ids = [f"P{number}" for number in range(1, patients + 1)]
    write(folder / "static.csv", [{"patient_id": p, "age": str(30 + i), "sex": "FM"[i % 2]} for i, p in enumerate(ids)])
    late = (START + timedelta(days=300)).strftime(FORM)
    write(
        folder / "label.csv",
        [
            {"patient_id": p, "label_time": late, "label_code": "relapse", "label_value": str(i % 2)}
            for i, p in enumerate(ids)
        ],
    )
    return rows


def write(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


TASK = "given"


def raw_files(raw_dir: Path) -> None:
    generate(raw_dir)


def change_after_window(raw_dir: Path) -> None:
    time = pl.col("event_time").str.to_datetime(FORM)
    late = (pl.col("code") == "glucose") & (time >= time.min().over("patient_id") + timedelta(hours=49))
    value = pl.when(late).then(pl.lit("7.1")).otherwise("value").alias("value")
    edit(raw_dir / "dynamic.csv", lambda rows: rows.with_columns(value))
