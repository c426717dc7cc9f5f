import copy
import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from emerge_ehr.cli import main
from emerge_ehr.config import Config, Llm
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.fields import Component, UserError
from emerge_ehr.prediction import donors, predict, predictor
from emerge_ehr.preprocess import run as preprocess
from emerge_ehr.preprocess.inputs import new_patients
from emerge_ehr.storage import artefacts, schema
from emerge_ehr.training import inputs, train
from emerge_ehr.training.trained import Trained, load
from tests.chat_server import ChatServer, copying_model
from tests.places import MAIN, ROOT
from tests.run_records import record_files

RunOf = Callable[[str], Path]


def predicted(run: Path, tables: Path, output: Path) -> pl.DataFrame:
    predict.run(run, tables, output, offline=True)
    return read(output)


def read(output: Path) -> pl.DataFrame:
    return pl.read_csv(output, schema_overrides={"patient_id": pl.String})


def lines(output: Path) -> dict[str, dict]:
    rows = map(json.loads, output.with_name(f"{output.stem}.evidence.jsonl").read_text().splitlines())
    return {row["patient_id"]: row for row in rows}


@pytest.fixture
def own(hospital: Config, tmp_path: Path) -> Path:
    """The hospital's tables as a user's own: without provenance and without outcomes."""
    folder = tmp_path / "own"
    shutil.copytree(hospital.table_dir, folder)
    (folder / schema.PROVENANCE).unlink()
    (folder / schema.LABEL.file).unlink()
    return folder


