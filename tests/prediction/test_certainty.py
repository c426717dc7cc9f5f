"""A calibrated run with sets, as users meet it: predict, the service's answers, evaluate and the report."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from emerge_ehr.config import Config, Report
from emerge_ehr.evaluation import conformal
from emerge_ehr.prediction import predict
from emerge_ehr.report import report
from emerge_ehr.storage import schema
from emerge_ehr.training.trained import load
from emerge_ehr.transfer import evaluate
from tests.places import ROOT

TEXT = {"patient_id": pl.String}


@pytest.fixture(scope="module")
def run(run_of: Callable[[str], Path]) -> Path:
    return run_of("calibrated")


def test_predict_gives_the_runs_own_calibrated_risks_and_sets_and_says_when_it_does_not_know(
    run: Path, hospital: Config, tmp_path: Path
) -> None:
    output = tmp_path / "risks.csv"
    predict.run(run, hospital.table_dir, output, offline=True)
    found = pl.read_csv(output, schema_overrides=TEXT)
    written = pl.read_csv(run / "predictions.csv", schema_overrides=TEXT).filter(pl.col("split") == "test")
    both = written.join(found, on=["patient_id", "label_code"], how="left", maintain_order="left", suffix="_new")
    np.testing.assert_allclose(both["y_prob_new"], both["y_prob"], atol=1e-6)
    of_run = pl.read_csv(run / "sets.csv", schema_overrides=TEXT)
    assert both["set"].to_list() == of_run["set"].to_list() and set(found["set"]) <= set(conformal.READ)
    assert found.columns[found.columns.index("highest") + 1] == "set"
    described = (ROOT / "docs" / "prediction.md").read_text("utf-8")
    assert f"| `{schema.SET.name}` | {schema.SET.meaning}" in described
    assert (found["lowest"] <= found["y_prob"] + 1e-9).all() and (found["y_prob"] <= found["highest"] + 1e-9).all()
    trained = load(run)
    assert trained.maps[0] is not None and trained.maps[1] is None and trained.sets is not None
    lines = map(json.loads, output.with_name("risks.evidence.jsonl").read_text().splitlines())
    risks = {(line["patient_id"], risk["label_code"]): risk for line in lines for risk in line["risks"]}
    for row in found.iter_rows(named=True):
        told = risks[row["patient_id"], row["label_code"]]
        assert told["set"] == row["set"] and told["answer"] == conformal.WORDS[row["set"]]
        for name, change in told["contributions"].items():
            assert change == pytest.approx(row[f"contribution_{name}"])
            assert -1e-9 <= row["y_prob"] - change <= 1 + 1e-9
    assert {"does not know"} < {risk["answer"] for risk in risks.values()}
    never = [told["answer"] for (_, label), told in risks.items() if label == "readmission"]
    assert set(never) == {"does not know"}  # nobody had it in training


def test_evaluate_judges_the_calibrated_risks(run: Path, hospital: Config, tmp_path: Path) -> None:
    evaluate.run(run, hospital.table_dir, tmp_path / "out", None, "logistic", offline=True)
    found = pl.read_csv(tmp_path / "out" / "predictions.csv", schema_overrides=TEXT)
    written = pl.read_csv(run / "predictions.csv", schema_overrides=TEXT).filter(pl.col("split") == "test")
    both = written.join(found, on=["patient_id", "label_code"], how="left", suffix="_here")
    np.testing.assert_allclose(both["y_prob"], both["y_prob_here"], atol=1e-6)
    covered = [pl.read_csv(folder / "coverage.csv").drop("split") for folder in (run, tmp_path / "out")]
    assert covered[0].equals(covered[1])
    about = json.loads((tmp_path / "out" / "evaluation.json").read_text())["sets"]["labels"]["mortality"]["covered"][
        "1"
    ]
    told = f"Sets: {about['value']:.1%} of {about['patients']} samples with the outcome"
    assert told in (tmp_path / "out" / "evaluation.md").read_text()


def test_the_report_tells_of_calibration_and_sets_and_gives_each_patient_an_answer(run: Path, hospital: Config) -> None:
    paths = dataclasses.replace(hospital.paths, run_dir=run)
    config = dataclasses.replace(load(run).config, paths=paths, report=Report(patients=5))
    page = report.write(config).read_text()
    metrics = json.loads((run / "metrics.json").read_text())
    assert "Risks are calibrated: they go by a logistic map (Platt)" in page
    assert "What the model does not know" in page and metrics["sets"]["guarantee"] in page
    assert "If the model answers the surest only" in page
    of_run = pl.read_csv(run / "sets.csv", schema_overrides=TEXT)
    first = of_run["label_code"][0]
    shown = page.count('class="small answer-set"')
    assert shown == 5
    told = {conformal.WORDS[text] for text in of_run.filter(pl.col("label_code") == first)["set"]}
    assert any(f"answer: <strong>{words}</strong>" in page for words in told)
    counts = metrics["sets"]["labels"][first]["test"]["sets"]
    assert f"{counts['{0 1}']} got both outcomes, {counts['{}']} none" in page
