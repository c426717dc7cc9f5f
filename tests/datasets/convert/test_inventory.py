"""``convert --check``: what a source has and lacks, all of it at once, with nothing written."""

import dataclasses
import gzip
import json
import re
import shutil
from pathlib import Path

import polars as pl
import pytest

from emerge_ehr.config import Config, load
from emerge_ehr.datasets import download
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.fields import Component, UserError
from tests.small_hospital import CONFIG


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A generated hospital, downloaded and nothing more."""
    folder = tmp_path_factory.mktemp("inventory")
    (folder / "small.toml").write_text(CONFIG.replace("stays = 220", "stays = 60"))
    config = load(folder / "small.toml")
    names = ("raw_dir", "kg_dir", "table_dir")
    paths = dataclasses.replace(config.paths, **{name: folder / name for name in names})
    config = dataclasses.replace(config, paths=paths)
    download.run(config)
    return config


def told(config: Config, capsys: pytest.CaptureFixture[str]) -> dict[str, list[str]]:
    """Title -> lines of what is printed."""
    capsys.readouterr()
    try:
        convert.check(config)
    finally:
        printed = capsys.readouterr().out
    parts = [part.splitlines() for part in printed.split("\n\n")]
    return {title: [line.strip() for line in lines] for title, *lines in parts}


def test_what_is_told_is_what_convert_then_counts_and_nothing_is_written(
    hospital: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(hospital, capsys)
    assert not hospital.table_dir.exists()
    convert.run(hospital)
    provenance = json.loads((hospital.table_dir / "provenance.json").read_text())
    rows = [re.split(r"\s{2,}", line) for line in found["measurements"][1:] if not line.startswith(("warning", "- "))]
    flow = {(line["table"], line["signal"]): line for line in provenance["measurements"]["flow"]}
    assert {(row[0], row[1]) for row in rows} == set(flow) and len(flow) > 15
    for row in rows:
        line = flow[row[0], row[1]]
        assert int(row[2]) == line["in_file"] and int(row[3]) >= line["in_windows"]
    labels = pl.read_csv(hospital.table_dir / "label.csv")
    known, positive = re.findall(r"\d+", found["task mortality (of this config)"][0])
    assert int(known) >= labels.height and int(positive) >= labels["label_value"].sum()
    left_out = [line for line in found["stays"] if line.startswith("- ")]
    assert left_out and all(re.fullmatch(r"- .*[a-z0-9]: [\d,]+", line) for line in left_out)
    assert any(line.startswith("icu/chartevents.csv") and "itemid" in line for line in found["files"])
    shutil.rmtree(hospital.table_dir)


def test_every_lack_is_told_at_once(hospital: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = shutil.copytree(hospital.raw_dir, tmp_path / "raw")
    charted = next(raw.glob("icu/chartevents.csv*"))
    text = gzip.decompress(charted.read_bytes()) if charted.suffix == ".gz" else charted.read_bytes()
    (raw / "icu/chartevents.csv").write_bytes(text.replace(b"charttime", b"when", 1))
    if charted.suffix == ".gz":
        charted.unlink()
    stays = next(raw.glob("hosp/diagnoses_icd.csv*"))
    stays.unlink()
    config = dataclasses.replace(hospital, paths=dataclasses.replace(hospital.paths, raw_dir=raw))
    capsys.readouterr()
    with pytest.raises(
        UserError, match=r"lacking for files: hosp/diagnoses_icd.*; measurements: icu/chartevents\.csv.*charttime"
    ):
        convert.check(config)
    printed = capsys.readouterr().out
    assert re.search(r"files\n  lacking: .*diagnoses_icd", printed)
    assert re.search(r"  diagnoses: no task can use them: .*diagnoses_icd", printed)
    assert re.search(r"measurements\n  lacking: .*chartevents\.csv.*charttime", printed)
    assert "task mortality (of this config)\n  mortality: known for" in printed


def test_a_cohort_without_stays_is_told_and_what_is_there_all_the_same(
    hospital: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    config = dataclasses.replace(hospital, cohort=dataclasses.replace(hospital.cohort, min_stay_hours=100_000))
    with pytest.raises(UserError, match=r"lacking for stays: no ICU stay"):
        convert.check(config)
    printed = capsys.readouterr().out
    assert "60 stays of" in printed and "  admissions: " in printed


def test_outcomes_that_a_model_could_not_learn_are_told_before_anything_runs(
    hospital: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = dataclasses.replace(hospital.paths, table_dir=tmp_path / "own")
    convert.run(dataclasses.replace(hospital, paths=own))
    paths = dataclasses.replace(hospital.paths, raw_dir=own.table_dir, table_dir=tmp_path / "tables")
    config = dataclasses.replace(hospital, source=Component("tables"), task=Component("given"), paths=paths)
    labels = pl.read_csv(own.table_dir / "label.csv", infer_schema=False)
    title = "task given (of this config)"
    labels.with_columns(label_value=pl.lit("1")).write_csv(own.table_dir / "label.csv")
    everything = told(config, capsys)
    assert "choose" not in " ".join(line for lines in everything.values() for line in lines)
    assert "admissions: no task can use them: [source] name = 'tables' has no admissions" in everything["other records"]
    found = everything[title]
    assert "warning: mortality is 1 for all of them: no model can learn it" in found
    labels.with_columns(label_time=pl.lit("1900-01-01 00:00:00")).write_csv(own.table_dir / "label.csv")
    with pytest.raises(UserError, match="lacking for task given"):
        convert.check(config)
    printed = capsys.readouterr().out
    assert f"outcomes known before the end of the observation window, left out: {labels.height}" in printed


def test_notes_that_convert_would_refuse_are_lacking_and_those_without_a_time_are_warned_of(
    hospital: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = dataclasses.replace(hospital.paths, table_dir=tmp_path / "own")
    convert.run(dataclasses.replace(hospital, paths=own))
    notes = pl.read_csv(own.table_dir / "notes.csv", infer_schema=False)
    paths = dataclasses.replace(hospital.paths, raw_dir=own.table_dir, table_dir=tmp_path / "tables")
    config = dataclasses.replace(hospital, source=Component("tables"), task=Component("given"), paths=paths)
    notes.drop("note_type").write_csv(own.table_dir / "notes.csv")
    with pytest.raises(UserError, match=r"lacking for notes: notes\.csv: no column 'note_type'"):
        convert.check(config)
    with pytest.raises(UserError, match=r"notes\.csv: no column 'note_type'"):
        convert.run(config)
    alike = []
    for untimed in (notes.with_columns(note_time=pl.lit("")), notes.drop("note_time")):
        untimed.write_csv(own.table_dir / "notes.csv")
        warned = [line for line in told(config, capsys)["notes"] if "carry no time" in line]
        convert.run(config)
        alike.append((warned, (paths.table_dir / "notes.csv").read_bytes()))
    assert alike[0] == alike[1] and len(alike[0][0]) == 1
