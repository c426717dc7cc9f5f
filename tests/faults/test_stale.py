"""Artefacts made of other files, settings or code than the next stage would have them made of are not mixed in silence.

The stages are called in this process on a copy of the finished pipeline; whatever is changed is changed in the copy.
"""

import contextlib
import dataclasses
import gzip
import importlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emerge_ehr.compute import kept
from emerge_ehr.config import Cohort, Config, Linking, Llm, load
from emerge_ehr.decides import statements
from emerge_ehr.fields import Component, UserError
from emerge_ehr.llm.client import connect
from emerge_ehr.preprocess import evidence
from emerge_ehr.preprocess import run as preprocess
from emerge_ehr.preprocess.inputs import converted
from emerge_ehr.rag.entities import rules
from emerge_ehr.stages import PIPELINE
from emerge_ehr.storage import artefacts, schema
from emerge_ehr.training import inputs, trained
from tests.faults.conftest import TALLY, Hospital, made
from tests.other_values import changed

TABLES, PROCESSED, RUN = "data/tables/synthetic/mortality", "data/processed/synthetic/mortality", "runs/small"
Change = Callable[[Path], None]


@pytest.fixture
def work(hospital: Hospital, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished pipeline, which is the current folder."""
    folder = hospital.whole(tmp_path)
    monkeypatch.chdir(folder)
    return folder


def run(stage: str, **changed: Any) -> None:
    importlib.import_module(PIPELINE[stage]).run(dataclasses.replace(load(Path("small.toml")), **changed))


def refused(stage: str, expected: str, **changed: Any) -> None:
    with pytest.raises(UserError, match=expected) as caught:
        run(stage, **changed)
    assert "\n" not in str(caught.value)
    TALLY["stale artefacts noticed"] += 1


def append(path: str, text: str) -> Change:
    def change(folder: Path) -> None:
        file = folder / path
        more = text.encode()
        file.write_bytes(file.read_bytes() + (gzip.compress(more) if path.endswith(".gz") else more))

    return change


def record(path: str, **values: Any) -> Change:
    def change(folder: Path) -> None:
        artefacts.write_json(folder / path, {**json.loads((folder / path).read_text()), **values})

    return change


@dataclasses.dataclass(frozen=True)
class Made:
    """What the stages recorded of the finished pipeline, and the config they ran with."""

    config: Config
    provenance: dict[str, Any]
    metadata: dict[str, Any]


@pytest.fixture(scope="module")
def recorded(hospital: Hospital) -> Made:
    """As if the texts were a language model's, so that its settings are recorded too."""
    config = load(hospital.folder / "small.toml")
    asking = dataclasses.replace(config, entities=Component("openai_compatible"), llm=Llm(api_base_url=NOBODY))
    chat = connect(asking, dry=True)
    assert chat is not None
    provenance, metadata = (
        json.loads((hospital.folder / path).read_text())
        for path in (f"{TABLES}/provenance.json", f"{PROCESSED}/metadata.json")
    )
    return Made(config, provenance, {**metadata, "llm": chat.metadata()})


SETTINGS = statements(Config)
NOBODY = "http://127.0.0.1:9/v1"


@pytest.mark.parametrize("key", SETTINGS)
def test_a_stage_refuses_what_another_value_made_exactly_where_the_setting_says_so(recorded: Made, key: str) -> None:
    first = SETTINGS[key].first if SETTINGS[key].compared else None
    config, section = changed(recorded.config, key), key.partition(".")[0]
    with refusal(rf"converted with other \[{section}\].*--stage convert again", first == "tables"):
        converted.refuse_other_settings(Path(TABLES), recorded.provenance, config)
    named = key if section == "llm" else section
    with refusal(rf"made with other \[{named}\].*--stage preprocess again", first in ("tables", "artefacts")):
        inputs.refuse_other_settings(config, recorded.metadata)


def refusal(expected: str, refused: bool) -> contextlib.AbstractContextManager[Any]:
    return pytest.raises(UserError, match=expected) if refused else contextlib.nullcontext()


def test_artefacts_older_than_a_setting_of_the_language_model_were_made_with_its_default(recorded: Made) -> None:
    llm = {key: made for key, made in recorded.metadata["llm"].items() if key != "fallback_to_rules"}
    inputs.refuse_other_settings(recorded.config, {**recorded.metadata, "llm": llm})
    with pytest.raises(UserError, match=r"other \[llm.fallback_to_rules\]"):
        inputs.refuse_other_settings(
            changed(recorded.config, "llm.fallback_to_rules"), {**recorded.metadata, "llm": llm}
        )


def test_artefacts_older_than_a_section_that_decides_them_are_made_again(recorded: Made) -> None:
    older = {section: made for section, made in recorded.metadata["settings"].items() if section != "retrieval"}
    with pytest.raises(UserError, match=r"other \[retrieval\] settings"):
        inputs.refuse_other_settings(recorded.config, {**recorded.metadata, "settings": older})


PLACES = {"table_dir": Path(TABLES), "processed_dir": Path(PROCESSED)}


@pytest.mark.parametrize(
    ("stage", "section", "other", "remedy"),
    [
        ("preprocess", "source", Component("synthetic", {"stays": 221}), "convert"),
        ("preprocess", "cohort", Cohort(min_age=60), "convert"),
        ("train", "task", Component("readmission"), "preprocess"),
        ("train", "linking", Linking(threshold=0.9), "preprocess"),
    ],
)
def test_a_stage_does_not_start_on_what_other_settings_made(
    work: Path, stage: str, section: str, other: object, remedy: str
) -> None:
    del work
    paths = dataclasses.replace(load(Path("small.toml")).paths, **PLACES)
    refused(stage, rf"{section}.*run --stage {remedy} again", paths=paths, **{section: other})


@pytest.mark.parametrize("stage", ["preprocess", "train"])
def test_artefacts_of_another_dataset_are_refused(work: Path, stage: str) -> None:
    del work
    paths = dataclasses.replace(load(Path("small.toml")).paths, table_dir=Path(TABLES), processed_dir=Path(PROCESSED))
    refused(stage, "made of dataset 'synthetic', the config says 'other'", paths=paths, dataset="other")


CONVERT, PREPROCESS = (f"{name} read it; run --stage {name}" for name in ("convert", "preprocess"))
CHANGED_FILES = {
    "raw records since convert": ("preprocess", "data/raw/synthetic/icu/chartevents.csv.gz", "\n", CONVERT),
    "raw notes since convert": ("preprocess", "data/raw/synthetic/note/notes.csv.gz", "\n", CONVERT),
    "a table since convert": ("preprocess", f"{TABLES}/notes.csv", "\n", "changed since --stage convert wrote it"),
    "a table since preprocess": ("train", f"{TABLES}/static.csv", "\n", PREPROCESS),
    "the graph since preprocess": ("train", "data/kg/synthetic/kg.csv", "\n", PREPROCESS),
    "an array since preprocess": ("train", f"{PROCESSED}/emerge_dataset.npz", "x", "run that stage again"),
    "the split since preprocess": ("train", f"{PROCESSED}/split.json", "\n", "run that stage again"),
    "what was fitted since preprocess": ("train", f"{PROCESSED}/fitted/statistics.npz", "x", "run that stage again"),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGED_FILES)
def test_a_file_changed_since_the_stage_that_read_or_wrote_it_is_named(work: Path, case: str) -> None:
    stage, path, text, expected = CHANGED_FILES[case]
    append(path, text)(work)
    refused(stage, rf"{path}: .*{expected}")


def test_a_file_that_an_option_names_is_an_input_like_the_tables(work: Path) -> None:
    del work
    terms = Path("terms.csv")
    terms.write_bytes(rules.TERMS.read_bytes())
    entities = Component("rules", {"terms_file": "terms.csv"})
    config = dataclasses.replace(load(Path("small.toml")), entities=entities)
    run("preprocess", entities=entities)
    run("train", entities=entities)
    before = kept.of_run(config, preprocess.made_of(config, evidence.graph(config)))
    terms.write_text("".join(terms.read_text().splitlines(keepends=True)[:12]))
    assert kept.of_run(config, preprocess.made_of(config, evidence.graph(config))) != before
    refused("train", "terms.csv: changed since --stage preprocess read it", entities=entities)


def test_a_second_convert_with_other_settings_makes_train_ask_for_preprocess(work: Path) -> None:
    changed = {"cohort": Cohort(min_age=60)}
    run("convert", **changed)
    refused("train", r"made with other \[cohort\] settings", **changed)
    refused("train", r"(cohort|static|dynamic|label|notes)\.csv: changed since --stage preprocess read it")
    run("preprocess", **changed)
    run("train", **changed)
    assert trained.load(work / RUN).config.cohort.min_age == 60


def test_raw_files_and_tables_that_are_not_here_any_more_are_not_missed(work: Path, hospital: Hospital) -> None:
    for path in (work / "data/raw").rglob("*.csv.gz"):
        path.unlink()
    run("preprocess")
    for name in ("data/kg", TABLES):
        for path in (work / name).rglob("*.csv"):
            path.unlink()
    run("train")
    assert made(work, "train") == hospital.after("train")


FORMATS: dict[str, tuple[Callable[[], Any], Change]] = {
    "tables": (lambda: run("preprocess"), record(f"{TABLES}/provenance.json", format=schema.TABLES_FORMAT - 1)),
    "artefacts": (lambda: run("train"), record(f"{PROCESSED}/metadata.json", format=schema.ARTEFACTS_FORMAT + 1)),
    "run": (lambda: trained.load(Path(RUN)), record(f"{RUN}/manifest.json", format=None)),
}


@pytest.mark.parametrize("what", FORMATS)
def test_what_another_version_of_the_program_made_is_refused(work: Path, what: str) -> None:
    use, change = FORMATS[what]
    use()
    change(work)
    with pytest.raises(UserError, match=r"json: made by another version of this program; run --stage \w+ again"):
        use()
    TALLY["stale artefacts noticed"] += 1


@pytest.mark.parametrize("name", FORMATS)
def test_raising_a_format_makes_the_next_stage_refuse_what_was_made_before(
    work: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del work
    monkeypatch.setattr(schema, f"{name.upper()}_FORMAT", 1_000)
    with pytest.raises(UserError, match="made by another version"):
        FORMATS[name][0]()


def test_the_formats_are_part_of_what_a_run_is_resumed_by(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = json.loads((work / RUN / "manifest.json").read_text())
    assert manifest["format"] == schema.RUN_FORMAT and manifest["artefacts_format"] == schema.ARTEFACTS_FORMAT
    monkeypatch.setattr(schema, "RUN_FORMAT", 1_000)
    refused("train", "holds a finished run of other settings, data or library versions", resume=True)


def test_another_seed_for_training_alone_is_allowed_and_said(work: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    run("train", seed=7)
    assert "seed 7 trains on the split that seed 42 drew" in caplog.text
    assert json.loads((work / RUN / "manifest.json").read_text())["split_seed"] == 42
    caplog.clear()
    run("train", seeds=(7,))
    assert "trains on the split" not in caplog.text


def test_another_seed_makes_another_split(work: Path, hospital: Hospital) -> None:
    run("preprocess", seed=7)
    assert json.loads((work / PROCESSED / "split.json").read_text())["seed"] == 7
    assert made(work, "preprocess") != hospital.after("preprocess")
