"""What a report says, read back by an HTML parser and compared with the run's own files."""

import base64
import dataclasses
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from emerge_ehr.config import Cohort, Config, Model
from emerge_ehr.evaluation import catalogue
from emerge_ehr.fields import Component, UserError
from emerge_ehr.report import material, patients, report, told_by_notes
from emerge_ehr.report import page as pages
from emerge_ehr.storage import artefacts
from emerge_ehr.storage.dataset import load_dataset
from emerge_ehr.training import train, trained
from tests.places import MAIN
from tests.report.conftest import ATTACK, TOML, in_folder
from tests.report.html_text import Element, read
from tests.run_records import record_files

DEATH = "death in this hospital admission"


@pytest.fixture(scope="module")
def html(page: Path) -> str:
    return page.read_text("utf-8")


@pytest.fixture(scope="module")
def root(html: str) -> Element:
    return read(html)


def written(config: Config) -> Element:
    return read(report.write(config).read_text("utf-8"))


def test_the_glossary_explains_metrics_in_the_words_of_the_catalogue(root: Element) -> None:
    glossary = root.one("details", class_="glossary")
    terms = [term.text for term in glossary.all("dt")]
    assert (
        terms[:2] == ["AUROC", "AUPRC"]
        and ", ".join(metric.reported for metric in catalogue.METRICS if metric.meaning == catalogue.AT_CHOSEN) in terms
    )
    assert re.search(r"Chance is the share with the outcome \([\d.]+ % here\)", glossary.text)


def highest(config: Config, label: str = "mortality") -> tuple[str, float]:
    rows = pl.read_csv(config.run_dir / "predictions.csv", schema_overrides={"patient_id": pl.String})
    rows = rows.filter((pl.col("split") == "test") & (pl.col("label_code") == label)).sort("y_prob", descending=True)
    return rows["patient_id"][0], rows["y_prob"][0]


def test_every_metric_is_the_one_of_metrics_json(root: Element, finished: Config) -> None:
    metrics = json.loads((finished.run_dir / "metrics.json").read_text())
    compared = 0
    for split, labels in metrics["splits"].items():
        for label, found in labels.items():
            points = {"": found["metrics"], **{k: v["metrics"] for k, v in found["operating_points"].items()}}
            for point, values in points.items():
                table = root.one("table", class_="metrics", data_split=split, data_label=label, data_point=point)
                assert f"{found['patients']} stays" in table.one("caption").text
                for name, one in values.items():
                    text = table.one("td", data_metric=name).text.replace("−", "-")
                    if one["value"] is None:
                        assert text == "undefined"
                        continue
                    numbers = [float(number) for number in re.findall(r"-?\d+\.\d+", text)]
                    expected = [one[key] for key in ("value", "low", "high") if one[key] is not None]
                    assert numbers == pytest.approx(expected, abs=5.01e-4), (split, label, name)
                    compared += 1
    assert compared > 20


def test_the_plain_method_is_told_with_the_difference(root: Element, finished: Config) -> None:
    plain = json.loads((finished.run_dir / "metrics.json").read_text())["plain_method"]
    found = next(iter(plain["splits"]["test"].values()))["auroc"]
    told = root.one("p", id="plain").text.replace("−", "-")
    assert plain["name"] in told and f"AUROC of {found['second']:.3f}" in told
    assert f"EMERGE minus plain is {found['difference']:+.3f}" in told
    assert ("do not show that EMERGE predicts better" in told) == (found["low"] is None or found["low"] <= 0)


def test_subgroups_are_those_of_subgroups_csv_and_small_ones_are_marked(root: Element, finished: Config) -> None:
    rows = pl.read_csv(finished.run_dir / "subgroups.csv").filter(pl.col("split") == "test")
    shown = {
        row.one("th").text: row for table in root.all("table", class_="groups") for row in table.one("tbody").all("tr")
    }
    marked = {f"{group} few" if small else group for group, small in rows.select("group", "small").rows()}
    assert shown.keys() == marked and any(name.endswith(" few") for name in marked)
    for group, metric, value, small in rows.select("group", "metric", "value", "small").rows():
        cells = shown[f"{group} few" if small else group].all("td", data_metric=metric)
        if cells and value is not None:
            assert float(cells[0].one("span", class_="value").text.replace("−", "-")) == pytest.approx(
                value, abs=5.01e-4
            )


