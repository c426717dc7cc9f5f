"""No person may be in two parts of the split that a model is trained on, whoever made the split."""

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl
import pytest

from emerge_ehr.cli import main
from emerge_ehr.config import Config
from emerge_ehr.fields import UserError
from emerge_ehr.storage.artefacts import checksums, write_json
from emerge_ehr.storage.dataset import load_dataset
from emerge_ehr.training import inputs

Prepare = Callable[..., Config]


def name_persons(folder: Path, names: Mapping[str, str]) -> None:
    """Write patients.csv, in which a sample that ``names`` does not hold is a person of its own, and redo the checksums."""
    split = json.loads((folder / "split.json").read_text())
    rows = [f"{one},{names.get(one, f's{one}')},50,F,," for part in ("train", "val", "test") for one in split[part]]
    header = "patient_id,subject_id,age,sex,ethnicity,icu_type"
    (folder / "patients.csv").write_text("\n".join([header, *rows, ""]))
    metadata = json.loads((folder / "metadata.json").read_text())
    (folder / "metadata.json").unlink()
    write_json(folder / "metadata.json", {**metadata, "artefacts": checksums(folder)})


def test_without_patients_the_cohort_of_the_tables_says_who_is_who(prepared: Prepare) -> None:
    config = prepared()
    name_persons(config.processed_dir, {"p0": "ann", "p39": "ann"})
    rows = pl.read_csv(config.processed_dir / "patients.csv", infer_schema=False).select("patient_id", "subject_id")
    empty = [pl.lit("2150-01-01 00:00:00").alias(name) for name in ("hadm_id", "stay_id", "window_start", "window_end")]
    config.table_dir.mkdir(parents=True, exist_ok=True)
    rows.with_columns(empty).write_csv(config.table_dir / "cohort.csv")
    (config.processed_dir / "patients.csv").unlink()
    metadata = json.loads((config.processed_dir / "metadata.json").read_text())
    metadata["artefacts"].pop("patients.csv")
    (config.processed_dir / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(UserError, match=r"person 'ann' of cohort.csv is in train and in test"):
        inputs.check(config, load_dataset(config.processed_dir))


@pytest.mark.parametrize(
    ("first", "second", "parts"),  # of 40 samples, 24 train and 8 validate
    [("p0", "p39", "train and in test"), ("p3", "p24", "train and in val"), ("p31", "p32", "val and in test")],
)
@pytest.mark.parametrize("forms", [("12", "12"), ("0123", "123"), ("7", "7.0"), ("7", '" 7"'), ("Ann1", "ANN1")])
def test_a_person_in_two_parts_of_the_split_is_refused_although_the_checksums_fit(
    prepared: Prepare, first: str, second: str, parts: str, forms: tuple[str, str]
) -> None:
    config = prepared()
    name_persons(config.processed_dir, dict(zip((first, second), forms, strict=True)))
    dataset = load_dataset(config.processed_dir)  # nothing else is wrong with them
    with pytest.raises(UserError, match=rf"split.json: person '.*' of patients.csv is in {parts}") as error:
        inputs.check(config, dataset)
    assert "\n" not in str(error.value) and ("differ in form" in str(error.value)) == (
        forms in (("0123", "123"), ("Ann1", "ANN1"))
    )


@pytest.mark.parametrize("forms", [("12", "13"), ("A1", "A2"), ("P012", "P12"), ("1.5", "15"), ("", "")])
def test_other_persons_are_not_taken_for_one(prepared: Prepare, forms: tuple[str, str]) -> None:
    config = prepared()
    names = {"p0": forms[0], "p39": forms[1]} if any(forms) else {"p0": "12", "p1": "12", "p2": "012"}
    name_persons(config.processed_dir, names)
    inputs.check(config, load_dataset(config.processed_dir))


def test_without_the_persons_the_log_says_that_they_could_not_be_checked(
    prepared: Prepare, caplog: pytest.LogCaptureFixture
) -> None:
    config = prepared()
    with caplog.at_level(logging.WARNING):
        inputs.check(config, load_dataset(config.processed_dir))
    assert "whether a person is in two parts of the split was not checked" in caplog.text


def test_the_command_line_refuses_a_person_in_two_parts_in_one_line(
    prepared: Prepare, toy_toml: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = prepared()
    name_persons(config.processed_dir, {"p0": "12", "p39": "12"})
    (tmp_path / "c.toml").write_text(toy_toml)
    assert main(["--config", str(tmp_path / "c.toml"), "--stage", "train"]) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(told) == 1 and "person '12'" in told[0]
    assert not config.run_dir.exists() or not list(config.run_dir.glob("*.json"))
