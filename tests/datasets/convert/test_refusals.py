"""Faults in raw files and tables that once gave wrong results in silence: each is refused in one line, or counted."""

import dataclasses
import datetime
import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from emerge_ehr.config import Cohort, Config, Download, Model, Paths, Training
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.datasets.sources.synthetic import Options
from emerge_ehr.datasets.sources.synthetic import source as synthetic
from emerge_ehr.datasets.sources.synthetic.generate import generate
from emerge_ehr.datasets.sources.synthetic.knowledge_graph import load_graph, write_graph
from emerge_ehr.fields import Component, UserError
from emerge_ehr.preprocess import run as preprocess
from emerge_ehr.preprocess.inputs import own_notes
from emerge_ehr.rag.records import joined_notes
from emerge_ehr.storage import publishing, schema, table_files
from emerge_ehr.storage.dataset import load_dataset
from emerge_ehr.training import train


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hospital")
    generate(folder / "raw", Options(stays=120), 3)
    write_graph(load_graph(), folder / "kg")
    return folder


@pytest.fixture
def config(hospital: Path, tmp_path: Path) -> Config:
    """Reads a copy of the hospital as MIMIC-IV; everything is written below ``tmp_path``."""
    shutil.copytree(hospital / "raw", tmp_path / "raw")
    source = {"notes_file": (str(tmp_path / "raw" / "note" / "notes.csv.gz"),)}
    return Config(
        dataset="d",
        run_name="r",
        paths=Paths(
            tmp_path / "raw",
            hospital / "kg",
            tmp_path / "tables",
            tmp_path / "processed",
            tmp_path / "run",
            tmp_path / "cache",
        ),
        source=Component("mimic4", source),
        model=Model(hidden_size=8, heads=2, experts=()),
        training=Training(members=1, max_epochs=1, bootstrap_resamples=10, accelerator="cpu"),
    )


@pytest.fixture(scope="module")
def processed(hospital: Path, tables: Path) -> Path:
    """The artefacts made of those tables."""
    paths = Paths(hospital / "raw", hospital / "kg", tables, hospital / "processed", cache_dir=hospital / "cache")
    preprocess.run(Config(dataset="d", run_name="r", paths=paths, source=Component("mimic4")))
    return hospital / "processed"


