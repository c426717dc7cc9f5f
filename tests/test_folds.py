"""Cross-validation (``split.folds``) of a small generated hospital, from the tables to the report."""

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import f1_score, recall_score, roc_auc_score

from emerge_ehr.audit import audit
from emerge_ehr.comparison import compare
from emerge_ehr.config import Config, Split, fill
from emerge_ehr.datasets import splits
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.evaluation import metrics as formulas
from emerge_ehr.fields import UserError
from emerge_ehr.prediction import predict
from emerge_ehr.preprocess import run as preprocess
from emerge_ehr.report import report
from emerge_ehr.storage.dataset import load_dataset, load_patients
from emerge_ehr.training import train
from emerge_ehr.transfer import evaluate
from tests.report.html_text import read

FOLDS = 3


@pytest.fixture(scope="module")
def finished(small_pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Config, Path]]:
    """The config of a cross-validated run that has ended, and its folder, which is the current one."""
    folder = tmp_path_factory.mktemp("folds")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        shutil.copytree(small_pipeline / "data" / "raw", folder / "data" / "raw")
        shutil.copytree(small_pipeline / "data" / "kg", folder / "data" / "kg")
        config = fill(
            {
                "dataset": "synthetic",
                "run_name": "folds",
                "paths": {"raw_dir": "data/raw/synthetic", "kg_dir": "data/kg/synthetic"},
                "source": {"name": "synthetic", "stays": 220},
                "split": {"folds": FOLDS},
                "model": {"hidden_size": 16},
                "training": {"members": 1, "max_epochs": 3, "bootstrap_resamples": 20},
                "calibration": {"method": "platt", "coverage": 0.5},
            },
            "test",
        )
        convert.run(config)
        preprocess.run(config)
        train.run(config)
        yield config, folder


def of_test(folder: Path, file: str = "predictions.csv") -> pl.DataFrame:
    return pl.read_csv(folder / file, schema_overrides={"patient_id": pl.String}).filter(pl.col("split") == "test")


def test_everyone_is_tested_once_in_a_fold_whose_model_nothing_of_that_person_was_fitted_for(
    finished: tuple[Config, Path],
) -> None:
    config, _ = finished
    whole = load_dataset(config.processed_dir)
    people = load_patients(config.processed_dir, whole.patient_id)
    assert people is not None
    subject = dict(people.select("patient_id", "subject_id").rows())
    tested: list[str] = []
    for of_fold in config.of_folds():
        part = load_dataset(of_fold.processed_dir)
        persons = {name: {subject[patient] for patient in ids} for name, ids in part.split.items()}
        assert not persons["test"] & (persons["train"] | persons["val"]) and not persons["train"] & persons["val"]
        training = np.isin(part.patient_id, part.split["train"])
        hours = (part.ehr_mask[training] > 0).sum(axis=(0, 1))
        assert part.metadata["statistics"]["hours"] == hours.tolist()  # fitted on these patients and no others
        label = part.label[np.isin(part.patient_id, part.split["test"]), 0]
        assert abs(label.mean() - whole.label[:, 0].mean()) < 0.06
        tested += part.split["test"]
    assert sorted(tested) == sorted(whole.patient_id.tolist())
    assert sorted(whole.split["train"] + whole.split["val"]) == sorted(whole.patient_id.tolist())


