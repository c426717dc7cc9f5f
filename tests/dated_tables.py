"""A user's own tables as OneEHR writes them: measurements have dates only, the outcome's time is the date of discharge, and the
sex is in a column ``gender``. A sixth of the patients was measured on a single day."""

import csv
import random
from datetime import date, datetime, time, timedelta
from pathlib import Path

LABS = ("hemoglobin", "urea", "D-D dimer", "lymphocyte (%)")
DAY = timedelta(days=1)
LAST_SECOND = time(23, 59, 59)
Rows = list[dict[str, str]]


def generate(folder: Path, patients: int = 36, gender: str = "words", seed: int = 4) -> tuple[Rows, Rows]:
    """Write ``dynamic, static, label.csv``; returns the rows of dynamic and label. ``gender``: "words" or "numbers"."""
    draw = random.Random(seed)
    dynamic, static, label = Rows(), Rows(), Rows()
    for number in range(1, patients + 1):
        first = date(2020, 1, 10) + draw.randrange(30) * DAY
        later = [] if number % 6 == 0 else sorted(draw.sample(range(1, 9), draw.randrange(1, 5)))
        days = [first + offset * DAY for offset in (0, *later)]
        died = number % 3 == 0
        for day in days:
            measured = draw.sample(LABS, draw.randrange(1, len(LABS)))
            dynamic += [row(number, day.isoformat(), code, f"{draw.gauss(12 + 3 * died, 2):.2f}") for code in measured]
        sex = draw.choice("MF") if gender == "words" else draw.choice(("1.0", "0.0"))
        static.append({"patient_id": str(number), "age": f"{draw.randrange(20, 90)}.0", "gender": sex})
        known = days[-1] + draw.choice((0, 0, 1, 4)) * DAY
        outcome = {"label_time": known.isoformat(), "label_code": "outcome", "label_value": f"{died:.1f}"}
        label.append({"patient_id": str(number), **outcome})
    for name, rows in (("dynamic", dynamic), ("static", static), ("label", label)):
        write(folder / f"{name}.csv", rows)
    return dynamic, label


def row(patient: int | str, when: str, code: str, value: str) -> dict[str, str]:
    """A row of ``dynamic.csv``."""
    return {"patient_id": str(patient), "event_time": when, "code": code, "value": value}


def write(path: Path, rows: Rows) -> None:
    """Write a CSV with the columns of the first row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def read(path: Path) -> Rows:
    """The rows of a CSV."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def end_of(day: str) -> datetime:
    """The last second of a day."""
    return datetime.combine(date.fromisoformat(day), LAST_SECOND)