def change(path: Path, edit: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    zipped = path.suffix == ".gz"
    table = pl.read_csv(path, infer_schema=False)
    text = edit(table).write_csv().encode()
    path.write_bytes(gzip.compress(text, compresslevel=1) if zipped else text)


@pytest.fixture(scope="module")
def tables(hospital: Path) -> Path:
    """The tables of the hospital as a user's own: without the record of convert."""
    paths = Paths(hospital / "raw", hospital / "kg", hospital / "tables", cache_dir=hospital / "cache")
    source = {"notes_file": (str(hospital / "raw" / "note" / "notes.csv.gz"),)}
    convert.run(Config(dataset="d", run_name="r", paths=paths, source=Component("mimic4", source)))
    (hospital / "tables" / "provenance.json").unlink()
    return hospital / "tables"


@pytest.fixture
def own(config: Config, tables: Path) -> Config:
    """With a copy of those tables."""
    shutil.copytree(tables, config.table_dir)
    return config


def refused(run: Callable[[Config], None], config: Config, expected: str) -> None:
    with pytest.raises(UserError, match=expected) as caught:
        run(config)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("column", ["deathtime", "dischtime"])
def test_a_time_with_a_zone_is_refused_rather_than_taken_as_missing(config: Config, column: str) -> None:
    path = config.raw_dir / "hosp" / "admissions.csv.gz"
    change(path, lambda table: table.with_columns(pl.col(column) + "+02:00"))
    refused(convert.run, config, rf"admissions.csv.gz row \d+: {column} '.*\+02:00' is not a time \(times are read as")
    assert not config.table_dir.exists()


def test_an_icu_time_that_is_none_is_refused(config: Config) -> None:
    path = config.raw_dir / "icu" / "icustays.csv.gz"
    change(path, lambda table: table.with_columns(pl.col("intime").str.replace("-", "/")))
    refused(convert.run, config, "intime")


@pytest.mark.parametrize(
    ("file", "column"),
    [
        ("icu/icustays.csv.gz", "intime"),
        ("icu/chartevents.csv.gz", "charttime"),
        ("note/notes.csv.gz", "charttime"),
    ],
)
def test_a_zone_that_only_some_times_of_a_column_state_is_refused(config: Config, file: str, column: str) -> None:
    path = config.raw_dir / file
    later = pl.int_range(pl.len()) > pl.len() // 2
    change(
        path, lambda table: table.with_columns(pl.col(column) + pl.when(later).then(pl.lit("Z")).otherwise(pl.lit("")))
    )
    told = (
        rf"{path.name}: {column} has times with a zone \(row \d+: '.*Z'\) and times without one \(row 2: '.*'\); it is"
    )
    refused(convert.run, config, told)
    change(path, lambda table: table.with_columns(pl.col(column).str.strip_chars_end("Z") + "Z"))
    convert.run(config)  # the calendar is the source's own, and its zone is dropped


@pytest.mark.parametrize("by", ["hadm_id", "subject_id"])
def test_note_times_that_are_none_are_refused(config: Config, by: str) -> None:
    other = "hadm_id" if by == "subject_id" else "nothing"
    path = config.raw_dir / "note" / "notes.csv.gz"
    change(path, lambda table: table.drop(other, strict=False).with_columns(pl.col("charttime") + "-05:00"))
    refused(convert.run, config, r"notes.csv.gz record \d+: time '.*-05:00' is not a time")


def test_a_note_stamped_with_a_bare_day_counts_as_that_days_end(config: Config) -> None:
    path = config.raw_dir / "note" / "notes.csv.gz"
    change(path, lambda table: table.with_columns(pl.col("charttime").str.slice(0, 10) + " 00:00:00"))
    convert.run(config)
    notes = table_files.read_table(config.table_dir, schema.NOTES)
    assert notes.height and (notes["note_time"].dt.time() == datetime.time(23, 59, 59)).all()


def test_empty_notes_of_a_users_own_tables_are_left_out_and_told(own: Config) -> None:
    path = own.table_dir / "notes.csv"
    before = table_files.read_table(own.table_dir, schema.NOTES)
    patient = before["patient_id"][0]
    change(path, lambda table: pl.concat([table, table.head(2).with_columns(text=pl.Series(["", " "]))]))
    preprocess.run(own)
    told = json.loads((own.processed_dir / "metadata.json").read_text())["warnings"]
    assert f"notes.csv: 2 of {before.height + 2} notes have no text, and are left out" in told
    (text,) = own_notes.joined(own, [patient])
    assert text == joined_notes(before, [patient])[0]
    change(path, lambda table: table.with_columns(text=pl.lit(" ")))
    preprocess.run(own)
    told = json.loads((own.processed_dir / "metadata.json").read_text())["warnings"]
    assert (
        f"notes.csv: text is empty in all {before.height + 2} notes, which are left out; is it the right column?"
        in told
    )


def test_convert_does_not_replace_tables_that_it_did_not_write(own: Config) -> None:
    before = (own.table_dir / "label.csv").read_bytes()
    refused(convert.run, own, "would be replaced")
    assert (own.table_dir / "label.csv").read_bytes() == before


def test_codes_of_a_users_own_tables_become_features(own: Config) -> None:
    change(own.table_dir / "dynamic.csv", lambda table: table.with_columns(("lab " + pl.col("code")).alias("code")))
    preprocess.run(own)
    metadata = json.loads((own.processed_dir / "metadata.json").read_text())
    assert "lab heart_rate" in [feature["name"] for feature in metadata["features"]]
    assert not metadata["never_measured_in_training"]


def test_values_of_another_unit_are_warned_of(own: Config) -> None:
    warm = pl.col("code") == "temperature"
    fahrenheit = pl.when(warm).then(pl.col("value").cast(pl.Float64) * 1.8 + 32).otherwise(pl.col("value").cast(float))
    change(own.table_dir / "dynamic.csv", lambda table: table.with_columns(fahrenheit.alias("value")))
    preprocess.run(own)
    warnings = json.loads((own.processed_dir / "metadata.json").read_text())["warnings"]
    assert any("of temperature lie outside 25-45 degrees Celsius" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("file", "column", "value", "expected"),
    [
        ("cohort.csv", "window_end", "2300-01-01 00:00:00", "window of patient_id"),
        ("cohort.csv", "window_end", "1900-01-01 00:00:00", "window of patient_id"),
        ("static.csv", "sex", "woman", "static.csv row 2: sex 'woman' is not one of F, M"),
        ("label.csv", "label_time", "1900-01-01 00:00:00", "before the end of the observation window"),
        ("dynamic.csv", "value", "", "dynamic.csv row 2: value"),
        ("dynamic.csv", "event_time", "2300-01-01 00:00:00", "outside the observation window"),
        ("dynamic.csv", "patient_id", "nobody", "dynamic.csv: patient_id 'nobody' is not in cohort.csv"),
    ],
)
def test_tables_that_would_leak_or_mislead_are_refused(
    own: Config, file: str, column: str, value: str, expected: str
) -> None:
    first = pl.int_range(pl.len()) == 0
    cell = pl.when(first).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)
    change(own.table_dir / file, lambda table: table.with_columns(cell))
    refused(preprocess.run, own, expected)
    assert not own.processed_dir.exists()


