"""Task aces: prediction times and labels in the schema of MEDS, as aces-cli writes them, and what a model sees before them."""

import dataclasses
import json
import os
import random
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from meds import LabelSchema

from emerge_ehr.config import Cohort, Config, Paths, load
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.fields import Component, UserError
from tests import meds_of_mimic4
from tests.conftest import Once
from tests.datasets.sources.examples.meds import at, person, write
from tests.places import ROOT

RULE = Cohort(window="last", window_hours=24, min_stay_hours=0)
SOURCE = Component("meds", {"signals": {"heart_rate": ["HR"]}, "notes": ["NOTE//*"]})
Label = tuple[int, datetime, bool | None]
ACES = Path(os.environ.get("ACES_CLI", ROOT / ".venv/aces/bin/aces-cli"))


def write_labels(folder: Path, labels: list[Label], name: str = "labels/0.parquet") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    kinds = {"subject_id": pl.Int64, "prediction_time": pl.Datetime("us"), "boolean_value": pl.Boolean}
    table = pl.DataFrame(labels, schema=kinds, orient="row")
    table.write_parquet(path)
    return folder / "labels"


def converted(folder: Path, rule: Cohort = RULE, source: Component = SOURCE, **options: Any) -> dict[str, pl.DataFrame]:
    """The tables, and what is recorded of them, of the dataset in ``folder``."""
    paths = Paths(raw_dir=folder, table_dir=folder / "tables")
    task = Component("aces", options or {"labels": str(folder / "labels")})
    convert.run(Config("meds", "meds", paths, source, task, cohort=rule))
    return {path.stem: pl.read_csv(path, infer_schema=False) for path in (folder / "tables").glob("*.csv")}


def told(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "tables" / "provenance.json").read_text())
    return record


def test_the_window_of_each_prediction_time_equals_a_plain_loop_over_the_rows(tmp_path: Path) -> None:
    """Rows of every stay of the person, those at the window's start, and none at the prediction time or later."""
    draw = random.Random(5)
    rows = [*person(1), *person(2, (10, 90)), (1, at(120), "ICU_ADMISSION//SICU"), (1, at(150), "ICU_DISCHARGE//SICU")]
    halves = draw.sample(range(-10, 320), 300)  # of hours, whole ones among them
    beats = [(subject, at(half / 2), "HR", float(draw.randrange(50, 110))) for half in halves for subject in (1, 2)]
    write(tmp_path, [*rows, *beats[:250]])
    write(tmp_path, beats[250:], shard="held_out/3")
    labels: list[Label] = [
        (1, at(30), True),
        (1, at(31.5), False),
        (1, at(130), False),
        (2, at(7), True),
        (2, at(80), False),
    ]
    write_labels(tmp_path, labels[:2])
    write_labels(tmp_path, labels[2:], "labels/held_out/3.parquet")
    tables = converted(tmp_path)
    names = {(subject, time): f"{subject}-{time:%Y%m%dT%H%M%S}" for subject, time, _ in labels}
    found = {(name, time, float(value)) for name, time, _, value in tables["dynamic"].rows()}
    expected: dict[tuple[str, str], set[float]] = {}
    for subject, time, _, value in beats:
        for (owner, end), name in names.items():
            if owner == subject and end - timedelta(hours=24) <= time < end:
                expected.setdefault((name, f"{time:%Y-%m-%d %H:%M:%S}"), set()).add(value)
    assert {(name, time) for name, time, _ in found} == set(expected)
    assert all(value in expected[name, time] for name, time, value in found)
    cohort = {row["patient_id"]: row for row in tables["cohort"].to_dicts()}
    assert {name: row["subject_id"] for name, row in cohort.items()} == {
        name: str(key[0]) for key, name in names.items()
    }
    assert all(cohort[name]["window_end"] == f"{end:%Y-%m-%d %H:%M:%S}" for (_, end), name in names.items())
    values = dict(tables["label"].select("patient_id", "label_value").rows())
    assert {name: float(value) for name, value in values.items()} == {
        names[subject, time]: float(bool(value)) for subject, time, value in labels
    }


