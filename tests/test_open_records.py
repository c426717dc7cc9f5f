"""Records are open where the tables were made of verified files of an open data set alone; whatever else is there, and whatever
a config or a record beside the files is called, they are credentialed."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emerge_ehr import components, privacy
from emerge_ehr.compute import cluster
from emerge_ehr.config import Compute, Config, Llm, Paths
from emerge_ehr.datasets import sources
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.fetch.http_answers import RemoteFile
from emerge_ehr.fetch.record import DownloadRecord
from emerge_ehr.fields import Component, UserError
from emerge_ehr.llm.client import connect
from emerge_ehr.storage.artefacts import checksum, read_json, write_json
from emerge_ehr.storage.schema import PROVENANCE
from tests.examples import chosen, example
from tests.places import MAIN

DEMOS = {"mimic3": ("mimiciii-demo", "1.4"), "mimic4": ("mimic-iv-demo", "2.2"), "eicu": ("eicu-crd-demo", "2.0.1")}
ALL = ("download", "convert", "preprocess", "train", "report")
REMOTE = Llm(entity_backend="openai_compatible", api_base_url="https://api.example.org/v1", api_key_env="")
Spoil = Callable[[Config], Config | None]


def config_of(plug: str, folder: Path) -> Config:
    """The demo's config: raw files in ``folder/raw``, tables in ``folder/tables``; notes would go to another machine."""
    project, version = DEMOS[plug]
    options = {**chosen("source", plug).options, "project": project, "version": version}
    paths = Paths(raw_dir=folder / "raw", kg_dir=folder / "kg", table_dir=folder / "tables", cache_dir=folder / "cache")
    asks: dict[str, Any] = {"entities": Component("openai_compatible"), "llm": REMOTE}
    return Config(dataset="d", run_name="r", seed=0, paths=paths, source=Component(plug, options), **asks)


def verify(config: Config, project: str = "") -> None:
    """What ``download`` does with files that are there and fit the project's list."""
    name, version = config.source.options["project"], config.source.options["version"]
    record = DownloadRecord(config.raw_dir, project or name, version)
    for path in sources.chosen(config).inputs():
        there = path.relative_to(config.raw_dir).as_posix()
        assert record.adopt(RemoteFile(there, f"https://x/{there}", record.dataset, version, "sha256", checksum(path)))


@pytest.fixture(params=DEMOS)
def downloaded(request: pytest.FixtureRequest, tmp_path: Path) -> Config:
    """An open demo as it was downloaded, not yet converted."""
    config = config_of(request.param, tmp_path)
    example("source", request.param).raw_files(config.raw_dir)  # type: ignore[union-attr]
    verify(config)
    return config


def is_refused(config: Config, *stages: str) -> bool:
    """Whether the records are kept on this machine; what is asked about language models and clusters must agree."""
    afar = dataclasses.replace(config, compute=Compute(backend="ray", address="auto"))
    answers = set()
    for check, asked in ((privacy.check, config), (cluster.check, afar)):
        try:
            check(asked, stages)
        except UserError as error:
            assert "is credentialed" in str(error) and "\n" not in str(error)
            answers.add(True)
        else:
            answers.add(False)
    (answer,) = answers
    return answer


def test_tables_made_of_the_files_that_were_downloaded_are_open_even_when_the_files_are_gone(
    downloaded: Config,
) -> None:
    assert not is_refused(downloaded, *ALL) and not is_refused(downloaded, "convert", "preprocess")
    assert is_refused(downloaded) and is_refused(downloaded, "preprocess")  # there are no tables yet
    convert.run(downloaded)
    assert read_json(downloaded.table_dir / PROVENANCE, "convert")["inputs_open"] is True
    assert not privacy.credentialed(downloaded) and not is_refused(downloaded, "preprocess")
    record = connect(downloaded)
    assert record and record.metadata()["credentialed"] is False
    downloaded.raw_dir.rename(downloaded.raw_dir.with_name("elsewhere"))
    assert not privacy.credentialed(downloaded) and not is_refused(downloaded, *ALL)


def no_record(config: Config) -> None:
    (config.raw_dir / "download.json").unlink()


def only_a_list_of_checksums(config: Config) -> None:
    files = [path for path in config.raw_dir.rglob("*.csv*") if path.is_file()]
    lines = [f"{checksum(path)} {path.relative_to(config.raw_dir)}\n" for path in files]
    (config.raw_dir / "SHA256SUMS.txt").write_text("".join(lines))
    no_record(config)


def another_project_s_record(config: Config) -> None:
    no_record(config)
    verify(config, project="mimiciv")


def a_record_without_checksums(config: Config) -> None:
    path = config.raw_dir / "download.json"
    record = read_json(path, "download")
    record["files"] = {
        name: {"dataset": entry["dataset"], "version": entry["version"]} for name, entry in record["files"].items()
    }
    write_json(path, record)


