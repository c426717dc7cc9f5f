"""Raw files whose ids, times and sexes are written in other usual ways give the same tables, in every source that reads CSVs."""

import gzip
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from emerge_ehr.config import Config
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.fields import UserError
from emerge_ehr.storage import schema, table_files
from tests.datasets.sources.test_contract import WITH_FILES, config
from tests.examples import example
from tests.places import SHARED

TABLES = (schema.DYNAMIC, schema.STATIC, schema.LABEL, schema.COHORT, schema.NOTES)
OTHER_TIMES: tuple[Callable[[str], str], ...] = (
    lambda time: time.replace(" ", "T"),
    lambda time: time + ".000",
    lambda time: time.removesuffix(":00"),
    lambda time: f" {time} ",
)
TIMES_IN_UTC: tuple[Callable[[str], str], ...] = (
    lambda time: time + " UTC",
    lambda time: time.replace(" ", "T") + "Z",
    lambda time: time + "+00:00",
)
SEXES = {"F": "female", "M": "m", "Female": "f", "Male": "MALE", "": ""}
IDS = re.compile(
    r"(?i)_id$|^itemid$|^patientunitstayid$|^patienthealthsystemstayid$|offset$|^seq_num$|^icd_version$|_expire_flag$"
)
TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


def csvs(raw_dir: Path) -> list[Path]:
    return [path for path in sorted(raw_dir.rglob("*")) if path.name.lower().endswith((".csv", ".csv.gz"))]


def rewrite(path: Path, change: Callable[[str, list[str | None]], list[str | None]]) -> None:
    """Write the file again; ``change`` gets the name of a column and its texts."""
    table = pl.read_csv(path, infer_schema=False)
    columns = {name: change(name, table[name].to_list()) for name in table.columns}
    text = pl.DataFrame(columns, schema=dict.fromkeys(table.columns, pl.String)).write_csv().encode()
    path.write_bytes(gzip.compress(text, compresslevel=1) if path.suffix == ".gz" else text)


def as_floats(name: str, texts: list[str | None]) -> list[str | None]:
    if not IDS.search(name):
        return texts
    return [f" {text}.0 " if text and text.lstrip("-").isdigit() else text for text in texts]


def with_zeros(name: str, texts: list[str | None]) -> list[str | None]:
    return [f"00{text}" if IDS.search(name) and text and text.isdigit() else text for text in texts]


def respelt(texts: list[str | None], ways: tuple[Callable[[str], str], ...]) -> list[str | None]:
    return [ways[n % len(ways)](text) if text and TIME.fullmatch(text) else text for n, text in enumerate(texts)]


def other_times(name: str, texts: list[str | None]) -> list[str | None]:
    return respelt(texts, OTHER_TIMES)


def times_in_utc(name: str, texts: list[str | None]) -> list[str | None]:
    """All of them: a column in which only some state a zone is refused."""
    return respelt(texts, TIMES_IN_UTC)


def other_sexes(name: str, texts: list[str | None]) -> list[str | None]:
    return [SEXES.get(text or "", text) for text in texts] if name.lower() in ("gender", "sex") else texts


Tables = dict[str, list[tuple[object, ...]]]


def converted(made: Config) -> Tables:
    convert.run(made)
    return {table.file: table_files.read_table(made.table_dir, table).rows() for table in TABLES}


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Path], tuple[Config, Tables]]:
    """Copies the raw files of a source's example, which are made and converted once, into a folder; also gives the tables."""
    known: dict[str, tuple[Path, Tables]] = {}

    def copied(plug: str, folder: Path) -> tuple[Config, Tables]:
        if plug not in known:
            made = config(plug, tmp_path_factory.mktemp(plug))
            example("source", plug).raw_files(made.raw_dir)  # type: ignore[union-attr]
            known[plug] = made.raw_dir, converted(made)
        shutil.copytree(known[plug][0], folder / "raw")
        return config(plug, folder), known[plug][1]

    return copied


@pytest.mark.parametrize("change", [as_floats, with_zeros, other_times, times_in_utc, other_sexes])
@pytest.mark.parametrize("plug", WITH_FILES)
def test_another_usual_spelling_gives_the_same_tables(
    plug: str,
    change: Callable[[str, list[str | None]], list[str | None]],
    hospitals: Callable[[str, Path], tuple[Config, Tables]],
    tmp_path: Path,
) -> None:
    made, before = hospitals(plug, tmp_path)
    if not csvs(made.raw_dir) or plug == "synthetic":
        pytest.skip(f"'{plug}' reads no CSVs that others wrote")
    if plug == "tables" and change is with_zeros:
        pytest.skip("ids of a user's own tables are text, in which zeros may mean something")
    contents = {path: path.read_bytes() for path in csvs(made.raw_dir)}
    for path in contents:
        rewrite(path, change)
    if plug != "eicu" or change not in (other_times, times_in_utc):  # it has no dates
        assert contents != {path: path.read_bytes() for path in contents}
    assert converted(made) == before


