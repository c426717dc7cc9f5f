"""``convert --check`` refuses what ``convert`` refuses, and nothing else: told on many damaged folders of own tables."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from tests.in_process import run

START = datetime(2150, 1, 1)
CONFIG = """
dataset = "own"
run_name = "own"
[task]
name = "given"
[paths]
raw_dir = "raw"
table_dir = "tables"
[source]
name = "tables"
[cohort]
min_stay_hours = 24
window_hours = 24
"""
Tables = dict[str, pl.DataFrame]
Damage = Callable[[Tables], None]


def sound() -> Tables:
    """Twelve records of ten persons, all of whose cells are texts."""
    ids = [f"r{n:02}" for n in range(12)]
    begins = [START + timedelta(days=10 * n) for n in range(12)]
    texts = {
        "cohort": [
            (i, f"p{n % 10}", t, t + timedelta(hours=60)) for n, (i, t) in enumerate(zip(ids, begins, strict=True))
        ],
        "static": [(i, 50 + n, "FM"[n % 2]) for n, i in enumerate(ids)],
        "dynamic": [
            (i, t + timedelta(hours=h), "hr", 80 + h) for i, t in zip(ids, begins, strict=True) for h in (1, 9)
        ],
        "label": [
            (i, t + timedelta(hours=60), "death", n % 3 == 2) for n, (i, t) in enumerate(zip(ids, begins, strict=True))
        ],
        "notes": [(i, t + timedelta(hours=2), "letter", "Fever.") for i, t in zip(ids, begins, strict=True)],
    }
    columns = {
        "cohort": ("patient_id", "subject_id", "intime", "outtime"),
        "static": ("patient_id", "age", "sex"),
        "dynamic": ("patient_id", "event_time", "code", "value"),
        "label": ("patient_id", "label_time", "label_code", "label_value"),
        "notes": ("patient_id", "note_time", "note_type", "text"),
    }
    rows = {
        name: [[str(int(cell)) if isinstance(cell, bool) else str(cell) for cell in row] for row in of]
        for name, of in texts.items()
    }
    return {name: pl.DataFrame(of, schema=list(columns[name]), orient="row") for name, of in rows.items()}


def cell(name: str, column: str, text: str | None, row: int = 3) -> Damage:
    """One cell holds ``text``; with ``row`` -1 all of the column."""

    def damage(tables: Tables) -> None:
        table = tables[name].with_row_index("at")
        hit = (pl.col("at") == row) | (row == -1)
        tables[name] = table.with_columns(pl.when(hit).then(pl.lit(text)).otherwise(column).alias(column)).drop("at")

    return damage


def without(name: str, column: str | None = None) -> Damage:
    """A file or a column is missing."""

    def damage(tables: Tables) -> None:
        if column is None:
            del tables[name]
        else:
            tables[name] = tables[name].drop(column)

    return damage


def first(name: str, count: int) -> Damage:
    """Only the first rows are there."""

    def damage(tables: Tables) -> None:
        tables[name] = tables[name].head(count)

    return damage


def twice(name: str) -> Damage:
    """The first row stands twice."""

    def damage(tables: Tables) -> None:
        tables[name] = pl.concat([tables[name], tables[name].head(1)])

    return damage


def deaths(hours: float) -> Damage:
    """One person's first record ends with death: what is known of the person's other record is from after it."""

    def damage(tables: Tables) -> None:
        late = str(START + timedelta(hours=hours))
        hit = pl.col("patient_id") == "r00"
        tables["label"] = tables["label"].with_columns(
            pl.when(hit).then(pl.lit("1")).otherwise("label_value").alias("label_value"),
            pl.when(hit).then(pl.lit(late)).otherwise("label_time").alias("label_time"),
        )
        tables["label"] = tables["label"].filter(pl.col("patient_id").is_in(["r00", "r10"]))

    return damage


def only_after_death(tables: Tables) -> None:
    """Nobody is left but a record from after the person's death, whose own record is too short for the cohort."""
    deaths(20)(tables)
    cell("cohort", "outtime", str(START + timedelta(hours=20)), 0)(tables)


