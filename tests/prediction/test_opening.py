"""Every stage first finishes what a killed one had completed in the folders that it opens."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from emerge_ehr.audit import audit
from emerge_ehr.config import Config
from emerge_ehr.prediction import predict
from emerge_ehr.preprocess import run as preprocess
from emerge_ehr.report import report
from emerge_ehr.storage import publishing
from emerge_ehr.training import train

Stage = Callable[[Config], object]
STAGES: dict[str, tuple[Stage, tuple[str, ...]]] = {
    "preprocess": (preprocess.run, ("table_dir",)),
    "audit": (audit.run, ("table_dir", "processed_dir")),
    "train": (train.run, ("table_dir", "processed_dir")),
    "report": (report.run, ("run_dir",)),
    "predict": (
        lambda config: predict.run(config.run_dir, config.table_dir, config.run_dir.parent / "risks.csv", offline=True),
        ("table_dir", "run_dir"),
    ),
}


def killed_before_its_files_were_moved(folder: Path) -> Path:
    left = folder / publishing.PUBLISHING
    names = list(folder.iterdir())
    left.mkdir()
    for path in names:
        path.rename(left / path.name)
    return left


@pytest.mark.slow
@pytest.mark.parametrize("name", STAGES)
def test_a_stage_finishes_what_a_killed_one_had_completed(
    name: str, hospital: Config, run_of: Callable[[str], Path], tmp_path: Path
) -> None:
    stage, opened = STAGES[name]
    copies = {"run_dir": run_of("emerge"), "table_dir": hospital.table_dir, "processed_dir": hospital.processed_dir}
    for key, folder in copies.items():
        shutil.copytree(folder, tmp_path / key)
    paths = dataclasses.replace(hospital.paths, **{key: tmp_path / key for key in copies})
    left = [killed_before_its_files_were_moved(tmp_path / key) for key in opened]
    stage(dataclasses.replace(hospital, paths=paths))
    assert not any(folder.exists() for folder in left)
