"""Leaks are planted one by one; the audit must name each, and find none in what the stages make."""

import dataclasses
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from emerge_ehr import embeddings
from emerge_ehr.audit import audit, single_features
from emerge_ehr.config import Config, Download, Paths, Sparsity
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.datasets.sources.synthetic import source as synthetic
from emerge_ehr.fields import Component, UserError
from emerge_ehr.preprocess import fitted
from emerge_ehr.preprocess import run as preprocess
from emerge_ehr.signals import hourly as tensors
from emerge_ehr.storage import artefacts
from emerge_ehr.storage.dataset import ARRAYS, Dataset, load_dataset, write_dataset


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audited")
    synthetic.build(synthetic.Options(220), raw_dir=folder / "raw", kg_dir=folder / "kg", seed=42).download(
        Download(), offline=False
    )
    convert.run(settings(folder))
    preprocess.run(settings(folder))
    return folder


def settings(folder: Path) -> Config:
    paths = Paths(
        folder / "raw", folder / "kg", folder / "tables", folder / "processed", folder / "run", folder / "cache"
    )
    return Config("synthetic", "r", paths, Component("synthetic", {"stays": 220}))


@pytest.fixture
def config(made: Path, tmp_path: Path) -> Config:
    """A copy to plant leaks in; the tables count as a user's own, the artefacts as made by another program."""
    shutil.copytree(made, tmp_path / "copy")
    (tmp_path / "copy/tables/provenance.json").unlink()
    return settings(tmp_path / "copy")


def verdicts(config: Config) -> dict[str, str]:
    found = json.loads((config.processed_dir / audit.AUDIT).read_text())["findings"]
    return {finding["check"]: finding["verdict"] for finding in found}


