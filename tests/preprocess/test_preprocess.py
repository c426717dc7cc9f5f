"""Stage preprocess on the real demo and the open PrimeKG, and on tables that do not fit together."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from emerge_ehr import components, embeddings
from emerge_ehr.config import Config
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.fields import Component, UserError
from emerge_ehr.preprocess import run as preprocess
from emerge_ehr.preprocess.inputs.tables import patients
from emerge_ehr.storage import schema
from emerge_ehr.storage.dataset import Dataset, load_dataset, load_patients
from emerge_ehr.storage.table_files import read_table
from emerge_ehr.training import train


@pytest.fixture(scope="module")
def processed(demo_config: Config) -> Path:
    convert.run(demo_config)
    preprocess.run(demo_config)
    return demo_config.processed_dir


@pytest.fixture(scope="module")
def data(processed: Path) -> Dataset:
    return load_dataset(processed)


@pytest.fixture(scope="module")
def records(processed: Path) -> pl.DataFrame:
    return pl.read_csv(processed / schema.RAG_RECORDS)


def test_no_person_is_in_two_splits_and_every_split_has_both_outcomes(data: Dataset, demo_config: Config) -> None:
    subject = dict(read_table(demo_config.table_dir, schema.COHORT).select("patient_id", "subject_id").rows())
    persons = [{subject[patient] for patient in ids} for ids in data.split.values()]
    assert not (persons[0] & persons[1]) and not (persons[0] & persons[2]) and not (persons[1] & persons[2])
    label = dict(zip(data.patient_id, data.label[:, 0], strict=True))
    assert all({label[np.str_(patient)] for patient in ids} == {0.0, 1.0} for ids in data.split.values())
    assert sum(map(len, data.split.values())) == len(data.patient_id) == 74


def test_patients_csv_says_of_every_stay_whose_it_is_and_what_the_source_states(
    processed: Path, data: Dataset, demo_config: Config
) -> None:
    found = load_patients(processed, data.patient_id)
    assert found is not None and found["patient_id"].to_list() == data.patient_id.tolist()
    cohort = read_table(demo_config.table_dir, schema.COHORT)
    static = pl.read_csv(demo_config.table_dir / "static.csv", infer_schema=False)
    expected = found.select("patient_id").join(
        cohort.join(static, on="patient_id"), on="patient_id", maintain_order="left"
    )
    for column in ("subject_id", "sex", "ethnicity", "icu_type"):
        assert found[column].to_list() == expected[column].to_list(), column
    assert found["age"].to_list() == expected["age"].cast(pl.Float64).to_list()
    assert data.metadata["artefacts"]["patients.csv"]
    other = np.append(data.patient_id, "stranger")
    with pytest.raises(UserError, match="no row for patient_id 'stranger'"):
        load_patients(processed, other)
    assert load_patients(processed.parent, data.patient_id) is None


def test_tables_of_ones_own_without_ethnicity_leave_it_empty() -> None:
    cohort = pl.DataFrame({"patient_id": ["a"], "subject_id": ["s"], "age": [70.0], "sex": ["F"]})
    assert patients(cohort).rows() == [("a", "s", 70.0, "F", None, None)]


def test_hourly_values_equal_a_plain_loop_with_statistics_of_training_patients_only(
    data: Dataset, demo_config: Config
) -> None:
    events = read_table(demo_config.table_dir, schema.DYNAMIC).sort("event_time", "value")
    start = dict(read_table(demo_config.table_dir, schema.COHORT).select("patient_id", "window_start").rows())
    row = {str(patient): n for n, patient in enumerate(data.patient_id)}
    column = {feature["name"]: f for f, feature in enumerate(data.metadata["features"])}
    raw: dict[tuple[int, int, int], float] = {}
    for patient, time, code, value in events.rows():
        raw[row[patient], int((time - start[patient]).total_seconds() // 3600), column[code]] = value
    training = {row[patient] for patient in data.split["train"]}
    for name, f in column.items():
        values = [value for (n, _, g), value in raw.items() if g == f and n in training]
        if not values:
            assert name in data.metadata["never_measured_in_training"]
            continue
        mean, std = np.mean(values), np.std(values) or 1.0
        for n in range(len(row)):
            last = 0.0
            for t in range(data.ehr.shape[1]):
                measured = (n, t, f) in raw
                last = (raw[n, t, f] - mean) / std if measured else last
                assert data.ehr_mask[n, t, f] == measured
                if t < data.ehr_length[n]:
                    assert abs(data.ehr[n, t, f] - last) < 1e-3


def test_common_icu_diseases_are_linked_and_have_triples(records: pl.DataFrame) -> None:
    names = {node["name"] for nodes in records["nodes"] for node in json.loads(nodes)}
    assert {"heart failure", "atrial fibrillation", "acute kidney failure", "chronic kidney disease"} <= names
    with_triples = {triple[1] for triples in records["triples"] for triple in json.loads(triples)}
    assert {"heart failure", "acute kidney failure"} <= with_triples
    for nodes in records["nodes"]:
        indices = [node["node_index"] for node in json.loads(nodes)]
        assert len(indices) == len(set(indices)) <= 10


def test_entities_occur_literally_in_the_notes(records: pl.DataFrame, demo_config: Config) -> None:
    notes = dict(read_table(demo_config.table_dir, schema.NOTES).select("patient_id", "text").rows())
    for patient, entities in records.select(pl.col("patient_id").cast(pl.String), "entities").rows():
        for entity in json.loads(entities):
            assert notes[patient][entity["start"] : entity["end"]] == entity["surface"]


def test_every_statement_of_every_summary_is_supported(records: pl.DataFrame) -> None:
    unsupported = [claim for audit in records["faithfulness"] for claim in json.loads(audit)["unsupported"]]
    assert not unsupported  # of some 1,800 statements
    for summary, provenance in records.select("summary", "provenance").rows():
        assert summary == " ".join(statement["text"] for statement in json.loads(provenance))


def test_the_saved_encoder_gives_the_saved_embeddings(processed: Path, data: Dataset, records: pl.DataFrame) -> None:
    encoder = embeddings.load(processed / schema.FITTED, "summary_encoder", processed)
    assert np.array_equal(encoder.encode(records["summary"].to_list()), data.summary_embedding)


def test_running_twice_changes_no_byte(processed: Path, demo_config: Config) -> None:
    before = {path: path.read_bytes() for path in processed.rglob("*") if path.is_file()}
    preprocess.run(demo_config)
    assert {path: path.read_bytes() for path in processed.rglob("*") if path.is_file()} == before


def copied(config: Config, tmp_path: Path) -> Config:
    """The config with a copy of the tables, as a user's own: without our provenance."""
    folder = tmp_path / "tables"
    folder.mkdir()
    for table in schema.TABLES:
        (folder / table.file).write_bytes((config.table_dir / table.file).read_bytes())
    paths = dataclasses.replace(config.paths, table_dir=folder, processed_dir=tmp_path / "processed")
    return dataclasses.replace(config, paths=paths)


