"""The report of a folder: a finished run, or a model that was exported without its patients."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from emerge_ehr.config import Config
from emerge_ehr.export import export
from emerge_ehr.fields import UserError
from emerge_ehr.report import report
from emerge_ehr.storage.dataset import load_dataset
from tests.places import MAIN
from tests.report.html_text import Element, read


@pytest.fixture(scope="module")
def model(finished: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "model"
    export.run(finished.run_dir, folder, with_patients=False)
    return folder


@pytest.fixture(scope="module")
def root(model: Path) -> Element:
    report.run_of(model)
    return read((model / "report.html").read_text("utf-8"))


def test_a_models_report_tells_what_it_carries_and_names_nobody(root: Element, model: Path, finished: Config) -> None:
    html = (model / "report.html").read_text("utf-8")
    data = load_dataset(finished.processed_dir)
    assert not [patient for patient in data.patient_id.tolist() if patient in html]
    metrics = json.loads((model / "metrics.json").read_text())["splits"]["test"]["mortality"]
    table = root.one("table", class_="metrics", data_split="test", data_label="mortality", data_point="")
    assert f"{metrics['metrics']['auroc']['value']:.3f}" in table.one("td", data_metric="auroc").text
    assert f"tested on {metrics['patients']} stays" in root.one("section", id="answer").text
    assert "exported without its patients" in root.one("p", id="no-patients").text
    assert root.all("table", class_="groups") and "heart rate (beats/min)" in root.one("section", id="data").text
    assert not root.all("article") and "defined for no test patient" not in root.text
    places = {element.attributes["id"] for element in root.all() if "id" in element.attributes}
    links = {link.attributes["href"].removeprefix("#") for link in root.all("a")}
    assert links <= places
    rows = {row.one("th").text: row.text for row in root.one("table", id="tripod").one("tbody").all("tr")}
    assert "this run has none of it" in rows["20b"], "Table 1 stayed with the run"


def test_a_model_that_has_its_report_still_predicts(
    root: Element, model: Path, finished: Config, tmp_path: Path
) -> None:
    assert root
    command = [sys.executable, str(MAIN), "--stage", "predict", "--no-explain", "--offline", "--run", str(model)]
    places = ["--tables", str(finished.table_dir), "--output", str(tmp_path / "risks.csv")]
    subprocess.run([*command, *places], check=True, capture_output=True, timeout=300)
    assert (tmp_path / "risks.csv").is_file()


def test_a_run_is_reported_on_by_its_folder_alone(copied: Config, finished: Config, tmp_path: Path) -> None:
    before = report.write(finished).read_bytes()
    command = [sys.executable, str(MAIN), "--stage", "report", "--run", str(finished.run_dir)]
    done = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True, timeout=300)
    assert done.stdout == f"report: {finished.run_dir / 'report.html'}\n"
    assert (finished.run_dir / "report.html").read_bytes() == before


def test_a_folder_that_is_neither_is_told_in_a_line(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=str(tmp_path)):
        report.run_of(tmp_path)
    broken = shutil.copytree(model, tmp_path / "broken")
    (broken / "metrics.json").write_text("{}")
    with pytest.raises(UserError, match=r"metrics\.json"):
        report.run_of(broken)
    command = [sys.executable, str(MAIN), "--stage", "report", "--run", str(model), "--config", "x.toml"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2 and "--config does not go with --stage report" in done.stderr


def test_a_copy_of_a_run_is_reported_on_where_it_lies(copied: Config, finished: Config) -> None:
    """The copy remembers the folder it was made in, where another run may lie by now."""
    original, copy = finished.run_dir / "report.html", copied.run_dir / "report.html"
    copy.unlink(missing_ok=True)
    before = original.stat().st_mtime_ns if original.is_file() else None
    report.run_of(copied.run_dir)
    assert copy.is_file()
    assert (original.stat().st_mtime_ns if original.is_file() else None) == before
