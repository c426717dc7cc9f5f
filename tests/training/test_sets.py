"""The sets of a run: what they are fitted on, by which groups, what is refused, and that a finished run gives them again."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from emerge_ehr.config import Calibration, Config, fill
from emerge_ehr.evaluation import conformal
from emerge_ehr.fields import Component, UserError
from emerge_ehr.storage import schema
from emerge_ehr.storage.dataset import load_dataset
from emerge_ehr.training import sets, train, trained
from tests.run_records import record_files
from tests.training.test_calibrated import Prepare, noisy, rows

SEXES = ("F", "M")


@pytest.fixture
def ready(prepared: Prepare) -> Callable[..., Config]:
    """A run of a plain method that is quick to train, on 500 patients of whom sex and age are known."""

    def made(patients: int = 500, **calibration: Any) -> Config:
        config = noisy(prepared, patients, 1)
        ids = load_dataset(config.processed_dir).patient_id.tolist()
        known = {"sex": [SEXES[n % 2] for n in range(patients)], "age": [40.0 + n % 3 * 20 for n in range(patients)]}
        table = pl.DataFrame({"patient_id": ids, "subject_id": ids, **known, "ethnicity": "", "icu_type": ""})
        table.write_csv(config.processed_dir / schema.PATIENTS.file)
        return dataclasses.replace(
            config, baseline=Component("logistic_regression"), calibration=Calibration(**calibration)
        )

    return made


def test_the_sets_of_test_patients_are_those_that_validation_patients_of_their_group_give(
    ready: Callable[..., Config],
) -> None:
    config = ready(method="platt", coverage=0.8, groups=("sex",))
    train.run(config)
    people = pl.read_csv(config.processed_dir / "patients.csv").select("patient_id", "sex")
    val, test = (rows(config, split).join(people, on="patient_id", maintain_order="left") for split in ("val", "test"))
    expected = conformal.fit(
        val["y_true"].to_numpy().astype(float), val["y_prob"].to_numpy(), val["sex"].to_numpy().astype(str), 0.8
    ).of(test["y_prob"].to_numpy(), test["sex"].to_numpy().astype(str))
    written = pl.read_csv(config.run_dir / "sets.csv")
    assert written["patient_id"].to_list() == test["patient_id"].to_list()
    assert written["set"].to_list() == conformal.written(expected)
    about = json.loads((config.run_dir / "metrics.json").read_text())["sets"]
    of_label = about["labels"]["mortality"]
    assert "of the patients with an outcome in each group, at least 80 of 100" in about["guarantee"]
    assert set(of_label["limits"]) == {"female", "male"} and of_label["test"]["patients"] == test.height
    truth = test["y_true"].to_numpy()
    held = expected[np.arange(len(truth)), truth]
    of_all = pl.read_csv(config.run_dir / "coverage.csv", schema_overrides={"outcome": pl.String})
    assert {*of_all["attribute"]} == {"all", "sex", "age"}
    shown = of_all.filter((pl.col("group") == "female") & (pl.col("outcome") == "all"))
    female = test["sex"].to_numpy() == "F"
    assert shown["patients"].item() == female.sum() and shown["covered"].item() == pytest.approx(held[female].mean())
    run = trained.load(config.run_dir)
    assert run.sets is not None
    table = pl.read_csv(config.processed_dir / "patients.csv", schema_overrides={"ethnicity": pl.String})
    risk = test["y_prob"].to_numpy()[:, None]
    again = run.sets.of(risk, test.select("patient_id").join(table, on="patient_id", maintain_order="left"))
    assert (again[:, 0] == expected).all()
    stranger = table.head(1).with_columns(sex=pl.lit(None, pl.String))
    assert run.sets.of(risk[:1], stranger).all()  # of a group that nobody was in, the model does not know
    (config.run_dir / "checkpoints" / "sets.json").write_text('{"groups": ["sex"], "labels": {"mortality": {}}}')
    record_files(config.run_dir)
    with pytest.raises(UserError, match=r"sets\.json: damaged .*run --stage train again"):
        trained.load(config.run_dir)
    plain = dataclasses.replace(config, calibration=Calibration())
    train.run(plain)
    assert not (plain.run_dir / "sets.csv").exists() and not (plain.run_dir / "coverage.csv").exists()
    assert "sets" not in json.loads((plain.run_dir / "metrics.json").read_text())


def test_what_cannot_be_kept_is_refused_before_training_and_small_groups_are_told(
    ready: Callable[..., Config], caplog: pytest.LogCaptureFixture
) -> None:
    config = ready(patients=150, coverage=0.99)
    with pytest.raises(UserError, match=r"coverage = 0\.99: it takes 99 patients .* there are \d+; set at most 0"):
        train.run(config)
    for groups, told in (
        (("site",), r"'site' is not known of these patients; what is known: sex and age"),
        (("ethnicity",), "'ethnicity' is not known"),
        (("landmark",), "'landmark' cannot be told of new patients"),
    ):
        with pytest.raises(UserError, match=told):
            train.run(dataclasses.replace(config, calibration=Calibration(coverage=0.5, groups=groups)))
    assert not config.run_dir.exists()
    few = dataclasses.replace(config, calibration=Calibration(coverage=0.75, groups=("sex", "age")))
    train.run(few)
    line = "mortality: fewer than 4 patients with it, or without, to fit sets on in group"
    assert any(line in message and "female, 45-64" in message for message in caplog.messages)
    assert any(line in warning for warning in json.loads((few.run_dir / "metrics.json").read_text())["warnings"])


def test_groups_without_a_coverage_are_refused_and_so_is_a_group_twice() -> None:
    raw = {"dataset": "a", "run_name": "a", "paths": {"raw_dir": "a"}, "source": "synthetic"}
    with pytest.raises(UserError, match=r"calibration\.groups are those of sets; set calibration\.coverage too"):
        fill({**raw, "calibration": {"groups": ["sex"]}}, "test")
    with pytest.raises(UserError, match="stands twice"):
        fill({**raw, "calibration": {"coverage": 0.9, "groups": ["sex", "sex"]}}, "test")


def test_the_sets_of_folds_are_put_together_and_missing_ones_are_told(
    ready: Callable[..., Config], tmp_path: Any
) -> None:
    names = ["dead", "back"]
    folders = [tmp_path / f"fold_{n}" for n in (1, 2)]
    for folder, patient, text in zip(folders, ("b", "a"), ("{0}", "{0 1}"), strict=True):
        folder.mkdir()
        table = pl.DataFrame({"patient_id": patient, "split": "test", "label_code": names, "set": [text, "{1}"]})
        table.write_csv(folder / "sets.csv")
    found = sets.read(folders, ["a", "b"], names)
    assert found.tolist() == [[[True, True], [False, True]], [[True, False], [False, True]]]
    with pytest.raises(UserError, match="not the sets of the run's test patients"):
        sets.read(folders[:1], ["a", "b"], names)
    (folders[1] / "sets.csv").unlink()
    with pytest.raises(UserError, match=r"sets\.csv: missing; run --stage train again"):
        sets.read(folders, ["a", "b"], names)