EMPTIED: dict[str, Damage] = {f"{name} emptied": first(name, 0) for name in sound()}
MISSING: dict[str, Damage] = {f"{name} missing": without(name) for name in sound()}
COLUMNS: dict[str, Damage] = {
    f"{name} without {column}": without(name, column) for name, table in sound().items() for column in table.columns
}
CELLS: dict[str, Damage] = {
    f"{name} {column} {text!r} in row {row}": cell(name, column, text, row)
    for name, table in sound().items()
    for column in table.columns
    for text, row in (("", 3), ("", -1), ("nonsense", 3), ("nonsense", -1), ("-7", 3))
}
OTHERS: dict[str, Damage] = {
    "sound": lambda tables: None,
    **{f"{name} row twice": twice(name) for name in sound()},
    "too old": cell("static", "age", "300"),
    "a class": cell("label", "label_value", "2"),
    "outcome known at once": cell("label", "label_time", str(START), -1),
    "one outcome known at once": cell("label", "label_time", str(START)),
    "measured in other years": cell("dynamic", "event_time", "1999-01-01 00:00:00", -1),
    "measured after the window": cell("dynamic", "event_time", "2151-01-01 00:00:00"),
    "ids with leading zeros": cell("dynamic", "patient_id", "0r03"),
    "one record that is not measured has the only outcome": lambda tables: (
        first("label", 1)(tables),
        tables.update(dynamic=tables["dynamic"].filter(pl.col("patient_id") != "r00")),
    )[0],
    "a person who died": deaths(59),
    "only after death": only_after_death,
    "notes in other years": cell("notes", "note_time", "1999-01-01 00:00:00", -1),
}
ALL = EMPTIED | MISSING | COLUMNS | CELLS | OTHERS
REFUSED = {  # some of those that must be refused, with the file that the last line has to name
    "too old": "static.csv row 5",
    "a class": "label.csv",
    "dynamic without value": "dynamic.csv",
    "static missing": "static.csv",
    "label row twice": "label.csv",
    "dynamic event_time 'nonsense' in row 3": "dynamic.csv row 5",
    "only after death": "no record is left",
    "one record that is not measured has the only outcome": "observation window",
}


def codes(folder: Path, damage: Damage) -> tuple[int, int, str]:
    """The exit codes of ``--check`` and of ``convert``, and the last line of the former."""
    tables = sound()
    damage(tables)
    (folder / "raw").mkdir()
    for name, table in tables.items():
        table.write_csv(folder / "raw" / f"{name}.csv")
    (folder / "own.toml").write_text(CONFIG)
    checked = run(folder, "--stage", "convert", "--check", "--config", "own.toml")
    assert not (folder / "tables").exists()
    converted = run(folder, "--stage", "convert", "--config", "own.toml")
    return checked.returncode, converted.returncode, checked.stderr.strip().splitlines()[-1] if checked.stderr else ""


@pytest.mark.parametrize("damaged", ALL)
def test_check_ends_as_convert_does(damaged: str, tmp_path: Path) -> None:
    checked, converted, last = codes(tmp_path, ALL[damaged])
    assert checked == converted and checked in (0, 2)
    if damaged in REFUSED:
        assert checked == 2 and REFUSED[damaged] in last
    if damaged == "sound":
        assert checked == 0


def test_a_folder_of_tables_that_convert_would_not_replace_is_lacking(tmp_path: Path) -> None:
    codes(tmp_path, lambda tables: None)
    (tmp_path / "tables" / "provenance.json").unlink()
    for more in ((), ("--check",)):
        refused = run(tmp_path, "--stage", "convert", *more, "--config", "own.toml")
        assert refused.returncode == 2 and "would be replaced" in refused.stderr


def test_what_other_tasks_would_need_is_no_warning(tmp_path: Path) -> None:
    codes(tmp_path, lambda tables: None)
    told = run(tmp_path, "--stage", "convert", "--check", "--config", "own.toml").stdout
    own, others = told.split("other tasks, which this config does not ask for")
    assert not re.search("warning|lacking", others) and "lacking" not in own
    assert "  mortality: not possible here: " in others and "  admissions: no task can use them: " in own
