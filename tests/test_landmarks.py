"""A run with landmarks (``cohort.landmarks``) of a small generated hospital, from the raw records to the report."""

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.metrics import roc_auc_score

from emerge_ehr.audit import audit
from emerge_ehr.config import Config, fill
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.models.batch import Batch
from emerge_ehr.prediction import donors, predict
from emerge_ehr.preprocess import run as preprocess
from emerge_ehr.preprocess.inputs.landmarks import hour_of, stay_of
from emerge_ehr.report import report
from emerge_ehr.storage.dataset import load_dataset, load_patients
from emerge_ehr.training import inputs, train
from emerge_ehr.training.trained import Trained, load
from emerge_ehr.transfer import evaluate
from tests.report.html_text import read

pytestmark = pytest.mark.slow
HOURS = (6, 24, 48)


@pytest.fixture(scope="module")
def finished(small_pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Config]:
    """The config of a run that has ended; its folder is the current one."""
    folder = tmp_path_factory.mktemp("landmarks")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("raw", "kg"):
            shutil.copytree(small_pipeline / "data" / name, folder / "data" / name)
        config = fill(
            {
                "dataset": "synthetic",
                "run_name": "landmarks",
                "paths": {"raw_dir": "data/raw/synthetic", "kg_dir": "data/kg/synthetic"},
                "source": {"name": "synthetic", "stays": 220},
                "cohort": {"min_stay_hours": 6, "landmarks": list(HOURS)},
                "model": {"hidden_size": 16},
                "training": {"members": 1, "max_epochs": 3, "bootstrap_resamples": 20},
            },
            "test",
        )
        convert.run(config)
        preprocess.run(config)
        train.run(config)
        yield config


def test_all_samples_of_a_person_are_in_one_split_and_short_stays_are_judged_early(finished: Config) -> None:
    dataset = load_dataset(finished.processed_dir)
    people = load_patients(finished.processed_dir, dataset.patient_id)
    assert people is not None
    subject = dict(people.select("patient_id", "subject_id").rows())
    persons = [{subject[name] for name in dataset.split[part]} for part in ("train", "val", "test")]
    assert not (persons[0] & persons[1] or persons[0] & persons[2] or persons[1] & persons[2])
    assert dataset.ehr_length.tolist() == [hour_of(name) for name in dataset.patient_id]
    reached: dict[str, list[int]] = {}
    for name in dataset.patient_id:
        reached.setdefault(stay_of(name), []).append(hour_of(name))
    assert {tuple(hours) for hours in reached.values()} == {(6,), (6, 24), (6, 24, 48)}


def test_the_audit_finds_nothing_wrong(finished: Config) -> None:
    audit.run(finished)
    found = json.loads((finished.processed_dir / "audit.json").read_text(encoding="utf-8"))
    assert {entry["verdict"] for entry in found["findings"]} == {"passed"}


def test_each_landmark_is_judged_by_itself(finished: Config) -> None:
    rows = pl.read_csv(finished.run_dir / "predictions.csv").filter(pl.col("split") == "test")
    groups = pl.read_csv(finished.run_dir / "subgroups.csv").filter(
        (pl.col("attribute") == "landmark") & (pl.col("metric") == "auroc")
    )
    assert groups["group"].to_list() == ["hour  6", "hour 24", "hour 48"]
    for hour, patients, value in zip(HOURS, groups["patients"], groups["value"], strict=True):
        own = rows.filter(pl.col("patient_id").str.ends_with(f"@{hour:02d}h"))
        assert own.height == patients
        assert np.isclose(roc_auc_score(own["y_true"], own["y_prob"]), value)


def test_new_patients_are_predicted_with_whatever_their_stays_have_so_far(finished: Config) -> None:
    predict.run(run=finished.run_dir, tables=finished.table_dir, output=Path("risks.csv"), offline=True)
    risks = pl.read_csv("risks.csv", schema_overrides={"patient_id": pl.String})
    cohort = pl.read_csv(finished.table_dir / "cohort.csv", schema_overrides={"patient_id": pl.String})
    assert risks["patient_id"].to_list() == sorted(cohort["patient_id"])
    # a stay whose window ends at a landmark is that sample
    whole = {stay_of(name) for name in load_dataset(finished.processed_dir).split["test"] if hour_of(name) == 48}
    ours = pl.read_csv(finished.run_dir / "predictions.csv").filter(pl.col("patient_id").str.ends_with("@48h"))
    known = dict(zip(ours["patient_id"].str.strip_suffix("@48h"), ours["y_prob"], strict=True))
    now = dict(risks.select("patient_id", "y_prob").rows())
    assert whole and all(abs(now[stay] - known[stay]) < 1e-6 for stay in whole)


def test_the_risk_does_not_jump_at_a_landmark_at_which_nothing_happened(finished: Config) -> None:
    trained = load(finished.run_dir)
    whole = _at(trained, 48)
    risks = [
        trained.of_members(dataclasses.replace(whole, ehr_length=torch.full_like(whole.ehr_length, hour)))[0, :, 0]
        for hour in range(6, 49)
    ]
    change = {hour: float((risks[hour - 6] - risks[hour - 7]).abs().mean()) for hour in range(7, 49)}
    usual = max(by for hour, by in change.items() if hour not in HOURS)
    assert max(change[24], change[48]) < 1.5 * usual


def test_who_lends_a_modality_was_seen_for_as_long(finished: Config) -> None:
    trained = load(finished.run_dir)
    lenders = donors.of(trained)
    for hour in HOURS:
        patients = _at(trained, hour)
        found = donors.without_modalities(trained, patients, lenders)
        for name, others in lenders.items():
            own = others.select(torch.nonzero(others.ehr_length == hour)[:, 0])
            assert len(own) == donors.DONORS
            expected = donors.lent(trained, patients, {name: own})[name].mean(axis=1)
            assert found[name].tolist() == expected.tolist()


def _at(trained: Trained, hour: int) -> Batch:
    test = inputs.mapped(trained.dataset, "test").whole()
    return test.select(torch.nonzero(test.ehr_length == hour)[:, 0])


def test_the_run_is_evaluated_at_each_landmark(finished: Config) -> None:
    evaluate.run(finished.run_dir, finished.table_dir, Path("evaluation"), None, "logistic", offline=True)
    rows = pl.read_csv("evaluation/predictions.csv").sort("patient_id")
    own = pl.read_csv(finished.run_dir / "predictions.csv").filter(pl.col("split") == "test").sort("patient_id")
    assert rows.select("patient_id", "y_true").equals(own.select("patient_id", "y_true"))
    assert np.allclose(rows["y_prob"], own["y_prob"], atol=1e-6)
    of_run, here = (
        pl.read_csv(path).filter((pl.col("attribute") == "landmark") & (pl.col("metric") == "auroc"))
        for path in (finished.run_dir / "subgroups.csv", Path("evaluation/subgroups.csv"))
    )
    assert of_run.select("group", "patients", "positives").equals(here.select("group", "patients", "positives"))
    shifts = pl.read_csv("evaluation/drift.csv", infer_schema_length=None)
    length = shifts.filter((pl.col("aspect") == "words") & (pl.col("name") == "length"))
    assert 0.8 < (length["here"] / length["training"]).item() < 1.25


def test_the_report_shows_the_risk_in_the_course_of_a_stay(finished: Config) -> None:
    report.run(finished)
    page = read((finished.run_dir / "report.html").read_text(encoding="utf-8"))
    text = page.text
    assert "Risk in the course of the stay:" in text and "at hour 6," in text
    assert "the first 6, 24 or 48 hours of intensive-care stays" in text
