"""What every source promises; with example raw files (``tests/examples.py``) also of the tables that are made of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pytest

from emerge_ehr import components
from emerge_ehr.config import Cohort, Config, Paths
from emerge_ehr.datasets import sources
from emerge_ehr.datasets.convert import cohort as cohort_rules
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.datasets.sources import Events, Extract, Notes, Source
from emerge_ehr.fields import Component, UserError
from emerge_ehr.signals.signals import Signal
from emerge_ehr.storage import schema
from emerge_ehr.storage.artefacts import hashes
from emerge_ehr.storage.table_files import read_table
from tests.examples import chosen, example, with_example

TIME = pl.Datetime("us")
STAYS = {
    **dict.fromkeys(("subject_id", "hadm_id", "stay_id", "sex"), pl.String()),
    **dict.fromkeys(("admittime", "intime", "outtime", "dischtime", "deathtime", "death"), TIME),
}
MORE_OF_STAYS = {"age", "ethnicity", "icu_type", "died"}
MEASUREMENTS = {"n": pl.UInt32(), "event_time": TIME, "code": pl.String(), "value": pl.Float64()}
NOTES = {"patient_id": pl.String(), "note_time": TIME, "note_type": pl.String(), "text": pl.String()}
RECORDS = {
    "admissions": {"subject_id", "hadm_id", "admittime", "dischtime", "planned"},
    "diagnoses": {"hadm_id", "icd_version", "icd_code"},
    "labels": {"patient_id", "label_time", "label_code", "label_value"},
}
WITH_FILES = with_example("source", "raw_files")


def config(plug: str, folder: Path) -> Config:
    """Raw files in ``folder/raw``; tables go to ``folder/tables``."""
    given = example("source", plug)
    paths = Paths(raw_dir=folder / "raw", kg_dir=folder / "kg", table_dir=folder / "tables")
    task = Component(getattr(given, "TASK", "mortality"))
    return Config(dataset="d", run_name="r", seed=0, paths=paths, source=chosen("source", plug), task=task)


@pytest.fixture(scope="module", params=WITH_FILES)
def raw(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """The raw files of one source, of which nothing was made yet: what it returns is judged before ``convert`` reads it."""
    made = config(request.param, tmp_path_factory.mktemp(request.param))
    example("source", request.param).raw_files(made.raw_dir)  # type: ignore[union-attr]
    return made


def cohort_of(source: Source) -> pl.DataFrame:
    stays = source.stays().table
    require(stays, STAYS, "stays")
    return cohort_rules.select(stays, Cohort())[0].with_row_index("n")


def require(table: pl.DataFrame | pl.LazyFrame, types: dict[str, pl.DataType], of: str) -> None:
    schema_of = table.lazy().collect_schema()
    wrong = {name: schema_of.get(name) for name, kind in types.items() if schema_of.get(name) != kind}
    assert not wrong, f"{of}: columns missing or of another type: {wrong}; expected {types}"


def outside(rows: pl.DataFrame, time: str, cohort: pl.DataFrame) -> pl.DataFrame:
    windows = cohort.select("patient_id", "window_start", "window_end")
    timed = rows.join(windows, on="patient_id", how="left")
    return timed.filter(~(pl.col(time) < pl.col("window_end")).fill_null(value=False) & pl.col(time).is_not_null())


@pytest.mark.parametrize("plug", components.names("source"))
def test_a_source_says_whether_its_data_are_open_before_there_are_any(plug: str, tmp_path: Path) -> None:
    if example("source", plug) is None and _needs_options(plug):
        pytest.skip(f"source '{plug}' cannot be built with default options, and has no example")
    assert isinstance(sources.chosen(config(plug, tmp_path)).is_open(), bool)


@pytest.mark.parametrize("plug", components.names("source"))
def test_without_raw_files_a_source_says_in_one_line_what_is_missing(plug: str, tmp_path: Path) -> None:
    if example("source", plug) is None and _needs_options(plug):
        pytest.skip(f"source '{plug}' cannot be built with default options, and has no example")
    (tmp_path / "raw").mkdir()
    with pytest.raises(UserError) as error:
        sources.chosen(config(plug, tmp_path)).inputs()
    assert str(tmp_path / "raw") in str(error.value) and "\n" not in str(error.value)


def _needs_options(plug: str) -> bool:
    try:
        components.options("source", Component(plug))
    except UserError:
        return True
    return False


def test_stays_are_typed_and_each_is_there_once(raw: Config) -> None:
    stays = sources.chosen(raw).stays().table
    require(stays, STAYS, "stays")
    assert set(stays.columns) >= MORE_OF_STAYS
    assert stays["stay_id"].is_unique().all() and not stays["subject_id"].null_count()
    assert set(stays["died"].drop_nulls()) <= {0, 1}


def test_measurements_are_typed_of_the_cohort_and_of_the_sources_signals(raw: Config) -> None:
    source = sources.chosen(raw)
    cohort, signals = cohort_of(source), [signal.name for signal in source.signals()]
    assert signals and len(signals) == len(set(signals))
    rows = 0
    for part in source.measurements(cohort, "stay_id"):
        require(part.frame, MEASUREMENTS, part.path.name)
        found = part.frame.collect()
        assert set(found["n"]) <= set(cohort["n"]) and set(found["code"]) <= set(signals)
        rows += found.height
    assert rows


def test_notes_are_typed_of_the_cohort_and_late_ones_are_kept_with_a_warning_only(raw: Config) -> None:
    source = sources.chosen(raw)
    cohort = cohort_of(source)
    notes = source.notes(cohort)
    assert isinstance(notes, Notes)
    require(notes.table, NOTES, "notes")
    assert set(notes.table["patient_id"]) <= set(cohort["patient_id"])
    assert notes.warnings or not notes.after_window


@pytest.mark.parametrize("kind", RECORDS)
def test_records_are_there_or_refused_in_one_line(raw: Config, kind: Any) -> None:
    try:
        assert set(sources.chosen(raw).records(kind).columns) >= RECORDS[kind]
    except UserError as error:
        assert "\n" not in str(error)


def test_the_inputs_are_files_that_are_there(raw: Config) -> None:
    inputs = sources.chosen(raw).inputs()
    assert inputs and all(path.is_file() for path in inputs)


def test_no_table_holds_anything_timed_after_the_window(raw: Config) -> None:
    convert.run(raw)
    cohort = read_table(raw.table_dir, schema.COHORT)
    measurements = read_table(raw.table_dir, schema.DYNAMIC)
    assert measurements.height and outside(measurements, "event_time", cohort).is_empty()
    starts = measurements.join(cohort.select("patient_id", "window_start"), on="patient_id")
    assert starts.filter(pl.col("event_time") < pl.col("window_start")).is_empty()
    if not sources.chosen(raw).notes(cohort_of(sources.chosen(raw))).after_window:
        assert outside(read_table(raw.table_dir, schema.NOTES), "note_time", cohort).is_empty()


@pytest.mark.parametrize("plug", with_example("source", "change_after_window"))
def test_a_raw_value_after_the_window_changes_no_table(plug: str, tmp_path: Path) -> None:
    made, files = config(plug, tmp_path), example("source", plug)
    assert files is not None
    files.raw_files(made.raw_dir)
    tables = [made.table_dir / table.file for table in (schema.DYNAMIC, schema.STATIC, schema.LABEL, schema.NOTES)]
    convert.run(made)
    before, raw = hashes(tables), hashes(sources.chosen(made).inputs())
    files.change_after_window(made.raw_dir)
    assert hashes(sources.chosen(made).inputs()) != raw
    convert.run(made)
    assert hashes(tables) == before


@dataclass(frozen=True)
class Forgetful:
    """A source of one stay that hands over all it has, whenever it was."""

    one_calendar: ClassVar[bool] = True

    def is_open(self) -> bool:
        return True

    def open_files(self) -> frozenset[str]:
        return frozenset()

    def download(self, settings: object, offline: bool) -> None:
        pass

    def inputs(self) -> list[Path]:
        return []

    def stays(self) -> Extract:
        times = {"admittime": 1, "intime": 1, "outtime": 9, "dischtime": 12, "deathtime": None, "death": None}
        row = {name: day and datetime(2150, 1, day) for name, day in times.items()}
        ids = {"subject_id": "p", "hadm_id": "h", "stay_id": "s", "sex": "F", "ethnicity": "", "icu_type": ""}
        table = pl.DataFrame([{**ids, **row, "age": 70, "died": 0}], schema_overrides=STAYS)
        return Extract(table)

    def signals(self) -> tuple[Signal, ...]:
        return (Signal("pulse", "pulse", "beats/min"),)

    def measurements(self, cohort: pl.DataFrame, match: object) -> Sequence[Events]:
        days = {0: 31, 1: 1, 2: 2, 3: 3, 4: 8}
        rows = [
            (0, datetime(2150 if number else 2149, 1 if number else 12, day), "pulse", 60.0)
            for number, day in days.items()
        ]
        frame = pl.LazyFrame([*rows, (0, None, "pulse", 60.0)], schema=MEASUREMENTS, orient="row")
        return [Events(Path("pulse.csv"), frame)]

    def notes(self, cohort: pl.DataFrame) -> Notes:
        rows = [("s", datetime(2150, 1, day, 5), "progress", f"day {day}") for day in (1, 2, 3, 9)]
        return Notes(pl.DataFrame([*rows, ("s", None, "progress", "some day")], schema=NOTES, orient="row"))

    def records(self, kind: str) -> pl.DataFrame:
        raise UserError("none")


def test_a_source_that_forgets_the_window_gives_no_row_outside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = Paths(raw_dir=tmp_path, table_dir=tmp_path / "tables")
    made = Config(dataset="d", run_name="r", paths=paths, source=Component("synthetic"))
    monkeypatch.setattr(sources, "chosen", lambda _: Forgetful())
    convert.run(made)
    measured = read_table(made.table_dir, schema.DYNAMIC)
    assert [time.day for time in measured["event_time"]] == [1, 2]
    assert read_table(made.table_dir, schema.NOTES)["text"].to_list() == ["day 1", "day 2", "some day"]
    record = (made.table_dir / schema.PROVENANCE).read_text()
    assert '"notes after the window excluded": 2' in record and '"no time": 1' in record


def test_measurements_without_a_column_are_the_sources_fault_not_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Lacking(Forgetful):
        def measurements(self, cohort: pl.DataFrame, match: object) -> Sequence[Events]:
            (part,) = super().measurements(cohort, match)
            return [replace(part, frame=part.frame.rename({"event_time": "time"}))]

    paths = Paths(raw_dir=tmp_path, table_dir=tmp_path / "tables")
    made = Config(dataset="d", run_name="r", paths=paths, source=Component("synthetic"))
    monkeypatch.setattr(sources, "chosen", lambda _: Lacking())
    with pytest.raises(UserError, match=r"pulse.csv: the source makes a table of it that lacks .*event_time"):
        convert.run(made)


def test_notes_of_after_the_window_stay_where_the_source_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Leaking(Forgetful):
        def notes(self, cohort: pl.DataFrame) -> Notes:
            return replace(super().notes(cohort), after_window=True, warnings=("they leak",))

    made = Config(
        dataset="d",
        run_name="r",
        paths=Paths(raw_dir=tmp_path, table_dir=tmp_path / "t"),
        source=Component("synthetic"),
    )
    monkeypatch.setattr(sources, "chosen", lambda _: Leaking())
    convert.run(made)
    assert read_table(made.table_dir, schema.NOTES).height == 5


def test_a_column_of_another_type_is_named() -> None:
    frame = pl.DataFrame({"n": [1], "event_time": ["yesterday"], "code": ["x"]})
    with pytest.raises(AssertionError, match=r"pulse.csv: columns missing or of another type: .*'event_time': String"):
        require(frame, MEASUREMENTS, "pulse.csv")


def test_notes_of_long_before_the_admission_or_twice_are_left_out_and_counted_whatever_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Doubling(Forgetful):
        def notes(self, cohort: pl.DataFrame) -> Notes:
            given = super().notes(cohort).table
            old = [("s", datetime(year, 1, 1), "progress", "old") for year in (1800, 2149)]
            return Notes(pl.concat([given, given.head(1), pl.DataFrame(old, schema=NOTES, orient="row")]))

    paths = Paths(raw_dir=tmp_path, table_dir=tmp_path / "tables")
    made = Config(dataset="d", run_name="r", paths=paths, source=Component("synthetic"))
    monkeypatch.setattr(sources, "chosen", lambda _: Doubling())
    convert.run(made)
    assert read_table(made.table_dir, schema.NOTES)["text"].to_list() == ["day 1", "day 2", "some day"]
    record = json.loads((made.table_dir / schema.PROVENANCE).read_text())
    assert record["notes"]["counts"]["notes before the admission excluded"] == 2
    assert record["notes"]["counts"]["notes that stand twice, the second left out"] == 1
    assert any("2 of 8 notes are left out: they are dated more than 24 h before" in line for line in record["warnings"])
    assert any("1 of 8 notes are left out: they stand twice" in line for line in record["warnings"])


def test_a_signal_whose_name_differs_from_a_known_one_by_case_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Shouting(Forgetful):
        def signals(self) -> tuple[Signal, ...]:
            return (*super().signals(), Signal("Heart_Rate", "heart rate", ""), Signal("PULSE", "pulse", ""))

    paths = Paths(raw_dir=tmp_path, table_dir=tmp_path / "tables")
    made = Config(dataset="d", run_name="r", paths=paths, source=Component("synthetic"))
    monkeypatch.setattr(sources, "chosen", lambda _: Shouting())
    convert.run(made)
    warnings = json.loads((made.table_dir / schema.PROVENANCE).read_text())["warnings"]
    assert any("'Heart_Rate' is a feature of its own, since it is not spelt 'heart_rate'" in line for line in warnings)
    assert any("codes 'pulse' and 'PULSE' are two features with almost the same name" in line for line in warnings)
