"""The options of the generated hospital: the default's bytes never change, and an option changes what it says, nothing else."""

import gzip
import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from emerge_ehr.config import Download
from emerge_ehr.datasets.sources.synthetic import Options, build
from emerge_ehr.datasets.sources.synthetic.generate import generate
from emerge_ehr.fields import UserError
from tests.places import MAIN
from tests.small_hospital import CONFIG

CHARTED = {"icu/chartevents", "hosp/labevents"}
# Files that tell whether and when a patient died, and those that end with the stay or say how it ended
ENDS = {"hosp/admissions", "hosp/patients", "icu/icustays", "note/notes", "risk"} | CHARTED
EVERY: Mapping[str, Any] = {
    "interactions": 1.6,
    "falling_pressure": True,
    "informative_missingness": 0.5,
    "sampling": "irregular",
    "site": "b",
    "notes": "long",
    "death_times": "risk",
}
CHANGES = {
    "informative_missingness": CHARTED,
    "sampling": CHARTED,
    "notes": {"note/notes"},
    "death_times": ENDS,
}
# sha256 of the uncompressed files of 60 stays, as they were before there were options (first 12 digits)
BEFORE = {
    0: {
        "hosp/admissions": "26c33db90bac",
        "hosp/d_icd_diagnoses": "32fdc5feafb5",
        "hosp/d_icd_procedures": "77e090f80beb",
        "hosp/d_labitems": "6e7e8641b772",
        "hosp/diagnoses_icd": "adff7448ab28",
        "hosp/labevents": "bd5071a005b4",
        "hosp/patients": "1428b2e2f27e",
        "hosp/procedures_icd": "712050312fe2",
        "icu/chartevents": "eada184c2fa8",
        "icu/d_items": "d8ca11f2f44c",
        "icu/icustays": "a94031573b79",
        "note/notes": "73106209e751",
        "risk": "e156e653a974",
    },
    7: {
        "hosp/admissions": "a677dbb3b94b",
        "hosp/d_icd_diagnoses": "32fdc5feafb5",
        "hosp/d_icd_procedures": "77e090f80beb",
        "hosp/d_labitems": "6e7e8641b772",
        "hosp/diagnoses_icd": "837a35f5c16a",
        "hosp/labevents": "19a487360f71",
        "hosp/patients": "ba0e73fa86fb",
        "hosp/procedures_icd": "38d73323be37",
        "icu/chartevents": "4a9610d70fc5",
        "icu/d_items": "d8ca11f2f44c",
        "icu/icustays": "f4e546d8a518",
        "note/notes": "b0043112144e",
        "risk": "23bce6231ea1",
    },
}


def contents(folder: Path) -> dict[str, bytes]:
    """Each file's name and uncompressed content."""
    files = {str(path.relative_to(folder)).partition(".")[0]: path.read_bytes() for path in folder.rglob("*.csv*")}
    return {name: gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data for name, data in files.items()}


def generated(folder: Path, seed: int = 0, **options: Any) -> dict[str, bytes]:
    generate(folder, Options(60, **options), seed)
    return contents(folder)


@pytest.mark.parametrize("seed", sorted(BEFORE))
def test_the_default_hospital_is_the_same_to_the_byte_as_before_there_were_options(seed: int, tmp_path: Path) -> None:
    digests = {name: hashlib.sha256(data).hexdigest()[:12] for name, data in generated(tmp_path, seed).items()}
    assert digests == BEFORE[seed]


def test_with_all_options_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    first, again, other = (generated(tmp_path / name, seed, **EVERY) for name, seed in (("a", 3), ("b", 3), ("c", 4)))
    assert first == again
    assert all(first[name] != other[name] for name in ENDS)


@pytest.mark.parametrize("option", sorted(CHANGES))
def test_an_option_changes_only_the_files_that_it_is_about(option: str, tmp_path: Path) -> None:
    plain, changed = generated(tmp_path / "a"), generated(tmp_path / "b", **{option: EVERY[option]})
    assert {name for name in plain if plain[name] != changed[name]} == CHANGES[option]


@pytest.mark.parametrize("option", sorted(EVERY))
def test_a_hospital_of_another_option_is_never_taken_for_the_one_asked_for(option: str, tmp_path: Path) -> None:
    def source(options: Options) -> Any:
        return build(options, raw_dir=tmp_path / "raw", kg_dir=tmp_path / "kg", seed=1)

    plain, other = source(Options(30)), source(Options(30, **{option: EVERY[option]}))
    plain.download(Download(), offline=True)
    with pytest.raises(UserError, match=f"not generated with.*{option}"):
        other.inputs()
    other.download(Download(), offline=True)
    assert other.inputs()
    with pytest.raises(UserError, match="not generated with"):
        plain.inputs()


@pytest.mark.slow
def test_the_whole_pipeline_runs_on_a_hospital_with_every_option(tmp_path: Path) -> None:
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in EVERY.items())
    (tmp_path / "small.toml").write_text(CONFIG.replace("stays = 220\n", f"stays = 300\n{lines}"))
    command = [sys.executable, str(MAIN), "--config", "small.toml", "--stage", "all"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    records = pl.read_csv(tmp_path / "data/processed/synthetic/mortality/rag_records.csv", infer_schema=False)
    assert records.height > 250 and (records["nodes"].str.len_chars() > 2).mean() > 0.99  # type: ignore[operator]
    assert (tmp_path / "runs/small/report.html").is_file()
