"""What people open in a spreadsheet holds no formula, and is read back as it was."""

import csv
import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerge_ehr.rag import records_file
from emerge_ehr.storage.spreadsheet import line, plain_texts, safe, safe_texts
from emerge_ehr.training import folds, results, train
from tests import in_process
from tests.training.conftest import small_config

RUN = ["=cmd|' /C calc'!A0", "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "＝1", "-5", "'=1", "''+1"]
RUN += ["\u200b=1", "\ufeff+1", "\u2060 -1"]
PLAIN = ["10006", "P-5", "s=1", "'quoted'", "'", "", "a,b", 'a"b', "1.5", "−5"]


@pytest.mark.parametrize("text", RUN)
def test_what_a_spreadsheet_would_run_gets_one_apostrophe(text: str) -> None:
    assert safe(text) == f"'{text}" == safe_texts(pl.DataFrame({"id": [text]}))["id"][0]


@pytest.mark.parametrize("text", PLAIN)
def test_everything_else_is_left_as_it_is(text: str) -> None:
    frame = pl.DataFrame({"id": [text]})
    assert safe(text) == text == safe_texts(frame)["id"][0] == plain_texts(frame)["id"][0]


@pytest.mark.parametrize(
    ("text", "written"),
    [("a;=1+1", "a;'=1+1"), ("a; -5;@b", "a;' -5;'@b"), ("=1;=2", "'=1;'=2"), ("a;'=1", "a;''=1"), ("a;b", "a;b")],
)
def test_a_formula_after_a_semicolon_gets_an_apostrophe_of_its_own(text: str, written: str) -> None:
    frame = pl.DataFrame({"id": [text]})
    assert safe(text) == written == safe_texts(frame)["id"][0]
    assert plain_texts(safe_texts(frame)).equals(frame)


def test_numbers_and_empty_fields_stay_what_they_are() -> None:
    assert line([-5, -1.5, None, "-5", np.float64(0.1), True]) == "-5,-1.5,,'-5,0.1,True\n"
    frame = pl.DataFrame({"gap": [-0.5, None], "name": ["-a", None]})
    assert safe_texts(frame).rows() == [(-0.5, "'-a"), (None, None)]
    numbers = frame.select("gap")
    assert safe_texts(numbers).equals(numbers) and plain_texts(numbers).equals(numbers)


@given(st.lists(st.text(st.sampled_from("'=+-@＝ \t\r\n1a,;\u200b\""), max_size=6), min_size=1))
def test_every_text_is_read_back_as_it_was(texts: list[str]) -> None:
    rows: list[tuple[str, str | int]] = [("id", "n"), *((text, 1) for text in texts)]
    written = "".join(line(row) for row in rows)
    read = pl.read_csv(io.BytesIO(written.encode()), infer_schema=False)
    assert plain_texts(read)["id"].fill_null("").to_list() == texts
    by_csv = [row[0] for row in csv.reader(io.StringIO(written, newline=""))][1:]
    assert by_csv == [safe(text) for text in texts]
    frame = pl.DataFrame({"id": texts})
    assert plain_texts(safe_texts(frame)).equals(frame)


def cells(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return [cell for row in csv.reader(file) for cell in row]


def runs_as_formula(cell: str) -> bool:
    """Whether a spreadsheet may run the cell: it begins like a formula, and is no number."""
    try:
        float(cell)
    except ValueError:
        return cell.strip()[:1] in [*"=+-@"] or cell[:1] in [*"\t\r\n"]
    return False


def test_the_files_of_a_run_and_of_its_comparison_hold_no_formula_and_name_the_same_patients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ids = [f"{RUN[n % 4]}{n}" for n in range(40)]
    config = small_config(patient_id=np.array(ids), label=(np.arange(40) % 3 == 0).astype(np.float32)[:, None])
    rows = [["patient_id", "subject_id", "age", "sex", "ethnicity", "icu_type"]]
    rows += [[one, f"=s{n}", "50", "F", "", RUN[n % 2]] for n, one in enumerate(ids)]
    with (config.processed_dir / "patients.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    other = dataclasses.replace(config.paths, run_dir=tmp_path / "runs" / "other")
    for each in (config, dataclasses.replace(config, seed=3, paths=other)):
        train.run(each)
    runs = ("--runs", str(config.run_dir), str(other.run_dir))
    assert in_process.run(tmp_path, "--stage", "compare", *runs, "--output", "compared.csv").returncode == 0
    files = [*config.run_dir.glob("*.csv"), tmp_path / "compared.csv"]
    assert {"predictions.csv", "plain_predictions.csv", "subgroups.csv"} <= {path.name for path in files}
    assert not [cell for path in files for cell in cells(path) if runs_as_formula(cell)]
    split = json.loads((config.processed_dir / "split.json").read_text())
    assert folds.test_rows(config.run_dir)["patient_id"].to_list() == split["test"]
    assert {safe(RUN[0]), safe(RUN[1])} <= {*cells(config.run_dir / "subgroups.csv")}


def test_records_of_patients_are_written_safely_and_found_again(tmp_path: Path) -> None:
    record = dict.fromkeys(records_file.COLUMNS, "[]") | dict.fromkeys(records_file.TEXTS, "rules")
    record |= {"patient_id": "=7", "summary": "@SUM"}
    record["faithfulness"] = json.dumps({"supported": None, "statements": 0, "unsupported": []})
    records_file.write(records_file.table([tuple(record[name] for name in records_file.COLUMNS)]), tmp_path)
    assert not [cell for cell in cells(tmp_path / "rag_records.csv") if runs_as_formula(cell)]
    (found,) = records_file.read(tmp_path, ["=7"])
    assert (found.patient_id, found.summary) == ("=7", "@SUM")


def test_results_are_written_with_every_digit(tmp_path: Path) -> None:
    results.write_rows(tmp_path / "x.csv", ("id", "y"), [("-5", -0.1 - 0.2), ("7", None)])
    assert (tmp_path / "x.csv").read_text() == "id,y\n'-5,-0.30000000000000004\n7,\n"


def test_the_risks_of_new_patients_hold_no_formula(small_pipeline: Path, tmp_path: Path) -> None:
    tables = tmp_path / "tables"
    tables.mkdir()
    for name in ("cohort", "static", "dynamic", "notes"):
        table = pl.read_csv(small_pipeline / f"data/tables/synthetic/mortality/{name}.csv", infer_schema=False)
        table.with_columns("=" + pl.col("patient_id")).write_csv(tables / f"{name}.csv")
    given = ("--run", "runs/small", "--tables", str(tables), "--output", str(tmp_path / "risks.csv"))
    assert in_process.run(small_pipeline, "--stage", "predict", "--no-explain", *given).returncode == 0
    assert not [cell for cell in cells(tmp_path / "risks.csv") if runs_as_formula(cell)]
    risks = plain_texts(pl.read_csv(tmp_path / "risks.csv", infer_schema=False))
    assert set(risks["patient_id"]) == set(pl.read_csv(tables / "cohort.csv", infer_schema=False)["patient_id"])
