"""Parts of the report: Table 1, alerts, the checklist, what hours did, warnings; read back and computed anew."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from emerge_ehr.config import Config
from emerge_ehr.prediction import hours, ordinary
from emerge_ehr.report import cautions, material, tripod
from emerge_ehr.signals.signals import described
from emerge_ehr.storage import artefacts
from emerge_ehr.training import inputs
from emerge_ehr.training import trained as runs
from tests.report.html_text import Element, read


@pytest.fixture(scope="module")
def root(page: Path) -> Element:
    return read(page.read_text("utf-8"))


def rows(table: Element) -> list[list[str]]:
    return [[cell.text for cell in row.all() if cell.tag in ("th", "td")] for row in table.one("tbody").all("tr")]


def predictions(config: Config) -> pl.DataFrame:
    return pl.read_csv(config.run_dir / "predictions.csv").filter(pl.col("split") == "test")


def test_table_1_counts_who_is_in_each_split(root: Element, finished: Config) -> None:
    people = pl.read_csv(finished.processed_dir / "patients.csv", schema_overrides={"patient_id": pl.String})
    split = artefacts.read_json(finished.processed_dir / "split.json", "preprocess")
    parts = [people, *(people.filter(pl.col("patient_id").is_in(split[name])) for name in ("train", "val", "test"))]
    table = root.one("table", id="characteristics")
    assert [head.text for head in table.one("thead").all("th")][2:] == ["all", "training", "validation", "test"]
    told = {(row[0], row[1]): row[2:] for row in rows(table)}
    assert told["stays", ""] == [str(part.height) for part in parts]
    assert told["persons", ""] == [str(part["subject_id"].n_unique()) for part in parts]
    medians = [float(cell.split(" ")[0]) for cell in told["age, years", "median (quartiles)"]]
    assert medians == pytest.approx([part["age"].median() for part in parts], abs=0.06)
    women = [cell.split(" ")[0] for (_, group), cells in told.items() if group == "female" for cell in cells]
    assert women == [str((part["sex"] == "F").sum()) for part in parts]
    labels = pl.read_csv(finished.table_dir / "label.csv", schema_overrides={"patient_id": pl.String})
    deaths = [part.join(labels, on="patient_id")["label_value"].sum() for part in parts]
    assert [cell.split(" ")[0] for cell in told["in-hospital death", "yes"]] == [f"{number:g}" for number in deaths]


def test_the_table_of_alerts_is_what_counting_gives(root: Element, finished: Config) -> None:
    found = predictions(finished)
    for row in rows(root.one("table", id="every-threshold")):
        raised = found["y_prob"] >= int(row[0].removesuffix(" %").strip()) / 100
        right, positive = (raised & (found["y_true"] == 1)).sum(), (found["y_true"] == 1).sum()
        assert float(row[1]) == pytest.approx(100 * raised.sum() / found.height, abs=0.051)
        assert float(row[2]) == pytest.approx(100 * right / found.height, abs=0.051)
        assert float(row[3]) == pytest.approx(100 * (raised.sum() - right) / found.height, abs=0.051)
        assert float(row[4]) == pytest.approx(100 * (positive - right) / found.height, abs=0.051)
        assert float(row[5].rstrip("\u00a0%")) == pytest.approx(100 * right / positive, abs=0.51)
        if raised.sum():
            assert float(row[7].rstrip("\u00a0%")) == pytest.approx(100 * right / raised.sum(), abs=0.51)
        else:
            assert row[7] == "–"


def test_every_link_of_the_page_leads_somewhere_and_no_place_is_there_twice(root: Element) -> None:
    places = [element.attributes["id"] for element in root.all() if "id" in element.attributes]
    assert len(places) == len(set(places))
    links = {link.attributes["href"] for link in root.all("a")}
    assert len(links) > 50 and {link.removeprefix("#") for link in links} <= set(places)


def test_the_checklist_has_all_items_and_says_what_is_the_authors(root: Element) -> None:
    table = rows(root.one("table", id="tripod"))
    numbers = [row[0] for row in table]
    assert sorted({int(re.sub(r"\D", "", number)) for number in numbers}) == list(range(1, 28))
    where = {row[0]: row[3] for row in table}
    assert where["17"] == where["25"] == "yours to write" and "Table 1" in where["20b"]
    assert where["24"] == "yours to write", "this run calibrates nothing"
    without = {item.number: item for item in tripod.items([])}
    assert all(item.whose == "author" for item in without.values())


def test_every_table_has_a_caption_and_every_box_that_scrolls_is_reached_by_keyboard(root: Element) -> None:
    tables = root.all("table")
    assert len(tables) > 20 and all(table.one("caption").text for table in tables)
    boxes = [*root.all("div", class_="scroll"), *root.all("div", class_="note")]
    assert boxes and all(box.attributes["tabindex"] == "0" and box.attributes["aria-label"] for box in boxes)


def test_a_series_has_its_axes_and_the_usual_range(root: Element) -> None:
    figure = root.one("figure", id="p1-s-heart_rate")
    high, low = (float(end.text) for end in figure.one("div", class_="ends").all("span"))
    values = [float(value) for value in figure.attributes["data-values"].split(",") if value]
    assert low <= min(values) * 1.01 and max(values) <= high * 1.01
    assert [mark.text for mark in figure.one("div", class_="hours").all("span")] == ["0", "12", "24", "36", "48 h"]
    assert "usual 60–100" in figure.text


def test_patients_can_be_searched_by_abnormal_signals(root: Element, finished: Config) -> None:
    records = pl.read_csv(finished.processed_dir / "rag_records.csv", infer_schema=False)
    by_patient = dict(zip(records["patient_id"], records["abnormal_signals"], strict=True))
    items = root.one("ol", id="list").all("li")
    for item in items:
        codes = set(re.findall(r'"code": ?"(\w+)"', by_patient[item.attributes["data-id"]]))
        told = {text.split(" ", 1)[1] for text in item.attributes["data-signals"].split("|") if text}
        assert told == {described(code).label for code in codes}
    assert any(item.attributes["data-signals"] for item in items)


def test_the_hours_of_a_signal_are_exchanged_for_the_ordinary_course_and_nothing_else(finished: Config) -> None:
    trained = runs.load(finished.run_dir)
    batch = inputs.mapped(trained.dataset, "test").whole()
    courses = ordinary.of(trained)
    column = [feature["name"] for feature in trained.dataset.metadata["features"]].index("glucose")
    row = int((batch.ehr_mask[:, :, column].sum(dim=1) > 2).nonzero()[0])
    asked = hours.blocks(trained, batch, row, "glucose", 6)
    assert asked and all(batch.ehr_mask[row, block.start : block.end, column].any() for block in asked)
    found = hours.without_hours(trained, batch, asked, courses)
    for block, without in zip(asked, found, strict=True):
        value, mask = batch.ehr[row].clone().numpy(), batch.ehr_mask[row].clone().numpy()
        length = int(batch.ehr_length[row])
        of_value, of_mask = (course.numpy() for course in courses.courses(length))
        for hour in range(block.start, length):
            if hour < block.end:
                value[hour, column], mask[hour, column] = of_value[hour, column], of_mask[hour, column]
            elif mask[hour, column]:
                break
            else:
                value[hour, column] = value[hour - 1, column]
        changed = dataclasses.replace(
            batch.select(torch.tensor([row])),
            ehr=torch.from_numpy(value[None]),
            ehr_mask=torch.from_numpy(mask[None]),
        )
        np.testing.assert_allclose(without.risk, trained.probability(changed)[0], rtol=1e-5)
    assert len({round(float(one.risk[0]), 9) for one in found}) > 1


def test_the_hours_told_first_are_those_with_the_largest_bar(root: Element) -> None:
    told = 0
    for view in root.all("article", class_="patient"):
        strips = view.all("figure", class_="together")
        match = re.search(r"Of all signals’ hours, (hours? [\d–]+) matter most", view.one("ul", class_="reasons").text)
        bars = [bar for bar in strips[0].one("svg").all("rect") if not bar.has("class_", "unclear")]
        if match is None:
            continue
        told += 1
        largest = max(bars, key=lambda bar: float(bar.attributes["height"]))
        assert largest.one("title").text.startswith(f"{match[1]}:")
    assert told


def test_what_is_too_good_to_be_true_is_told(finished: Config) -> None:
    found = material.load(finished)
    test = found.metrics["splits"]["test"]["mortality"]
    for positives, words in ((12, "mostly chance"), (60, "look for an input that knows")):
        changed = {**test, "patients": 200, "positives": positives}
        changed["metrics"] = {**test["metrics"], "auroc": {"value": 1.0, "low": None, "high": None, "reason": None}}
        metrics = {**found.metrics, "splits": {**found.metrics["splits"], "test": {"mortality": changed}}}
        told = cautions.warnings(dataclasses.replace(found, metrics=metrics))
        assert any("1.000, too good to be true" in text and words in text for text in told)
    assert not any("too good" in text for text in cautions.warnings(found))


def test_a_validation_split_of_a_few_is_told(finished: Config) -> None:
    told = " ".join(cautions.warnings(material.load(finished)))
    assert re.search(r"Validation split: it has only \d+, and epochs and thresholds were chosen on them", told)


def test_invented_patients_are_told_as_such_on_the_first_page_and_with_each_of_them(root: Element) -> None:
    assert "The patients are invented" in root.one("section", id="answer").text
    assert all("invented" in view.one("header").text for view in root.all("article", class_="patient"))


def test_a_training_that_was_cut_off_is_told(finished: Config) -> None:
    found = material.load(finished)
    for best, told in (([2, 2, 1], True), ([1, 1, 2], False)):
        metrics = {**found.metrics, "best_epoch_of_members": best}
        said = [text for text in cautions.warnings(dataclasses.replace(found, metrics=metrics)) if "best epoch" in text]
        assert bool(said) == told
        assert not told or "of 2 of 3 members is the last that was allowed (training.max_epochs = 2)" in said[0]


def test_what_moved_the_risk_is_told_before_what_is_abnormal(root: Element) -> None:
    texts = [[item.text for item in view.one("ul", class_="reasons").all("li")] for view in root.all("article")]
    both = [
        (
            next(n for n, text in enumerate(of) if "ordinary" in text),
            next(n for n, text in enumerate(of) if "Abnormal" in text),
        )
        for of in texts
        if any("Abnormal" in text for text in of) and any("ordinary" in text for text in of)
    ]
    assert both and all(moved < abnormal for moved, abnormal in both)


def test_the_aim_of_an_operating_point_stands_beside_what_was_reached(root: Element) -> None:
    for table in root.all("table", class_="metrics"):
        if point := table.attributes["data-point"]:
            row = next(row for row in table.one("tbody").all("tr") if row.one("th").text == "sensitivity")
            assert f"aimed at {point}" in row.text


def test_the_most_wrong_risks_are_shown(root: Element, finished: Config) -> None:
    found = predictions(finished)
    missed = found.filter(pl.col("y_true") == 1).sort("y_prob").row(0, named=True)
    alarmed = found.filter(pl.col("y_true") == 0).sort("y_prob", descending=True).row(0, named=True)
    shown = {item.attributes["data-id"] for item in root.one("ol", id="list").all("li")}
    assert len(shown) == 12 < found.height and {str(missed["patient_id"]), str(alarmed["patient_id"])} <= shown
