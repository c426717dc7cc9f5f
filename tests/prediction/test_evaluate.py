"""Stage evaluate: a finished run on tables with outcomes. The risks, the metrics and the shifts are those of others' code."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, recall_score, roc_auc_score

from emerge_ehr import command_line
from emerge_ehr.config import Config
from emerge_ehr.datasets import download
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.evaluation.recalibration import Method
from emerge_ehr.fields import UserError
from emerge_ehr.prediction import predict
from emerge_ehr.storage import schema
from emerge_ehr.training.trained import Trained
from emerge_ehr.transfer import drift, evaluate, pages, profile
from tests.places import MAIN, ROOT

FILES = {"evaluation.json", "evaluation.md", "predictions.csv", "subgroups.csv", "drift.csv"}
Edit = Callable[[pl.DataFrame], pl.DataFrame]


def evaluated(
    run: Path, tables: Path, output: Path, recalibrate: int | None = None, by: Method = "logistic"
) -> dict[str, Any]:
    evaluate.run(run, tables, output, recalibrate, by, offline=True)
    assert {path.name for path in output.iterdir()} == FILES
    return dict(json.loads((output / "evaluation.json").read_text("utf-8")))


def predictions(folder: Path) -> pl.DataFrame:
    return pl.read_csv(folder / "predictions.csv", schema_overrides={"patient_id": pl.String, "subject_id": pl.String})


def shifted(folder: Path) -> dict[tuple[str, str, str], dict[str, Any]]:
    rows = pl.read_csv(folder / "drift.csv", infer_schema_length=None).filter(pl.col("shifted") == 1)
    return {(row["aspect"], row["name"], row["quantity"]): row for row in rows.iter_rows(named=True)}


@pytest.fixture(scope="session")
def elsewhere(hospital: Config) -> Config:
    """Another generated hospital, of another seed, through convert. Its persons have the same ids as those of ``hospital``."""
    folder = hospital.run_dir.parent / "elsewhere"
    paths = dataclasses.replace(
        hospital.paths, raw_dir=folder / "raw", kg_dir=folder / "kg", table_dir=folder / "tables"
    )
    config = dataclasses.replace(hospital, dataset="elsewhere", seed=7, paths=paths)
    for stage in (download, convert):
        stage.run(config)
    return config


@pytest.fixture
def own(elsewhere: Config, tmp_path: Path) -> Path:
    """The tables of the other hospital as a user's own, to be edited."""
    folder = tmp_path / "own"
    shutil.copytree(elsewhere.table_dir, folder)
    (folder / schema.PROVENANCE).unlink()
    return folder


def keep(folder: Path, patients: list[str]) -> None:
    """Remove everybody else from the tables."""
    for file in ("cohort.csv", "static.csv", "label.csv", "dynamic.csv", "notes.csv"):
        edit(folder, file, lambda t: t.filter(pl.col("patient_id").is_in(patients)))


def edit(folder: Path, file: str, change: Edit) -> None:
    change(pl.read_csv(folder / file, infer_schema=False)).write_csv(folder / file)


