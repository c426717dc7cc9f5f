"""What a program calls gives what the stages write; every block of docs/python.md runs."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

import emerge_ehr
from emerge_ehr.config import Config
from emerge_ehr.training.trained import Trained
from tests import small_hospital
from tests.places import ROOT


@pytest.fixture(scope="module")
def model(emerge: Trained) -> "emerge_ehr.Model":
    return emerge_ehr.load(emerge.run_dir)


def test_a_folder_and_frames_give_what_the_stage_predict_writes(
    model: "emerge_ehr.Model", explained: Path, hospital: Config
) -> None:
    expected = pl.read_csv(explained, schema_overrides={"patient_id": pl.String})
    tables = {name: hospital.table_dir / f"{name}.csv" for name in ("cohort", "static", "dynamic", "notes")}
    of_polars = {name: pl.read_csv(path, infer_schema=False) for name, path in tables.items()}
    of_pandas = {name: pd.read_csv(path, dtype={"patient_id": str}) for name, path in tables.items()}
    times = {"cohort": ["window_start", "window_end"], "dynamic": ["event_time"], "notes": ["note_time"]}
    for name, columns in times.items():
        for column in columns:
            of_pandas[name][column] = pd.to_datetime(of_pandas[name][column])
    answers = [
        model.predict(hospital.table_dir, explain=True),
        model.predict(**of_polars),
        pl.DataFrame(model.predict(**of_pandas).to_dict("list")),
    ]
    for answer in answers:
        assert answer.columns == expected.columns
        assert answer["patient_id"].to_list() == expected["patient_id"].to_list()
        assert (answer["y_prob"] - expected["y_prob"]).abs().max() == 0.0
    explained, brief, _ = answers
    assert explained["contribution_ehr"].null_count() == 0
    assert brief["contribution_ehr"].null_count() == brief.height
    assert brief.schema == explained.schema and brief["contribution_ehr"].dtype == pl.Float64


def test_it_says_what_it_predicts_of_what(model: "emerge_ehr.Model") -> None:
    assert model.outcomes["mortality"] == "in-hospital death" and model.hours == (48, 48)
    assert model.signals["heart_rate"] == "beats/min"


def test_mistakes_are_user_errors_in_one_line(model: "emerge_ehr.Model", hospital: Config) -> None:
    frame = pl.read_csv(hospital.table_dir / "cohort.csv", infer_schema=False)
    for call, told in (
        (model.predict, "give a folder of tables"),
        (lambda: model.predict(hospital.table_dir, cohort=frame), "give one or the other"),
        (lambda: model.predict(cohort=[1]), "'cohort' is a list"),
        (lambda: model.predict(cohort=frame), "static.csv"),
        (lambda: emerge_ehr.load("no/such/run"), "no such run folder"),
        (lambda: emerge_ehr.records("no/such/folder"), "--stage preprocess"),
        (lambda: emerge_ehr.run({"dataset": "x"}), "the settings"),
        (lambda: emerge_ehr.run({"dataset": "x"}, stages=["trian"]), "'trian' is none of"),
    ):
        with pytest.raises(emerge_ehr.UserError) as error:
            call()
        assert told in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        emerge_ehr.lode  # noqa: B018


@pytest.mark.parametrize("kind", ["polars", "pandas", "objects", "arrow"])
def test_times_in_a_zone_are_refused_rather_than_shifted(
    model: "emerge_ehr.Model", hospital: Config, kind: str
) -> None:
    frames = {
        name: pl.read_csv(
            hospital.table_dir / f"{name}.csv", schema_overrides={"patient_id": pl.String}, try_parse_dates=True
        )
        for name in ("cohort", "static", "dynamic")
    }
    expected = model.predict(**frames)["y_prob"]

    def zoned(name: str, column: str, zone: str) -> Any:
        times = pl.col(column).dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
        frame = frames[name].with_columns(times)
        if kind == "polars":
            return frame
        made = frame.to_pandas(use_pyarrow_extension_array=kind == "arrow")
        return made.astype({column: object}) if kind == "objects" else made

    with pytest.raises(
        emerge_ehr.UserError, match=r"^dynamic: event_time is in the time zone Asia/Tokyo, which is not read"
    ):
        model.predict(**{**frames, "dynamic": zoned("dynamic", "event_time", "Asia/Tokyo")})
    with pytest.raises(
        emerge_ehr.UserError, match=r"^dynamic: event_time is in the time zone UTC, and cohort: window_start in none"
    ):
        model.predict(**{**frames, "dynamic": zoned("dynamic", "event_time", "UTC")})
    if kind == "objects":
        mixed = zoned("dynamic", "event_time", "UTC")
        mixed.loc[1, "event_time"] = mixed.loc[1, "event_time"].tz_localize(None)
        told = (
            r"^dynamic: event_time has times in several time zones, in UTC \(row 0: .*\+00:00\) and in none \(row 1: "
        )
        with pytest.raises(emerge_ehr.UserError, match=told):
            model.predict(**{**frames, "dynamic": mixed})
    if kind == "polars":  # as texts
        texts = frames["dynamic"].with_columns(pl.col("event_time").dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
        told = r"^event_time of dynamic(\.csv)? \('.*Z'\) states a zone, and window_start of cohort(\.csv)? \('"
        with pytest.raises(emerge_ehr.UserError, match=told) as caught:
            model.predict(**{**frames, "dynamic": texts})
        assert "/tmp" not in str(caught.value)
    opened = zoned("cohort", "window_start", "UTC")
    if kind == "polars":  # all in UTC, as files may be
        utc = {"cohort": opened.with_columns(pl.col("window_end").dt.replace_time_zone("UTC"))}
        answer = model.predict(**{**frames, **utc, "dynamic": zoned("dynamic", "event_time", "UTC")})
        assert answer["y_prob"].equals(expected)


def test_importing_it_loads_nothing_heavy() -> None:
    probe = "import sys, emerge_ehr; print([name for name in ('torch', 'polars', 'pydantic') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_every_block_of_the_page_runs(small_pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text("utf-8"), re.DOTALL)
    assert len(blocks) > 5
    shutil.copytree(small_pipeline, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    # the stages themselves ran in the fixture
    monkeypatch.setattr("emerge_ehr.interface.run_stages", lambda config, names, where: None)
    said: list[str] = []
    known: dict[str, object] = {"print": lambda *values: said.append(" ".join(map(str, values)))}
    for block in blocks:
        exec(block, known)
    assert said[0] == "runs/small" and "in-hospital death" in said[1] and said[2] == "(48, 48) beats/min"
    assert "pneumonia" in said[5] and said[-1].startswith("no/such/folder")


@pytest.mark.slow
def test_a_dictionary_runs_as_the_file_does(
    small_pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tomllib

    monkeypatch.chdir(tmp_path)
    folder = emerge_ehr.run(tomllib.loads(small_hospital.CONFIG))
    for name in ("predictions.csv", "metrics.json"):
        assert (folder / name).read_bytes() == (small_pipeline / "runs" / "small" / name).read_bytes()
