"""Runs at prediction times: the split of a MEDS dataset, and predictions that meds-evaluation reads and scores as we do."""

import json
import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from meds import SubjectSplitSchema
from meds_evaluation.evaluate import evaluate_binary_classification
from meds_evaluation.schema import PredictionSchema

from emerge_ehr.datasets.splits import split_by_file
from emerge_ehr.fields import UserError
from tests import in_process
from tests.conftest import Once
from tests.datasets.sources.examples.meds import at, person, write

CONFIG = """
dataset = "{name}"
run_name = "{name}"
[paths]
raw_dir = "{name}"
kg_dir = "kg"
[source]
name = "meds"
signals = {{ heart_rate = ["HR"], respiratory_rate = ["RR"] }}
[task]
name = "aces"
labels = "{name}/labels"
label_code = "sepsis_48h"
outcome = "sepsis within 48 hours"
[cohort]
window = "last"
window_hours = 12
min_stay_hours = 0
[split]
file = "{name}/metadata/subject_splits.parquet"
[download]
primekg = "example"
[model]
modalities = ["ehr"]
hidden_size = 8
heads = 2
experts = []
[training]
members = 1
max_epochs = 3
bootstrap_resamples = 20
accelerator = "cpu"
"""
PARTS = ("train", "train", "train", "tuning", "held_out")
COLUMNS = ["subject_id", "prediction_time", "boolean_value", "predicted_boolean_value", "predicted_boolean_probability"]


def dataset(folder: Path, persons: range, seed: int) -> None:
    """A MEDS dataset whose persons have one or two labelled prediction times each, one of them within a second."""
    draw = random.Random(seed)
    rows: list[Any] = []
    labels: list[tuple[int, datetime, bool]] = []
    for subject in persons:
        rows += person(subject)
        for time in [at(20), at(40) + timedelta(microseconds=subject % 7)][: draw.choice([1, 2])]:
            ill = draw.random() < 0.4
            labels.append((subject, time, ill))
            rows += [(subject, time - timedelta(hours=n), "HR", 70 + 20 * ill + draw.gauss(0, 12)) for n in range(1, 9)]
            rows += [(subject, time - timedelta(hours=n), "RR", 16 + draw.gauss(0, 3)) for n in range(1, 9, 2)]
    write(folder, rows)
    (folder / "labels").mkdir()
    kinds = {"subject_id": pl.Int64, "prediction_time": pl.Datetime("us"), "boolean_value": pl.Boolean}
    pl.DataFrame(labels, schema=kinds, orient="row").write_parquet(folder / "labels" / "0.parquet")
    (folder / "metadata").mkdir()
    split = pl.DataFrame({"subject_id": persons, "split": [PARTS[n % len(PARTS)] for n in persons]})
    SubjectSplitSchema.validate(split.to_arrow().cast(SubjectSplitSchema.schema()))
    split.write_parquet(folder / "metadata" / "subject_splits.parquet")


def make(folder: Path) -> None:
    for name, persons, seed in (("here", range(100), 1), ("there", range(500, 530), 2)):
        dataset(folder / name, persons, seed)
        (folder / f"{name}.toml").write_text(CONFIG.format(name=name))
    done = [in_process.run(folder, "--config", "here.toml", "--offline", "--stage", name) for name in STAGES]
    done.append(in_process.run(folder, "--config", "there.toml", "--stage", "convert"))
    assert not any(stage.returncode for stage in done), [stage.stderr for stage in done]


STAGES = ("download", "convert", "preprocess", "train")


@pytest.fixture(scope="module")
def runs(once: Once) -> Path:
    return once("prediction_times", make)


def of_meds(path: Path) -> pl.DataFrame:
    """A file of predictions, which must be in the schema as it is."""
    table = pl.read_parquet(path)
    PredictionSchema.align(table.to_arrow())
    return table


@pytest.mark.slow
def test_the_split_is_the_datasets_own(runs: Path) -> None:
    split = json.loads((runs / "data/processed/here/aces/split.json").read_text())
    assert split["file"] == "subject_splits.parquet"
    names = {"train": "train", "val": "tuning", "test": "held_out"}
    for part, name in names.items():
        assert split[part]
        assert {PARTS[int(sample.split("-")[0]) % len(PARTS)] for sample in split[part]} == {name}


@pytest.mark.slow
def test_the_predictions_of_training_have_the_labels_given_and_the_auroc_of_metrics_json(runs: Path) -> None:
    folder = runs / "runs" / "here"
    found = of_meds(folder / "predictions.parquet")
    assert found.columns == COLUMNS
    given = pl.read_parquet(runs / "here" / "labels" / "0.parquet")
    held_out = given.filter(pl.col("subject_id") % len(PARTS) == len(PARTS) - 1).sort(COLUMNS[:2])
    assert found.select(COLUMNS[:3]).sort(COLUMNS[:2]).equals(held_out)
    scored = evaluate_binary_classification(found)["samples_equally_weighted"]
    ours = json.loads((folder / "metrics.json").read_text())["splits"]["test"]["sepsis_48h"]["metrics"]
    for name, theirs in (("auroc", "roc_auc_score"), ("auprc", "average_precision_score"), ("brier", "brier_score")):
        assert scored[theirs] == pytest.approx(ours[name]["value"], abs=1e-6)
    threshold = json.loads((folder / "metrics.json").read_text())["thresholds"]["sepsis_48h"]["value"]
    above = found["predicted_boolean_probability"] >= threshold
    assert (above == found["predicted_boolean_value"]).all()


