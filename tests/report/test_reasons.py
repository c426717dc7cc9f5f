"""What the report says a method read, why a risk is high, and in which words: only what the method reads, and all that counts."""

import dataclasses
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import polars as pl
import pytest

from emerge_ehr.config import Config, Model
from emerge_ehr.fields import Component
from emerge_ehr.prediction import what_if
from emerge_ehr.prediction.what_if import Without
from emerge_ehr.report import cautions, charts, figures, material, report
from emerge_ehr.report.changes import Change
from emerge_ehr.report.moved import Moved
from emerge_ehr.report.patients import View
from emerge_ehr.training import train
from emerge_ehr.training.inputs import rows_of
from tests.report.conftest import in_folder
from tests.report.html_text import Element, read

UNREAD = "not read by this model"
TEXTS = ("clinical notes", "knowledge-graph summary")


def written(config: Config) -> Element:
    return read(report.write(config).read_text("utf-8"))


def headings(view: Element) -> dict[str, bool]:
    """Part of a patient's view -> whether it is marked as not read."""
    return {one.text.removesuffix(UNREAD).strip(): UNREAD in one.text for one in view.all("h4")}


@pytest.mark.parametrize(
    ("changed", "read_by_it"),
    [
        ({"baseline": Component("logistic_regression")}, {"ehr"}),
        ({"model": Model(hidden_size=8, heads=2, modalities=("ehr",))}, {"ehr"}),
        ({"baseline": Component("note_only")}, {"note"}),
        ({"baseline": Component("m3care", {"texts": ["summary"], "hidden_size": 8})}, {"ehr", "summary"}),
    ],
    ids=["baseline of series", "EMERGE of series", "baseline of notes", "baseline with summary"],
)
def test_only_what_the_method_reads_is_told_as_read_and_the_rest_is_marked(
    finished: Config, tmp_path: Path, changed: dict[str, Any], read_by_it: set[str]
) -> None:
    config = dataclasses.replace(in_folder(finished, tmp_path / "run", patients=4), **changed)
    train.run(config)
    root = written(config)
    titles = {"ehr": "vital signs and labs", "note": TEXTS[0], "summary": TEXTS[1]}
    lead = root.one("p", class_="lead").text
    assert all((title in lead) == (name in read_by_it) for name, title in titles.items())
    texts = bool({"note", "summary"} & read_by_it)
    assert ("The notes name" in root.text) == texts
    assert ("Abnormal, whether or not" in root.text or "No signal is abnormal" in root.text) == (read_by_it != {"note"})
    for view in root.all("article", class_="patient"):
        rows = [row.text for row in view.one("table", class_="changes").all("th", scope="row")]
        assert {row for row in rows if row.startswith("others’")} == {f"others’ {titles[name]}" for name in read_by_it}
        assert any(row.startswith("nothing of") for row in rows) == (texts and bool(view.all("div", class_="disease")))
        abnormal = "No signal is abnormal" not in view.text and read_by_it != {"note"}
        assert any(row.startswith("ordinary") for row in rows) == abnormal
        marked = headings(view)
        assert marked["Vital signs and labs"] == ("ehr" not in read_by_it)
        assert marked["Summary and its evidence"] == ("summary" not in read_by_it)
        assert marked["Notes"] == ("note" not in read_by_it)
        assert marked["Diseases in the knowledge graph"] == (not texts)


def given(changes: list[Change], diseases: int) -> View:
    named = [SimpleNamespace(name=f"disease {n}") for n in range(diseases)]
    return cast(
        View, SimpleNamespace(changes=changes, diseases=named, abnormal=(), moved=Moved({}, {}, ()), passages=())
    )


def test_every_input_that_changes_the_risk_by_a_point_is_a_reason_the_largest_first() -> None:
    changes = [
        Change("labs", 0.9, -0.02),
        Change("notes", 0.9, 0.19),
        Change("summary", 0.9, -0.30),
        Change("nothing", 0.9, 0.009),
    ]
    found = report.reasons(given(changes, 0), ("ehr", "note", "summary"))
    assert [one.words for one in found["modalities"]] == ["summary", "notes", "labs"]
    assert found["disease"] is None and found["named"] == []