def test_no_value_note_or_discharge_from_the_prediction_time_on_changes_a_table(tmp_path: Path) -> None:
    def made(folder: Path, late: float, end: str) -> dict[str, pl.DataFrame]:
        rows: list[Any] = [*person(1)[:-1], (1, at(109), f"HOSPITAL_DISCHARGE//{end}")]
        rows += [(1, at(hour), "HR", 70.0 + hour) for hour in (7, 20, 29.99)]
        rows += [(1, at(hour), "HR", late) for hour in (30, 31, 100)]
        rows += [(1, at(hour), "NOTE//Nursing", None, f"of {late if hour >= 30 else 0}") for hour in (20, 30, 50)]
        write(folder, rows)
        write_labels(folder, [(1, at(30), True)])
        return converted(folder)

    first, second = made(tmp_path / "a", 60, "HOME"), made(tmp_path / "b", 200, "DIED")
    assert first.keys() == second.keys() and all(first[name].equals(second[name]) for name in first)
    assert first["dynamic"].height == 3 and first["notes"].height == 1


def test_a_prediction_time_keeps_its_fraction_of_a_second(tmp_path: Path) -> None:
    time = at(30) + timedelta(microseconds=250)
    write(tmp_path, [*person(1), (1, at(30), "HR", 61.0), (1, time, "HR", 99.0)])
    write_labels(tmp_path, [(1, time, True)])
    tables = converted(tmp_path)
    assert tables["cohort"]["patient_id"].to_list() == [f"1-{at(30):%Y%m%dT%H%M%S}.000250"]
    assert tables["dynamic"]["value"].to_list() == ["61.0"]


def test_labels_that_no_sample_can_have_are_left_out_by_reason(tmp_path: Path) -> None:
    dead = (2, at(50), "MEDS_DEATH")
    write(
        tmp_path, [*person(1), *person(2)[:-2], dead, *[(n, at(hour), "HR", 70.0) for n in (1, 2) for hour in (1, 40)]]
    )
    labels: list[Label] = [
        (1, at(20), False),
        (1, at(20), False),
        (1, at(21), True),
        (1, at(21), False),
        (1, at(22), None),
    ]
    labels += [(2, at(45), True), (2, at(51), True), (1, at(-90), True), (77, at(5), True)]
    write_labels(tmp_path, labels)
    tables = converted(tmp_path)
    assert tables["label"].select("patient_id", "label_value").rows() == [
        (f"1-{at(20):%Y%m%dT%H%M%S}", "0.0"),
        (f"2-{at(45):%Y%m%dT%H%M%S}", "1.0"),
    ]
    assert {reason: count for reason, count in told(tmp_path)["stays"].items() if count} == {
        "labels without a boolean_value": 1,
        "labels that stand twice, the second left out": 1,
        "labels of one prediction time that contradict each other, all left out": 2,
        "prediction times of persons who are not in the dataset": 1,
        "prediction times without a record before them": 1,
        "prediction times after the person's death": 1,
    }
    warnings = told(tmp_path)["warnings"]
    assert any("3 of 5 prediction times are left out" in warning for warning in warnings)
    assert any("labels of one prediction time that contradict" in warning for warning in warnings)


def test_a_dataset_without_icu_stays_has_prediction_times_too(tmp_path: Path) -> None:
    rows = [row for row in person(1) if "ICU" not in row[2] and "HOSPITAL" not in row[2]]
    write(tmp_path, [*rows, (1, at(1), "HR", 70.0)])
    write_labels(tmp_path, [(1, at(3), True)])
    assert converted(tmp_path)["static"].select("age", "sex").rows() == [("49", "F")]
    assert not any("ICU" in warning for warning in told(tmp_path)["warnings"])