FLAG = re.compile(r"(?i)^hospital_expire_flag$|^label_value$|^error$|^iserror$")


@pytest.mark.parametrize("spelt", ["{}.0", "{}.00", " {} ", "0{}"])
@pytest.mark.parametrize(("plug", "column"), [("mimic4", "flag"), ("mimic3", "flag"), ("tables", "label_value")])
def test_flags_of_outcomes_that_were_written_as_floats_are_the_same_outcomes(
    plug: str,
    column: str,
    spelt: str,
    hospitals: Callable[[str, Path], tuple[Config, Tables]],
    tmp_path: Path,
) -> None:
    made, before = hospitals(plug, tmp_path)
    changed = []

    def respelt(name: str, texts: list[str | None]) -> list[str | None]:
        if not FLAG.search(name):
            return texts
        changed.append(name.lower())
        return [spelt.format(text) if text else text for text in texts]

    for path in csvs(made.raw_dir):
        rewrite(path, respelt)
    assert any(name.endswith(column) for name in changed)
    after = converted(made)
    assert after == before and {row[3] for row in after[schema.LABEL.file]} == {0, 1}


REAL = {
    "mimic4": SHARED / "mimic-iv-demo-2.2",
    "mimic3": SHARED / "mimic-iii-demo-1.4-half",
    "eicu": SHARED / "eicu-crd-demo-2.0-half",
}


def as_floats_and_other_times(name: str, texts: list[str | None]) -> list[str | None]:
    return other_times(name, as_floats(name, texts))


@pytest.mark.slow
@pytest.mark.parametrize("plug", REAL)
def test_so_it_is_with_real_records(plug: str, tmp_path: Path) -> None:
    if not REAL[plug].is_dir():
        pytest.skip(f"there are no real records at {REAL[plug]}")
    made = config(plug, tmp_path)
    for path in csvs(REAL[plug]):
        target = made.raw_dir / path.relative_to(REAL[plug])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    before = converted(made)
    for path in csvs(made.raw_dir):
        if path.stem.partition(".")[0].lower() in (
            "chartevents",
            "labevents",
            "patient",
            "icustays",
            "admissions",
            "note",
        ):
            rewrite(path, as_floats_and_other_times)
    assert converted(made) == before


@pytest.mark.parametrize("text", ["2150-01-01 10:00:00+02:00", "noon", "01/02/2150 10:00"])
@pytest.mark.parametrize(
    ("plug", "file"),
    [("mimic4", "icu/chartevents"), ("mimic4", "hosp/labevents"), ("mimic3", "CHARTEVENTS"), ("mimic3", "LABEVENTS")],
)
def test_a_time_that_is_none_is_named_with_its_row_and_the_formats(
    plug: str, file: str, text: str, hospitals: Callable[[str, Path], tuple[Config, Tables]], tmp_path: Path
) -> None:
    made, _ = hospitals(plug, tmp_path)
    path = made.raw_dir / f"{file}.csv.gz"
    rewrite(path, lambda name, texts: [text] * len(texts) if name.lower() == "charttime" else texts)
    with pytest.raises(UserError) as caught:
        convert.run(made)
    told = str(caught.value)
    assert f"{path} row 2: charttime {text!r} is not a time" in told and "YYYY-MM-DD HH:MM:SS, also with T" in told
    assert "\n" not in told and "get the file again" not in told


@pytest.mark.parametrize("plug", ["mimic4", "mimic3", "eicu", "meds"])
def test_sexes_that_cannot_be_read_are_counted_and_told(
    plug: str, hospitals: Callable[[str, Path], tuple[Config, Tables]], tmp_path: Path
) -> None:
    made, _ = hospitals(plug, tmp_path)
    for path in csvs(made.raw_dir):
        rewrite(path, lambda name, texts: ["U"] * len(texts) if name.lower() == "gender" else texts)
    for path in made.raw_dir.rglob("*.parquet"):
        rows = pl.read_parquet(path)
        rows.with_columns(pl.col("code").str.replace("^GENDER//.*", "GENDER//U")).write_parquet(path)
    convert.run(made)
    record = json.loads((made.table_dir / schema.PROVENANCE).read_text())
    assert record["stays"]["stays whose sex is neither F nor M, taken as unknown"] > 0
    assert any("have a sex that is neither F nor M ('U')" in warning for warning in record["warnings"])
