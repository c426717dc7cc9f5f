"""``[tables] format``: the same artefacts, runs and risks from a CSV and from parts, and one replaced by the other whole."""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from emerge_ehr.cli import main
from emerge_ehr.datasets.convert import harmonise
from emerge_ehr.storage import artefacts, publishing, table_files
from emerge_ehr.storage.schema import DYNAMIC
from tests.small_hospital import CONFIG

TABLES, PROCESSED = (Path(f"data/{kind}/synthetic/mortality") for kind in ("tables", "processed"))
RUN = Path("runs/small")
RECORDS = ("metadata.json", "manifest.json", "config.json", "hashes.json", "audit.json", "report.html")
ROWS = 20_000  # a part, so that there are several


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in RECORDS
    }


def stage(name: str, expected: int = 0, *more: str) -> None:
    assert main(["--config", "small.toml", "--stage", name, *more]) == expected


def choose(form: str) -> None:
    Path("small.toml").write_text(f'{CONFIG}[tables]\nformat = "{form}"\n')


def small_parts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(harmonise, "SLICE", 40)
    patch.setattr(table_files, "PART", ROWS)


STAGES = ("download", "convert", "preprocess", "train", "audit", "report")


def finish(folder: Path, form: str, stages: Sequence[str] = STAGES) -> Path:
    """The pipeline with tables of that format."""
    with pytest.MonkeyPatch.context() as patch:
        small_parts(patch)
        patch.chdir(folder)
        choose(form)
        for name in stages:
            stage(name)
    return folder


def predict(folder: Path) -> bytes:
    """The risks of the tables' own patients."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["--stage", "predict", "--run", str(RUN), "--tables", str(TABLES), "--output", "risks.csv"]) == 0
    return (folder / "risks.csv").read_bytes()


@pytest.fixture(scope="module")
def with_parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finish(tmp_path_factory.mktemp("parquet"), "parquet")


@pytest.fixture(scope="module")
def tables(with_parts: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tables by format."""
    return {
        "csv": finish(tmp_path_factory.mktemp("csv"), "csv", STAGES[:2]) / TABLES,
        "parquet": with_parts / TABLES,
    }