def test_tables_changed_after_convert_are_refused(config: Config) -> None:
    convert.run(config)
    flipped = (1 - pl.col("label_value").cast(pl.Int64)).alias("label_value")
    change(config.table_dir / "label.csv", lambda table: table.with_columns(flipped))
    refused(preprocess.run, config, "label.csv: changed since --stage convert")


def test_a_stage_refuses_artefacts_made_with_other_settings(config: Config) -> None:
    convert.run(config)
    shorter = dataclasses.replace(config, cohort=Cohort(window_hours=24))
    refused(preprocess.run, shorter, r"other \[cohort\] settings")
    without_notes = dataclasses.replace(config, source=Component("mimic4"))
    refused(preprocess.run, without_notes, r"other \[source\] settings")
    refused(preprocess.run, dataclasses.replace(config, task=Component("los")), r"other \[task\] settings")
    preprocess.run(config)
    refused(train.run, shorter, r"other \[cohort\] settings")


def test_artefacts_of_two_runs_do_not_mix(config: Config) -> None:
    convert.run(config)
    preprocess.run(config)
    split = config.processed_dir / "split.json"
    other = json.loads(split.read_text())
    other["train"], other["test"] = other["test"], other["train"]
    split.write_text(json.dumps(other))
    refused(train.run, config, "split.json: changed since --stage preprocess")


def test_two_runs_cannot_publish_into_one_folder_at_once(tmp_path: Path) -> None:
    with publishing.publish(tmp_path / "x") as folder:
        (folder / "a").write_text("1")
        told = "another run is writing there; wait for it"  # the process itself is not named
        with pytest.raises(UserError, match=told), publishing.publish(tmp_path / "x"):
            pass
    assert (tmp_path / "x" / "a").read_text() == "1"


def test_a_generated_hospital_of_other_options_is_refused(tmp_path: Path) -> None:
    def source(stays: int, seed: int) -> synthetic.Synthetic:
        return synthetic.build(synthetic.Options(stays), raw_dir=tmp_path / "raw", kg_dir=tmp_path / "kg", seed=seed)

    source(30, 1).download(Download(), offline=False)
    assert source(30, 1).inputs()
    for other in (source(31, 1), source(30, 2)):
        with pytest.raises(UserError, match="not generated with"):
            other.inputs()


def test_a_damaged_generated_file_is_generated_again(tmp_path: Path) -> None:
    source = synthetic.build(synthetic.Options(30), raw_dir=tmp_path / "raw", kg_dir=tmp_path / "kg", seed=1)
    source.download(Download(), offline=False)
    path = tmp_path / "raw" / "icu" / "chartevents.csv.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    (tmp_path / "kg" / "kg.csv").unlink()
    source.download(Download(), offline=False)
    assert path.read_bytes() == whole and (tmp_path / "kg" / "kg.csv").is_file()


@pytest.mark.parametrize("name", ["hosp/admissions", "hosp/patients", "icu/icustays"])
def test_a_row_that_stands_twice_is_named_with_its_file(config: Config, name: str) -> None:
    path = config.raw_dir / f"{name}.csv.gz"
    change(path, lambda table: pl.concat([table, table.head(1)]))
    refused(convert.run, config, rf"{Path(name).name}.csv.gz row \d+: .* stands twice")


def test_a_doubled_column_name_is_refused(config: Config) -> None:
    path = config.raw_dir / "icu" / "chartevents.csv.gz"
    text = gzip.decompress(path.read_bytes()).replace(b"valueuom", b"valuenum", 1)
    path.write_bytes(gzip.compress(text, compresslevel=1))
    refused(convert.run, config, "two columns are named 'valuenum'")


def test_files_of_two_versions_are_refused(config: Config) -> None:
    change(config.raw_dir / "hosp" / "admissions.csv.gz", lambda table: table.slice(5))
    refused(convert.run, config, "must be of one version")


def test_chart_rows_without_a_time_are_counted(config: Config) -> None:
    convert.run(config)
    path = config.raw_dir / "icu" / "chartevents.csv.gz"
    blank = pl.when(pl.col("itemid") == "220045").then(None).otherwise(pl.col("charttime")).alias("charttime")
    change(path, lambda table: table.with_columns(blank))
    convert.run(config)
    provenance = json.loads((config.table_dir / "provenance.json").read_text())
    assert provenance["measurements"]["dropped or repaired"]["no time"] > 1000
    assert "no sample has a measurement of heart_rate" in provenance["warnings"]