def edit(folder: Path, file: str, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    table = pl.read_csv(folder / file, infer_schema=False)
    change(table).write_csv(folder / file)


@pytest.mark.parametrize("method", ["emerge", "token_level", "gru_d", "gradient_boosting"])
def test_the_same_patients_get_the_risks_that_training_wrote(
    run_of: RunOf, method: str, hospital: Config, tmp_path: Path
) -> None:
    run = run_of(method)
    found = predicted(run, hospital.table_dir, tmp_path / "risks.csv")
    written = pl.read_csv(run / "predictions.csv", schema_overrides={"patient_id": pl.String})
    both = written.join(found, on=["patient_id", "label_code"], how="left", suffix="_again")
    assert both["y_prob_again"].null_count() == 0
    np.testing.assert_allclose(both["y_prob_again"], both["y_prob"], atol=1e-6)
    thresholds = json.loads((run / "metrics.json").read_text())["thresholds"]
    for label, probability, threshold, above in found.select(
        "label_code", "y_prob", "threshold", "above_threshold"
    ).rows():
        assert threshold == thresholds[label]["value"] and above == (probability >= threshold)
    assert found["lowest"].equals(found["highest"]) and (found["lowest"] - found["y_prob"]).abs().max() < 1e-6


def test_the_columns_of_the_risks_are_those_of_the_schema_and_of_the_documentation(
    emerge: Trained, explained: Path
) -> None:
    found = read(explained)
    contributions = [f"contribution_{name}" for name in ("ehr", "note", "summary")]
    assert found.columns == [*schema.RISKS.names, *contributions]
    for column in schema.RISKS.columns:
        low = -np.inf if column.low is None else column.low
        assert column.kind == "text" or found[column.name].is_between(low, column.high or np.inf).all()
    documented = (ROOT / "docs" / "prediction.md").read_text("utf-8")
    for column in (*schema.RISKS.columns, schema.CONTRIBUTION):
        assert f"| `{column.name}` | {column.meaning} |" in documented
    assert pl.read_csv(emerge.run_dir / schema.PREDICTIONS.file).columns == list(schema.PREDICTIONS.names)
    assert ", ".join(schema.PREDICTIONS.names) in (ROOT / "docs" / "training.md").read_text("utf-8")


def test_contributions_and_evidence_are_those_of_the_what_ifs(emerge: Trained, explained: Path) -> None:
    found = read(explained)
    ready = predictor.load(emerge.run_dir, offline=True)
    data = emerge.dataset
    batch = inputs.mapped(data, "test").whole()
    risks = emerge.probability(batch)
    told = lines(explained)
    assert ready.donors is not None
    found_without = donors.without_modalities(emerge, batch, ready.donors)
    for name in ("ehr", "note", "summary"):
        without = found_without[name]
        for n, patient in enumerate(data.split["test"]):
            rows = found.filter(pl.col("patient_id") == patient)
            expected = (risks - without)[n]
            np.testing.assert_allclose(rows[f"contribution_{name}"], expected, atol=1e-6)
            contributions = [one["contributions"][name] for one in told[patient]["risks"]]
            np.testing.assert_allclose(contributions, expected, atol=1e-6)
    for row in told.values():
        assert row["abnormal_signals"] or "No abnormal signal" in row["summary"]
        for part in (*row["diseases"], *row["abnormal_signals"]):
            for risk in row["risks"]:
                label = risk["label_code"]
                assert np.isclose(part["contribution"][label], risk["y_prob"] - part["risk_without"][label])
                assert part["agreed"][label] is True, "of a single member"


def test_without_explanations_the_risks_are_the_same_and_the_contributions_empty(
    emerge: Trained, explained: Path, own: Path, tmp_path: Path
) -> None:
    with_them = read(explained)
    options = ["--stage", "predict", "--no-explain", "--offline"]
    places = ["--run", str(emerge.run_dir), "--tables", str(own), "--output", str(tmp_path / "without.csv")]
    assert main([*options, *places]) == 0
    without = read(tmp_path / "without.csv")
    known = [name for name in without.columns if not name.startswith("contribution")]
    assert without.select(known).equals(with_them.select(known))
    added = [name for name in without.columns if name.startswith("contribution")]
    assert added and all(without[name].null_count() == without.height for name in added)
    full, brief = lines(explained), lines(tmp_path / "without.csv")
    for patient, one in brief.items():
        other = full[patient]
        assert (one["summary"], one["lacking"]) == (other["summary"], other["lacking"])
        assert one["risks"][0]["contributions"] == {} and all(not node["risk_without"] for node in one["diseases"])
        assert all(not signal["risk_without"] for signal in one["abnormal_signals"])


def test_risks_alone_are_the_same_and_leave_no_text_behind(
    emerge: Trained, explained: Path, own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "alone" / "risks.csv"
    places = ["--run", str(emerge.run_dir), "--tables", str(own), "--output", str(output), "--offline"]
    assert main(["--stage", "predict", "--risks-only", *places]) == 0
    alone = read(output)
    known = [name for name in alone.columns if not name.startswith("contribution")]
    assert alone.select(known).equals(read(explained).select(known))
    assert [path.name for path in output.parent.iterdir()] == [
        "risks.csv"
    ] and "evidence" not in capsys.readouterr().out
    (evidence := output.with_name("risks.evidence.jsonl")).write_text("of other risks")
    assert main(["--stage", "predict", "--risks-only", *places]) == 2
    assert f"{evidence}: is of the risks that were in {output}" in capsys.readouterr().err


def test_a_method_that_reads_the_series_alone_has_contributions_of_them_alone(
    run_of: Callable[[str], Path], hospital: Config, tmp_path: Path
) -> None:
    found = predicted(run_of("gru_d"), hospital.table_dir, tmp_path / "risks.csv")
    assert [name for name in found.columns if name.startswith("contribution")] == ["contribution_ehr"]
    told = lines(tmp_path / "risks.csv").values()
    assert all(risk["contributions"].keys() <= {"ehr"} for one in told for risk in one["risks"])
    diseases = [disease for one in told for disease in one["diseases"]]
    assert diseases and all(one["risk_without"] == one["contribution"] == one["agreed"] == {} for one in diseases)
    signals = [signal for one in told for signal in one["abnormal_signals"]]
    assert signals and all(one["risk_without"].keys() == {"mortality", "readmission"} for one in signals)


def test_tables_of_ones_own_without_outcomes_give_the_same_and_again_the_same_bytes(
    emerge: Trained, explained: Path, own: Path, tmp_path: Path
) -> None:
    for name in ("b.csv", "b.evidence.jsonl"):  # of an earlier prediction
        (tmp_path / name).write_text("earlier\n")
    predict.run(emerge.run_dir, own, tmp_path / "b.csv", offline=True)
    assert (tmp_path / "b.csv").read_bytes() == explained.read_bytes()
    evidence = explained.with_name("risks.evidence.jsonl")
    assert (tmp_path / "b.evidence.jsonl").read_bytes() == evidence.read_bytes()
    assert not list(tmp_path.glob("*.part"))


def test_another_patients_data_change_nothing_nor_does_being_alone(emerge: Trained, own: Path, tmp_path: Path) -> None:
    before = predicted(emerge.run_dir, own, tmp_path / "before.csv")
    first, second = before["patient_id"].unique().sort()[:2].to_list()
    is_first = pl.col("patient_id") == first
    edit(own, "dynamic.csv", lambda t: t.with_columns(value=pl.when(is_first).then(pl.lit("39")).otherwise("value")))
    edit(own, "notes.csv", lambda t: t.with_columns(text=pl.when(is_first).then(pl.lit("Sepsis.")).otherwise("text")))
    edit(own, "static.csv", lambda t: t.with_columns(age=pl.when(is_first).then(pl.lit("20")).otherwise("age")))
    after = predicted(emerge.run_dir, own, tmp_path / "after.csv")
    assert before.filter(~is_first).equals(after.filter(~is_first))
    assert not before.filter(is_first).equals(after.filter(is_first))
    for file in ("cohort.csv", "static.csv", "dynamic.csv", "notes.csv"):
        edit(own, file, lambda t: t.filter(pl.col("patient_id") == second))
    alone = predicted(emerge.run_dir, own, tmp_path / "alone.csv")
    together = before.filter(pl.col("patient_id") == second)
    np.testing.assert_allclose(alone.select(pl.selectors.float()), together.select(pl.selectors.float()), atol=1e-6)


def test_a_patient_without_notes_or_measurements_gets_a_risk_and_no_contribution_of_them(
    emerge: Trained, own: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    patient = pl.read_csv(own / "cohort.csv", infer_schema=False)["patient_id"][0]
    for file in ("dynamic.csv", "notes.csv"):
        edit(own, file, lambda t: t.filter(pl.col("patient_id") != patient))
    found = predicted(emerge.run_dir, own, tmp_path / "risks.csv").filter(pl.col("patient_id") == patient)
    assert found["contribution_ehr"].null_count() == found["contribution_note"].null_count() == found.height
    assert found["contribution_summary"].null_count() == 0 and found["y_prob"].is_between(0, 1).all()
    assert "1 patient has no measurement" in caplog.text
    assert "1 patient lacks measurements: the risk rests on the other inputs" in caplog.text
    lines = [json.loads(line) for line in (tmp_path / "risks.evidence.jsonl").read_text("utf-8").splitlines()]
    assert {line["patient_id"]: line["lacking"] for line in lines}[patient] == ["ehr", "note"]
    (own / "notes.csv").unlink()
    assert predicted(emerge.run_dir, own, tmp_path / "none.csv")["contribution_note"].null_count() > found.height
    assert "there are no notes" in caplog.text


def test_a_signal_that_none_of_many_patients_has_is_told(emerge: Trained, own: Path) -> None:
    ready = predictor.load(emerge.run_dir, offline=True)
    told = "has a measurement of heart_rate, from which the run has learned"
    assert not any(told in warning for warning in ready.tables(own).warnings)
    edit(own, "dynamic.csv", lambda t: t.filter(pl.col("code") != "heart_rate"))
    assert any(told in warning for warning in ready.tables(own).warnings)
    few = pl.read_csv(own / "cohort.csv", infer_schema=False)["patient_id"].head(3).to_list()
    for file in ("cohort.csv", "static.csv", "dynamic.csv", "notes.csv"):
        edit(own, file, lambda t: t.filter(pl.col("patient_id").is_in(few)))
    assert not any(told in warning for warning in ready.tables(own).warnings)


def test_a_signal_of_which_the_run_has_learned_nothing_is_passed_over(
    emerge: Trained, own: Path, hospital: Config
) -> None:
    """It has no mean and no deviation, and would reach the model in its own unit."""
    data, at = emerge.dataset, [entry["name"] for entry in emerge.dataset.metadata["features"]].index("heart_rate")
    assert new_patients.expected(hospital, data).unmeasured == ()
    mask = data.ehr_mask.copy()
    mask[:, :, at] = 0
    metadata = {**data.metadata, "never_measured_in_training": ["heart_rate"]}
    expected = new_patients.expected(hospital, dataclasses.replace(data, ehr_mask=mask, metadata=metadata))
    assert expected.unmeasured == ("heart_rate",)
    ready = dataclasses.replace(predictor.load(emerge.run_dir, offline=True), expected=expected)
    tables = ready.tables(own)
    count = tables.cohort.height
    assert f"{count} patients have measurements of heart_rate, of which the run's own data have none" in "\n".join(
        tables.warnings
    )
    with_it = {answer.patient_id: answer for answer in ready.answers(tables)}
    edit(own, "dynamic.csv", lambda t: t.filter(pl.col("code") != "heart_rate"))
    without = ready.tables(own)
    assert not any("heart_rate" in warning for warning in without.warnings)
    for answer in ready.answers(without):
        np.testing.assert_array_equal(answer.risk, with_it[answer.patient_id].risk)
        assert answer.record == with_it[answer.patient_id].record
    assert not any(one.code == "heart_rate" for answer in with_it.values() for one in answer.record.abnormal_signals)


def test_training_data_are_not_needed_again(run_of: RunOf, own: Path, hospital: Config, tmp_path: Path) -> None:
    aside = hospital.table_dir.with_name("aside")
    hospital.table_dir.rename(aside)
    try:
        assert predicted(run_of("emerge"), own, tmp_path / "risks.csv").height
    finally:
        aside.rename(hospital.table_dir)


LATER = pl.lit("2190-01-01 00:00:00")
FIRST = pl.int_range(pl.len()) == 0
REFUSED: dict[str, tuple[str, Callable[[pl.DataFrame], pl.DataFrame], str]] = {
    "a value after the window": (
        "dynamic.csv",
        lambda t: t.with_columns(event_time=pl.when(FIRST).then(LATER).otherwise("event_time")),
        r"dynamic.csv: 1 row outside the observation window, first: .* at 2190",
    ),
    "a note after the window": (
        "notes.csv",
        lambda t: t.with_columns(note_time=pl.when(FIRST).then(LATER).otherwise("note_time")),
        r"notes.csv: 1 note written after the observation window",
    ),
    "an unknown code": (
        "dynamic.csv",
        lambda t: t.with_columns(code=pl.when(FIRST).then(pl.lit("lactate")).otherwise("code")),
        r"dynamic.csv: code 'lactate' is not one of the signals: capillary_refill_rate, ",
    ),
    "a stranger's value": (
        "dynamic.csv",
        lambda t: t.with_columns(patient_id=pl.when(FIRST).then(pl.lit("x")).otherwise("patient_id")),
        r"dynamic.csv: patient_id 'x' is not in cohort.csv",
    ),
    "no number": (
        "dynamic.csv",
        lambda t: t.with_columns(value=pl.when(FIRST).then(pl.lit("high")).otherwise("value")),
        r"dynamic.csv row 2: value 'high' is not a number",
    ),
    "a longer window": (
        "cohort.csv",
        lambda t: t.with_columns(window_end=pl.when(FIRST).then(LATER).otherwise("window_end")),
        r"cohort.csv: the window of patient_id .* is not 48 h long, like those that the run learned from; 1 such row",
    ),
    "a shorter window": (
        "cohort.csv",
        lambda t: t.with_columns(
            window_end=pl.col("window_start")
            .str.to_datetime()
            .dt.offset_by(pl.when(FIRST).then(pl.lit("24h")).otherwise(pl.lit("48h")))
            .dt.strftime("%Y-%m-%d %H:%M:%S")
        ),
        r"cohort.csv: the window of patient_id .* is not 48 h long",
    ),
    "a patient twice": (
        "cohort.csv",
        lambda t: pl.concat([t, t[:1]]),
        r"cohort.csv row \d+: patient_id .* stands twice",
    ),
    "nobody": ("cohort.csv", lambda t: t[:0], r"cohort.csv: holds no patient"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_tables_that_do_not_fit_the_run_are_refused_in_a_line(
    emerge: Trained, own: Path, tmp_path: Path, case: str
) -> None:
    file, change, expected = REFUSED[case]
    edit(own, file, change)
    with pytest.raises(UserError, match=expected) as refusal:
        predict.run(emerge.run_dir, own, tmp_path / "out" / "risks.csv", offline=True)
    assert "\n" not in str(refusal.value) and not (tmp_path / "out").exists()


def test_what_convert_recorded_of_the_tables_must_fit_the_run(
    emerge: Trained, hospital: Config, tmp_path: Path
) -> None:
    tables = tmp_path / "tables"
    shutil.copytree(hospital.table_dir, tables)
    recorded = artefacts.read_json(tables / schema.PROVENANCE, "convert")
    recorded |= {"task": {"name": "los"}, "source": {"name": "eicu", "options": {}}}
    artefacts.write_json(tables / schema.PROVENANCE, recorded)
    predict.run(emerge.run_dir, tables, tmp_path / "other_source.csv", offline=True, explain=False)
    changes: tuple[tuple[Callable[[dict], None], str], ...] = (
        (
            lambda p: p["cohort"].update(window_hours=24),
            "converted with cohort.window_hours = 24, the run learned from 48",
        ),
        (lambda p: p["signals"][7].update(unit="mmol/L"), "glucose is in 'mmol/L', the run learned from 'mg/dL'"),
        (lambda p: p["tables"].update({"dynamic.csv": "0"}), "changed since --stage convert wrote it"),
    )
    ready = predictor.load(emerge.run_dir, offline=True)
    for change, expected in changes:
        provenance = copy.deepcopy(recorded)
        change(provenance)
        artefacts.write_json(tables / schema.PROVENANCE, provenance)
        with pytest.raises(UserError, match=expected):
            ready.tables(tables)


def test_places_where_nothing_may_be_written_are_refused_before_any_work(
    emerge: Trained, own: Path, tmp_path: Path
) -> None:
    for output, expected in (
        (own / "dynamic.csv", "is one of the tables to read"),
        (emerge.run_dir / "predictions.csv", "whose own files it could replace"),
        (tmp_path / "risks.txt", "not a file name ending in .csv"),
        (own / "cohort.csv" / "risks.csv", "not a folder to write into"),
    ):
        with pytest.raises(UserError, match=expected):
            predict.run(emerge.run_dir, own, output, offline=True)


def test_what_is_no_finished_run_is_refused_with_what_to_do(emerge: Trained, tmp_path: Path) -> None:
    shutil.copytree(emerge.run_dir, tmp_path / "both" / "seed_1")
    (tmp_path / "stopped" / ".training").mkdir(parents=True)
    for folder, expected in (
        ("both", r"holds a run for each seed; choose one of .*both/seed_1"),
        ("stopped", "holds no finished run .manifest.json is missing.; run --stage train, with --resume"),
        ("nothing", "nothing: no such run folder"),
    ):
        with pytest.raises(UserError, match=expected):
            load(tmp_path / folder)


def test_another_knowledge_graph_is_refused(run_of: RunOf, hospital: Config) -> None:
    graph = hospital.kg_dir / "disease_features.csv"
    before = graph.read_bytes()
    graph.write_bytes(before.replace(b"lung", b"lungs"))
    try:
        with pytest.raises(UserError, match=r"disease_features.csv: not what .* was trained with"):
            predictor.load(run_of("emerge"), offline=True)
    finally:
        graph.write_bytes(before)


@pytest.mark.parametrize("name", ["statistics.npz", "note_encoder.json"])
def test_what_was_fitted_must_be_what_the_run_was_trained_with(run_of: RunOf, hospital: Config, name: str) -> None:
    path = hospital.processed_dir / schema.FITTED / name
    before = path.read_bytes()
    path.write_bytes(before + b" ")
    try:
        with pytest.raises(UserError, match=f"{name}: changed since --stage preprocess"):
            predictor.load(run_of("emerge"), offline=True)
    finally:
        path.write_bytes(before)


def test_new_patients_go_to_no_other_machine_because_the_training_data_were_open(run_of: RunOf, tmp_path: Path) -> None:
    run = tmp_path / "asks_a_model"
    shutil.copytree(run_of("emerge"), run)
    config = json.loads((run / "config.json").read_text())
    config["entities"]["name"] = "openai_compatible"
    config["llm"].update(api_base_url="https://api.example.org", entity_backend="openai_compatible")
    config["credentialed"] = False
    (run / "config.json").write_text(json.dumps(config))
    record_files(run)
    with pytest.raises(
        UserError, match=r"api.example.org is another machine and dataset 'new patients' is credentialed"
    ):
        predictor.load(run, offline=False)


def test_a_run_whose_texts_a_model_wrote_asks_it_for_what_is_new_only(
    hospital: Config, own: Path, serve: Callable[..., ChatServer], tmp_path: Path
) -> None:
    server = serve(copying_model("pneumonia", "sepsis", "heart failure"))
    backend = "openai_compatible"
    names = ("processed_dir", "run_dir", "cache_dir")
    config = dataclasses.replace(
        hospital,
        paths=dataclasses.replace(hospital.paths, **{name: tmp_path / name for name in names}),
        entities=Component(backend),
        summary=Component(backend),
        llm=Llm(entity_backend=backend, summary_backend=backend, api_base_url=server.url),
    )
    preprocess.run(config)
    train.run(config)
    asked = len(server.requests)
    found = predicted(config.run_dir, own, tmp_path / "risks.csv")
    written = pl.read_csv(config.run_dir / "predictions.csv", schema_overrides={"patient_id": pl.String})
    both = written.join(found, on=["patient_id", "label_code"], how="left", suffix="_again")
    np.testing.assert_allclose(both["y_prob_again"], both["y_prob"], atol=1e-6)
    assert len(server.requests) == asked > 0
    edit(own, "notes.csv", lambda t: t.with_columns(text=pl.when(FIRST).then(pl.lit("Sepsis.")).otherwise("text")))
    predict.run(config.run_dir, own, tmp_path / "risks.csv", offline=True)
    assert len(server.requests) in (asked + 1, asked + 2), "of one patient: entities, and the summary if they changed"
    server.model = lambda body: "I see."
    edit(own, "notes.csv", lambda t: t.with_columns(text=pl.when(FIRST).then(pl.lit("Anemia.")).otherwise("text")))
    predict.run(
        config.run_dir, own, tmp_path / "risks.csv", offline=True
    )  # a failure is told with its patient, and ends nothing


def test_the_command_line_predicts_and_says_who_is_at_highest_risk(
    emerge: Trained, own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--stage", "predict", "--run", str(emerge.run_dir), "--tables", str(own)]
    with pytest.raises(SystemExit):
        main(options)
    assert "--stage predict needs --output" in capsys.readouterr().err
    output = tmp_path / "made" / "risks.csv"
    command = [sys.executable, str(MAIN), *options, "--output", str(output), "--no-explain"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = pl.read_csv(output, schema_overrides={"patient_id": pl.String}).filter(pl.col("label_code") == "mortality")
    highest = found.sort("y_prob", descending=True)[0, "patient_id"]
    assert "highest risk of in-hospital death: " in done.stdout
    assert f"patient {highest}" in done.stdout and str(output) in done.stdout and "per second" in done.stdout


@pytest.mark.slow
def test_the_real_demos_patients_get_the_risks_that_training_wrote(demo_config: Config, tmp_path: Path) -> None:
    paths = dataclasses.replace(demo_config.paths, processed_dir=tmp_path / "processed", run_dir=tmp_path / "run")
    config = dataclasses.replace(
        demo_config,
        paths=paths,
        model=dataclasses.replace(demo_config.model, hidden_size=16),
        training=dataclasses.replace(demo_config.training, max_epochs=2, bootstrap_resamples=20, accelerator="cpu"),
    )
    for stage in (convert, preprocess, train):
        stage.run(config)
    found = predicted(config.run_dir, config.table_dir, tmp_path / "risks.csv")
    written = pl.read_csv(config.run_dir / "predictions.csv", schema_overrides={"patient_id": pl.String})
    written = written.filter(pl.col("split") == "test")  # a validation patient has the risk of one member there
    both = written.join(found, on=["patient_id", "label_code"], how="left", suffix="_again")
    np.testing.assert_allclose(both["y_prob_again"], both["y_prob"], atol=1e-6)