def test_the_runs_test_predictions_are_those_of_the_folds_judged_at_their_own_thresholds(
    finished: tuple[Config, Path],
) -> None:
    config, _ = finished
    whole = of_test(config.run_dir).sort("patient_id")
    parts = []
    for of_fold in config.of_folds():
        of_threshold = json.loads((of_fold.run_dir / "metrics.json").read_text())["thresholds"]["mortality"]["value"]
        rows = pl.read_csv(of_fold.run_dir / "predictions.csv", schema_overrides={"patient_id": pl.String})
        val = rows.filter(pl.col("split") == "val")
        truth, risk = val["y_true"].to_numpy().astype(float), val["y_prob"].to_numpy()
        assert of_threshold == (formulas.best_threshold(truth, risk) or 0.5)
        cut = formulas.threshold_reaching(0.8, truth, risk)
        parts.append(of_test(of_fold.run_dir).with_columns(threshold=pl.lit(of_threshold), point=pl.lit(cut)))
    pooled = pl.concat(parts).sort("patient_id")
    assert whole.equals(pooled.drop("threshold", "point"))
    sets = [of_test(of_fold.run_dir, "sets.csv") for of_fold in config.of_folds()]
    assert of_test(config.run_dir, "sets.csv").sort("patient_id").equals(pl.concat(sets).sort("patient_id"))
    truth, risk = pooled["y_true"].to_numpy(), pooled["y_prob"].to_numpy()
    evaluated = json.loads((config.run_dir / "metrics.json").read_text())
    values = {key: one["value"] for key, one in evaluated["splits"]["test"]["mortality"]["metrics"].items()}
    assert evaluated["folds"] == FOLDS
    assert values["auroc"] == pytest.approx(roc_auc_score(truth, risk))
    assert values["f1"] == pytest.approx(f1_score(truth, risk >= pooled["threshold"].to_numpy()))
    point = evaluated["splits"]["test"]["mortality"]["operating_points"]["0.8"]
    assert point["metrics"]["sensitivity"]["value"] == pytest.approx(
        recall_score(truth, risk >= pooled["point"].to_numpy())
    )
    for file, key in (("plain_predictions.csv", "plain_method"), ("network_predictions.csv", "network_alone")):
        other = pl.concat([of_test(of_fold.run_dir, file) for of_fold in config.of_folds()])
        beside = evaluated[key]["splits"]["test"]["mortality"]["auroc"]
        assert beside["first"] == values["auroc"]
        assert beside["second"] == pytest.approx(roc_auc_score(other["y_true"].to_numpy(), other["y_prob"].to_numpy()))


def test_the_run_is_evaluated_on_other_persons_than_those_of_its_folds(
    finished: tuple[Config, Path], tmp_path: Path
) -> None:
    """Each of its own persons has trained the model of all patients."""
    config, _ = finished
    with pytest.raises(
        UserError, match=r"nobody to evaluate on: .* samples are of persons from whom the run has learned"
    ):
        evaluate.run(config.run_dir, config.table_dir, tmp_path / "out", None, "logistic", offline=True)
    others = tmp_path / "others"
    shutil.copytree(config.table_dir, others)
    (others / "provenance.json").unlink()
    cohort = pl.read_csv(others / "cohort.csv", infer_schema=False)
    cohort.with_columns(subject_id="x" + pl.col("subject_id")).write_csv(others / "cohort.csv")
    evaluate.run(config.run_dir, others, tmp_path / "out", 50, "logistic", offline=True)
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    metrics = json.loads((config.run_dir / "metrics.json").read_text())
    assert found["splits"]["run_test"] == metrics["splits"]["test"] and found["samples"] == cohort.height
    points = metrics["splits"]["val"]["mortality"]["operating_points"]
    here = found["splits"]["tables"]["mortality"]["operating_points"]
    assert {target: point["threshold"] for target, point in here.items()} == {
        target: point["threshold"] for target, point in points.items()
    }


