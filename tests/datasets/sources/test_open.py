"""Which of our sources hold data that anybody may have: PhysioNet's demos as they were downloaded, and what is made up."""

import json
from pathlib import Path
from typing import Any

import pytest

from emerge_ehr import components
from emerge_ehr.fields import Component

DEMO = {"project": "mimic-iv-demo", "version": "2.2"}


def is_open(name: str, raw_dir: Path, **options: Any) -> bool:
    source = components.build("source", Component(name, options), raw_dir=raw_dir, kg_dir=raw_dir, seed=0)
    return bool(source.is_open())


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("mimic4", {}, False),
        ("mimic4", {"project": "mimiciv", "version": "3.1"}, False),
        ("mimic4", DEMO, True),
        ("mimic4", {**DEMO, "notes_file": ["notes.csv"]}, False),
        ("mimic3", {}, False),
        ("mimic3", {"project": "mimiciii-demo"}, True),
        ("eicu", {}, False),
        ("eicu", {"project": "eicu-crd-demo"}, True),
        ("meds", {"signals": {}}, False),
        ("tables", {}, False),
        ("synthetic", {}, True),
    ],
)
def test_what_is_open_before_anything_is_downloaded(
    name: str, options: dict[str, Any], expected: bool, tmp_path: Path
) -> None:
    assert is_open(name, tmp_path / "raw", **options) is expected


def test_a_demos_name_left_in_the_config_does_not_open_other_records(tmp_path: Path) -> None:
    assert is_open("mimic4", tmp_path, **DEMO)  # still to be downloaded
    (tmp_path / "hosp").mkdir()
    assert not is_open("mimic4", tmp_path, **DEMO)  # came some other way
    record = {"files": {"hosp/patients.csv.gz": {"dataset": "mimic-iv-demo"}}, "listings": {}}
    (tmp_path / "download.json").write_text(json.dumps(record))
    assert is_open("mimic4", tmp_path, **DEMO)
    (tmp_path / "note").mkdir()
    (tmp_path / "note" / "discharge.csv.gz").touch()
    assert not is_open("mimic4", tmp_path, **DEMO)