def test_what_was_read_left_out_and_kept_is_told_per_file_and_signal(root: Element, finished: Config) -> None:
    provenance = json.loads((finished.table_dir / "provenance.json").read_text())
    flow = provenance["measurements"]["flow"]
    section = root.one("section", id="data")
    rows = [row for table in section.all("table") for row in table.one("tbody").all("tr")]
    shown = {(row.one("th").text, row.all("td")[0].text): row.all("td") for row in rows}
    for line in flow:
        cells = shown[line["table"], line["signal"]]
        counts = [line["in_windows"], line["kept"]]
        assert ["".join(filter(str.isdigit, cell.text)) for cell in cells[2:4]] == [str(count) for count in counts]
        assert all(reason in cells[4].text for reason in line["dropped"])
        assert all(reason in cells[5].text for reason in line["repaired"])
    assert any(line["dropped"] for line in flow)


def test_what_the_audit_found_is_told_while_it_is_about_these_artefacts(copied: Config, tmp_path: Path) -> None:
    processed = tmp_path / "processed"
    shutil.copytree(copied.processed_dir, processed)
    config = _recorded(copied, processed_dir=processed)
    assert "not audited" in written(config).one("section", id="data").text
    finding = {"check": "single features against mortality", "verdict": "warning", "detail": "<b>discharge</b> does"}
    skipped = {"check": "the finished run", "verdict": "skipped", "detail": "there is none"}
    for metadata, told in ((artefacts.checksum(processed / "metadata.json"), True), ("of others", False)):
        artefacts.write_json(processed / "audit.json", {"metadata": metadata, "findings": [finding, skipped]})
        root = written(config)
        assert ("<b>discharge</b> does" in root.one("div", class_="warnings").text) == told
        assert ("looked at these artefacts anew" in root.text) == told
        assert ("skipped – the finished run: there is none" in root.one("section", id="data").text) == told
        assert "the finished run" not in root.one("div", class_="warnings").text


def test_the_patient_of_highest_risk_is_named_first_with_risk_outcome_and_reasons(
    root: Element, finished: Config
) -> None:
    patient, risk = highest(finished)
    answer = root.one("section", id="answer")
    assert f"patient {patient}" in answer.text
    assert f"{100 * risk:.0f} %" in answer.text or f"{100 * risk:.1f} %" in answer.text
    assert re.search("what happened: (died|survived)", answer.text)
    assert "Abnormal, whether or not" in answer.text or "No signal is abnormal" in answer.text
    assert "The notes name" in answer.text
    assert root.all("article", class_="patient")[0].attributes["id"] == "p1"


def test_the_risks_in_the_list_are_those_of_predictions_csv_in_falling_order(root: Element, finished: Config) -> None:
    rows = pl.read_csv(finished.run_dir / "predictions.csv", schema_overrides={"patient_id": pl.String})
    risks = dict(rows.filter(pl.col("split") == "test").select("patient_id", "y_prob").rows())
    listed = [(item.attributes["data-id"], float(item.attributes["data-risks"])) for item in _list(root)]
    assert len(listed) == 12
    assert listed == sorted(listed, key=lambda item: -item[1])
    assert all(risks[patient] == risk for patient, risk in listed)


def test_a_view_shows_what_the_arrays_hold(root: Element, finished: Config) -> None:
    dataset = load_dataset(finished.processed_dir)
    patient, _ = highest(finished)
    row = dataset.patient_id.tolist().index(patient)
    names = [feature["name"] for feature in dataset.metadata["features"]]
    mean, std = (np.array(dataset.metadata["statistics"][key]) for key in ("mean", "std"))
    measured = pl.read_csv(finished.table_dir / "dynamic.csv", schema_overrides={"patient_id": pl.String})
    view = root.one("article", id="p1")
    for code in ("heart_rate", "ph", "temperature"):
        feature = names.index(code)
        values = view.one("figure", id=f"p1-s-{code}").attributes["data-values"].split(",")
        shown = [hour for hour, value in enumerate(values) if value]
        assert shown == np.flatnonzero(dataset.ehr_mask[row, :, feature]).tolist()
        expected = dataset.ehr[row, shown, feature] * std[feature] + mean[feature]
        assert [float(values[hour]) for hour in shown] == pytest.approx(expected.tolist(), rel=1e-3)
        raw = measured.filter((pl.col("patient_id") == patient) & (pl.col("code") == code))["value"]
        assert all(np.isclose(raw.to_numpy(), float(values[hour]), rtol=1e-3).any() for hour in shown)
        beyond = (np.abs(dataset.ehr[row, shown, feature]) > finished.abnormal.threshold).sum()
        assert len(view.one("figure", id=f"p1-s-{code}").all("path", class_="beyond")) == beyond


