"""Stage predict takes the tables that training took: a user's own, with dates, words as values, and without outcomes."""

import dataclasses
import json
import logging
import shutil
from pathlib import Path

import polars as pl
import pytest

from emerge_ehr.config import load
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.fields import UserError
from emerge_ehr.prediction import predict
from emerge_ehr.preprocess import run as preprocess
from emerge_ehr.training import train
from emerge_ehr.transfer import evaluate
from tests import dated_tables
from tests.dated_tables import read, row, write

CONFIG = """
dataset = "own"
run_name = "own"
task = "given"
[source]
name = "tables"
[paths]
raw_dir = "raw"
kg_dir = "{graph}"
[cohort]
min_age = 18
min_stay_hours = 0
window = "whole"
bin_hours = 24
[model]
hidden_size = 8
heads = 2
experts = []
[training]
members = 1
max_epochs = 2
bootstrap_resamples = 20
accelerator = "cpu"
"""
WALKS = ("alone", "with help", "not")
TEXTS = (
    "Known pneumonia.",
    "Heart failure and pneumonia.",
    "Stroke years ago. Slept well.",
    "No complaints, sepsis ruled out.",
)


@pytest.fixture(scope="module")
def finished(mini_graph: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a run was trained on ``raw``: labs with dates, one code in words, notes of half of the patients."""
    folder = tmp_path_factory.mktemp("own")
    dynamic, label = dated_tables.generate(folder / "raw")
    words = [row(one["patient_id"], one["event_time"], "walks", WALKS[n % 3]) for n, one in enumerate(dynamic) if n % 2]
    write(folder / "raw" / "dynamic.csv", [*dynamic, *words])
    notes = [
        {"patient_id": one["patient_id"], "note_time": "", "note_type": "progress", "text": TEXTS[n % len(TEXTS)]}
        for n, one in enumerate(label[::2])
    ]
    write(folder / "raw" / "notes.csv", notes)
    (folder / "own.toml").write_text(CONFIG.format(graph=mini_graph))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        config = load(folder / "own.toml")
        for stage in (convert, preprocess, train):
            stage.run(config)
    return folder


@pytest.fixture
def run(finished: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(finished)
    return finished / "runs" / "own"


def predicted(run: Path, tables: Path, output: Path) -> dict[str, float]:
    predict.run(run, tables, output, offline=True)
    return {one["patient_id"]: float(one["y_prob"]) for one in read(output)}


def test_the_tables_of_training_give_the_risks_of_training(run: Path, finished: Path, tmp_path: Path) -> None:
    found = predicted(run, finished / "raw", tmp_path / "risks.csv")
    known = {one["patient_id"]: float(one["y_prob"]) for one in read(run / "predictions.csv")}
    assert (
        len(found) == 36
        and {patient: pytest.approx(risk, abs=1e-6) for patient, risk in known.items()}.items() <= found.items()
    )
    told = [json.loads(line) for line in (tmp_path / "risks.evidence.jsonl").read_text("utf-8").splitlines()]
    assert any(one["diseases"] for one in told)


def test_a_run_is_evaluated_on_the_tables_of_training_and_on_others_like_them(
    run: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The outcomes are those that convert makes of the same tables."""
    evaluate.run(run, finished / "raw", tmp_path / "own", None, "logistic", offline=True)
    own = json.loads((tmp_path / "own" / "evaluation.json").read_text())
    metrics = json.loads((run / "metrics.json").read_text())["splits"]["test"]["outcome"]["metrics"]
    here = own["splits"]["tables"]["outcome"]["metrics"]
    assert here["auroc"]["value"] == metrics["auroc"]["value"]
    assert here["brier"]["value"] == pytest.approx(metrics["brier"]["value"], abs=1e-5)
    assert own["left_out"]["learned_from"]["samples"] == 36 - own["samples"] > 0
    new = tmp_path / "new"
    dated_tables.generate(new, patients=60, seed=8)
    evaluate.run(run, new, tmp_path / "other", 30, "intercept", offline=True)
    found = {one["patient_id"]: one["y_true"] for one in read(tmp_path / "other" / "predictions.csv")}
    config = load(finished / "own.toml")
    paths = dataclasses.replace(config.paths, raw_dir=new, table_dir=tmp_path / "tables")
    convert.run(dataclasses.replace(config, paths=paths))
    expected = {
        one["patient_id"]: str(int(float(one["label_value"]))) for one in read(tmp_path / "tables" / "label.csv")
    }
    assert found == expected and len(found) > 50 and set(found.values()) == {"0", "1"}


def test_what_convert_wrote_gives_the_same_with_its_record_and_without(
    run: Path, finished: Path, tmp_path: Path
) -> None:
    tables = finished / "data" / "tables" / "own" / "given"
    own = shutil.copytree(tables, tmp_path / "own")
    (own / "provenance.json").unlink()
    (own / "label.csv").unlink()
    found = [predicted(run, folder, tmp_path / "risks.csv") for folder in (finished / "raw", tables, own)]
    assert found[0] == found[1] == found[2]


def test_new_patients_need_no_outcomes_and_what_is_unknown_is_told(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    new = tmp_path / "new"
    rows = [row("a", "2021-05-01", "urea", "14"), row("a", "2021-05-02", "walks", "with help")]
    rows += [
        row("b", "2021-05-01", "urea", "high"),
        row("b", "2021-05-01", "walks", "on a crutch"),
        row("b", "2021-05-01", "mood", "3"),
    ]
    rows += [row("young", "2021-05-01", "urea", "14")]
    rows += [row("long", day, "urea", "14") for day in ("2021-05-01", "2021-07-01")]
    write(new / "dynamic.csv", rows)
    ages = {"a": "70", "b": "71", "young": "9", "long": "70", "unmeasured": "70"}
    write(new / "static.csv", [{"patient_id": one, "AGE": age, "Gender": "F"} for one, age in ages.items()])
    with caplog.at_level(logging.WARNING):
        found = predicted(run, new, tmp_path / "risks.csv")
    assert set(found) == {"a", "b"}
    told = caplog.text
    assert "left out: 1 code (1 row) that the run does not have: mood" in told
    assert (
        "2 of 5 records are not predicted, by the rules of [cohort] (no start or end time: 1; younger than 18 years"
        in told
    )
    assert "1 record is not predicted, with windows that are not 1 to" in told
    assert "1 of 8 measurements" not in told and "8 of 8 measurements have a date and no time of day" in told
    evidence = [json.loads(line) for line in (tmp_path / "risks.evidence.jsonl").read_text("utf-8").splitlines()]
    assert [one["patient_id"] for one in evidence] == ["a", "b"]
    alone = tmp_path / "alone"
    write(alone / "dynamic.csv", rows[:2])
    write(alone / "static.csv", [{"patient_id": "a", "age": "70", "sex": "F"}])
    assert predicted(run, alone, tmp_path / "alone.csv") == {"a": pytest.approx(found["a"], abs=1e-6)}


def test_midnights_are_dates_in_new_records_where_they_were_in_training(run: Path, tmp_path: Path) -> None:
    """The run knows urea by date. A new file in which it has a time once does not make its midnights times."""
    write(tmp_path / "new" / "static.csv", [{"patient_id": "a", "age": "70", "sex": "F"}])
    risks = {}
    for name, moment in (("date", "2021-05-02"), ("midnight", "2021-05-02 00:00:00"), ("time", "2021-05-02 00:00:01")):
        rows = [row("a", "2021-05-01 10:00:00", "walks", "not"), row("a", moment, "urea", "60")]
        write(tmp_path / "new" / "dynamic.csv", [*rows, row("a", "2021-05-03 11:00:00", "urea", "10")])
        risks[name] = predicted(run, tmp_path / "new", tmp_path / "risks.csv")["a"]
    assert risks["midnight"] == risks["date"] != risks["time"]


def test_words_that_training_did_not_know_are_told(run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(
        tmp_path / "new" / "dynamic.csv",
        [row("a", "2021-05-01", "walks", "on a crutch"), row("a", "2021-05-01", "urea", "9")],
    )
    write(tmp_path / "new" / "static.csv", [{"patient_id": "a", "age": "70"}])
    with caplog.at_level(logging.WARNING):
        predicted(run, tmp_path / "new", tmp_path / "risks.csv")
    assert "1 value of walks is a word that the run does not know: on a crutch" in caplog.text


def test_tables_of_nobody_who_can_be_predicted_are_one_clear_line(run: Path, tmp_path: Path) -> None:
    write(tmp_path / "new" / "dynamic.csv", [row("a", "2021-05-01", "urea", "9")])
    write(tmp_path / "new" / "static.csv", [{"patient_id": "a", "age": "7"}])
    with pytest.raises(
        UserError, match="no patient can be predicted: 1 of 1 records are not predicted, by the rules"
    ) as caught:
        predicted(run, tmp_path / "new", tmp_path / "risks.csv")
    assert "\n" not in str(caught.value) and str(tmp_path / "new") in str(caught.value)
    write(tmp_path / "new" / "dynamic.csv", [row("a", "2021-05-01", "mood", "9")])
    with pytest.raises(UserError, match=r"none of its 1 code can be used: 1 code \(1 row\) that the run does not have"):
        predicted(run, tmp_path / "new", tmp_path / "risks.csv")
    assert not (tmp_path / "risks.csv").exists()


def test_a_value_of_the_last_day_reaches_the_prediction(run: Path, finished: Path, tmp_path: Path) -> None:
    dynamic, last = read(finished / "raw" / "dynamic.csv"), max
    patient = dynamic[0]["patient_id"]
    day = last(one["event_time"] for one in dynamic if one["patient_id"] == patient)
    changed = [
        {**one, "value": "99"}
        if (one["patient_id"], one["event_time"]) == (patient, day) and one["code"] != "walks"
        else one
        for one in dynamic
    ]
    new = shutil.copytree(finished / "raw", tmp_path / "new")
    write(new / "dynamic.csv", changed)
    before, after = (predicted(run, folder, tmp_path / "risks.csv") for folder in (finished / "raw", new))
    assert before[patient] != after[patient]
    assert {one: before[one] for one in before if one != patient} == {
        one: after[one] for one in after if one != patient
    }


def test_the_report_counts_hours_and_says_how_long_a_step_is(run: Path) -> None:
    from emerge_ehr.report import report

    report.run(load(run.parent.parent / "own.toml"))
    page = (run / "report.html").read_text("utf-8")
    days = pl.read_csv(run.parent.parent / "data" / "tables" / "own" / "given" / "cohort.csv", try_parse_dates=True)
    longest = ((days["window_end"] - days["window_start"]).dt.total_hours() // 24).max()
    assert "in steps of 24" in page and "in each step of 24 hours" in page
    assert f"{24 * longest} hours from left to right" in page  # type: ignore[operator]
    assert 'data-step="24"' in page and "24-hourly values measured" in page
    assert "hours 0–23: " in page and "<title>hour " not in page