def test_the_runs_own_tables_give_the_metrics_of_its_own_test_split(
    emerge: Trained, hospital: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = evaluated(emerge.run_dir, hospital.table_dir, tmp_path / "out")
    metrics = json.loads((emerge.run_dir / "metrics.json").read_text())
    split = emerge.dataset.split
    assert found["splits"]["run_test"] == metrics["splits"]["test"] and found["thresholds"] == metrics["thresholds"]
    assert found["left_out"]["learned_from"]["samples"] == len(split["train"]) + len(split["val"])
    assert found["samples"] == len(split["test"])
    for name, of_label in metrics["splits"]["test"].items():
        here = found["splits"]["tables"][name]
        for key, value in of_label["metrics"].items():
            assert here["metrics"][key] == {
                side: number if not isinstance(number, float) else pytest.approx(number, abs=1e-4)
                for side, number in value.items()
            }, key
    written = pl.read_csv(emerge.run_dir / "predictions.csv", schema_overrides={"patient_id": pl.String})
    both = written.filter(pl.col("split") == "test").join(
        predictions(tmp_path / "out"), on=["patient_id", "label_code"], how="full", suffix="_here"
    )
    assert both["y_prob"].null_count() == both["y_prob_here"].null_count() == 0
    np.testing.assert_allclose(both["y_prob"], both["y_prob_here"], atol=1e-6)
    assert both["y_true"].equals(both["y_true_here"], null_equal=True)
    told = capsys.readouterr().out
    assert f"{len(split['test'])} samples of" in told and "the run's own test" in told
    groups = pl.read_csv(tmp_path / "out" / "subgroups.csv").drop("split")
    of_run = pl.read_csv(emerge.run_dir / "subgroups.csv").drop("split")
    assert groups.select("label_code", "attribute", "group", "patients", "metric").equals(
        of_run.select("label_code", "attribute", "group", "patients", "metric")
    )


def test_metrics_on_another_hospital_are_those_of_scikit_learn_on_the_written_predictions(
    emerge: Trained, elsewhere: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = evaluated(emerge.run_dir, elsewhere.table_dir, tmp_path / "out")
    assert "have the ids of persons from whom the run has learned, but another sex or age" in caplog.text
    assert found["left_out"]["learned_from"]["samples"] == 0 and found["tables"]["dataset"] == "elsewhere"
    rows = predictions(tmp_path / "out")
    assert rows["used"].unique().to_list() == ["evaluated"] and rows["y_recalibrated"].null_count() == rows.height
    predict.run(emerge.run_dir, elsewhere.table_dir, tmp_path / "risks.csv", offline=True)
    risks = pl.read_csv(tmp_path / "risks.csv", schema_overrides={"patient_id": pl.String})
    assert rows.select("patient_id", "label_code", "y_prob").equals(risks.select("patient_id", "label_code", "y_prob"))
    labels = pl.read_csv(elsewhere.table_dir / "label.csv", schema_overrides={"patient_id": pl.String})
    truth = rows.join(labels, on=["patient_id", "label_code"], how="left", maintain_order="left")["label_value"]
    assert rows["y_true"].cast(pl.Float64).equals(truth.cast(pl.Float64), null_equal=True)
    for name, of_label in found["splits"]["tables"].items():
        known = rows.filter((pl.col("label_code") == name) & pl.col("y_true").is_not_null())
        label, risk = known["y_true"].to_numpy(), known["y_prob"].to_numpy()
        values = {key: metric["value"] for key, metric in of_label["metrics"].items()}
        assert (of_label["patients"], of_label["positives"]) == (len(label), label.sum())
        assert values["brier"] == pytest.approx(brier_score_loss(label, risk, pos_label=1))
        if not 0 < label.sum() < len(label):
            assert name == "readmission" and values["auroc"] is None
            continue
        assert values["auroc"] == pytest.approx(roc_auc_score(label, risk))
        assert values["auprc"] == pytest.approx(average_precision_score(label, risk))
        assert values["calibration_slope"] == pytest.approx(slope(label, risk)[1], abs=1e-6)
        cut = found["thresholds"][name]["value"]
        assert values["accuracy"] == pytest.approx(((risk >= cut) == label).mean())
        own = found["splits"]["run_test"][name]["operating_points"]
        for target, point in of_label["operating_points"].items():
            assert point["threshold"] == own[target]["threshold"]
            if point["threshold"] is not None:
                caught = recall_score(label, risk >= point["threshold"])
                assert point["metrics"]["sensitivity"]["value"] == pytest.approx(caught)


def slope(label: np.ndarray, risk: np.ndarray) -> tuple[float, float]:
    model = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000, solver="newton-cholesky")
    model.fit(logit(risk)[:, None], label)
    return float(model.intercept_[0]), float(model.coef_[0, 0])


def test_risks_are_recalibrated_on_persons_drawn_and_judged_on_the_others(
    emerge: Trained, elsewhere: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = evaluated(emerge.run_dir, elsewhere.table_dir, tmp_path / "out", 40)
    rows = predictions(tmp_path / "out")
    drawn = rows.filter(pl.col("used") == "recalibration")
    others = rows.filter(pl.col("used") == "evaluated")
    assert drawn["subject_id"].n_unique() == 40 == found["recalibration"]["persons"]
    assert not set(drawn["subject_id"]) & set(others["subject_id"])
    assert found["recalibration"]["labels"]["readmission"] is None  # nobody of these was readmitted
    assert "readmission is not recalibrated: the" in caplog.text
    for name, fitted in [("mortality", found["recalibration"]["labels"]["mortality"])]:
        of = pl.col("label_code") == name
        known = drawn.filter(of & pl.col("y_true").is_not_null())
        a, b = slope(known["y_true"].to_numpy(), known["y_prob"].to_numpy())
        assert fitted == {"intercept": pytest.approx(a, abs=1e-6), "slope": pytest.approx(b, abs=1e-6)}
        mapped = rows.filter(of)
        np.testing.assert_allclose(mapped["y_recalibrated"], expit(a + b * logit(mapped["y_prob"])), atol=1e-7)
        rest = others.filter(of & pl.col("y_true").is_not_null())
        for split, column in (("before", "y_prob"), ("after", "y_recalibrated")):
            part = found["splits"][split][name]
            assert part["patients"] == rest.height
            expected = brier_score_loss(rest["y_true"].to_numpy(), rest[column].to_numpy())
            assert part["metrics"]["brier"]["value"] == pytest.approx(expected)
        assert found["splits"]["tables"][name]["patients"] == rest.height + known.height
    other = evaluated(emerge.run_dir, elsewhere.table_dir, tmp_path / "isotonic", 40, "isotonic")
    assert other["recalibration"]["method"] == "isotonic"
    assert set(other["recalibration"]["labels"]["mortality"]) == {"levels"}
    assert other["splits"]["before"] == found["splits"]["before"]


def test_what_was_shifted_is_named_and_what_was_not_is_not(emerge: Trained, own: Path, tmp_path: Path) -> None:
    evaluated(emerge.run_dir, own, tmp_path / "before")
    assert len(shifted(tmp_path / "before")) <= 1
    number = pl.col("value").cast(pl.Float64)
    hot = pl.when(pl.col("code") == "heart_rate").then((number + 25).cast(pl.String)).otherwise("value")
    edit(own, "dynamic.csv", lambda t: t.with_columns(value=hot).filter(pl.col("code") != "glucose"))
    edit(
        own,
        "notes.csv",
        lambda t: t.with_columns(text="Zebra crossing. " + pl.col("text").str.replace_all("(?i)the", "")),
    )
    edit(own, "static.csv", lambda t: t.with_columns(age=(pl.col("age").cast(pl.Float64) * 0.2 + 60).cast(pl.String)))
    edit(own, "static.csv", lambda t: t.with_columns(sex=pl.lit("F"), icu_type=pl.lit("Burns")))
    dead = pl.read_csv(own / "label.csv", infer_schema=False).filter(
        (pl.col("label_code") == "mortality") & (pl.col("label_value") == "1")
    )
    survivors = pl.read_csv(own / "cohort.csv", infer_schema=False).join(dead, on="patient_id", how="anti")
    keep(own, [*dead["patient_id"], *survivors["patient_id"][80:]])
    evaluated(emerge.run_dir, own, tmp_path / "after")
    found = shifted(tmp_path / "after")
    named = {(aspect, name) for aspect, name, _ in found}
    for expected in (
        ("population", "mortality"),
        ("population", "sex"),
        ("population", "icu_type"),
        ("population", "icu_type Burns"),
        ("missingness", "glucose"),
        ("signal", "heart_rate"),
        ("words", "zebra"),
        ("words", "crossing"),
        ("words", "the"),
    ):
        assert expected in named, expected
    row = found["signal", "heart_rate", "mean of stays, beats/min"]
    assert row["here"] - row["training"] > 15 and row["value"] > 1
    assert found["words", "zebra", "new, share of notes"]["here"] == 1
    assert found["words", "the", "gone, share of notes"]["here"] == 0
    assert not {("signal", "ph"), ("signal", "weight"), ("missingness", "weight")} & named
    documented(tmp_path / "after")
    page = (tmp_path / "after" / "evaluation.md").read_text("utf-8")
    assert "heart\\_rate" in page and "zebra" in page and "icu\\_type Burns" in page


def documented(folder: Path) -> None:
    """Check that the columns are those of the schema and of the documentation."""
    text = "".join((ROOT / "docs" / page).read_text("utf-8") for page in ("transfer.md", "shifts.md"))
    assert predictions(folder).columns == list(schema.EVALUATED.names)
    for column in schema.EVALUATED.columns:
        assert f"| `{column.name}` | {column.meaning} |" in text
    assert pl.read_csv(folder / "drift.csv", n_rows=0).columns == list(drift.COLUMNS)
    assert all(f"| `{name}` |" in text for name in drift.COLUMNS) and all(f"`{name}`" in text for name in FILES)


def test_a_population_has_not_shifted_from_itself(emerge: Trained) -> None:
    known = profile.known_words(emerge)
    itself = profile.of_training(emerge, profile.training_range(emerge.dataset), known)
    assert itself is not None and known
    features = emerge.dataset.ehr.shape[2]
    names = [f"signal {number}" for number in range(features)]
    scale = drift.Scale(names, [""] * features, np.ones(features), np.full(features, 2.0))
    rows = drift.table(itself, itself, emerge.label_names, scale, seed=1)
    assert {row.aspect for row in rows} == {"population", "missingness", "signal", "words", "diseases"}
    assert [row for row in rows if row.value != 0 or row.shifted or row.training != row.here] == []
    ages = pl.read_csv(emerge.config.processed_dir / "patients.csv").filter(
        pl.col("patient_id").cast(pl.String).is_in(emerge.dataset.split["train"])
    )["age"]
    age = next(row for row in rows if row.name == "age")
    assert age.training == pytest.approx(ages.mean())
    outside = [row.training for row in rows if row.quantity == "share of hours out of range"]
    assert np.median([share for share in outside if share is not None]) < 0.02


def test_the_vocabularys_shares_are_those_of_the_training_notes(emerge: Trained) -> None:
    """They are computed back from the idf, as the notes may be gone."""
    known, notes = profile.known_words(emerge), profile.training_notes(emerge)
    assert known and notes
    written = [text for text in notes if text]
    _, unknown, counted = profile.counted(written, known)
    assert known == {word: pytest.approx(counted[word]) for word in known}
    assert {word for word, share in counted.items() if share * len(written) > 1.5} == set(known)
    assert unknown is not None and 0 < unknown.mean() < 0.5


def test_persons_of_training_are_known_under_other_stays_and_another_dataset(
    emerge: Trained, hospital: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A demo of a database is part of it, under another name; and one's own tables may hold anybody."""
    folder = tmp_path / "renamed"
    shutil.copytree(hospital.table_dir, folder)
    (folder / schema.PROVENANCE).unlink()
    for file in ("cohort.csv", "static.csv", "label.csv", "dynamic.csv", "notes.csv"):
        edit(folder, file, lambda t: t.with_columns(patient_id="x" + pl.col("patient_id")))
    edit(folder, "cohort.csv", lambda t: t.with_columns(subject_id="00" + pl.col("subject_id")))
    found = evaluated(emerge.run_dir, folder, tmp_path / "out")
    split = emerge.dataset.split
    assert found["samples"] == len(split["test"])
    assert found["left_out"]["learned_from"]["samples"] == len(split["train"]) + len(split["val"])
    assert "are left out, as the run has learned from these persons" in caplog.text
    assert {f"x{patient}" for patient in split["test"]} == set(predictions(tmp_path / "out")["patient_id"])


def test_outcomes_that_are_undefined_or_rare_are_told(
    emerge: Trained, own: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def change(label: pl.DataFrame) -> pl.DataFrame:
        died = pl.col("label_code") == "mortality"
        first = label.filter(died & (pl.col("label_value") == "1"))["patient_id"].to_list()[:3]
        few = pl.when(died & ~pl.col("patient_id").is_in(first)).then(pl.lit("0")).otherwise("label_value")
        none = pl.when(pl.col("label_code") == "readmission").then(pl.lit("0")).otherwise(few)
        more = label.filter(died).with_columns(label_code=pl.lit("gout"))
        return pl.concat([label.with_columns(label_value=none), more]).filter(
            pl.col("patient_id") != label["patient_id"][0]
        )

    edit(own, "label.csv", change)
    keep(own, pl.read_csv(own / "cohort.csv", infer_schema=False)["patient_id"].to_list()[:50])
    found = evaluated(emerge.run_dir, own, tmp_path / "out")
    told = caplog.text
    assert "the run does not predict gout, which is passed over" in told
    assert "mortality: only 3 of" in told or "mortality: only 2 of" in told
    assert "have the outcome 0: what needs both classes is undefined" in told
    readmission = found["splits"]["tables"]["readmission"]["metrics"]
    assert readmission["auroc"]["value"] is None and readmission["brier"]["value"] is not None
    assert found["left_out"]["without_outcome"]["samples"] == 1
    (own / "label.csv").write_text("\n".join((own / "label.csv").read_text().splitlines()).replace("readmission", "x"))
    found = evaluated(emerge.run_dir, own, tmp_path / "fewer")
    assert "has no readmission, which the run predicts: it is not evaluated" in caplog.text
    assert found["splits"]["tables"]["readmission"]["patients"] == 0


def all_alike(table: pl.DataFrame) -> pl.DataFrame:
    return table.with_columns(label_value=pl.lit("0"))


REFUSED: dict[str, tuple[str, Edit, int | None, str]] = {
    "other outcomes": (
        "label.csv",
        lambda t: t.with_columns(label_code="late " + pl.col("label_code")),
        None,
        r"label.csv: has label_code late mortality, late readmission, and the run predicts mortality, readmission; none",
    ),
    "no outcome": (
        "label.csv",
        lambda t: t.with_columns(label_value=pl.lit("0.5")),
        None,
        r"label.csv: label_value 0.5 of patient_id '\d+' is neither 0 nor 1",
    ),
    "an early outcome": (
        "label.csv",
        lambda t: t.with_columns(label_time=pl.lit("1990-01-01 00:00:00")),
        None,
        r"label.csv: label_time 1990-01-01 00:00:00 of patient_id .* lies before the end of the observation window",
    ),
    "outcomes of strangers": (
        "label.csv",
        lambda t: t.with_columns(patient_id="x" + pl.col("patient_id")),
        None,
        r"nobody to evaluate on: for \d+ samples no outcome of the run is defined",
    ),
    "too many persons to recalibrate": (
        "static.csv",
        lambda t: t,
        100_000,
        r"--recalibrate 100000: there are \d+ persons to evaluate on; recalibrate on 1 to \d+ of them",
    ),
    "nobody to recalibrate": ("static.csv", lambda t: t, 0, r"--recalibrate 0: there are \d+ persons"),
    "one class to recalibrate": (
        "label.csv",
        all_alike,
        30,
        r"--recalibrate 30: the \d+ samples of the persons drawn are all alike in mortality and readmission",
    ),
    "classes that the risks separate": (
        "static.csv",
        lambda t: t,
        4,
        r"--recalibrate.*(all alike in|are separated by their risks|all have the same outcome)",
    ),
    "a code that the run does not know": (
        "dynamic.csv",
        lambda t: t.with_columns(code=pl.lit("lactate")),
        None,
        r"dynamic.csv: code 'lactate' is not one of the signals",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_in_a_line_and_nothing_is_written(
    emerge: Trained, own: Path, tmp_path: Path, case: str
) -> None:
    file, change, recalibrate, expected = REFUSED[case]
    edit(own, file, change)
    with pytest.raises(UserError, match=expected) as refusal:
        evaluated(emerge.run_dir, own, tmp_path / "out", recalibrate)
    assert "\n" not in str(refusal.value) and not (tmp_path / "out").exists()


def test_outcomes_must_be_there_and_as_convert_wrote_them_by_the_rules_of_the_run(
    emerge: Trained, elsewhere: Config, own: Path, tmp_path: Path
) -> None:
    (own / "label.csv").unlink()
    with pytest.raises(UserError, match=r"label.csv: missing; --stage evaluate needs outcomes: patient_id, label_time"):
        evaluated(emerge.run_dir, own, tmp_path / "out")
    tables = tmp_path / "tables"
    shutil.copytree(elsewhere.table_dir, tables)
    edit(tables, "label.csv", all_alike)
    with pytest.raises(UserError, match=r"label.csv: changed since --stage convert wrote it"):
        evaluated(emerge.run_dir, tables, tmp_path / "out")
    shutil.copy(elsewhere.table_dir / "label.csv", tables)
    record = json.loads((tables / schema.PROVENANCE).read_text())
    record["task"] = {"name": "mortality_readmission", "options": {"days": 5}}
    (tables / schema.PROVENANCE).write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"outcomes of task 'mortality_readmission' with options {'days': 5}"):
        evaluated(emerge.run_dir, tables, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nobody_is_left_of_the_persons_of_training(emerge: Trained, hospital: Config, tmp_path: Path) -> None:
    folder = tmp_path / "tables"
    shutil.copytree(hospital.table_dir, folder)
    (folder / schema.PROVENANCE).unlink()
    kept = emerge.dataset.split["train"]
    keep(folder, kept)
    with pytest.raises(
        UserError, match=rf"nobody to evaluate on: {len(kept)} samples are of persons from whom the run"
    ):
        evaluated(emerge.run_dir, folder, tmp_path / "out")


def test_folders_that_hold_something_else_are_left_alone(emerge: Trained, own: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("Dear")
    for output, expected in (
        (own / "dynamic.csv", "is a file, and a folder is needed"),
        (own, "lies in .*own or around it"),
        (own / "inside", "lies in .*own or around it"),
        (emerge.run_dir / "inside", "lies in .* or around it"),
        (emerge.run_dir.parent, "or around it"),
        (tmp_path / "mine", "mine: holds other files, such as letter.txt"),
    ):
        with pytest.raises(UserError, match=expected):
            evaluate.run(emerge.run_dir, own, output, None, "logistic", offline=True)


def test_an_evaluation_that_fails_leaves_the_earlier_one_as_it_was(
    emerge: Trained, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(own, pl.read_csv(own / "cohort.csv", infer_schema=False)["patient_id"].to_list()[:50])
    evaluated(emerge.run_dir, own, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "out").iterdir())
    assert (tmp_path / "out").stat().st_mode & 0o077 == 0

    def full(*_: object) -> str:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(pages, "page", full)
    with pytest.raises(OSError, match="No space left"):
        evaluate.run(emerge.run_dir, own, tmp_path / "out", 30, "logistic", offline=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    monkeypatch.undo()
    found = evaluated(emerge.run_dir, own, tmp_path / "out", 30)
    assert "recalibration" in found
    evaluated(emerge.run_dir, own, tmp_path / "again", 30)
    assert all((tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes() for name in FILES)


@pytest.mark.slow
def test_the_command_line_evaluates_and_tells_a_mistake_in_a_line(small_pipeline: Path, tmp_path: Path) -> None:
    given = ["--stage", "evaluate", "--run", "runs/small", "--tables", "data/tables/synthetic/mortality", "--offline"]

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(MAIN), *given, *more]
        return subprocess.run(command, cwd=small_pipeline, capture_output=True, text=True, timeout=300, check=False)

    done = run("--output", str(tmp_path / "out"), "--recalibrate", "20", "--recalibrate-by", "intercept")
    assert done.returncode == 0, done.stderr
    assert "others, recalibrated" in done.stdout and done.stdout.endswith(f"evaluation: {tmp_path}/out/evaluation.md\n")
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.rglob("*"))
    failed = run("--output", str(tmp_path / "other"), "--recalibrate", "999")
    assert failed.returncode == 2 and "Traceback" not in failed.stderr and not (tmp_path / "other").exists()
    assert failed.stderr.splitlines()[-1].startswith("error: --recalibrate 999: there are ")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--run r --tables t", "--stage evaluate needs --output"),
        ("--run r --output o", "--stage evaluate needs --tables"),
        ("--run r --tables t --output o --recalibrate many", "invalid int value: 'many'"),
        ("--run r --tables t --output o --recalibrate-by isotonic", "--recalibrate-by needs --recalibrate N"),
        ("--run r --tables t --output o --recalibrate 9 --recalibrate-by platt", "invalid choice: 'platt'"),
        ("--run r --tables t --output o --seed 3", "--seed does not go with --stage evaluate"),
    ],
)
def test_a_mistake_on_the_command_line_is_told(options: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command_line.arguments(["--stage", "evaluate", *options.split()])
    assert ended.value.code == 2 and expected in capsys.readouterr().err