def test_every_statement_leads_to_evidence_that_is_there(root: Element) -> None:
    ids = [element.attributes["id"] for element in root.all() if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    links = [link.attributes["href"] for link in root.all("a")]
    assert all(link.startswith("#") and link[1:] in ids for link in links)
    for view in root.all("article", class_="patient"):
        statements = view.one("ol", class_="statements").all("li")
        assert statements
        assert all(statement.all("a", class_="cite") or "absence" in statement.text for statement in statements)


def test_mentions_are_marked_by_their_status_where_they_stand_in_the_note(root: Element, finished: Config) -> None:
    rows = pl.read_csv(finished.processed_dir / "rag_records.csv", infer_schema=False)
    entities = {row["patient_id"]: json.loads(row["entities"]) for row in rows.iter_rows(named=True)}
    statuses = set()
    for item, view in zip(_list(root), root.all("article", class_="patient"), strict=True):
        marks = view.one("div", class_="note").all("mark")
        expected = [(one["surface"], one["status"]) for one in entities[item.attributes["data-id"]]]
        assert [(mark.text.rpartition(" (")[0], mark.attributes["class"]) for mark in marks] == expected
        statuses |= {status for _, status in expected}
    assert {"present", "negated"} <= statuses


def test_nothing_is_loaded_and_only_our_own_style_and_script_may_act(html: str, root: Element) -> None:
    policy = root.one("meta", http_equiv="Content-Security-Policy").attributes["content"]
    assert policy.startswith("default-src 'none'")
    for tag in ("style", "script"):
        (own,) = re.findall(f"<{tag}>(.*?)</{tag}>", html, re.S)
        digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    loading = {"src", "srcset", "data", "poster", "action", "formaction", "background", "xlink:href"}
    for element in root.all():
        assert element.tag not in {"img", "iframe", "object", "embed", "link", "base", "audio", "video"}
        assert not loading & element.attributes.keys(), element.attributes
        assert not any(name.startswith("on") or name == "style" for name in element.attributes), element.attributes
    style = root.one("style").text
    assert "url(" not in style and "@import" not in style
    assert not re.search(r"fetch\(|XMLHttpRequest|innerHTML|import\(|eval\(", root.one("script").text)


def test_markup_and_unseen_characters_in_notes_and_names_stay_text(html: str, root: Element) -> None:
    assert "<script>window" not in html and "<img" not in html
    notes = [note.text for note in root.all("div", class_="note")]
    expected = " ".join(ATTACK.translate(dict.fromkeys((0x202E, 0x202C, 7, 0x1B, 0x2028), "\ufffd")).split())
    assert len(notes) == 12 and all(expected in note for note in notes)
    assert "{{ 7 * 7 }}" in notes[0]
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]", html)