def a_file_replaced(config: Config) -> None:
    example("source", config.source.name).change_after_window(config.raw_dir)  # type: ignore[union-attr]


def all_files_replaced_by_links_to_others(config: Config) -> None:
    elsewhere = config.raw_dir.with_name("full")
    config.raw_dir.rename(elsewhere)
    example("source", config.source.name).change_after_window(elsewhere)  # type: ignore[union-attr]
    config.raw_dir.mkdir()
    for path in elsewhere.iterdir():
        (config.raw_dir / path.name).symlink_to(path)


def the_record_of_a_demo_elsewhere(config: Config) -> None:
    record = (config.raw_dir / "download.json").read_bytes()
    a_file_replaced(config)
    (config.raw_dir / "download.json").write_bytes(record)


@pytest.mark.parametrize(
    "spoil",
    [
        no_record,
        only_a_list_of_checksums,
        another_project_s_record,
        a_record_without_checksums,
        a_file_replaced,
        all_files_replaced_by_links_to_others,
        the_record_of_a_demo_elsewhere,
    ],
)
def test_a_demos_name_opens_no_other_files(downloaded: Config, spoil: Spoil) -> None:
    spoil(downloaded)
    assert is_refused(downloaded, *ALL) and is_refused(downloaded, "convert", "preprocess")
    for alone in ("download", "convert", "train"):  # these send nothing, and may put things right
        assert not is_refused(downloaded, alone)
    convert.run(downloaded)
    assert privacy.credentialed(downloaded) and is_refused(downloaded, "preprocess") and is_refused(downloaded)
    with pytest.raises(UserError, match="is credentialed"):
        connect(downloaded)
    # The unmounted share: nothing is left of the raw files but the demo's name.
    downloaded.raw_dir.rename(downloaded.raw_dir.with_name("unmounted"))
    assert privacy.credentialed(downloaded) and is_refused(downloaded, *ALL)
    downloaded.raw_dir.mkdir()
    assert privacy.credentialed(downloaded) and is_refused(downloaded, *ALL)


@pytest.mark.parametrize("plug", ["mimic3", "mimic4"])
def test_notes_that_were_added_to_a_demo_close_it(plug: str, tmp_path: Path) -> None:
    config = config_of(plug, tmp_path)
    example("source", plug).raw_files(config.raw_dir)  # type: ignore[union-attr]
    verify(config)
    notes = tmp_path / "notes.csv"
    notes.write_text("subject_id,hadm_id,charttime,text\n1,2,2150-01-01 00:00:00,x\n")
    options = {**config.source.options, "notes_file": [str(notes)]}
    assert is_refused(dataclasses.replace(config, source=Component(plug, options)), *ALL)


def test_a_note_table_beside_a_demo_is_read_and_so_closes_it(tmp_path: Path) -> None:
    config = config_of("mimic4", tmp_path)
    example("source", "mimic4").raw_files(config.raw_dir)  # type: ignore[union-attr]
    for path in (config.raw_dir / "note").iterdir():
        path.rename(config.raw_dir / path.name)
    verify(config)
    assert not is_refused(config, *ALL)  # a file that is not read does no harm
    (config.raw_dir / "note" / "discharge.csv.gz").write_bytes((config.raw_dir / "notes.csv.gz").read_bytes())
    assert is_refused(config, *ALL)


def test_what_is_still_to_be_downloaded_counts_as_open_only_where_this_command_downloads_it(tmp_path: Path) -> None:
    config = config_of("mimic4", tmp_path)
    for makes in (lambda: None, config.raw_dir.mkdir):
        makes()
        assert not is_refused(config, *ALL)
        assert is_refused(config, "convert", "preprocess") and is_refused(config, "preprocess") and is_refused(config)
    (config.raw_dir / "icu").mkdir()
    (config.raw_dir / "icu" / "chartevents.csv.gz.part").write_bytes(b"half of a download that was stopped")
    assert not is_refused(config, *ALL)
    (config.raw_dir / "icu" / "icustays.csv.gz").write_bytes(b"of another hospital")
    assert is_refused(config, *ALL)
    full = dataclasses.replace(config, source=Component("mimic4"))
    assert is_refused(full, *ALL) and is_refused(full, "download") and is_refused(full, "train")


def test_a_record_that_was_edited_opens_no_tables_of_a_source_that_is_not_open(downloaded: Config) -> None:
    convert.run(downloaded)
    own = dataclasses.replace(downloaded, source=Component("tables"))  # "inputs_open" of its tables' record is true
    assert privacy.credentialed(own) and is_refused(own, "preprocess") and is_refused(own)


def without_record(config: Config) -> None:
    (config.table_dir / PROVENANCE).unlink()


