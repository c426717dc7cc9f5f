"""Runs that ask for death by several horizons, on a small generated hospital: from the raw records to the report."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from emerge_ehr.audit import audit
from emerge_ehr.comparison import compare
from emerge_ehr.config import Calibration, Config, fill
from emerge_ehr.datasets import download
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.evaluation import survival
from emerge_ehr.evaluation.resampling import Sampling, each_alone
from emerge_ehr.fields import UserError
from emerge_ehr.prediction import predict
from emerge_ehr.preprocess import run as preprocess
from emerge_ehr.preprocess.inputs.landmarks import hour_of, stay_of
from emerge_ehr.report import report
from emerge_ehr.storage.dataset import load_dataset, load_patients
from emerge_ehr.training import train
from emerge_ehr.transfer import evaluate
from tests.report.html_text import read

pytestmark = pytest.mark.slow
DAYS, HOURS = (1, 2, 7), (24, 168)


def settings(run_name: str, **more: object) -> Config:
    """Of L1 regression, which learns what there is to learn of a small hospital in seconds."""
    raw = {
        "dataset": "synthetic",
        "run_name": run_name,
        "paths": {"raw_dir": "data/raw/synthetic", "kg_dir": "data/kg/synthetic"},
        "source": {"name": "synthetic", "stays": 700, "death_times": "risk"},
        "download": {"primekg": "none"},
        "baseline": {"name": "logistic_regression", "penalty": "l1", "modalities": ["ehr", "note", "summary"]},
        "training": {"members": 2, "bootstrap_resamples": 50},
    }
    return fill({**raw, **more}, "test")


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The raw records; their folder is the current one."""
    folder = tmp_path_factory.mktemp("horizons")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        download.run(settings("time"))
        yield folder


@pytest.fixture(scope="module")
def finished(hospital: Path) -> Config:
    """A run of task ``time_to_death`` that has ended."""
    config = settings("time", task={"name": "time_to_death", "days": list(DAYS)})
    for stage in (convert, preprocess, train):
        stage.run(config)
    return config


def test_risks_that_belong_together_are_not_calibrated_one_by_one(finished: Config) -> None:
    for chosen in (Calibration("platt"), Calibration(coverage=0.5)):
        with pytest.raises(UserError, match=r"\[calibration\] does not go with task 'time_to_death'"):
            train.run(dataclasses.replace(finished, calibration=chosen))


def test_the_hazards_give_risks_that_rise_with_the_horizon_and_rank_as_the_true_risk_does(finished: Config) -> None:
    rows = pl.read_csv(finished.run_dir / "predictions.csv", schema_overrides={"patient_id": pl.String})
    test = rows.filter(pl.col("split") == "test")
    assert test["label_code"].unique(maintain_order=True).to_list() == [f"death_{days}d" for days in DAYS]
    risk = test["y_prob"].to_numpy().reshape(-1, len(DAYS))
    assert (np.diff(risk, axis=1) > 0).all()
    truth = pl.read_csv("data/raw/synthetic/risk.csv", schema_overrides={"stay_id": pl.String})
    people = load_patients(finished.processed_dir, test["patient_id"].unique(maintain_order=True).to_numpy())
    assert people is not None
    hours, died = people["hours_to_end"].cast(pl.Float64).to_numpy(), people["died"].to_numpy() == "1"
    stays = people.join(truth, left_on="patient_id", right_on="stay_id", maintain_order="left")
    true = stays.select("true_risk_24h", "true_risk_48h", "true_risk_168h").to_numpy()
    horizons, constant = np.array([24.0, 48.0, 168.0]), np.zeros(3)
    best = survival.evaluate(hours, died, true, horizons, constant, each_alone(len(hours)), Sampling(10))
    metrics = json.loads((finished.run_dir / "metrics.json").read_text(encoding="utf-8"))
    found = metrics["in_time"]["splits"]["test"]
    assert best.concordance.value is not None
    assert 0.6 < found["concordance"]["value"] < 1 and found["concordance"]["value"] > best.concordance.value - 0.12
    assert found["difference"]["value"] < 0  # better than the same risk for everyone
    outcome = test.filter(pl.col("label_code") == "death_7d")["y_true"].to_numpy()
    assert (outcome == (died & (hours <= 168))).all()
    area = metrics["splits"]["test"]["death_7d"]["metrics"]["auroc"]["value"]
    assert np.isclose(area, roc_auc_score(outcome, risk[:, -1]))