def test_names_of_dataset_and_run_stay_text_whoever_let_them_in(
    copied: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = material.load(in_folder(copied, copied.run_dir, patients=1))
    names = {"dataset": "<img src=x onerror=window.pwned=1>", "run_name": "</title><script>window.pwned=1</script>"}
    trained = dataclasses.replace(found.trained, config=dataclasses.replace(found.config, **names))
    monkeypatch.setattr(material, "load", lambda config: dataclasses.replace(found, trained=trained))
    html = report.write(copied).read_text("utf-8")
    assert "<script>window" not in html and "<img" not in html
    assert read(html).one("head").one("title").text.startswith("</title><script>")


@pytest.mark.slow
def test_the_same_run_gives_the_same_bytes_in_another_process_too(page: Path, finished: Config, tmp_path: Path) -> None:
    shutil.copytree(finished.run_dir, tmp_path / "run")
    config = in_folder(finished, tmp_path / "run", patients=12)
    assert report.write(config).read_bytes() == page.read_bytes()
    (tmp_path / "run" / "report.html").unlink()
    folders = {field.name: str(getattr(config.paths, field.name)) for field in dataclasses.fields(config.paths)}
    lines = [f"{name} = {json.dumps(folder)}" for name, folder in folders.items()]
    own = TOML.replace("[paths]", "credentialed = false\n[report]\npatients = 12\n[paths]")
    (tmp_path / "own.toml").write_text(re.sub("raw_dir.*\nkg_dir.*", "\n".join(lines), own))
    command = [sys.executable, str(MAIN), "--stage", "report", "--config", "own.toml"]
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == f"report: {config.run_dir / 'report.html'}\n", done.stderr
    assert (tmp_path / "run" / "report.html").read_bytes() == page.read_bytes()


def test_the_file_stays_below_its_bound_by_showing_fewer_patients_and_says_so(
    copied: Config, page: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert page.stat().st_size < report.LARGEST == 6_000_000
    monkeypatch.setattr(report, "LARGEST", page.stat().st_size - 100_000)
    root = written(dataclasses.replace(copied, report=dataclasses.replace(copied.report, patients=12)))
    assert 9 <= (shown := len(_list(root))) < 12
    assert f"{shown} of " in root.one("section", id="patients").text and "fewer than the 12 asked" in root.text
    monkeypatch.setattr(report, "LARGEST", 10_000)
    with pytest.raises(UserError, match=r"report\.html: would be larger"):
        report.write(copied)


def test_the_patients_shown_are_the_highest_half_and_an_even_spread_of_the_others() -> None:
    assert patients.chosen(5, 9) == [0, 1, 2, 3, 4]
    ranks = patients.chosen(1000, 60)
    assert len(ranks) == len(set(ranks)) == 60
    assert ranks[:30] == list(range(30)) and ranks[-1] == 999
    assert np.ptp(np.diff(ranks[30:])) <= 1


@pytest.mark.parametrize(
    ("credentialed", "notes", "shown"),
    [(True, "auto", False), (True, "include", True), (False, "omit", False), (False, "auto", True)],
)
def test_note_text_of_credentialed_records_is_left_out_unless_asked_for(
    copied: Config, credentialed: bool, notes: str, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(told_by_notes, "LEAST", 0.0)  # the run hardly learnt anything
    config = in_folder(copied, copied.run_dir, patients=6, notes=notes)
    config = dataclasses.replace(config, credentialed=credentialed)
    html = report.write(config).read_text("utf-8")
    records = pl.read_csv(config.processed_dir / "rag_records.csv", infer_schema=False)
    root = read(html)
    for item in _list(root):
        row = records.filter(pl.col("patient_id") == item.attributes["data-id"]).row(0, named=True)
        denied = [one["surface"] for one in json.loads(row["entities"]) if one["status"] == "negated"]
        view = root.one("article", id=item.one("a").attributes["href"][1:])
        assert bool(view.all("mark", class_="negated")) == (shown and bool(denied))
        told = [row.text for row in view.one("table", class_="passages").all("th", scope="row")]
        assert told and all(text.startswith("“" if shown else "passage ") for text in told)
    assert ("gnihtemos" in html) == shown
    assert ("similarity" in html) and ((" as “" in html) == shown)
    assert ("Note text is left out" in html) == (not shown)
    assert ("This file holds data of individual patients" in html) == credentialed
    if not shown:
        assert 'notes = "include"' in root.one("p", id="notes-omitted").text


def test_the_passages_that_moved_a_risk_are_words_of_the_notes_the_most_telling_first(
    copied: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(told_by_notes, "LEAST", 0.0)
    root = read(report.write(in_folder(copied, copied.run_dir, patients=6)).read_text("utf-8"))
    notes = pl.read_csv(copied.table_dir / "notes.csv", infer_schema=False)
    for view in root.all("article", class_="patient"):
        patient = view.one("h3").text.removeprefix("Patient ")
        own = " ".join(" ".join(notes.filter(pl.col("patient_id") == patient)["text"]).split())
        listed = [
            [cell.text for cell in row.all() if cell.tag in ("th", "td")]
            for row in view.one("table", class_="passages").one("tbody").all("tr")
        ]
        for words, *_ in listed:
            text = re.sub(r"”( names .*)?$", "", words).removeprefix("“")
            assert all(" ".join(part.split()) in own for part in text.split(" … "))
        changes = [float(change.replace("−", "-")) for *_, change in listed]
        assert changes == sorted(changes, key=abs, reverse=True)


def test_summaries_of_language_models_are_left_out_with_the_notes(copied: Config, tmp_path: Path) -> None:
    processed = tmp_path / "processed"
    shutil.copytree(copied.processed_dir, processed)
    rows = pl.read_csv(processed / "rag_records.csv", infer_schema=False)
    quoting = [
        json.dumps(
            [{"text": "quoted from the note", "kind": "model", "evidence": [one]} for one in json.loads(said)[:1]]
        )
        for said in rows["provenance"]
    ]
    rows.with_columns(provenance=pl.Series(quoting)).write_csv(processed / "rag_records.csv")
    config = _retrained(copied, processed, tmp_path / "other")
    assert "quoted from the note" in report.write(config).read_text("utf-8")
    html = report.write(dataclasses.replace(config, credentialed=True)).read_text("utf-8")
    assert "quoted from the note" not in html and "written by a language model" in html


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"baseline": Component("logistic_regression")}, "there are no epochs to show"),
        ({"baseline": Component("gru")}, "The baseline gru read"),
        ({"model": Model(hidden_size=8, heads=2, modalities=("ehr",))}, "stays – vital signs and labs –"),
        ({"model": Model(hidden_size=8, heads=2, modalities=("note", "summary"))}, "stays – clinical notes and"),
    ],
    ids=["estimator", "network", "series only", "texts only"],
)
def test_every_kind_of_run_has_a_report(
    finished: Config, tmp_path: Path, changed: dict[str, object], words: str
) -> None:
    config = dataclasses.replace(in_folder(finished, tmp_path / "run", patients=3), **changed)  # type: ignore[arg-type]
    train.run(config)
    root = written(config)
    assert words in root.text and highest(config)[0] in root.one("section", id="answer").text
    assert bool(root.all("figure", class_="attention")) is False