@pytest.mark.slow
def test_predict_and_evaluate_write_them_for_another_dataset(runs: Path, tmp_path: Path) -> None:
    tables = "data/tables/there/aces"
    options = ("--run", "runs/here", "--tables", tables, "--offline")
    output = str(tmp_path / "risks.csv")
    done = in_process.run(runs, "--stage", "predict", *options, "--output", output, "--no-explain")
    assert done.returncode == 0, done.stderr
    found = of_meds(tmp_path / "risks.parquet")
    given = pl.read_parquet(runs / "there" / "labels" / "0.parquet").sort(COLUMNS[:2])
    assert found.columns == [*COLUMNS[:2], *COLUMNS[3:]]
    assert found.select(COLUMNS[:2]).sort(COLUMNS[:2]).equals(given.select(COLUMNS[:2]))
    done = in_process.run(runs, "--stage", "evaluate", *options, "--output", str(tmp_path / "there"))
    assert done.returncode == 0, done.stderr
    evaluated = of_meds(tmp_path / "there" / "predictions.parquet").sort(COLUMNS[:2])
    assert evaluated.select(COLUMNS[:3]).equals(given)
    assert evaluated.drop("boolean_value").equals(found.sort(COLUMNS[:2]))
    record = json.loads((tmp_path / "there" / "evaluation.json").read_text())
    ours = record["splits"]["tables"]["sepsis_48h"]["metrics"]["auroc"]["value"]
    scored = evaluate_binary_classification(evaluated)["samples_equally_weighted"]
    assert scored["roc_auc_score"] == pytest.approx(ours, abs=1e-6)


# --- the split as a file

PERSONS = pl.DataFrame(
    {"patient_id": ["a", "b", "c", "d"], "subject_id": ["1", "2", "3", "3"], "positive": [1, 0, 1, 0]}
)


def test_a_split_may_be_a_csv_by_other_names_and_hold_more_persons(tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    path.write_text("subject_id,split,why\n3.0,train,x\n2,validation,\n1,test,\n9,nonsense,\n")
    assert split_by_file(PERSONS, path) == {"train": ["c", "d"], "val": ["b"], "test": ["a"]}


def test_a_split_is_the_file_itself_whatever_is_in_its_name(tmp_path: Path) -> None:
    for name in ("split[1].csv", "split*.csv", "split.CSV", "split.PARQUET"):
        table = pl.DataFrame({"subject_id": [1, 2, 3], "split": ["test", "val", "train"]})
        path = tmp_path / name
        (table.write_parquet if name.endswith("PARQUET") else table.write_csv)(path)
        assert split_by_file(PERSONS, path) == {"train": ["c", "d"], "val": ["b"], "test": ["a"]}
        (tmp_path / "split1.csv").write_text("subject_id,split\n1,train\n")
    lists = tmp_path / "lists.parquet"
    pl.DataFrame({"subject_id": [[1], [2]], "split": ["test", "val"]}).write_parquet(lists)
    with pytest.raises(UserError, match=r"holds List\(Int64\) in 'subject_id'; give one value in each row"):
        split_by_file(PERSONS, lists)
    with pytest.raises(UserError, match=r"split\.file is a folder; name the file"):
        split_by_file(PERSONS, tmp_path)


@pytest.mark.parametrize("persons", [["0010", "2", "0003"], ["10", "2", "3"]])
def test_ids_of_a_split_file_that_differ_by_leading_zeros_are_named_both(persons: list[str], tmp_path: Path) -> None:
    written = {"0010": "10", "0003": "3", "10": "0010", "3": "0003", "2": "2"}
    rows = [
        f"{written[person]},{split}\n" for person, split in zip(persons, ("train", "tuning", "held_out"), strict=True)
    ]
    path = tmp_path / "split.csv"
    path.write_text("subject_id,split\n" + "".join(rows))
    patients = PERSONS.head(3).with_columns(pl.Series("subject_id", persons))
    told = (
        rf"subject_id {min(persons)} of the cohort is {written[min(persons)]} in it: 2 of 3 ids differ by leading zeros"
    )
    with pytest.raises(UserError, match=told):
        split_by_file(patients, path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("subject_id,split\n1,train\n2,tuning,x\n3,test\n", "row 3: has 3 fields, its header has 2"),
        ("subject_id,split\n1,train\n2\n3,test\n", "row 3: has 1 fields, its header has 2"),
        ("subject_id,split\r1,train\r2,tuning\r3,test\r", "lines end with a carriage return alone"),
        ("subject_id,split,split\n1,train,x\n2,val,x\n3,test,x\n", "two columns 'split'; remove one"),
        ("subject_id,split\n1,train\n2,tuning\n", "1 of 3 persons of the cohort are not in it, such as subject_id 3"),
        ("subject_id,split\n1,train\n1,test\n2,tuning\n3,test\n", "subject_id 1 is in two splits"),
        ("subject_id,split\n1,train\n2,dev\n3,test\n", "the split of subject_id 2 is 'dev'"),
        ("subject_id,split\n1,train\n2,\n3,test\n", "the split of subject_id 2 is None"),
        ("subject_id,split\n1,train\n2,train\n3,test\n", "no person of the cohort is in the val split"),
        ("person,split\n1,train\n", "has no column 'subject_id'; it has: person, split"),
        ("", "cannot be read"),
    ],
)
def test_a_split_that_does_not_fit_is_told(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        split_by_file(PERSONS, path)
    assert message in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"split\.file cannot be read"):
        split_by_file(PERSONS, tmp_path / "none.parquet")