TABLE = pl.DataFrame({"subject_id": [1], "prediction_time": [at(20)], "boolean_value": [True]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop("prediction_time"), "no column 'prediction_time'; labels in the schema of MEDS 0.4"),
        (lambda table: table.drop("boolean_value"), "no boolean_value (it has no value)"),
        (lambda table: table.rename({"boolean_value": "integer_value"}), "no boolean_value (it has integer_value)"),
        (
            lambda table: table.with_columns(boolean_value=pl.lit("yes")),
            "boolean_value is stored as String; MEDS has a Boolean",
        ),
        (
            lambda table: table.with_columns(boolean_value=pl.lit(1)),
            "boolean_value is stored as Int32; MEDS has a Boolean",
        ),
        (lambda table: table.with_columns(boolean_value=pl.lit(None, pl.Int8)), "no boolean_value (it has no value)"),
        (
            lambda table: table.with_columns(boolean_value=pl.lit(None, pl.Boolean)),
            "(labels without a boolean_value: 1); give the window of the outcome a label",
        ),
        (
            lambda table: table.with_columns(prediction_time=pl.lit(None, pl.Datetime("us"))),
            "(labels without a person or a prediction time: 1); give the window that ends at the prediction time",
        ),
        (lambda table: table.with_columns(subject_id=pl.lit(2**63, pl.UInt64)), "an id or a time is out of range"),
        (lambda table: table.with_columns(pl.col("subject_id").cast(pl.String)), "are String and Datetime"),
        (lambda table: table.with_columns(pl.col("prediction_time").dt.date()), "are Int64 and Date; MEDS has"),
        (lambda table: table.with_columns(pl.col("prediction_time").dt.replace_time_zone("UTC")), "time zone UTC"),
        (lambda table: table.clear(), "no label is left (no row); aces-cli writes none where no person fits"),
        (
            lambda table: table.with_columns(subject_id=9),
            "none of 1 prediction times is left (prediction times of persons",
        ),
    ],
)
def test_labels_that_do_not_fit_are_told_in_one_line(
    change: Callable[[pl.DataFrame], pl.DataFrame], message: str, tmp_path: Path
) -> None:
    write(tmp_path, [*person(1), (1, at(1), "HR", 70.0)])
    (tmp_path / "labels").mkdir()
    change(TABLE).write_parquet(tmp_path / "labels" / "0.parquet")
    with pytest.raises(UserError) as error:
        converted(tmp_path)
    assert message in str(error.value) and "\n" not in str(error.value) and not (tmp_path / "tables").exists()


def test_a_text_file_named_parquet_and_an_empty_folder_are_told(tmp_path: Path) -> None:
    write(tmp_path, person(1))
    with pytest.raises(UserError, match=r"labels: has no \.parquet; \[task\] labels names the folder"):
        converted(tmp_path)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "0.parquet").write_text("subject_id")
    with pytest.raises(UserError, match=r"0\.parquet: not a readable parquet file"):
        converted(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": "x", "definition": "y"}, "not both"),
        ({"outcome": "death"}, "give labels, the folder of labels that aces-cli has written, or definition"),
        ({"labels": "x", "predicates": "y"}, "predicates: belongs to definition"),
        ({"labels": "x", "label_code": "mortality"}, "reads as a death that has happened by the prediction time"),
        ({"definition": "none.yaml"}, "none.yaml: no such file"),
    ],
)
def test_options_that_contradict_each_other_are_told(options: dict[str, str], message: str, tmp_path: Path) -> None:
    write(tmp_path, person(1))
    with pytest.raises(UserError) as error:
        converted(tmp_path, **options)
    assert message in str(error.value)


def test_the_cohort_leaves_it_to_the_task_who_is_a_sample_and_the_source_must_take_that(tmp_path: Path) -> None:
    write(tmp_path, person(1))
    write_labels(tmp_path, [(1, at(3), True)])
    for rule in (Cohort(), dataclasses.replace(RULE, min_stay_hours=4), dataclasses.replace(RULE, anchor="hospital")):
        with pytest.raises(UserError, match="set \\[cohort\\] window = 'last', min_stay_hours = 0 and no anchor"):
            converted(tmp_path, rule)
    with pytest.raises(UserError, match="which \\[source\\] name = 'mimic4' does not take; it needs the source meds"):
        converted(tmp_path, source=Component("mimic4", {}))


