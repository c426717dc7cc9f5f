"""The finished pipeline that is damaged: a generated hospital read as MIMIC-IV, its tables as a user's own, and a run."""

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from emerge_ehr.cli import main
from emerge_ehr.storage import table_files
from emerge_ehr.storage.schema import DYNAMIC
from emerge_ehr.training import results
from tests.datasets.sources.examples import eicu, meds, mimic3, tables

SETTINGS = """
[cohort]
min_stay_hours = 48.0
[model]
hidden_size = 8
heads = 2
experts = []
[training]
members = 1
max_epochs = 2
bootstrap_resamples = 20
accelerator = "cpu"
"""
SYNTHETIC = """
dataset = "synthetic"
run_name = "synthetic"
[paths]
raw_dir = "raw"
kg_dir = "kg"
[source]
name = "synthetic"
stays = 90
[download]
primekg = "none"
"""
MIMIC4 = """
dataset = "mimic4"
run_name = "mimic4"
[paths]
raw_dir = "raw"
kg_dir = "kg"
table_dir = "tables"
processed_dir = "processed"
run_dir = "run"
[source]
name = "mimic4"
notes_file = ["raw/note/notes.csv.gz"]
[download]
primekg = "none"
"""
OWN = MIMIC4.replace('"mimic4"', '"own"', 2).replace('"tables"', '"own"')
PARTS = MIMIC4.replace('"mimic4"', '"own"', 2).replace('"tables"', '"parts"')
STOPPED = (
    MIMIC4.replace('"run"', '"stopped"').replace('= "mimic4"', '= "stopped"', 2).replace('"stopped"', '"mimic4"', 1)
)
LLM = (
    MIMIC4
    + """
[llm]
entity_backend = "openai_compatible"
api_base_url = "http://127.0.0.1:9/v1"
"""
)
OTHERS = {
    "mimic3": 'name = "mimic3"',
    "eicu": 'name = "eicu"',
    "meds": 'name = "meds"\nsignals = { heart_rate = ["HR"] }',
    "tables": 'name = "tables"\n[task]\nname = "given"',
}
STAGES = (("synthetic", "download"), *(("mimic4", stage) for stage in ("convert", "preprocess", "train", "audit")))


def build(folder: Path) -> None:
    """In ``folder``, which is the current one."""
    known = {"synthetic": SYNTHETIC, "mimic4": MIMIC4, "own": OWN, "parts": PARTS, "stopped": STOPPED, "llm": LLM}
    for name, text in known.items():
        (folder / f"{name}.toml").write_text(text + SETTINGS)
    for name, stage in STAGES:
        assert main(["--config", f"{name}.toml", "--stage", stage]) == 0, (name, stage)
    shutil.copytree(folder / "tables", folder / "own")
    (folder / "own" / "provenance.json").unlink()
    shutil.copytree(folder / "own", folder / "parts")
    in_parts(folder / "parts")
    with pytest.MonkeyPatch().context() as patch:
        patch.setattr(results, "evaluate", _interrupted)
        assert main(["--config", "stopped.toml", "--stage", "train"]) == 130
    other_sources(folder)


def in_parts(folder: Path) -> None:
    """The measurements as two parts instead of a CSV."""
    rows = table_files.read_table(folder, DYNAMIC)
    (folder / "dynamic.csv").unlink()
    (folder / "dynamic").mkdir()
    for name, part in (("a", rows.head(2000)), ("b", rows.tail(-2000))):
        part.write_parquet(folder / "dynamic" / f"{name}.parquet")


def _interrupted(*arguments: object) -> None:
    raise KeyboardInterrupt


def other_sources(folder: Path) -> None:
    """Small hospitals in the other layouts, converted."""
    mimic3.write(folder / "mimic3", mimic3.generated())
    (folder / "eicu").mkdir()
    eicu.hospital(folder / "eicu")
    rows = [row for person in range(1, 5) for row in _meds_person(person)]
    meds.write(folder / "meds", rows)
    tables.generate(folder / "tables_source")
    for name, source in OTHERS.items():
        raw = "tables_source" if name == "tables" else name
        paths = f'[paths]\nraw_dir = "{raw}"\ntable_dir = "of_{name}"'
        text = f'dataset = "{name}"\nrun_name = "{name}"\n{paths}\n[source]\n{source}\n'
        (folder / f"{name}.toml").write_text(text)
        assert main(["--config", f"{name}.toml", "--stage", "convert"]) == 0, name


def _meds_person(subject: int) -> list[meds.Row]:
    measured = [(subject, meds.START + timedelta(minutes=37 * n), "HR", 60.0 + n) for n in range(80)]
    *stay, (_, left, _) = meds.person(subject)
    return [*stay, (subject, left, f"HOSPITAL_DISCHARGE//{'DIED' if subject == 1 else 'HOME'}"), *measured]