def record_of_before(config: Config) -> None:
    path = config.table_dir / PROVENANCE
    write_json(path, {key: value for key, value in read_json(path, "convert").items() if key != "inputs_open"})


def damaged_record(config: Config) -> None:
    (config.table_dir / PROVENANCE).write_text("{")


def another_value(config: Config) -> None:
    path = config.table_dir / "static.csv"
    path.write_text(path.read_text() + "\n")


def other_parts(config: Config) -> None:
    dynamic = config.table_dir / "dynamic.csv"
    (config.table_dir / "dynamic").mkdir()
    dynamic.rename(config.table_dir / "dynamic" / "part-00000.parquet")


@pytest.mark.parametrize("spoil", [without_record, record_of_before, damaged_record, another_value, other_parts])
def test_tables_that_are_not_as_convert_wrote_them_are_credentialed(spoil: Spoil, tmp_path: Path) -> None:
    config = config_of("mimic4", tmp_path)
    example("source", "mimic4").raw_files(config.raw_dir)  # type: ignore[union-attr]
    verify(config)
    convert.run(config)
    assert not privacy.credentialed(config)
    spoil(config)
    assert privacy.credentialed(config) and is_refused(config, *ALL) and is_refused(config)


def test_artefacts_are_judged_by_the_tables_that_they_were_made_of(tmp_path: Path) -> None:
    config = config_of("mimic4", tmp_path)
    example("source", "mimic4").raw_files(config.raw_dir)  # type: ignore[union-attr]
    verify(config)
    convert.run(config)
    written = read_json(config.table_dir / PROVENANCE, "convert")["tables"]
    assert not privacy.credentialed(config, made_of={**written, "kg.csv": "0"})
    assert privacy.credentialed(config, made_of={**written, "notes.csv": "of other tables"})


def test_generated_files_are_open_and_files_put_in_their_place_are_not(tmp_path: Path) -> None:
    options = {"stays": 40}
    paths = Paths(raw_dir=tmp_path / "raw", kg_dir=tmp_path / "kg", table_dir=tmp_path / "tables")
    asks: dict[str, Any] = {"entities": Component("openai_compatible"), "llm": REMOTE}
    config = Config(dataset="d", run_name="r", paths=paths, source=Component("synthetic", options), **asks)
    assert not is_refused(config, *ALL)
    sources.chosen(config).download(config.download, offline=True)
    convert.run(config)
    assert not privacy.credentialed(config) and not is_refused(config)
    example("source", "mimic4").change_after_window(config.raw_dir)  # type: ignore[union-attr]
    convert.run(config)
    assert privacy.credentialed(config) and is_refused(config, *ALL)


@pytest.mark.parametrize("plug", components.names("source"))
def test_no_source_vouches_for_files_that_it_did_not_bring(plug: str, tmp_path: Path) -> None:
    given = chosen("source", plug)
    source = components.build("source", given, raw_dir=tmp_path / "raw", kg_dir=tmp_path / "kg", seed=0)
    assert source.open_files() == frozenset() and not sources.all_open(source, ["0" * 64])
    assert not sources.all_open(source, [])


def test_tables_of_an_unmounted_share_are_sent_nowhere(tmp_path: Path) -> None:
    config = config_of("mimic4", tmp_path)
    example("source", "mimic4").raw_files(config.raw_dir)  # type: ignore[union-attr]
    convert.run(dataclasses.replace(config, dataset="full"))
    config.raw_dir.rename(tmp_path / "unmounted")
    (tmp_path / "c.toml").write_text(
        'dataset = "full"\nrun_name = "r"\n[paths]\nraw_dir = "raw"\ntable_dir = "tables"\n[source]\nname = "mimic4"\n'
        'project = "mimic-iv-demo"\nversion = "2.2"\n[llm]\nsummary_backend = "openai_compatible"\n'
        'api_base_url = "https://api.example.org/v1"\n'
    )
    command = [sys.executable, str(MAIN), "--config", "c.toml", "--stage", "preprocess"]
    environment = {**os.environ, "DEEPSEEK_API_KEY": "key"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "api.example.org is another machine and dataset 'full' is credentialed" in done.stderr
    assert "does not say that they were made of verified files" in done.stderr
    assert not (tmp_path / "data").exists()


def test_the_record_of_downloads_keeps_what_json_it_holds(tmp_path: Path) -> None:
    content = {"files": {"a.csv": {"dataset": "mimic-iv-demo"}, "b.csv": 3, "c.csv": {"dataset": "x"}}, "listings": {}}
    (tmp_path / "download.json").write_text(json.dumps(content))
    assert DownloadRecord(tmp_path, "mimic-iv-demo").entries() == [{"dataset": "mimic-iv-demo"}]