@pytest.mark.parametrize(
    ("changed", "question", "outcome", "window", "word"),
    [
        ({}, DEATH, "in-hospital death", "the first 48 hours of intensive-care stays", "stay"),
        (
            {"cohort": Cohort(anchor="hospital")},
            DEATH,
            "in-hospital death",
            "the first 48 hours of hospital admissions",
            "admission",
        ),
        (
            {"task": Component("given", {"outcome": "acute kidney injury"}), "cohort": Cohort(window="whole")},
            "acute kidney injury",
            "acute kidney injury",
            "all of patient records",
            "record",
        ),
    ],
    ids=["stays", "admissions", "a user's own tables"],
)
def test_outcome_and_samples_are_called_what_they_are(
    copied: Config,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, object],
    question: str,
    outcome: str,
    window: str,
    word: str,
) -> None:
    """The run is one of stays; only what its config says of task and cohort is changed."""
    run = trained.load(copied.run_dir)
    other = dataclasses.replace(run, config=dataclasses.replace(run.config, **changed))  # type: ignore[arg-type]
    monkeypatch.setattr(trained, "load", lambda folder: other)
    root = written(copied)
    assert root.one("h1").text == f"How likely is {question}?"
    answer = root.one("section", id="answer").text
    assert f"read {window} – " in answer and f"gives each a risk of {outcome}." in answer
    assert f"{word}s of persons it had never seen" in answer and f"Of one {word} with the outcome" in answer
    data = root.one("section", id="data")
    heads = [head.text for head in data.all("th", scope="col")]
    heads = heads[heads.index("split") :]
    assert heads[:4] == ["split", f"{word}s", "persons", outcome]
    assert data.one("ol", class_="flow").all("li")[-1].text.endswith("are in")
    assert f"{word}s of" in data.one("ol", class_="flow").all("li")[-1].text
    if word != "stay":
        assert "stay" not in answer
    if word == "record":
        assert not [step for step in data.one("ol", class_="flow").all("span") if "stay" in step.text]