def change(folder: Path, file: str, column: str, value: str, row: int = 0) -> None:
    table = pl.read_csv(folder / file, infer_schema=False)
    marked = pl.when(pl.int_range(pl.len()) == row).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)
    table.with_columns(marked).write_csv(folder / file)


def test_changing_another_patient_or_the_future_changes_nothing(
    processed: Path, demo_config: Config, tmp_path: Path
) -> None:
    config = copied(demo_config, tmp_path)
    test_patient = load_dataset(processed).split["test"][0]
    dynamic = pl.read_csv(config.table_dir / "dynamic.csv", infer_schema=False)
    theirs = pl.col("patient_id") == test_patient
    dynamic.with_columns(pl.when(theirs).then(pl.lit("77")).otherwise(pl.col("value")).alias("value")).write_csv(
        config.table_dir / "dynamic.csv"
    )
    preprocess.run(config)
    before, after = load_dataset(processed), load_dataset(config.processed_dir)
    others = before.patient_id != test_patient
    assert np.array_equal(before.ehr[others], after.ehr[others])
    assert np.array_equal(before.summary_embedding[others], after.summary_embedding[others])
    assert not np.array_equal(before.ehr[~others], after.ehr[~others])


@pytest.mark.parametrize(
    ("file", "column", "value", "expected"),
    [
        ("static.csv", "age", "abc", r"static.csv row 2: age 'abc' is not a number"),
        ("static.csv", "age", "300", r"row 2: age '300' is outside 0-120"),
        ("static.csv", "patient_id", "1", "of cohort.csv is not there"),
        ("label.csv", "label_value", "0.5", "neither 0 nor 1"),
        ("label.csv", "label_time", "yesterday", "is not a time"),
        ("dynamic.csv", "value", "", "dynamic.csv row 2: value is empty"),
        ("dynamic.csv", "value", "inf", "row 2: value 'inf'"),
        ("dynamic.csv", "event_time", "2300-01-01 00:00:00", "1 row outside the observation window"),
        ("dynamic.csv", "patient_id", "nobody", "'nobody' is not in cohort.csv"),
        ("notes.csv", "patient_id", "nobody", "'nobody' is not in cohort.csv"),
        ("notes.csv", "note_type", "progress", "1 note written after the observation window"),
        ("cohort.csv", "stay_id", "", "cohort.csv row 2: stay_id is empty"),
    ],
)
def test_tables_that_do_not_fit_are_refused_in_one_line(
    processed: Path, demo_config: Config, tmp_path: Path, file: str, column: str, value: str, expected: str
) -> None:
    config = copied(demo_config, tmp_path)
    change(config.table_dir, file, column, value)
    with pytest.raises(UserError, match=expected) as caught:
        preprocess.tables_and_split(config, components.build("task", config.task))
    assert "\n" not in str(caught.value)


def test_tables_that_were_refused_leave_no_artefacts(processed: Path, demo_config: Config, tmp_path: Path) -> None:
    config = copied(demo_config, tmp_path)
    change(config.table_dir, "static.csv", "age", "abc")
    with pytest.raises(UserError, match="not a number"):
        preprocess.run(config)
    assert not config.processed_dir.exists()


def test_a_graph_without_kg_csv_stops_at_once(demo_config: Config, tmp_path: Path) -> None:
    paths = dataclasses.replace(demo_config.paths, kg_dir=tmp_path)
    (tmp_path / "disease_features.csv").touch()
    with pytest.raises(UserError, match=r"kg.csv: missing .*--stage download"):
        preprocess.run(dataclasses.replace(demo_config, paths=paths))


@pytest.mark.parametrize("series", components.names("model.series"))
def test_the_real_demo_trains_with_every_encoder(processed: Path, demo_config: Config, series: str) -> None:
    training = dataclasses.replace(demo_config.training, max_epochs=2, bootstrap_resamples=20)
    model = dataclasses.replace(demo_config.model, series=Component(series), hidden_size=16)
    train.run(dataclasses.replace(demo_config, model=model, training=training))
    metrics = json.loads((demo_config.run_dir / "metrics.json").read_text())
    assert metrics["splits"]["test"]["mortality"]["patients"] == 16