# --- aces-cli, or a program in its place


def stand_in(folder: Path, text: str) -> str:
    path = folder / "a stand-in" / "aces-cli"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_what_aces_cli_says_of_an_error_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    write(tmp_path, person(1))
    (tmp_path / "task.yaml").write_text("trigger: nothing\n")
    wrong = stand_in(tmp_path, "echo 'ValueError: no such predicate' >&2; exit 3")
    with pytest.raises(UserError, match="aces-cli ended with status 3 and said: ValueError: no such predicate"):
        converted(tmp_path, definition=str(tmp_path / "task.yaml"), command=wrong)
    broken = "Traceback\n  File x\nruamel.yaml.ScannerError: found a tab\n  in line 4\n     ^ (line: 4)\n\nSet HYDRA_FULL_ERROR=1"
    wrong = stand_in(tmp_path, f"cat >&2 <<'END'\n{broken}\nEND\nexit 1")
    with pytest.raises(UserError, match=r"said: ruamel\.yaml\.ScannerError: found a tab in line 4 \^ \(line: 4\)$"):
        converted(tmp_path, definition=str(tmp_path / "task.yaml"), command=wrong)
    wrong = stand_in(tmp_path, "echo \"KeyError: 'trigger'\" >&2; exit 1")
    with pytest.raises(
        UserError, match="said: KeyError: 'trigger'; the YAML of an ACES task has the keys predicates, tr"
    ):
        converted(tmp_path, definition=str(tmp_path / "task.yaml"), command=wrong)
    (tmp_path / "empty.yaml").write_text("---\n# to be written\n\n")
    with pytest.raises(UserError, match=r"empty\.yaml: is empty; the YAML of an ACES task has the keys"):
        converted(tmp_path, definition=str(tmp_path / "empty.yaml"), command=wrong)
    with pytest.raises(
        UserError, match="command = 'none/aces-cli': no such program; es-aces needs an environment of its own"
    ):
        converted(tmp_path, definition=str(tmp_path / "task.yaml"), command="none/aces-cli")
    with pytest.raises(UserError, match="command = '/bin/sh': must be aces-cli, or a path that ends with it"):
        converted(tmp_path, definition=str(tmp_path / "task.yaml"), command="/bin/sh")
    TABLE.with_columns(boolean_value=pl.lit(None, pl.Boolean)).write_parquet(tmp_path / "unlabelled.parquet")
    unlabelled = stand_in(tmp_path, f"mkdir labels && cp '{tmp_path}/unlabelled.parquet' labels/0.parquet")
    with pytest.raises(UserError, match=r"task\.yaml: no label is left \(labels without a boolean_value: 1\)"):
        converted(tmp_path, definition=str(tmp_path / "task.yaml"), command=unlabelled)
    silent = stand_in(tmp_path, "exit 0")
    with pytest.raises(UserError, match=r"has no \.parquet; .*task\.yaml: the labels"):
        converted(tmp_path, definition=str(tmp_path / "task.yaml"), command=silent)
    assert not (tmp_path / "tables").exists()


@pytest.fixture(scope="module")
def export(demo_raw: Path, once: Once) -> Path:
    return once("meds_of_mimic4", lambda folder: meds_of_mimic4.write(folder, demo_raw))


def of_mimic4(hours: int, raw: Path, folder: Path) -> dict[str, pl.DataFrame]:
    """The tables of source mimic4 and task mortality, of stays of ``hours`` or more."""
    paths = Paths(raw_dir=raw, table_dir=folder)
    rule = Cohort(window_hours=hours, min_stay_hours=hours)
    convert.run(Config("m", "m", paths, Component("mimic4"), Component("mortality"), cohort=rule))
    return {path.stem: pl.read_csv(path, infer_schema=False) for path in folder.glob("*.csv")}


def at_their_ends(tables: dict[str, pl.DataFrame], name: str) -> pl.DataFrame:
    """A table without ids of stays: the person and the end of the window say which sample it is."""
    windows = tables["cohort"].select("patient_id", "subject_id", "window_end")
    return tables[name].join(windows, on="patient_id").drop("patient_id")


