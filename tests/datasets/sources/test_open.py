"""Which options name data that anybody may have: PhysioNet's demos, and what is made up (tests/test_open_records.py)."""

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
        ("omop", {}, False),
        ("tables", {}, False),
        ("synthetic", {}, True),
    ],
)
def test_which_options_name_open_data_and_no_other(
    name: str, options: dict[str, Any], expected: bool, tmp_path: Path
) -> None:
    assert is_open(name, tmp_path / "raw", **options) is expected