def test_a_disease_is_a_reason_from_a_point_on_and_stands_among_those_that_are_named() -> None:
    changes = [Change("disease 1", 0.9, -0.006, 1), Change("disease 6", 0.9, -0.05, 6)]
    found = report.reasons(given(changes, 8), ("note",))
    assert found["disease"].words == "disease 6"
    assert found["named"] == [f"disease {n}" for n in (0, 1, 2, 3, 6)]
    found = report.reasons(given(changes[:1], 8), ("note",))
    assert found["disease"] is None and found["named"] == [f"disease {n}" for n in range(5)]


def test_a_signal_is_a_reason_by_itself_and_what_the_members_disagree_on_is_none() -> None:
    changes = [
        Change("heart rate", 0.9, -0.3, signal="heart_rate", agreed=False),
        Change("pH", 0.9, -0.05, signal="ph"),
        Change("disease 0", 0.9, -0.2, 0, agreed=False),
        Change("disease 1", 0.9, 0.02, 1),
    ]
    found = report.reasons(given(changes, 2), ("ehr", "note", "summary"))
    assert found["signal"].words == "pH" and found["disease"].words == "disease 1" and not found["modalities"]
    found = report.reasons(given(changes[:1], 0), ("ehr",))
    assert found["signal"] is None


def test_a_change_that_the_members_disagree_on_is_listed_without_a_number(
    copied: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = what_if.without_signals

    def disagreeing(*given: Any) -> list[dict[str, Without]]:
        return [
            {code: Without(one.risk, one.agreed & (code != "heart_rate")) for code, one in each.items()}
            for each in judged(*given)
        ]

    monkeypatch.setattr(what_if, "without_signals", disagreeing)
    rows = [
        (row.one("th").text, row.all("td")[0].text)
        for view in written(copied).all("article", class_="patient")
        for row in view.one("table", class_="changes").one("tbody").all("tr")
        if row.one("th").text.startswith("ordinary")
    ]
    unclear = {name for name, cell in rows if "members of the run disagree" in cell}
    assert unclear == {"ordinary heart rate"} and len({name for name, _ in rows}) > 3
    assert all(("disagree" in cell) == (name == "ordinary heart rate") for name, cell in rows)


def test_the_first_screen_and_the_table_of_changes_agree(page: Path) -> None:
    root = read(page.read_text("utf-8"))
    for view in root.all("article", class_="patient"):
        told = re.findall(r"With another patient’s (.+?) the risk", view.one("ul", class_="reasons").text)
        rows = [
            (row.one("th").text.removeprefix("others’ "), row.all("td")[1].text.replace("−", "-"))
            for row in view.one("table", class_="changes").one("tbody").all("tr")
            if row.one("th").text.startswith("others’")
        ]
        changed = sorted((row for row in rows if abs(float(row[1])) >= 1), key=lambda row: -abs(float(row[1])))
        assert told == [name for name, _ in changed]


def test_the_outcome_that_a_warning_is_about_is_named_the_chosen_one_first(both_outcomes: Config) -> None:
    found = material.load(in_folder(both_outcomes, both_outcomes.run_dir, label="readmission"))
    read = found.trained.dataset
    data = dataclasses.replace(read, label=read.label.copy(), label_mask=read.label_mask.copy())
    found = dataclasses.replace(found, trained=dataclasses.replace(found.trained, dataset=data))
    rows = rows_of(data, "test")
    data.label[rows], data.label_mask[rows] = 0, 1
    data.label[rows[:2], 0], data.label[rows[:3], 1] = 1, 1
    told = [text.split(" patients")[0] for text in cautions.warnings(found) if "rarer outcome" in text]
    assert told == [
        f"Test split, readmission: only 3 of {len(rows)}",
        f"Test split, in-hospital death: only 2 of {len(rows)}",
    ]


def test_warnings_call_signals_by_their_names(copied: Config) -> None:
    found = material.load(copied)
    found.metadata["warnings"] = ["no sample has a measurement of gcs_eye"]
    found.metadata["never_measured_in_training"] = ["gcs_eye", "capillary_refill_rate"]
    told = " ".join(cautions.warnings(found))
    assert "No sample has a measurement of GCS eye opening" in told
    assert "Never measured in any training patient: capillary refill" in told
    assert "gcs_eye" not in told and "capillary_refill_rate" not in told


def test_a_disease_is_told_with_every_wording_of_the_notes(page: Path, finished: Config) -> None:
    rows = pl.read_csv(finished.processed_dir / "rag_records.csv", infer_schema=False)
    records = {row["patient_id"]: row for row in rows.iter_rows(named=True)}
    root, several = read(page.read_text("utf-8")), 0
    patients = [item.attributes["data-id"] for item in root.one("ol", id="list").all("li")]
    for patient, view in zip(patients, root.all("article", class_="patient"), strict=True):
        nodes, entities = (json.loads(records[patient][name]) for name in ("nodes", "entities"))
        for node, heading in zip(nodes, view.all("h5"), strict=True):
            own = [one["surface"] for one in entities if one["node_index"] == node["node_index"]]
            shown = re.findall("“(.+?)”", heading.text)
            assert {text.casefold() for text in shown} == {text.casefold() for text in own}
            several += len(shown) > 1
    assert several


def test_units_and_categories_are_written_for_readers(page: Path) -> None:
    root = read(page.read_text("utf-8"))
    units = {
        figure.attributes["id"].partition("-s-")[2]: figure.attributes["data-unit"]
        for figure in root.all("figure", class_="signal")
    }
    assert (units["temperature"], units["ph"], units["fraction_inspired_oxygen"]) == ("°C", "", "")
    assert units["heart_rate"] == "beats/min"
    for view in root.all("article", class_="patient"):
        assert not re.search(r"\d (pH|fraction|degrees Celsius)\b", view.one("ul", class_="reasons").text)
        facts = view.one("header").all("p")[1].text
        assert not re.search("HISPANIC|WHITE|BLACK|ASIAN|UNKNOWN|Unknown", facts)
        assert re.search("Hispanic or Latino|White|Black|Asian|ethnicity not known", facts)


@pytest.mark.parametrize("score", [1.0, 0.0])
def test_the_axis_of_scores_ends_where_scores_do(score: float) -> None:
    history = pl.DataFrame({"member": [1.0, 1.0], "epoch": [1.0, 2.0]}).with_columns(
        *(pl.lit(score).alias(name) for name in ("val_auroc", "val_auprc", "train_loss", "val_loss"))
    )
    loss, scores = charts.training(history, 1)
    assert 0 <= scores.y.low < scores.y.high <= 1 and scores.y.low <= score <= scores.y.high
    assert loss.y.high > 1 or loss.y.low < 0, "a loss has no such bounds"
    assert figures.axis("score", [0.31, 0.97], within=(0, 1)).ticks == (0.2, 0.4, 0.6, 0.8, 1.0)


def test_of_several_members_each_has_a_line_of_its_own() -> None:
    history = pl.DataFrame({"member": [1.0, 1.0, 2.0], "epoch": [1.0, 2.0, 1.0]}).with_columns(
        *(pl.lit(0.5).alias(name) for name in ("val_auroc", "val_auprc", "train_loss", "val_loss"))
    )
    loss, scores = charts.training(history, None)
    assert [line.name for line in loss.lines] == ["validation, member 1", "validation, member 2"]
    assert [line.name for line in scores.lines] == ["AUROC, validation, member 1", "AUROC, validation, member 2"]


def test_the_histogram_says_what_its_longest_bar_stands_for(page: Path, finished: Config) -> None:
    rows = pl.read_csv(finished.run_dir / "predictions.csv").filter(pl.col("split") == "test")
    assert rows["y_true"].n_unique() == 2
    counts = rows.with_columns(step=(pl.col("y_prob") * 20).floor()).group_by("y_true", "step").len()
    share = counts.with_columns(share=pl.col("len") / pl.col("len").sum().over("y_true"))["share"].max()
    caption = read(page.read_text("utf-8")).one("figure", class_="spread").one("figcaption").text
    (told,) = re.findall(r"longest bar is ([\d.]+)", caption)
    assert float(told) == pytest.approx(100 * cast(float, share), abs=0.51)


def test_of_too_many_patients_as_many_are_shown_as_fit(copied: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    config = in_folder(copied, copied.run_dir, patients=100_000)
    path = report.write(config)
    everybody = len(read(path.read_text("utf-8")).one("ol", id="list").all("li"))
    monkeypatch.setattr(report, "LARGEST", path.stat().st_size - 1)
    fewer = len(written(config).one("ol", id="list").all("li"))
    assert everybody - 3 <= fewer < everybody and path.stat().st_size <= report.LARGEST
