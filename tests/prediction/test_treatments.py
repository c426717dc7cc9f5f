"""New patients' treatments are read by a run that was made with them, by file and over HTTP, and told to be ignored by others."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import emerge_ehr
from emerge_ehr.config import load
from emerge_ehr.fields import UserError
from emerge_ehr.prediction import predictor, requests
from emerge_ehr.prediction.predictor import Predictor
from emerge_ehr.preprocess.inputs import new_patients
from emerge_ehr.storage import schema
from tests import dated_tables, in_process, treated_hospital

Once = Callable[[str, Callable[[Path], None]], Path]
TOLD = "Metoprolol, prescribed, is contraindicated in third-degree atrioventricular block by the knowledge graph."


@pytest.fixture(scope="module")
def made(mini_graph: Path, once: Once) -> Path:
    return treated_hospital.made(mini_graph, once)


@pytest.fixture
def ready(made: Path, monkeypatch: pytest.MonkeyPatch) -> Predictor:
    monkeypatch.chdir(made)
    return predictor.load(made / load(made / "on.toml").run_dir, offline=True)


def test_raw_and_converted_tables_give_the_same_evidence_of_treatments(
    made: Path, ready: Predictor, tmp_path: Path
) -> None:
    lines = []
    for name, tables in (("raw", made / "raw"), ("converted", made / "data" / "tables" / "own" / "given")):
        output = tmp_path / f"{name}.csv"
        done = in_process.run(
            made,
            *("--stage", "predict", "--run", "runs/own", "--tables", str(tables), "--output", str(output), "--offline"),
        )
        assert done.returncode == 0, done.stderr
        lines.append((tmp_path / f"{name}.evidence.jsonl").read_text().splitlines())
    assert lines[0] == lines[1]
    found = [json.loads(line) for line in lines[0]]
    against = [one for one in found if "contraindications" in one]
    assert len(against) == 6
    for one in against:
        assert TOLD in one["summary"] and one["contraindications"][0]["drug"] == "metoprolol"
        assert one["treatments"][0]["written"] == ["Metoprolol Tartrate 25 mg"]


def test_frames_of_treatments_give_the_same_evidence_as_the_folder(made: Path, ready: Predictor) -> None:
    folder = made / "data" / "tables" / "own" / "given"
    model = emerge_ehr.load(made / "runs" / "own")
    names = ("cohort", "static", "dynamic", "notes", "treatments")
    frames = {name: pl.read_csv(folder / f"{name}.csv", infer_schema=False) for name in names}
    found = model.explain(**frames)
    assert found == model.explain(folder)
    assert sum("contraindications" in one for one in found) == 6


def test_new_patients_without_treatments_are_told_and_predicted(made: Path, ready: Predictor, tmp_path: Path) -> None:
    for name in ("raw", "data/tables/own/given"):
        tables = tmp_path / name
        shutil.copytree(made / name, tables)
        (tables / schema.TREATMENTS.file).unlink()
        (tables / schema.PROVENANCE).unlink(missing_ok=True)
        read = ready.tables(tables)
        assert new_patients.UNTREATED in read.warnings and read.treatments.is_empty()


def asked(start: str, **more: object) -> bytes:
    patient = {
        "patient_id": "a",
        "window_start": "2150-01-01T00:00:00",
        "window_end": "2150-01-03T00:00:00",
        "notes": [{"text": "Third-degree atrioventricular block."}],
        "treatments": [{"time": start, "drug": "Metoprolol Tartrate", **more}],
    }
    return json.dumps({"patients": [patient]}).encode()


def test_the_service_takes_treatments_as_a_list(ready: Predictor) -> None:
    tables = requests.tables(requests.read(asked("2150-01-01T05:30:00", kind="prescription")), ready.expected)
    (answer,) = ready.answers(tables, explain=False)
    assert TOLD in answer.record.summary
    assert (answer.record.treatments[0].hour, answer.record.contraindications[0].drug) == (5, "metoprolol")
    with pytest.raises(UserError, match="treatments: 1 row with a start_time outside the observation window"):
        requests.tables(requests.read(asked("2150-01-03T00:00:00")), ready.expected)
    assert "treatments" in requests.example(ready.expected)["patients"][0]
    requests.tables(requests.read(json.dumps(requests.example(ready.expected)).encode()), ready.expected)


@pytest.mark.parametrize("more", [{"kind": "pill"}, {"dose": "5 mg"}, {"drug": ""}, {"drug": 7}])
def test_a_wrong_treatment_is_refused(more: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="treatments"):
        requests.read(asked("2150-01-01T05:30:00", **more))


def test_a_run_without_treatments_says_that_it_ignores_them(
    small_pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(small_pipeline)
    run = predictor.load(small_pipeline / "runs" / "small", offline=True)
    shutil.copytree(small_pipeline / "data" / "tables" / "synthetic" / "mortality", tmp_path / "tables")
    dated_tables.write(tmp_path / "tables" / schema.TREATMENTS.file, [{"patient_id": "nobody", "drug": "x"}])
    with caplog.at_level(logging.WARNING):
        assert new_patients.IGNORED in run.tables(tmp_path / "tables").warnings
    assert "treatments" not in requests.example(run.expected)["patients"][0]
    span = run.expected.longest
    body = json.loads(asked("2150-01-01T05:30:00"))
    assert span == 48
    tables = requests.tables(requests.read(json.dumps(body).encode()), run.expected)
    assert new_patients.IGNORED in tables.warnings and tables.treatments.is_empty()


def test_an_exported_model_reads_treatments_as_its_run_does(made: Path, ready: Predictor, tmp_path: Path) -> None:
    model = tmp_path / "model"
    done = in_process.run(made, "--stage", "export", "--run", "runs/own", "--output", str(model))
    assert done.returncode == 0, done.stderr
    carried = predictor.load(model, offline=True)
    tables = carried.tables(made / "raw")
    assert carried.expected.treatments and tables.treatments.height == ready.tables(made / "raw").treatments.height
    assert sum(TOLD in answer.record.summary for answer in carried.answers(tables, explain=False)) == 6
