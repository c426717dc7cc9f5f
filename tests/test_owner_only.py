"""Who may read what the stages write: their owner alone, unless the records are open."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

from emerge_ehr import privacy
from emerge_ehr.config import Config, Paths
from emerge_ehr.embeddings._models.embedding_store import open_store
from emerge_ehr.fields import Component
from tests import small_hospital
from tests.places import MAIN

OTHERS = 0o077


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(MAIN), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, umask=0o022)


def open_to_others(folder: Path) -> list[str]:
    found = [path for path in folder.rglob("*") if not path.is_symlink() and path.stat().st_mode & OTHERS]
    return sorted(path.relative_to(folder).as_posix() for path in found)


@pytest.mark.slow
def test_whatever_is_written_of_credentialed_records_is_readable_for_their_owner_only(tmp_path: Path) -> None:
    made = small_hospital.CONFIG.replace("stays = 220", "stays = 120").replace("max_epochs = 4", "max_epochs = 1")
    (tmp_path / "c.toml").write_text(f"credentialed = true\n{made}")
    done = run(tmp_path, "--config", "c.toml")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "small" / "report.html").is_file() and (tmp_path / "data" / "tables").is_dir()
    assert open_to_others(tmp_path) == ["c.toml"]
    tables = tmp_path / "data" / "tables" / "synthetic" / "mortality"
    done = run(tmp_path, "--stage", "predict", "--run", "runs/small", "--tables", str(tables), "--output", "out/r.csv")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "r.evidence.jsonl").is_file() and open_to_others(tmp_path) == ["c.toml"]


def test_what_is_written_of_open_records_keeps_the_users_own_rights(small_pipeline: Path) -> None:
    ours = os.umask(0o022)
    os.umask(ours)
    for name in ("data/tables/synthetic/mortality/static.csv", "runs/small/predictions.csv", "runs/small/report.html"):
        assert (small_pipeline / name).stat().st_mode & 0o777 == 0o666 & ~ours, name


def test_the_risks_of_new_patients_are_their_owners_even_where_the_runs_own_records_are_open(
    small_pipeline: Path, tmp_path: Path
) -> None:
    tables, output = small_pipeline / "data/tables/synthetic/mortality", tmp_path / "risks.csv"
    given = ("--run", "runs/small", "--tables", str(tables), "--output", str(output), "--no-explain")
    done = run(small_pipeline, "--stage", "predict", *given)
    assert done.returncode == 0, done.stderr
    assert output.is_file() and open_to_others(tmp_path) == []


def test_the_rights_of_files_are_given_back_after_each_stage(tmp_path: Path) -> None:
    paths = Paths(raw_dir=tmp_path / "raw", table_dir=tmp_path / "tables")
    unproven = Config(dataset="d", run_name="r", paths=paths, source=Component("synthetic"))
    before = os.umask(0o027)
    try:
        for config, stage, expected in (
            (unproven, "train", 0o077),
            (unproven, "convert", 0o077),
            (unproven, "download", 0o027),
            (dataclasses.replace(unproven, credentialed=False), "train", 0o027),
            (dataclasses.replace(unproven, credentialed=True), "download", 0o077),
            (None, "", 0o077),
        ):
            with pytest.raises(ZeroDivisionError), privacy.owner_only(config, stage):
                inside = os.umask(0)
                os.umask(inside)
                assert inside == expected, stage
                raise ZeroDivisionError
            assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)


def test_embeddings_are_kept_for_their_owner_only_as_runs_on_any_records_share_them(tmp_path: Path) -> None:
    store = open_store(tmp_path, {"model": "m"}, 4)
    assert not store.known([b"key"])
    assert store.path.stat().st_mode & OTHERS == 0