@pytest.fixture
def work(with_parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that with parts, which is the current folder."""
    folder = tmp_path / "work"
    shutil.copytree(with_parts, folder)
    monkeypatch.chdir(folder)
    small_parts(monkeypatch)
    return folder


@pytest.mark.slow
def test_every_artefact_is_the_same_from_either(with_parts: Path, tmp_path: Path) -> None:
    csv, parts = finish(tmp_path, "csv"), with_parts
    assert len(table_files.files(parts / TABLES, DYNAMIC)) > 2
    for folder in (PROCESSED, RUN):
        assert contents(csv / folder) == contents(parts / folder) and contents(csv / folder)
    assert predict(csv) == predict(parts)
    one, other = (json.loads((folder / PROCESSED / "metadata.json").read_text()) for folder in (csv, parts))
    assert {key for key in one if one[key] != other[key]} == {"inputs"}
    verdicts = [json.loads((f / PROCESSED / "audit.json").read_text())["findings"] for f in (csv, parts)]
    assert [(f["check"], f["verdict"]) for f in verdicts[0]] == [(f["check"], f["verdict"]) for f in verdicts[1]]


def test_provenance_lists_every_part_with_its_checksum(with_parts: Path) -> None:
    folder = with_parts / TABLES
    recorded = json.loads((folder / "provenance.json").read_text())["tables"]
    assert recorded.keys() == contents(folder).keys() - {"provenance.json"}
    assert all(artefacts.checksum(folder / name) == known for name, known in recorded.items())


def test_another_format_leaves_only_the_new_table_and_the_artefacts_are_to_be_made_anew(
    work: Path, tables: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    choose("csv")
    stage("convert")
    assert contents(TABLES) == contents(tables["csv"])
    stage("train", 2)
    assert "part-00000.parquet: removed since --stage preprocess was run" in capsys.readouterr().err
    choose("parquet")
    stage("convert")
    assert contents(TABLES) == contents(tables["parquet"])
    stage("train")


def test_fewer_parts_leave_none_of_those_before(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(table_files.files(TABLES, DYNAMIC))
    monkeypatch.setattr(table_files, "PART", 10**9)
    stage("convert")
    assert [path.name for path in table_files.files(TABLES, DYNAMIC)] == ["part-00000.parquet"] and before > 1
    stage("preprocess")


class Killed(BaseException):
    """As a process that is no more: nothing is cleaned up after it."""


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_kill_at_any_step_of_the_exchange_leaves_one_whole_table(
    work: Path, tables: dict[str, Path], monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """What ``publish`` does last, stopped before every single change of a file's place."""
    folder, moment = Path("tables"), 0
    other = "csv" if form == "parquet" else "parquet"
    new, names = contents(tables[form]), ("dynamic", *(["dynamic.csv"] if form == "parquet" else []))
    while moment >= 0:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(tables[other], folder)
        with monkeypatch.context() as patch:
            left = [moment]
            for owner, step in ((os, "unlink"), (os, "rmdir"), (Path, "unlink"), (Path, "replace")):
                patch.setattr(owner, step, counting(left, getattr(owner, step)))
            try:
                with publishing.publish(folder, names) as incoming:
                    shutil.copytree(tables[form], incoming, dirs_exist_ok=True)
                moment = -1
            except Killed:
                moment += 1
        assert contents(folder) == new or (folder / publishing.PUBLISHING).is_dir()
        publishing.finish_interrupted(folder)
        assert contents(folder) == new
        assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def counting(left: list[int], step: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*arguments: Any, **options: Any) -> Any:
        if left[0] == 0:
            raise Killed
        left[0] -= 1
        return step(*arguments, **options)

    return counted


def test_a_record_that_comes_with_a_folder_removes_nothing_outside_it(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    (tmp_path / "tables" / publishing.PUBLISHING).mkdir(parents=True)
    (tmp_path / "tables" / "dynamic").symlink_to(tmp_path / "mine")
    names = ("../mine", str(tmp_path / "mine"), "..", ".", "dynamic", publishing.PUBLISHING)
    (tmp_path / "tables" / publishing.PUBLISHING / publishing.OUTDATED).write_text("\n".join(names))
    publishing.finish_interrupted(tmp_path / "tables")
    assert (tmp_path / "mine" / "file").exists() and not list((tmp_path / "tables").iterdir())


def last_part() -> Path:
    return table_files.files(TABLES, DYNAMIC)[-1]


def shortened(path: Path) -> None:
    pl.read_parquet(path).head(-1).write_parquet(path)


def added() -> None:
    shutil.copy(last_part(), last_part().with_name("x.parquet"))


BESIDE = "dynamic.csv: stands beside dynamic/"
CHANGES: dict[str, tuple[Callable[[], object], str, str]] = {
    "a part changed": (
        lambda: shortened(last_part()),
        "changed since --stage convert wrote it",
        "changed since --stage preprocess read it",
    ),
    "a part added": (added, "x.parquet: added since --stage convert", "x.parquet: added since --stage preprocess"),
    "a part removed": (
        lambda: last_part().unlink(),
        "parquet: missing; run --stage convert again",
        "removed since --stage preprocess",
    ),
    "a CSV beside the parts": ((TABLES / "dynamic.csv").touch, BESIDE, BESIDE),
}


@pytest.mark.parametrize("what", CHANGES)
def test_parts_that_are_not_those_of_the_stage_before_are_refused(
    work: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    change, since_convert, since_preprocess = CHANGES[what]
    change()
    asked = ["--stage", "predict", "--run", str(RUN), "--tables", str(TABLES), "--output", "more.csv"]
    stage("preprocess", 2)
    assert since_convert in capsys.readouterr().err
    stage("train", 2)
    assert since_preprocess in capsys.readouterr().err
    assert main(asked) == 2
    assert since_convert in capsys.readouterr().err or since_preprocess in capsys.readouterr().err


def test_parts_of_a_users_own_give_the_same_arrays(work: Path) -> None:
    (TABLES / "provenance.json").unlink()
    whole = table_files.read_table(TABLES, DYNAMIC).sample(fraction=1.0, shuffle=True, seed=3)
    shutil.rmtree(TABLES / "dynamic")
    (TABLES / "dynamic").mkdir()
    half = whole.height // 2
    text = pl.col("event_time").dt.strftime("%Y-%m-%d %H:%M:%S")
    more = whole.tail(-half).with_columns(text, pl.col("code").cast(pl.Categorical))
    more.write_parquet(TABLES / "dynamic/part-a.parquet")
    whole.head(half).cast({"patient_id": pl.Int64}).write_parquet(TABLES / "dynamic/part-[a].parquet")  # not a pattern
    pl.DataFrame({name: [] for name in whole.columns}).write_parquet(TABLES / "dynamic/empty.parquet")
    before = contents(PROCESSED)
    stage("preprocess")
    assert contents(PROCESSED) == before


def test_a_folders_name_may_look_like_a_pattern(
    with_parts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "site [1]*"
    shutil.copytree(with_parts, folder)
    monkeypatch.chdir(tmp_path)
    small_parts(monkeypatch)
    before = contents(folder / PROCESSED)
    more = {"table_dir": TABLES, "processed_dir": PROCESSED, "run_dir": RUN, "cache_dir": "data/cache"}
    paths = "".join(f'{name} = "{folder / path}"\n' for name, path in more.items())
    config = CONFIG.replace('"data/', f'"{folder}/data/').replace("[paths]\n", f"[paths]\n{paths}")
    Path("small.toml").write_text(f'{config}[tables]\nformat = "parquet"\n')
    for name in ("convert", "preprocess", "train", "report"):
        stage(name)
    assert contents(folder / PROCESSED) == before


def test_convert_does_not_replace_parts_of_a_users_own(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (TABLES / "provenance.json").unlink()
    before = contents(TABLES)
    choose("csv")
    stage("convert", 2)
    assert "part-00000.parquet: not written by --stage convert" in capsys.readouterr().err
    assert contents(TABLES) == before


BAD: dict[str, tuple[pl.Expr, str]] = {
    "a stranger": (pl.lit("nobody").alias("patient_id"), "dynamic: patient_id 'nobody' is not in cohort.csv; remove 1"),
    "outside the window": (pl.col("event_time") + pl.duration(days=900), "dynamic: 1 row outside the observation"),
    "no number": (pl.lit(None, pl.Float64).alias("value"), "part-00001.parquet row 6: value is empty"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_row_of_a_users_own_that_has_no_place_is_refused(
    work: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    (TABLES / "provenance.json").unlink()
    part = table_files.files(TABLES, DYNAMIC)[1]
    table = pl.read_parquet(part)
    pl.concat([table[:5], table[5:6].with_columns(BAD[kind][0]), table[6:]]).write_parquet(part)
    stage("preprocess", 2)
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and BAD[kind][1] in errors[0]
