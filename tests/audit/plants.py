"""Mistakes, of kinds that papers were corrected for, to plant in a copy of a hospital: in its tables, artefacts or run.

Each plants the mistake as it would be made by accident, in the folder that is the current one, whose config it takes.
"""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emerge_ehr import components, embeddings
from emerge_ehr.config import Config
from emerge_ehr.evaluation import metrics
from emerge_ehr.fields import Component
from emerge_ehr.preprocess import fitted
from emerge_ehr.preprocess.inputs import tables
from emerge_ehr.rag import records as rag
from emerge_ehr.signals import hourly as tensors
from emerge_ehr.storage import artefacts
from emerge_ehr.storage.dataset import ARRAYS, Dataset, load_dataset, write_dataset
from emerge_ehr.training import train
from tests.audit.careless_plugs import PACKAGE
from tests.run_records import record_files

Floats = NDArray[Any]
TIME = "%Y-%m-%d %H:%M:%S"


def edit(path: Path, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    change(pl.read_csv(path, infer_schema=False)).write_csv(path)


def as_if_made_so(config: Config) -> None:
    """Record the artefacts' checksums anew."""
    path = config.processed_dir / "metadata.json"
    found = json.loads(path.read_text())
    found["artefacts"] = {name: artefacts.checksum(config.processed_dir / name) for name in found["artefacts"]}
    artefacts.write_json(path, found)


def with_arrays(config: Config, dataset: Dataset, **changed: Floats) -> None:
    arrays = {
        name: np.array(getattr(dataset, name)) for name in ARRAYS if "_tokens" not in name or name.endswith("mask")
    }
    write_dataset(config.processed_dir / "emerge_dataset.npz", arrays | changed)
    as_if_made_so(config)


def rows_of(dataset: Dataset, part: str) -> NDArray[np.bool_]:
    return np.isin(dataset.patient_id, dataset.split[part])


def outcomes(config: Config) -> dict[str, int]:
    """The outcome of each sample, by ``patient_id``."""
    rows = pl.read_csv(config.table_dir / "label.csv", infer_schema=False)
    return {patient: int(value) for patient, value in rows.select("patient_id", "label_value").rows()}


def windows(config: Config) -> pl.DataFrame:
    """The cohort with the outcome ``died`` and the windows as times."""
    cohort = pl.read_csv(config.table_dir / "cohort.csv", infer_schema=False)
    times = [pl.col(name).str.to_datetime(TIME) for name in ("window_start", "window_end")]
    return cohort.with_columns(*times, died=pl.col("patient_id").replace_strict(outcomes(config)))


# --- artefacts


def statistics_of_everyone(config: Config) -> None:
    found = tables.read(config.table_dir, config, components.build("task", config.task))
    dataset = load_dataset(config.processed_dir)
    saved = fitted.load(config.processed_dir / "fitted", config.paths.cache_dir)
    everyone = dataclasses.replace(saved, statistics=tensors.fit(found.hourly.value))
    shutil.rmtree(config.processed_dir / "fitted")
    everyone.save(config.processed_dir / "fitted")
    with_arrays(config, dataset, ehr=tensors.standardise(found.hourly, everyone.statistics)[0])


def tested_by_their_own_statistics(config: Config) -> None:
    dataset = load_dataset(config.processed_dir)
    ehr, test = np.array(dataset.ehr), rows_of(dataset, "test")
    own = ehr[test]
    ehr[test] = (own - own.mean(axis=(0, 1))) / own.std(axis=(0, 1))
    with_arrays(config, dataset, ehr=ehr)


def gaps_filled_from_the_future(config: Config) -> None:
    dataset = load_dataset(config.processed_dir)
    ehr, mask = np.array(dataset.ehr), dataset.ehr_mask > 0
    before = np.cumsum(mask, axis=1) == 0
    first = np.take_along_axis(ehr, mask.argmax(axis=1)[:, None, :], axis=1)
    with_arrays(config, dataset, ehr=np.where(before, first, ehr).astype(np.float32))


def encoder_of_all_notes(config: Config) -> None:
    found = tables.read(config.table_dir, config, components.build("task", config.task))
    notes = rag.joined_notes(found.notes, found.cohort["patient_id"].to_list())
    encoder: embeddings.TextEncoder = components.build(
        "embedding", config.embedding, seed=config.seed, cache_dir=config.paths.cache_dir
    )
    encoder.fit(notes).save(config.processed_dir / "fitted", "note_encoder")
    as_if_made_so(config)


def embedding_that_knows_the_outcome(config: Config) -> None:
    dataset = load_dataset(config.processed_dir)
    known = np.array(dataset.note_embedding)
    known[:, 0] += 0.05 * dataset.label[:, 0]
    with_arrays(config, dataset, note_embedding=known)


def labels_a_row_off(config: Config) -> None:
    dataset = load_dataset(config.processed_dir)
    with_arrays(config, dataset, label=np.roll(dataset.label, 1, axis=0))


def labels_inverted_in_the_arrays(config: Config) -> None:
    dataset = load_dataset(config.processed_dir)
    with_arrays(config, dataset, label=1 - dataset.label)


def split_by_admission(config: Config) -> None:
    """One stay of a person with several in training goes to test."""
    path = config.processed_dir / "split.json"
    split = json.loads(path.read_text())
    persons = dict(
        pl.read_csv(config.table_dir / "cohort.csv", infer_schema=False).select("patient_id", "subject_id").rows()
    )
    of = [persons[patient] for patient in split["train"]]
    moved = next(patient for patient in split["train"] if of.count(persons[patient]) > 1)
    split["train"].remove(moved)
    split["test"].append(moved)
    artefacts.write_json(path, split)
    as_if_made_so(config)


# --- tables


def outcome_as_a_feature(config: Config) -> None:
    """The place of discharge, charted as if it were known in the window."""
    rows = windows(config).select(
        "patient_id",
        pl.col("window_end").dt.offset_by("-8h").dt.strftime(TIME).alias("event_time"),
        pl.lit("discharge_code").alias("code"),
        (7 - 4 * pl.col("died")).cast(pl.String).alias("value"),
    )
    edit(config.table_dir / "dynamic.csv", lambda dynamic: pl.concat([dynamic, rows.select(dynamic.columns)]))


def orders_of_the_dying(config: Config) -> None:
    """A drug given to nine in ten of those who die and to two in ten others; its dose tells nothing."""
    rng = np.random.default_rng(1)
    whom = windows(config).filter(pl.Series(rng.random(len(outcomes(config)))) < 0.2 + 0.7 * pl.col("died"))
    rows = whom.select(
        "patient_id",
        pl.col("window_end").dt.offset_by("-4h").dt.strftime(TIME).alias("event_time"),
        pl.lit("morphine_dose").alias("code"),
        pl.Series("value", rng.integers(1, 9, whom.height).astype(str)),
    )
    edit(config.table_dir / "dynamic.csv", lambda dynamic: pl.concat([dynamic, rows.select(dynamic.columns)]))


def discharge_summaries_in_the_window(config: Config) -> None:
    """Of four in ten stays the summary that is written at discharge, stamped with the last minute of the window."""
    rng = np.random.default_rng(2)
    whom = windows(config).filter(pl.Series(rng.random(len(outcomes(config)))) < 0.4)
    said = pl.when(pl.col("died") == 1).then(pl.lit("expired in the hospital.")).otherwise(pl.lit("was sent home."))
    rows = whom.select(
        "patient_id",
        pl.col("window_end").dt.offset_by("-1m").dt.strftime(TIME).alias("note_time"),
        pl.lit("Discharge summary").alias("note_type"),
        pl.format("Hospital course as above. The patient {}", said).alias("text"),
    )
    edit(config.table_dir / "notes.csv", lambda notes: pl.concat([notes, rows.select(notes.columns)]))


def last_values_of_the_stay(config: Config) -> None:
    """The saturation at the end of the stay, stamped with the last minute of the window."""
    rng = np.random.default_rng(3)
    rows = windows(config).select(
        "patient_id",
        pl.col("window_end").dt.offset_by("-1m").dt.strftime(TIME).alias("event_time"),
        pl.lit("oxygen_saturation").alias("code"),
        (96 - 30 * pl.col("died") + pl.Series(rng.normal(0, 3, len(outcomes(config)))))
        .clip(40, 100)
        .round(0)
        .alias("value"),
    )
    rows = rows.with_columns(pl.col("value").cast(pl.String))
    edit(config.table_dir / "dynamic.csv", lambda dynamic: pl.concat([dynamic, rows.select(dynamic.columns)]))


def lab_of_the_next_day(config: Config) -> None:
    """One measurement an hour after its window. No artefacts are made of it: ``preprocess`` refuses it."""
    end = windows(config).head(1).select("patient_id", pl.col("window_end").dt.offset_by("1h").dt.strftime(TIME))
    patient, time = end.row(0)
    row = pl.DataFrame({"patient_id": [patient], "event_time": [time], "code": ["ph"], "value": ["7.1"]})
    edit(config.table_dir / "dynamic.csv", lambda dynamic: pl.concat([dynamic, row.select(dynamic.columns)]))


def windows_that_end_at_death(config: Config) -> None:
    """Those who die have a shorter window, and nothing in it is of the time after."""
    rng = np.random.default_rng(4)
    hours = pl.Series("hours", rng.integers(24, 47, len(outcomes(config))))
    ends = (
        windows(config)
        .with_columns(hours)
        .with_columns(
            pl.when(pl.col("died") == 1)
            .then(pl.col("window_start") + pl.duration(hours="hours"))
            .otherwise("window_end")
            .dt.strftime(TIME)
            .alias("window_end")
        )
    )
    until = dict(ends.select("patient_id", "window_end").rows())
    column = pl.col("patient_id").replace_strict(until)
    edit(config.table_dir / "cohort.csv", lambda cohort: cohort.with_columns(column.alias("window_end")))
    edit(config.table_dir / "dynamic.csv", lambda rows: rows.filter(pl.col("event_time") < column))
    edit(config.table_dir / "notes.csv", lambda rows: rows.filter(pl.col("note_time") < column))


def copied(config: Config, whom: list[str], *, person: bool, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    """Give each of these samples a copy with a new id, of a new person if ``person``; ``change`` is made to its measurements."""
    new = {patient: f"9{patient}" for patient in whom}

    def more(rows: pl.DataFrame) -> pl.DataFrame:
        copies = rows.filter(pl.col("patient_id").is_in(whom)).with_columns(pl.col("patient_id").replace_strict(new))
        if "subject_id" in rows.columns and person:
            copies = copies.with_columns(pl.format("9{}", "subject_id").alias("subject_id"))
        if "event_time" in rows.columns:
            copies = change(copies)
        return pl.concat([rows, copies])

    for table in ("cohort.csv", "static.csv", "label.csv", "dynamic.csv", "notes.csv"):
        edit(config.table_dir / table, more)


def oversampled_before_the_split(config: Config) -> None:
    dead = [patient for patient, died in outcomes(config).items() if died]
    copied(config, dead, person=True, change=lambda rows: rows)


def persons_under_a_second_id(config: Config) -> None:
    """Thirty stays of another extract of the same hospital: other ids, times on another calendar, values without decimals."""
    some = sorted(outcomes(config))[::20][:30]
    copied(
        config,
        some,
        person=True,
        change=lambda rows: rows.with_columns(pl.col("value").cast(pl.Float64).round(1).cast(pl.String)),
    )
    edit(
        config.table_dir / "notes.csv",
        lambda rows: rows.filter(~pl.col("patient_id").is_in([f"9{patient}" for patient in some])),
    )


def rows_joined_twice(config: Config) -> None:
    """A join that doubles some stays: the same persons, under second stay ids."""
    survivors = sorted(patient for patient, died in outcomes(config).items() if not died)
    copied(config, survivors[:25], person=False, change=lambda rows: rows)


def sicker_measured_more(config: Config) -> None:
    """Of those who live, most values of two signals were never charted."""
    rng = np.random.default_rng(5)

    def thin(rows: pl.DataFrame) -> pl.DataFrame:
        died = pl.col("patient_id").replace_strict(outcomes(config)) == 1
        kept = pl.Series(rng.random(rows.height)) < 0.55
        return rows.filter(~pl.col("code").is_in(["glucose", "heart_rate"]) | died | kept)

    edit(config.table_dir / "dynamic.csv", thin)


def survivors_cut_off_earlier(config: Config) -> None:
    """Of those who live, the rows end when they were well enough to be watched less: 0 to 12 hours before the window ends."""
    rng = np.random.default_rng(6)
    ends = windows(config).with_columns(pl.Series("minutes", rng.integers(0, 720, len(outcomes(config)))))
    cut = pl.col("window_end") - pl.duration(minutes="minutes")
    until = ends.select("patient_id", pl.when(pl.col("died") == 1).then("window_end").otherwise(cut).dt.strftime(TIME))
    column = pl.col("patient_id").replace_strict(dict(until.rows()))
    edit(config.table_dir / "dynamic.csv", lambda rows: rows.filter(pl.col("event_time") < column))


def notes_copied_forward(config: Config) -> None:
    """The progress notes of eight training patients are pasted into those of eight test patients."""
    split = load_dataset(config.processed_dir).split
    whom = dict(zip(split["test"][:8], split["train"][:8], strict=True))

    def paste(notes: pl.DataFrame) -> pl.DataFrame:
        first = notes.filter(pl.col("note_type") == "Progress note").group_by("patient_id", maintain_order=True).first()
        texts = dict(first.select("patient_id", "text").rows())
        pasted = pl.col("patient_id").replace_strict({to: texts[of] for to, of in whom.items()}, default="")
        here = pl.col("note_type") == "Progress note"
        return notes.with_columns(pl.when(here).then(pl.col("text") + " " + pasted).otherwise("text").alias("text"))

    edit(config.table_dir / "notes.csv", paste)


def ids_by_outcome(config: Config) -> None:
    """An extract that lists those who died first, and numbers its rows."""
    order = sorted(outcomes(config).items(), key=lambda item: -item[1])
    new = {patient: str(number) for number, (patient, _) in enumerate(order, 1_000_001)}
    for table in ("cohort.csv", "static.csv", "label.csv", "dynamic.csv", "notes.csv"):
        edit(config.table_dir / table, lambda rows: rows.with_columns(pl.col("patient_id").replace_strict(new)))


def outcomes_a_row_off(config: Config) -> None:
    """The first stay of each person is taken, and then outcomes are pasted beside them a row too low."""
    first = windows(config).sort("window_start").group_by("subject_id").first()["patient_id"].to_list()
    for table in ("cohort.csv", "static.csv", "label.csv", "dynamic.csv", "notes.csv"):
        edit(config.table_dir / table, lambda rows: rows.filter(pl.col("patient_id").is_in(first)))
    shifted = pl.col("label_value").shift(1).fill_null(pl.col("label_value").last())
    edit(config.table_dir / "label.csv", lambda rows: rows.with_columns(shifted.alias("label_value")))


def outcomes_inverted(config: Config) -> None:
    inverted = (1 - pl.col("label_value").cast(pl.Int64)).cast(pl.String)
    edit(config.table_dir / "label.csv", lambda rows: rows.with_columns(inverted.alias("label_value")))


# --- runs


def stopped_on_test(config: Config) -> None:
    """Validation and test change places while the run is trained, and what it writes is put right afterwards."""
    split, metadata = config.processed_dir / "split.json", config.processed_dir / "metadata.json"
    honest = {path: path.read_bytes() for path in (split, metadata)}
    parts = json.loads(split.read_text())
    artefacts.write_json(split, {**parts, "val": parts["test"], "test": parts["val"]})
    as_if_made_so(config)
    train.run(config)
    wrong = artefacts.checksum(metadata)
    for path, content in honest.items():
        path.write_bytes(content)
    names = {"val": "test", "test": "val"}
    edit(config.run_dir / "predictions.csv", lambda rows: rows.with_columns(pl.col("split").replace(names)))
    manifest = (config.run_dir / "manifest.json").read_text()
    (config.run_dir / "manifest.json").write_text(manifest.replace(wrong, artefacts.checksum(metadata)))
    put_right(config)


def put_right(config: Config) -> None:
    """Derive the figures of the run from its predictions, and record its files, as somebody would who hides a mistake."""
    rows = pl.read_csv(config.run_dir / "predictions.csv", schema_overrides={"patient_id": pl.String})
    path = config.run_dir / "metrics.json"
    found = json.loads(path.read_text())
    val, test = (
        [rows.filter(split=part)[name].to_numpy().astype(float) for name in ("y_true", "y_prob")]
        for part in ("val", "test")
    )
    found["thresholds"]["mortality"]["value"] = metrics.best_threshold(*val)
    found["splits"]["test"]["mortality"]["metrics"]["auroc"]["value"] = metrics.point(metrics.auroc, *test)
    artefacts.write_json(path, found)
    record_files(config.run_dir)


def threshold_chosen_on_test(config: Config) -> None:
    rows = pl.read_csv(config.run_dir / "predictions.csv").filter(split="test")
    path = config.run_dir / "metrics.json"
    found = json.loads(path.read_text())
    best = metrics.best_threshold(rows["y_true"].to_numpy().astype(float), rows["y_prob"].to_numpy())
    found["thresholds"]["mortality"]["value"] = best
    artefacts.write_json(path, found)
    record_files(config.run_dir)


def hard_cases_left_out(config: Config) -> None:
    """Test patients of whom the run is least right are excluded, after the fact."""
    off = (pl.col("y_true").cast(pl.Float64) - pl.col("y_prob").cast(pl.Float64)).abs()
    edit(
        config.run_dir / "predictions.csv",
        lambda rows: rows.filter((pl.col("split") != "test") | (off < off.quantile(0.95))),
    )
    put_right(config)


def predictions_of_another_model(config: Config) -> None:
    """The test predictions of a model that no longer exists: a little nearer to the outcomes."""
    better = 0.8 * pl.col("y_prob").cast(pl.Float64) + 0.2 * pl.col("y_true").cast(pl.Float64)
    changed = pl.when(pl.col("split") == "test").then(better.cast(pl.String)).otherwise("y_prob").alias("y_prob")
    edit(config.run_dir / "predictions.csv", lambda rows: rows.with_columns(changed))
    put_right(config)


def careless(name: str) -> Callable[[Config], Config]:
    """Trains one of ``careless_plugs``; returns the config that names it."""

    def plant(config: Config) -> Config:
        of_plug = dataclasses.replace(config, baseline=Component(f"{PACKAGE}.{name}"))
        train.run(of_plug)
        return of_plug

    plant.__name__ = f"method_{name}"
    return plant