@pytest.mark.slow
@pytest.mark.parametrize(("hours", "samples", "deaths"), [(24, 117, 14), (48, 74, 12)])
def test_aces_finds_the_stays_and_deaths_of_the_demo_that_source_mimic4_finds(
    hours: int, samples: int, deaths: int, export: Path, demo_raw: Path, tmp_path: Path
) -> None:
    if not ACES.is_file():
        pytest.skip(f"es-aces is not installed at {ACES}: make aces")
    raw = tmp_path / "a 'raw' folder, of \"mine\""
    raw.mkdir()
    (raw / "data").symlink_to(export / "data")
    definition = ROOT / "configs" / "aces" / f"mortality_in_hospital_{hours}h.yaml"
    rule = Cohort(window="last", window_hours=hours, min_stay_hours=0)
    source = load(ROOT / "configs" / "mimic4_meds.toml").source
    ours = converted(raw, rule, source, definition=str(definition), command=str(ACES))
    theirs = of_mimic4(hours, demo_raw, tmp_path / "theirs")
    stays = ["subject_id", "window_start", "window_end"]
    found, expected = (tables["cohort"].select(stays).sort(stays) for tables in (ours, theirs))
    assert found.equals(expected) and found.height == samples
    outcomes = [at_their_ends(t, "label").select("subject_id", "window_end", "label_value") for t in (ours, theirs)]
    found, expected = (table.with_columns(pl.col("label_value").cast(pl.Float64)).sort(pl.all()) for table in outcomes)
    assert found.equals(expected) and found["label_value"].sum() == deaths
    # the values of charted signals are the same too; those of labs carry the time of their result in MEDS
    labs = ("glucose", "ph", "fraction_inspired_oxygen")
    rows = [at_their_ends(t, "dynamic").filter(~pl.col("code").is_in(labs)).drop("value") for t in (ours, theirs)]
    assert rows[0].sort(pl.all()).equals(rows[1].sort(pl.all())) and rows[0].height > 20_000


@pytest.mark.slow
def test_labels_that_aces_wrote_beforehand_give_the_same_tables(export: Path, tmp_path: Path) -> None:
    """As plain loops find the 48th hour of ICU stays; the labels have the form of MEDS's own schema."""
    events = pl.concat(pl.read_parquet(path) for path in sorted(export.rglob("data/**/*.parquet")))
    labels: list[Label] = []
    for row in events.filter(pl.col("code").str.starts_with("ICU_ADMISSION")).to_dicts():
        own = events.filter(pl.col("subject_id") == row["subject_id"]).drop_nulls("time")
        end = row["time"] + timedelta(hours=48)
        leaves = own.filter(pl.col("code").str.contains("^(ICU_DISCHARGE|HOSPITAL_DISCHARGE|MEDS_DEATH)"))
        if leaves.filter(pl.col("time").is_between(row["time"], end)).height:
            continue
        ends = own.filter(pl.col("code").str.contains("^(HOSPITAL_DISCHARGE|MEDS_DEATH)") & (pl.col("time") > end))
        last = ends.filter(pl.col("time") == pl.col("time").min())["code"].to_list()
        labels.append((row["subject_id"], end, any("DIED" in code or "DEATH" in code for code in last)))
    assert (len(labels), sum(bool(label[2]) for label in labels)) == (74, 12)
    folder = write_labels(tmp_path, labels)
    LabelSchema.validate(pl.read_parquet(folder / "0.parquet").to_arrow())
    shutil.copytree(export / "data", tmp_path / "data")
    source = load(ROOT / "configs" / "mimic4_meds.toml").source
    rule = dataclasses.replace(RULE, window_hours=48)
    tables = converted(tmp_path, rule, source, labels=str(folder))
    assert tables["cohort"].height == 74 and tables["cohort"]["subject_id"].n_unique() == 56
    assert tables["label"]["label_value"].cast(pl.Float64).sum() == 12