def test_new_patients_and_other_tables_get_the_same_risks(finished: Config) -> None:
    predict.run(run=finished.run_dir, tables=finished.table_dir, output=Path("risks.csv"), offline=True)
    now = pl.read_csv("risks.csv", schema_overrides={"patient_id": pl.String})
    own = pl.read_csv(finished.run_dir / "predictions.csv", schema_overrides={"patient_id": pl.String})
    own = own.filter(pl.col("split") == "test").sort("patient_id", "label_code")
    joined = own.join(now, on=["patient_id", "label_code"], suffix="_now")
    assert joined.height == own.height and np.allclose(joined["y_prob"], joined["y_prob_now"], atol=1e-6)
    assert (now["lowest"] <= now["y_prob"]).all() and (now["y_prob"] <= now["highest"]).all()
    evaluate.run(finished.run_dir, finished.table_dir, Path("evaluation"), None, "logistic", offline=True)
    there = pl.read_csv("evaluation/predictions.csv", schema_overrides={"patient_id": pl.String})
    there = there.sort("patient_id", "label_code")
    assert there.select("patient_id", "label_code", "y_true").equals(own.select("patient_id", "label_code", "y_true"))
    over_all = json.loads(Path("evaluation/evaluation.json").read_text(encoding="utf-8"))["in_time"]["splits"]
    for measure in ("concordance", "integrated_brier", "difference"):
        assert np.isclose(over_all["tables"][measure]["value"], over_all["run_test"][measure]["value"], atol=1e-6)
    assert "## All horizons together" in Path("evaluation/evaluation.md").read_text(encoding="utf-8")


def test_seeds_and_comparisons_have_the_measures_over_all_horizons(
    finished: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    of_run = json.loads((finished.run_dir / "metrics.json").read_text(encoding="utf-8"))["in_time"]["splits"]["test"]
    series = settings(
        "series",
        task={"name": "time_to_death", "days": list(DAYS)},
        baseline={"name": "logistic_regression", "penalty": "l1"},
        seeds=[1, 2],
    )
    train.run(
        dataclasses.replace(series, paths=dataclasses.replace(series.paths, processed_dir=finished.processed_dir))
    )
    assert "over all horizons" in capsys.readouterr().out
    spread = pl.read_csv(series.run_dir / "seeds.csv").filter(split="test", label_code="in_time")
    each = [series.run_dir / f"seed_{seed}" for seed in series.seeds]
    for measure in ("concordance", "integrated_brier"):
        values = [
            json.loads((run / "metrics.json").read_text(encoding="utf-8"))["in_time"]["splits"]["test"][measure][
                "value"
            ]
            for run in each
        ]
        assert np.isclose(spread.filter(metric=measure)["mean"].item(), np.mean(values))
        compare.run([finished.run_dir, each[0]], Path("compared.csv"))
        row = pl.read_csv("compared.csv").filter(label_code="in_time", metric=measure)
        assert np.isclose(row["first"].item(), of_run[measure]["value"]) and np.isclose(row["second"].item(), values[0])
        assert np.isclose(row["difference"].item(), of_run[measure]["value"] - values[0])
        assert row["low"].item() < row["difference"].item() < row["high"].item()


def test_the_audit_and_the_report_know_the_horizons(finished: Config) -> None:
    audit.run_deep(finished)
    told = json.loads((finished.processed_dir / "audit.json").read_text(encoding="utf-8"))["findings"]
    assert not [finding for finding in told if finding["verdict"] == "failed"]
    report.run(finished)
    text = read((finished.run_dir / "report.html").read_text(encoding="utf-8")).text
    assert "in-hospital death within 7 days" in text and "Cumulative incidence" in text
    assert "highest third, observed" in text


def test_each_landmark_looks_ahead_from_its_own_hour(hospital: Path) -> None:
    config = settings(
        "landmarks",
        task={"name": "death_within", "hours": list(HOURS)},
        cohort={"min_stay_hours": 6, "landmarks": [6, 48]},
    )
    convert.run(config)
    preprocess.run(config)
    dataset = load_dataset(config.processed_dir)
    stays = pl.read_csv("data/raw/synthetic/icu/icustays.csv.gz", schema_overrides={"stay_id": pl.String})
    admissions = pl.read_csv("data/raw/synthetic/hosp/admissions.csv.gz")
    joined = stays.join(admissions, on="hadm_id").with_columns(pl.col("intime", "deathtime").str.to_datetime())
    after = (pl.col("deathtime") - pl.col("intime")).dt.total_seconds() / 3600
    death = dict(joined.select("stay_id", after.alias("hours")).rows())
    expected = [
        [float(death[stay_of(name)] is not None and death[stay_of(name)] <= hour_of(name) + hours) for hours in HOURS]
        for name in dataset.patient_id.tolist()
    ]
    assert dataset.label.tolist() == expected and dataset.label_mask.all()
    early = [row for row, name in zip(expected, dataset.patient_id.tolist(), strict=True) if hour_of(name) == 6]
    assert not any(row[0] for row in early) and any(row[1] for row in early)