def test_report_predict_and_compare_take_the_run(
    finished: tuple[Config, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    config, folder = finished
    report.run(config)
    page = (config.run_dir / "report.html").read_text()
    assert f"divided into {FOLDS} folds" in page and "No person is in two splits" not in page
    evaluated = json.loads((config.run_dir / "metrics.json").read_text())
    alone = evaluated["network_alone"]["splits"]["test"]["mortality"]["auroc"]
    assert f"The network alone reaches an AUROC of {alone['second']:.3f}" in page
    weights = read(page).one("table", id="weights")
    first = weights.all("tr")[1]
    assert first.one("th").text == "ehr, note, summary" and len(weights.all("tr")) == 1 + 2**3
    told = [cell.text.replace("−", "-") for cell in first.all("td")]
    heads = [head.text.replace(" ", "_") for head in weights.all("tr")[0].all("th")][1:]
    values = evaluated["experts"]["mortality"]["ehr+note+summary"]
    assert told == [f"{values[name]:.2f}" for name in heads] and heads[-1] == "intercept"
    predict.run(config.run_dir, config.table_dir, folder / "risks.csv", offline=True)
    assert pl.read_csv(folder / "risks.csv").height == len(load_dataset(config.processed_dir).patient_id)
    first = compare.load(config.run_dir)
    assert first.test["threshold"].n_unique() == FOLDS
    capsys.readouterr()
    compare.run([config.run_dir, config.run_dir], folder / "same.csv")
    found = pl.read_csv(folder / "same.csv").filter(pl.col("test") == "paired_bootstrap")
    f1 = json.loads((config.run_dir / "metrics.json").read_text())["splits"]["test"]["mortality"]["metrics"]["f1"][
        "value"
    ]
    assert found.filter(pl.col("metric") == "f1")["first"].item() == pytest.approx(f1)
    assert found["difference"].drop_nulls().abs().max() == 0


def test_a_run_that_has_ended_is_not_repeated_and_one_fold_that_is_missing_is_trained_alone(
    finished: tuple[Config, Path], caplog: pytest.LogCaptureFixture
) -> None:
    config, _ = finished
    resumed = dataclasses.replace(config, resume=True)
    second = config.of_folds()[1].run_dir
    before = {path: path.read_bytes() for path in sorted(config.run_dir.rglob("*.csv"))}
    shutil.rmtree(second)
    caplog.set_level("INFO")
    train.run(resumed)
    assert sum("has ended already" in message for message in caplog.messages) == FOLDS
    assert {path: path.read_bytes() for path in sorted(config.run_dir.rglob("*.csv"))} == before


def test_without_folds_their_folders_go_and_artefacts_with_folds_are_refused(
    finished: tuple[Config, Path], tmp_path: Path
) -> None:
    config, _ = finished
    plain = dataclasses.replace(config, split=dataclasses.replace(config.split, folds=0))
    with pytest.raises(UserError, match=r"made with other \[split\] settings"):
        train.run(plain)
    copied = dataclasses.replace(
        plain, paths=dataclasses.replace(plain.paths, processed_dir=tmp_path / "processed", run_dir=tmp_path / "run")
    )
    shutil.copytree(config.processed_dir, copied.processed_dir)
    shutil.copytree(config.run_dir, copied.run_dir)
    preprocess.run(copied)
    train.run(copied)
    assert not list(copied.processed_dir.glob("fold_*")) and not list(copied.run_dir.glob("fold_*"))
    assert "folds" not in json.loads((copied.run_dir / "metrics.json").read_text())


def test_one_fold_is_refused() -> None:
    raw = {"dataset": "a", "run_name": "a", "paths": {"raw_dir": "a"}, "source": "synthetic", "split": {"folds": 1}}
    with pytest.raises(UserError, match=r"split\.folds must be 0, for one test split, or at least 2"):
        fill(raw, "test")


def test_persons_are_divided_evenly_and_outcomes_are_spread() -> None:
    generator = np.random.default_rng(0)
    subjects = [f"s{number}" for number in generator.integers(0, 300, 500)]
    cohort = pl.DataFrame(
        {
            "patient_id": [str(row) for row in range(500)],
            "subject_id": subjects,
            "positive": (generator.random(500) < 0.1).astype(int),
        }
    )
    rule = Split(folds=4)
    parts = [splits.fold_by_subject(cohort, rule, number, np.random.default_rng(1)) for number in range(1, 5)]
    persons = [set(cohort.filter(pl.col("patient_id").is_in(part["test"]))["subject_id"]) for part in parts]
    sizes = [len(one) for one in persons]
    assert sum(sizes) == len(set(subjects)) == len(set().union(*persons)) and max(sizes) - min(sizes) <= 1
    sick = set(cohort.filter(pl.col("positive") == 1)["subject_id"])
    assert max(len(one & sick) for one in persons) - min(len(one & sick) for one in persons) <= 1
    for part in parts:
        share = len(part["val"]) / (len(part["val"]) + len(part["train"]))
        assert abs(share - 1 / 8) < 0.03


def test_the_audit_looks_at_every_fold(finished: tuple[Config, Path], capsys: pytest.CaptureFixture[str]) -> None:
    config, _ = finished
    audit.run(config)
    told = capsys.readouterr().out
    assert all(f"fold {number} of {FOLDS}" in told for number in range(1, FOLDS + 1)) and "failed" not in told
    for folder in [config.processed_dir, *(of_fold.processed_dir for of_fold in config.of_folds())]:
        assert json.loads((folder / "audit.json").read_text())["findings"]


def test_files_of_a_fold_that_have_changed_are_refused_and_compare_reads_the_runs_own(
    finished: tuple[Config, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, folder = finished
    run = tmp_path / "run"
    shutil.copytree(config.run_dir, run)
    (run / "fold_2" / "predictions.csv").write_text("abc")
    compare.run([config.run_dir, run], folder / "same.csv")
    assert pl.read_csv(folder / "same.csv")["difference"].drop_nulls().abs().max() == 0
    damaged = dataclasses.replace(config, resume=True, paths=dataclasses.replace(config.paths, run_dir=run))
    (run / "manifest.json").unlink()
    with pytest.raises(UserError, match=r"fold_2.predictions.csv"):
        train.run(damaged)
    (config.run_dir / "judged.csv").rename(folder / "judged")
    with pytest.raises(UserError, match=r"judged.csv"):
        compare.load(config.run_dir)
    (folder / "judged").rename(config.run_dir / "judged.csv")


def test_folds_that_do_not_go_together_are_refused_before_training(
    finished: tuple[Config, Path], tmp_path: Path
) -> None:
    config, _ = finished
    paths = dataclasses.replace(config.paths, processed_dir=tmp_path / "processed", run_dir=tmp_path / "run")
    mixed = dataclasses.replace(config, paths=paths)
    shutil.copytree(config.processed_dir, mixed.processed_dir)
    shutil.rmtree(mixed.processed_dir / "fold_3")
    shutil.copytree(mixed.processed_dir / "fold_2", mixed.processed_dir / "fold_3")
    with pytest.raises(UserError, match="its folds do not test every patient once"):
        train.run(mixed)
    assert not mixed.run_dir.exists()


def test_more_folds_than_persons_are_refused_before_any_fold_is_made(
    finished: tuple[Config, Path], tmp_path: Path
) -> None:
    config, _ = finished
    rows = pl.read_csv(config.table_dir / "cohort.csv", infer_schema=False)
    tables = tmp_path / "tables"
    shutil.copytree(config.table_dir, tables)
    few = rows["subject_id"].n_unique()
    paths = dataclasses.replace(config.paths, processed_dir=tmp_path / "processed")
    asked = dataclasses.replace(config, paths=paths, split=Split(folds=min(100, few + 1)))
    if few >= 100:
        keep = rows["patient_id"].head(30)
        for name in ("cohort", "static", "label", "dynamic", "notes"):
            table = pl.read_csv(tables / f"{name}.csv", infer_schema=False)
            table.filter(pl.col("patient_id").is_in(keep.implode())).write_csv(tables / f"{name}.csv")
        (tables / "provenance.json").unlink()
        asked = dataclasses.replace(asked, paths=dataclasses.replace(paths, table_dir=tables))
    with pytest.raises(UserError, match=r"set fewer split\.folds than 100"):
        preprocess.run(asked)
    assert not list(paths.processed_dir.glob("fold_*"))  # type: ignore[union-attr]
