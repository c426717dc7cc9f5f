"""Stage export: the folder predicts elsewhere to the same bytes, and holds nobody."""

import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi.testclient import TestClient

from emerge_ehr import stages
from emerge_ehr.config import Config
from emerge_ehr.export import export
from emerge_ehr.fields import Component, UserError
from emerge_ehr.models.patient_memory import PatientMemory
from emerge_ehr.prediction import predict, predictor
from emerge_ehr.prediction.service import build
from emerge_ehr.storage import schema
from emerge_ehr.training.trained import Trained
from emerge_ehr.transfer import evaluate
from tests.places import MAIN


@pytest.fixture
def model(exported: Path) -> Path:
    return exported


def test_elsewhere_it_predicts_to_the_same_bytes(
    model: Path, emerge: Trained, hospital: Config, tmp_path: Path
) -> None:
    predict.run(emerge.run_dir, hospital.table_dir, tmp_path / "run.csv", offline=True, explain=False)
    command = [sys.executable, str(MAIN), "--stage", "predict", "--no-explain", "--offline", "--run", str(model)]
    places = ["--tables", str(hospital.table_dir), "--output", "model.csv"]
    subprocess.run([*command, *places], cwd=tmp_path, check=True, capture_output=True, timeout=300)
    for suffix in (".csv", ".evidence.jsonl"):
        assert (tmp_path / f"model{suffix}").read_bytes() == (tmp_path / f"run{suffix}").read_bytes()


def test_no_file_names_a_patient_or_a_place_on_this_machine(model: Path, hospital: Config, emerge: Trained) -> None:
    files = [path for path in model.rglob("*") if path.is_file()]
    assert {"README.md", "model.json", "config.json", "metrics.json"} <= {path.name for path in files}
    words = [
        *emerge.dataset.patient_id.tolist(),
        str(hospital.processed_dir),
        str(hospital.table_dir),
        str(hospital.kg_dir),
    ]
    for path in files:
        content = path.read_bytes()
        assert not [word for word in words if word.encode() in content], path
    assert not list(model.rglob("*_state.safetensors")) and not list(model.rglob("donors*"))


def test_the_card_says_what_it_predicts_how_well_and_that_nobody_is_in_it(model: Path, emerge: Trained) -> None:
    card = (model / "README.md").read_text("utf-8")
    metrics = json.loads((emerge.run_dir / "metrics.json").read_text("utf-8"))
    auroc = metrics["splits"]["test"]["mortality"]["metrics"]["auroc"]["value"]
    assert card.startswith("---\nlibrary_name: emerge-ehr\n")
    assert "in-hospital death" in card and f"| mortality | AUROC | {auroc:.3f}" in card
    assert "heart_rate (beats/min)" in card and "holds no patient's data" in card
    threshold = metrics["thresholds"]["mortality"]["value"]
    assert f"- `mortality`: {threshold:.3f}" in card


def test_explained_it_says_what_diseases_add_and_of_inputs_only_with_patients(
    model: Path, emerge: Trained, hospital: Config, tmp_path: Path
) -> None:
    export.run(emerge.run_dir, tmp_path / "with", with_patients=True)
    assert "**The folder holds data of single patients**" in (tmp_path / "with" / "README.md").read_text("utf-8")
    ready = [predictor.load(folder, offline=True) for folder in (emerge.run_dir, model, tmp_path / "with")]
    own, without, with_them = (list(one.answers(one.tables(hospital.table_dir))) for one in ready)
    for answer, bare, full in zip(own, without, with_them, strict=True):
        assert bare.without == {} and bare.lacking == answer.lacking
        assert {name: risk.tolist() for name, risk in full.without.items()} == {
            name: risk.tolist() for name, risk in answer.without.items()
        }
        assert bare.without_signal == {} and set(full.without_signal) == set(answer.without_signal)
        for ours, theirs in (
            (bare.without_disease, answer.without_disease),
            (full.without_signal, answer.without_signal),
        ):
            assert {key: one.risk.tolist() for key, one in ours.items()} == {
                key: one.risk.tolist() for key, one in theirs.items()
            }


def test_the_service_takes_it_and_names_the_runs_manifest(model: Path, emerge: Trained) -> None:
    client = TestClient(build(predictor.load(model, offline=True), ["*"]))
    manifest = hashlib.sha256((emerge.run_dir / "manifest.json").read_bytes()).hexdigest()
    assert client.get("/version").json()["model"] == manifest