def test_tables_without_notes_leave_that_modality_masked(own: Config) -> None:
    (own.table_dir / "notes.csv").unlink()
    preprocess.run(own)
    dataset = load_dataset(own.processed_dir)
    assert not dataset.note_mask.any() and not dataset.note_embedding.any()
    assert any("no notes" in warning for warning in dataset.metadata["warnings"])
    train.run(own)
    assert np.isfinite(pl.read_csv(own.run_dir / "predictions.csv")["y_prob"].to_numpy()).all()


@pytest.mark.parametrize("file", ["cohort.csv", "static.csv", "label.csv", "dynamic.csv", "notes.csv"])
@pytest.mark.parametrize("spelt", ["{}.0", " {} "])
def test_ids_of_ones_own_tables_are_read_one_way_and_that_is_told(
    own: Config, processed: Path, file: str, spelt: str
) -> None:
    folder = own.table_dir
    change(folder / file, lambda table: table.with_columns(pl.format(spelt, "patient_id").alias("patient_id")))
    preprocess.run(own)
    before, after = load_dataset(processed), load_dataset(own.processed_dir)
    assert after.split == before.split and np.array_equal(after.ehr, before.ehr)
    told = [warning for warning in after.metadata["warnings"] if warning not in before.metadata["warnings"]]
    assert len(told) == 1 and told[0].startswith(f"{file}: ") and "have an id with blanks around it" in told[0]


@pytest.mark.parametrize("file", ["static.csv", "dynamic.csv", "notes.csv", "label.csv"])
def test_ids_with_leading_zeros_are_refused_naming_both(own: Config, file: str) -> None:
    folder = own.table_dir
    change(folder / file, lambda table: table.with_columns(("00" + pl.col("patient_id")).alias("patient_id")))
    refused(preprocess.run, own, rf"{file}: patient_id .*, but '(00)?\d+' is \(write ids one way in all tables\)")


def test_codes_that_differ_from_a_signal_by_case_are_told(own: Config) -> None:
    renamed = pl.col("code").replace({"heart_rate": "Heart_Rate", "glucose": "GLUCOSE"})
    change(own.table_dir / "dynamic.csv", lambda table: table.with_columns(renamed.alias("code")))
    preprocess.run(own)
    warnings = json.loads((own.processed_dir / "metadata.json").read_text())["warnings"]
    for code, name in (("Heart_Rate", "heart_rate"), ("GLUCOSE", "glucose")):
        assert (
            f"code '{code}' is a feature of its own, since it is not spelt '{name}'; rename it if it is that signal"
            in warnings
        )


@pytest.mark.parametrize("words", [{"F": "f", "M": "m"}, {"F": "Female", "M": "MALE"}])
def test_sexes_of_ones_own_tables_may_be_words_or_in_lower_case(
    own: Config, processed: Path, words: dict[str, str]
) -> None:
    folder = own.table_dir
    change(folder / "static.csv", lambda table: table.with_columns(pl.col("sex").replace(words)))
    preprocess.run(own)
    assert np.array_equal(load_dataset(own.processed_dir).static, load_dataset(processed).static)


def test_one_file_of_notes_needs_no_list(config: Config) -> None:
    path = str(config.raw_dir / "note" / "notes.csv.gz")
    one = dataclasses.replace(config, source=Component("mimic4", {"notes_file": path}))
    convert.run(one)
    expected = table_files.read_table(one.table_dir, schema.NOTES)
    convert.run(dataclasses.replace(config, source=Component("mimic4", {"notes_file": [path]})))
    assert expected.height and table_files.read_table(config.table_dir, schema.NOTES).equals(expected)


def test_an_archive_beside_a_table_must_hold_the_same(own: Config) -> None:
    folder = own.table_dir
    (folder / "dynamic.csv.gz").write_bytes(gzip.compress((folder / "dynamic.csv").read_bytes()))
    preprocess.run(own)
    (folder / "dynamic.csv.gz").write_bytes(gzip.compress(b"patient_id,event_time,code,value\n"))
    refused(preprocess.run, own, r"dynamic.csv: stands beside dynamic.csv.gz, whose content differs; remove")


def test_old_and_doubled_notes_of_ones_own_tables_are_told(own: Config) -> None:
    first = pl.int_range(pl.len()) == 0
    old = pl.when(first).then(pl.lit("1800-01-01 10:00:00")).otherwise("note_time").alias("note_time")
    path = own.table_dir / "notes.csv"
    change(path, lambda table: pl.concat([table.with_columns(old), table.tail(3)]))
    preprocess.run(own)
    warnings = json.loads((own.processed_dir / "metadata.json").read_text())["warnings"]
    assert "1 note is dated more than 365 days before the observation window: are they right?" in warnings
    assert "3 notes stand twice in their patient's text: remove them" in warnings