def test_with_seeds_every_run_has_a_report_and_its_path_is_printed(
    finished: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = dataclasses.replace(in_folder(finished, tmp_path / "run", patients=2), seeds=(3, 4))
    train.run(config)
    capsys.readouterr()
    report.run(config)
    paths = [config.run_dir / f"seed_{seed}" / "report.html" for seed in (3, 4)]
    assert capsys.readouterr().out == "".join(f"report: {path}\n" for path in paths)
    for seed, path in zip((3, 4), paths, strict=True):
        assert f"seed {seed}" in read(path.read_text("utf-8")).one("section", id="answer").text


def test_all_labels_are_shown_and_one_is_chosen_and_patients_without_notes_are_shown(both_outcomes: Config) -> None:
    for label, title in (("", "in-hospital death"), ("readmission", "readmission")):
        config = in_folder(both_outcomes, both_outcomes.run_dir, patients=4, label=label)
        root = written(config)
        assert root.one("h1").text == f"How likely is {title}?"
        assert highest(config, label or "mortality")[0] in root.one("section", id="answer").text
        first = root.all("article", class_="patient")[0]
        assert {"in-hospital death", "readmission"} <= {
            cell.text for cell in first.one("table", class_="risks").all("th")
        }
        assert "This patient has no note" in first.text and "No disease of the knowledge graph" in first.text
    with pytest.raises(UserError, match="the run has: mortality, readmission"):
        report.write(in_folder(both_outcomes, both_outcomes.run_dir, label="death"))


def test_a_test_split_of_one_outcome_is_said_to_be_so(copied: Config, tmp_path: Path) -> None:
    processed = tmp_path / "processed"
    shutil.copytree(copied.processed_dir, processed)
    dataset = load_dataset(processed)
    rows = np.isin(dataset.patient_id, dataset.split["test"])
    arrays = dict(np.load(processed / "emerge_dataset.npz"))
    arrays["label"] = np.where(rows[:, None], 0, arrays["label"]).astype(np.float32)
    np.savez(processed / "emerge_dataset.npz", **arrays)
    root = written(_retrained(copied, processed, tmp_path / "other"))
    assert "Test split: all" in root.one("div", class_="warnings").text
    assert "undefined AUROC" in root.one("section", id="answer").text
    assert len(root.one("section", id="performance").all("figure", class_="chart")) == 4  # two curves, two of training


def test_what_is_missing_or_of_another_run_is_said_in_one_line(copied: Config, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: no such run folder"):
        report.write(in_folder(copied, tmp_path / "nowhere"))
    processed = tmp_path / "processed"
    shutil.copytree(copied.processed_dir, processed)
    artefacts.write_json(
        processed / "metadata.json", json.loads((processed / "metadata.json").read_text()) | {"seed": 1}
    )
    with pytest.raises(UserError, match=r"not what .* was trained on"):
        report.write(_recorded(copied, processed_dir=processed))
    _recorded(copied, processed_dir=copied.processed_dir)
    tables = tmp_path / "tables"
    shutil.copytree(copied.table_dir, tables)
    (tables / "notes.csv").write_text("patient_id,note_time,note_type,text\n")
    with pytest.raises(UserError, match=r"notes\.csv: not what the run was made of"):
        report.write(_recorded(copied, table_dir=tables))
    (tables / "notes.csv").unlink()
    assert "not at hand any more" in written(_recorded(copied, table_dir=tables)).text
    (copied.run_dir / "predictions.csv").write_text(
        "patient_id,split,label_code,y_true,y_prob\nx,test,mortality,1,0.5\n"
    )
    record_files(copied.run_dir)
    with pytest.raises(UserError, match="not the run's test patients"):
        report.write(copied)
    assert not list(copied.run_dir.glob("*.part"))


def test_text_without_the_unseen_keeps_its_length_and_markup_is_left_alone() -> None:
    text = "a\x00\u202e\u2066\ud800\ufeff\tb\n"
    assert pages.inert(text) == "a\ufffd\ufffd\ufffd\ufffd\ufffd\tb\n" and len(pages.inert(text)) == len(text)


def _list(root: Element) -> list[Element]:
    return root.one("ol", id="list").all("li")


def _recorded(config: Config, **paths: Path) -> Config:
    """The run as if it had been made of what lies in other folders."""
    path = config.run_dir / "config.json"
    record = json.loads(path.read_text())
    record["paths"] |= {name: str(folder) for name, folder in paths.items()}
    artefacts.write_json(path, record)
    record_files(config.run_dir)
    return dataclasses.replace(config, paths=dataclasses.replace(config.paths, **paths))


def _retrained(config: Config, processed: Path, run_dir: Path) -> Config:
    """A run on artefacts that were changed, as if ``preprocess`` had made them so."""
    metadata = json.loads((processed / "metadata.json").read_text())
    metadata["artefacts"] = {name: artefacts.checksum(processed / name) for name in metadata["artefacts"]}
    artefacts.write_json(processed / "metadata.json", metadata)
    config = in_folder(config, run_dir, patients=3)
    config = dataclasses.replace(config, paths=dataclasses.replace(config.paths, processed_dir=processed))
    train.run(config)
    return config