def test_evaluate_says_in_a_line_that_it_needs_the_run_itself(model: Path, hospital: Config, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no patients to compare with; name the run"):
        evaluate.run(model, hospital.table_dir, tmp_path / "evaluation", None, "closed_test", offline=True)
    assert not (tmp_path / "evaluation").exists()


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "other weights": (lambda f: next(f.rglob("best.safetensors")).write_bytes(b"x"), "best.safetensors"),
    "no graph": (lambda f: next((f / "graph").glob("*.arrow")).unlink(), ".arrow"),
    "another format": (
        lambda f: (f / "model.json").write_text(
            (f / "model.json").read_text().replace(f'"format": {schema.MODEL_FORMAT},', '"format": 0,')
        ),
        "model.json",
    ),
    "no record": (lambda f: (f / "model.json").write_text("{}"), "model.json"),
    "a list": (lambda f: (f / "model.json").write_text("[]"), "model.json"),
    "no files": (lambda f: (f / "model.json").write_text(f'{{"format": {schema.MODEL_FORMAT}}}'), "model.json"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_folder_is_refused_in_a_line(model: Path, tmp_path: Path, damage: str) -> None:
    shutil.copytree(model, tmp_path / "model")
    change, told = DAMAGE[damage]
    change(tmp_path / "model")
    with pytest.raises(UserError) as error:
        predictor.load(tmp_path / "model", offline=True)
    assert told in str(error.value) and "\n" not in str(error.value)


def test_a_model_of_a_run_that_an_earlier_version_trained_is_refused_in_a_line(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "model")
    manifest, record = tmp_path / "model" / "manifest.json", tmp_path / "model" / "model.json"
    before = hashlib.sha256(manifest.read_bytes()).hexdigest()
    manifest.write_text(manifest.read_text().replace(f'"format": {schema.RUN_FORMAT}', '"format": 4'))
    after = hashlib.sha256(manifest.read_bytes()).hexdigest()
    record.write_text(record.read_text().replace(before, after))
    with pytest.raises(UserError) as error:
        predictor.load(tmp_path / "model", offline=True)
    assert "another version of this program; run --stage train and --stage export again" in str(error.value)


def test_a_method_that_keeps_patients_is_refused_unless_they_may_be_in_it(
    emerge: Trained, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    remembering = torch.nn.Sequential(PatientMemory(3, 2))
    config = dataclasses.replace(emerge.config, baseline=Component("vecocare"))
    keeping = dataclasses.replace(emerge, config=config, members=(remembering,))
    monkeypatch.setattr("emerge_ehr.training.trained.load", lambda folder: keeping)
    with pytest.raises(UserError, match=r"'vecocare' keeps vectors of single training patients.*--with-patients"):
        export.run(emerge.run_dir, tmp_path / "model", with_patients=False)
    assert not (tmp_path / "model").exists()


def test_places_that_hold_something_else_are_refused(emerge: Trained, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for output in (tmp_path, emerge.run_dir / "model"):
        with pytest.raises(UserError, match="--output"):
            export.run(emerge.run_dir, output, with_patients=False)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_with_export_the_stage_train_leaves_the_model_of_this_training_in_the_run_folder(
    hospital: Config, tmp_path: Path
) -> None:
    def trained(**changes: Any) -> Path:
        training = dataclasses.replace(hospital.training, max_epochs=1, **changes)
        paths = dataclasses.replace(hospital.paths, run_dir=tmp_path / "run")
        stages.run(dataclasses.replace(hospital, training=training, paths=paths), ["train"], "the settings")
        return tmp_path / "run"

    run = trained()
    assert not (run / "model").exists()
    alone = everything(run)
    assert trained(export=True) == run
    with_model = everything(run)
    assert {name: content for name, content in with_model.items() if not name.startswith("model/")} == alone
    export.run(run, tmp_path / "elsewhere", with_patients=False)
    assert everything(run / "model") == everything(tmp_path / "elsewhere")
    (run / "model" / "metrics.json").unlink()
    trained(export=True)
    assert everything(run) == with_model
    trained()
    assert everything(run) == with_model  # it is of this run still
    trained(learning_rate=0.1)
    assert not (run / "model").exists() and everything(run).keys() == alone.keys()


def test_a_run_that_may_not_be_exported_is_finished_all_the_same_and_the_reason_is_told(
    hospital: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    (run / "model").mkdir(parents=True)
    (run / "model" / "mine.txt").write_text("mine")
    training = dataclasses.replace(hospital.training, max_epochs=1, export=True)
    config = dataclasses.replace(hospital, training=training, paths=dataclasses.replace(hospital.paths, run_dir=run))
    stages.run(config, ["train"], "the settings")
    assert "training.export:" in caplog.text and "holds other files, such as mine.txt" in caplog.text
    assert (run / "manifest.json").is_file() and [path.name for path in (run / "model").iterdir()] == ["mine.txt"]


def test_nothing_of_an_earlier_export_stays(emerge: Trained, tmp_path: Path) -> None:
    export.run(emerge.run_dir, tmp_path / "model", with_patients=True)
    (tmp_path / "model" / "report.html").write_text("of the model before")
    assert (tmp_path / "model" / schema.DONORS).is_file()
    export.run(emerge.run_dir, tmp_path / "model", with_patients=False)
    left = {
        path.relative_to(tmp_path / "model").as_posix() for path in (tmp_path / "model").rglob("*") if path.is_file()
    }
    record = json.loads((tmp_path / "model" / schema.MODEL).read_text())
    assert left == {*record["files"], schema.MODEL}
    with pytest.raises(UserError, match="a model that was exported already"):
        export.run(tmp_path / "model", tmp_path / "again", with_patients=False)
