"""Treatments on their way from the table into the artefacts: checked, cut at landmarks, and nowhere unless they are asked for."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from emerge_ehr.config import Config, load
from emerge_ehr.fields import UserError
from emerge_ehr.preprocess import run as preprocess
from emerge_ehr.preprocess.inputs import landmarks
from emerge_ehr.rag import records_file
from emerge_ehr.storage import artefacts, schema
from tests import dated_tables, in_process, treated_hospital

Once = Callable[[str, Callable[[Path], None]], Path]


@pytest.fixture(scope="module")
def made(mini_graph: Path, once: Once) -> Path:
    return treated_hospital.made(mini_graph, once)


def config(made: Path, name: str) -> Config:
    """The config "on" or "off" of the same hospital, with treatments and without, with all paths in full."""
    loaded = load(made / f"{name}.toml")
    paths = replace(
        loaded.paths,
        raw_dir=made / "raw",
        table_dir=made / "data" / "tables" / "own" / "given",
        processed_dir=made / "data" / "processed" / "own" / "given",
    )
    return replace(loaded, paths=paths)


def copied(made: Path, folder: Path, *left_out: str) -> None:
    """Copy the hospital's tables as a user's own."""
    folder.mkdir(exist_ok=True)
    for path in config(made, "on").table_dir.iterdir():
        if path.name not in (schema.PROVENANCE, *left_out):
            (folder / path.name).write_bytes(path.read_bytes())


def test_a_drug_that_the_graph_holds_contraindicated_is_in_record_and_summary(made: Path) -> None:
    records = {record.patient_id: record for record in records_file.read(config(made, "on").processed_dir)}
    treated = [record for record in records.values() if any(drug.name == "metoprolol" for drug in record.treatments)]
    assert len(treated) == 12
    told = "Metoprolol, prescribed, is contraindicated in third-degree atrioventricular block by the knowledge graph."
    for record in records.values():
        against = record in treated and bool(record.nodes)
        assert bool(record.contraindications) == against == (told in record.summary)
        assert record.faithfulness.supported == 1.0
    assert sum(bool(record.contraindications) for record in records.values()) == 6
    metadata = artefacts.read_json(config(made, "on").processed_dir / schema.METADATA, "preprocess")
    counted = {"contraindications": 6, "samples_with_treatments": 24, "drugs_linked": 1, "names_of_no_drug": 1}
    assert counted.items() <= metadata["rag"].items()


def test_treatments_that_are_not_asked_for_change_nothing(made: Path, tmp_path: Path) -> None:
    """The file in the tables' folder is told, and no byte of the artefacts but the record of the inputs tells of it."""
    off, tables = config(made, "off"), tmp_path / "tables"
    copied(made, tables, schema.TREATMENTS.file)
    for name in ("plain", "stray"):
        preprocess.run(replace(off, paths=replace(off.paths, table_dir=tables, processed_dir=tmp_path / name)))
        copied(made, tables)
    for path in (tmp_path / "plain").rglob("*"):
        if path.is_file() and path.name != schema.METADATA:
            assert path.read_bytes() == (tmp_path / "stray" / path.relative_to(tmp_path / "plain")).read_bytes(), path
    plain, stray_ = (json.loads((tmp_path / name / schema.METADATA).read_text()) for name in ("plain", "stray"))
    assert plain["rag"] == stray_["rag"] and not {"contraindications", "drugs_linked"} & plain["rag"].keys()
    assert not set(records_file.OPTIONAL) & set(
        (tmp_path / "plain" / schema.RAG_RECORDS).read_text().partition("\n")[0].split(",")
    )
    assert any("treatments.csv is not read" in warning for warning in stray_["warnings"])


def test_tables_with_treatments_are_not_read_by_a_config_without_them(made: Path) -> None:
    with pytest.raises(UserError, match=r"converted with other \[source\] settings"):
        preprocess.run(config(made, "off"))


def test_train_notices_that_the_treatments_have_changed(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "copy")
    table = tmp_path / "copy" / config(made, "on").table_dir.relative_to(made) / schema.TREATMENTS.file
    table.write_bytes(table.read_bytes().replace(b"Senna", b"Sennb"))
    done = in_process.run(tmp_path / "copy", "--stage", "train", "--config", "on.toml")
    assert done.returncode == 2 and "treatments.csv" in done.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start_time": "1999-01-01 00:00:00"}, "1 row with a start_time outside the observation window"),
        ({"end_time": "2999-01-01 00:00:00"}, "1 row with a end_time outside the observation window"),
        ({"patient_id": "77777"}, "patient_id '77777' is not in cohort.csv"),
        ({"drug": ""}, "row 2: drug is empty"),
        ({"start_time": "noon"}, "row 2: start_time 'noon' is not a time"),
    ],
)
def test_own_tables_with_treatments_that_do_not_fit_are_refused(
    made: Path, tmp_path: Path, change: dict[str, str], message: str
) -> None:
    on = config(made, "on")
    copied(made, tmp_path)
    table = tmp_path / schema.TREATMENTS.file
    rows = dated_tables.read(table)
    dated_tables.write(table, [{**rows[0], **change}, *rows[1:]])
    with pytest.raises(UserError) as error:
        preprocess.run(replace(on, paths=replace(on.paths, table_dir=tmp_path, processed_dir=tmp_path / "out")))
    assert message in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "out" / schema.METADATA).exists()


def test_without_the_table_preprocess_says_what_is_missing(made: Path, tmp_path: Path) -> None:
    on = config(made, "on")
    copied(made, tmp_path, schema.TREATMENTS.file)
    with pytest.raises(UserError, match=r"treatments\.csv: missing; run --stage convert"):
        preprocess.run(replace(on, paths=replace(on.paths, table_dir=tmp_path, processed_dir=tmp_path / "out")))


def test_a_sample_at_a_landmark_has_what_was_begun_before_it_and_no_end_after_it() -> None:
    start = datetime(2150, 1, 1)
    hour = timedelta(hours=1)
    cohort = pl.DataFrame({"patient_id": ["7"], "window_start": [start], "window_end": [start + 24 * hour]})
    given = pl.DataFrame(
        {
            "patient_id": ["7"] * 3,
            "start_time": [start + n * hour for n in (1, 6, 11)],
            "end_time": [start + 8 * hour, None, start + 12 * hour],
            "drug": ["a", "b", "c"],
        }
    )
    found = landmarks.treatments(given, landmarks.samples(cohort, (6, 12, 24)))
    assert found.columns == given.columns
    assert found.select("patient_id", "drug", "end_time").sort("patient_id", "drug").rows() == [
        ("7@06h", "a", None),
        ("7@12h", "a", start + 8 * hour),
        ("7@12h", "b", None),
        ("7@12h", "c", None),
        ("7@24h", "a", start + 8 * hour),
        ("7@24h", "b", None),
        ("7@24h", "c", start + 12 * hour),
    ]