def edit(path: Path, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    change(pl.read_csv(path, infer_schema=False)).write_csv(path)


def as_if_made_so(config: Config, **metadata: Any) -> None:
    """Record the artefacts' checksums anew."""
    path = config.processed_dir / "metadata.json"
    found = json.loads(path.read_text())
    found["artefacts"] = {name: artefacts.checksum(config.processed_dir / name) for name in found["artefacts"]}
    artefacts.write_json(path, {**found, **metadata})


def with_arrays(config: Config, dataset: Dataset, **changed: Any) -> None:
    arrays = {name: getattr(dataset, name) for name in ARRAYS if "_tokens" not in name or name.endswith("mask")}
    write_dataset(config.processed_dir / "emerge_dataset.npz", arrays | changed)
    as_if_made_so(config)


def test_what_the_stages_make_passes(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    audit.run(config)
    assert set(verdicts(config).values()) == {"passed"}
    assert capsys.readouterr().out.count("passed") == len(verdicts(config))


def test_a_person_in_two_splits_is_found(config: Config) -> None:
    split = load_dataset(config.processed_dir).split
    same = {split["train"][0]: "p", split["test"][0]: "p"}
    edit(
        config.table_dir / "cohort.csv",
        lambda cohort: cohort.with_columns(
            pl.col("patient_id").replace_strict(same, default=pl.col("subject_id")).alias("subject_id")
        ),
    )
    with pytest.raises(UserError, match="no person in two splits: 1 stand in train and test"):
        audit.run(config)
    assert verdicts(config)["no patient in two splits"] == "passed"


def test_a_patient_of_no_cohort_is_found(config: Config) -> None:
    edit(config.table_dir / "cohort.csv", lambda cohort: cohort.head(cohort.height - 1))
    with pytest.raises(UserError, match="checks failed"):
        audit.run(config)
    assert verdicts(config)["every patient of the splits is in the cohort"] == "failed"


@pytest.mark.parametrize(
    ("table", "column", "check"),
    [
        ("dynamic.csv", "event_time", "measurements inside the window"),
        ("notes.csv", "note_time", "notes inside the window"),
    ],
)
def test_one_late_row_is_found(config: Config, table: str, column: str, check: str) -> None:
    windows = pl.read_csv(config.table_dir / "cohort.csv", infer_schema=False)
    ends = dict(windows.select("patient_id", "window_end").iter_rows())

    def late(rows: pl.DataFrame) -> pl.DataFrame:
        end = ends[rows["patient_id"][7]]
        return (
            rows.with_row_index()
            .with_columns(pl.when(pl.col("index") == 7).then(pl.lit(end)).otherwise(column).alias(column))
            .drop("index")
        )

    edit(config.table_dir / table, late)
    with pytest.raises(UserError, match=f"{check}: 1 of"):
        audit.run(config)


def test_an_outcome_known_inside_the_window_is_found(config: Config) -> None:
    edit(config.table_dir / "label.csv", lambda rows: rows.with_columns(label_time=pl.lit("1900-01-01 00:00:00")))
    with pytest.raises(UserError, match="outcomes after the window"):
        audit.run(config)


def test_notes_that_may_leak_are_warned_of(config: Config) -> None:
    edit(config.table_dir / "notes.csv", lambda rows: rows.with_columns(note_type=pl.lit("surrogate")))
    audit.run(config)
    assert verdicts(config)["surrogate notes"] == "warning"


def test_statistics_of_all_patients_are_found(config: Config) -> None:
    from emerge_ehr import components
    from emerge_ehr.preprocess.inputs import tables

    dataset = load_dataset(config.processed_dir)
    found = tables.read(config.table_dir, config, components.build("task", config.task))
    saved = fitted.load(config.processed_dir / "fitted", config.paths.cache_dir)
    everyone = dataclasses.replace(saved, statistics=tensors.fit(found.hourly.value))
    shutil.rmtree(config.processed_dir / "fitted")
    everyone.save(config.processed_dir / "fitted")
    ehr, _ = tensors.standardise(found.hourly, everyone.statistics)
    with_arrays(config, dataset, ehr=ehr)
    with pytest.raises(UserError, match=r"not what the training patients alone give: statistics.npz \(count\)"):
        audit.run(config)


def test_an_encoder_fitted_on_all_notes_is_found(config: Config) -> None:
    from emerge_ehr import components
    from emerge_ehr.preprocess.inputs import tables
    from emerge_ehr.rag import records as rag

    found = tables.read(config.table_dir, config, components.build("task", config.task))
    notes = rag.joined_notes(found.notes, found.cohort["patient_id"].to_list())
    encoder: embeddings.TextEncoder = components.build(
        "embedding", config.embedding, seed=config.seed, cache_dir=config.paths.cache_dir
    )
    encoder.fit(notes).save(config.processed_dir / "fitted", "note_encoder")
    as_if_made_so(config)
    with pytest.raises(UserError, match="note_encoder"):
        audit.run(config)


def test_a_signal_that_tells_the_outcome_is_warned_of(config: Config) -> None:
    dataset = load_dataset(config.processed_dir)
    told = dataset.ehr.copy()
    told[:, :, 3] += 20 * dataset.label[:, :1]
    rows = np.isin(dataset.patient_id, dataset.split["train"]).nonzero()[0]
    planted = dataclasses.replace(dataset, ehr=told, ehr_mask=np.ones_like(told))
    nobody = [set[str]()] * len(rows)
    (finding,) = single_features.check(planted, rows, ["a note"] * len(rows), nobody)
    assert finding.verdict == "warning" and dataset.metadata["features"][3]["name"] in finding.detail


def test_a_word_that_tells_the_outcome_is_warned_of(config: Config) -> None:
    dataset = load_dataset(config.processed_dir)
    label = dict(zip(dataset.patient_id.tolist(), dataset.label[:, 0], strict=True))
    dead = [patient for patient, value in label.items() if value]
    edit(
        config.table_dir / "notes.csv",
        lambda rows: rows.with_columns(
            pl.when(pl.col("patient_id").is_in(dead))
            .then(pl.col("text") + " pt expired")
            .otherwise("text")
            .alias("text")
        ),
    )
    preprocess.run(config)
    audit.run(config)
    assert verdicts(config)["single features against mortality"] == "warning"
    assert "word 'expired' in the notes" in (config.processed_dir / audit.AUDIT).read_text()


def test_few_positives_are_not_judged(config: Config) -> None:
    dataset = load_dataset(config.processed_dir)
    label = np.zeros_like(dataset.label)
    label[:3] = 1
    rows = np.arange(len(label))
    planted = dataclasses.replace(dataset, label=label)
    (finding,) = single_features.check(planted, rows, [""] * len(rows), [set[str]()] * len(rows))
    assert finding.verdict == "warning" and "are too few" in finding.detail


def test_strengths_are_aurocs_whichever_way() -> None:
    random = np.random.default_rng(0)
    label, value = random.integers(0, 2, 200).astype(float), random.integers(0, 9, 200).astype(float)
    area = roc_auc_score(label, value)
    assert np.isclose(single_features.strength(label, value), max(area, 1 - area), atol=1e-12)
    notes = [
        ("sepsis " if one else "") + ("fever" if other > 4 else "cough")
        for one, other in zip(label, value, strict=True)
    ]
    words = single_features._words(notes, label)
    fever = np.array(["fever" in note for note in notes], dtype=float)
    area = roc_auc_score(label, fever)
    assert np.isclose(words["word 'fever' in the notes"], max(area, 1 - area), atol=1e-12)
    assert np.isclose(words["word 'sepsis' in the notes"], 1)


def test_the_demos_surrogate_notes_are_warned_of(demo_config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    convert.run(demo_config)
    preprocess.run(demo_config)
    audit.run(demo_config)
    assert "warning  surrogate notes" in capsys.readouterr().out
    assert "failed" not in verdicts(demo_config).values()


@pytest.mark.parametrize("kind", ["notes", "measurements", "patients"])
def test_artefacts_with_a_share_removed_are_fitted_on_what_was_left(config: Config, kind: str) -> None:
    thinned = dataclasses.replace(config, sparsity=Sparsity(**{kind: 0.5}))
    preprocess.run(thinned)
    audit.run(thinned)
    assert "failed" not in verdicts(thinned).values()


def test_a_person_under_two_spellings_of_the_id_is_found_in_two_splits(config: Config) -> None:
    split = load_dataset(config.processed_dir).split
    spelt = {split["train"][0]: "0123", split["test"][0]: "123"}
    edit(
        config.table_dir / "cohort.csv",
        lambda cohort: cohort.with_columns(
            pl.col("patient_id").replace_strict(spelt, default=pl.col("subject_id")).alias("subject_id")
        ),
    )
    with pytest.raises(UserError, match="no person in two splits: 1 stand in train and test, such as '123'"):
        audit.run(config)
    assert verdicts(config)["ids of persons"] == "warning"


def test_the_split_keeps_a_person_under_two_spellings_together(config: Config) -> None:
    split = load_dataset(config.processed_dir).split
    numbers = {patient: str(n % 40 + 1) for n, patient in enumerate(itertools.chain(*split.values()))}
    spelt = {patient: f"{'0' * (n % 3)}{number}" for n, (patient, number) in enumerate(numbers.items())}
    person = pl.col("patient_id").replace_strict(spelt).alias("subject_id")
    edit(config.table_dir / "cohort.csv", lambda cohort: cohort.with_columns(person))
    preprocess.run(config)
    made = load_dataset(config.processed_dir)
    persons = [{numbers[patient] for patient in ids} for ids in made.split.values()]
    assert sum(len(ids) for ids in persons) == len(set(numbers.values())) == 40
    assert any("are taken as one person" in warning for warning in made.metadata["warnings"])
    with pytest.raises(UserError, match="no sample begins after its person's death"):  # the persons were made up
        audit.run(config)
    assert verdicts(config)["no person in two splits"] == "passed"


def test_a_sample_that_begins_after_its_persons_death_is_found(config: Config) -> None:
    """A donor, registered again after death, in tables that convert did not make."""
    labels = pl.read_csv(config.table_dir / "label.csv", infer_schema=False)
    dead = labels.filter(pl.col("label_value") == "1")
    cohort = pl.read_csv(config.table_dir / "cohort.csv", infer_schema=False)
    person = cohort.filter(pl.col("patient_id") == dead["patient_id"][0])["subject_id"][0]
    survivors = labels.filter(pl.col("label_value") == "0")["patient_id"]
    split = load_dataset(config.processed_dir).split
    part = next(ids for ids in split.values() if dead["patient_id"][0] in ids)
    starts = dict(cohort.select("patient_id", "window_start").rows())
    donor = next(name for name in part if name in survivors.to_list() and starts[name] > dead["label_time"][0])

    def register(rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(
            pl.when(patient_id=donor).then(pl.lit(person)).otherwise("subject_id").alias("subject_id")
        )

    edit(config.table_dir / "cohort.csv", register)
    with pytest.raises(UserError, match=f"no sample begins after its person's death: 1 do, such as '{donor}'"):
        audit.run(config)


def test_measurements_that_carry_dates_for_times_are_warned_of(config: Config) -> None:
    """The value of a day enters at its beginning, up to 24 hours before it was measured."""

    def dated(rows: pl.DataFrame) -> pl.DataFrame:
        glucose = pl.col("code") == "glucose"
        day = pl.col("event_time").str.slice(0, 10) + " 00:00:00"
        ends = dict(
            pl.read_csv(config.table_dir / "cohort.csv", infer_schema=False).select("patient_id", "window_start").rows()
        )
        moved = rows.with_columns(pl.when(glucose).then(day).otherwise("event_time").alias("event_time"))
        return moved.filter(pl.col("event_time") >= pl.col("patient_id").replace_strict(ends))

    edit(config.table_dir / "dynamic.csv", dated)
    preprocess.run(config)
    audit.run(config)
    assert verdicts(config)["measurements have a time of day"] == "warning"
