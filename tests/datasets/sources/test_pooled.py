"""Source pooled: every site's records are those that its own source gives, under ids that begin with the site's name."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from emerge_ehr import components, privacy
from emerge_ehr.config import Config, Paths
from emerge_ehr.datasets import sources
from emerge_ehr.datasets.convert import run as convert
from emerge_ehr.evaluation import subgroups
from emerge_ehr.fields import Component, UserError
from emerge_ehr.preprocess.inputs import tables
from emerge_ehr.storage import schema
from tests.datasets.sources.examples import pooled
from tests.datasets.sources.examples import tables as own_tables

SITES: dict[str, Any] = pooled.OPTIONS["sites"]


def config(folder: Path, source: Component, task: str = "mortality", raw: str = "") -> Config:
    paths = Paths(raw_dir=folder / "raw" / raw, kg_dir=folder / "kg", table_dir=folder / "tables" / source.name / raw)
    return Config(dataset="d", run_name="r", seed=0, paths=paths, source=source, task=Component(task))


def of(sites: dict[str, Any], **more: Any) -> Component:
    return Component("pooled", {"sites": sites, **more})


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pooled")
    pooled.raw_files(folder / "raw")
    return folder


@pytest.fixture(scope="module")
def both(hospitals: Path) -> Config:
    made = config(hospitals, of(SITES))
    convert.run(made)
    return made


def rows(folder: Path, table: schema.Table) -> pl.DataFrame:
    return pl.read_csv(folder / table.file, infer_schema=False)


@pytest.mark.parametrize("site", SITES)
def test_a_sites_rows_are_those_of_the_site_converted_alone(both: Config, hospitals: Path, site: str) -> None:
    alone = config(hospitals, components_of(SITES[site]), raw=SITES[site]["raw_dir"])
    convert.run(dataclasses.replace(alone, seed=SITES[site].get("seed", 0)))
    for table in schema.TABLES:
        here, there = rows(both.table_dir, table), rows(alone.table_dir, table)
        mine = here.filter(pl.col("patient_id").str.starts_with(f"{site}-"))
        ids = [name for name in ("patient_id", "subject_id", "hadm_id", "stay_id") if name in mine.columns]
        mine = mine.with_columns(pl.col(name).str.strip_prefix(f"{site}-") for name in ids)
        if table is schema.STATIC:
            assert set(mine["site"]) == {site} and "site" not in there.columns
            mine = mine.drop("site")
        assert mine.height and mine.sort(mine.columns).equals(there.sort(there.columns)), table.file


def components_of(site: dict[str, Any]) -> Component:
    source = site["source"]
    if isinstance(source, str):
        return Component(source)
    return Component(source["name"], {key: value for key, value in source.items() if key != "name"})


def test_all_patients_are_of_a_site_and_the_site_is_a_subgroup(both: Config) -> None:
    cohort = tables.patients(tables.persons(both.table_dir))
    assert set(subgroups.groups(cohort)["site"]) == set(SITES)
    told = json.loads((both.table_dir / schema.PROVENANCE).read_text("utf-8"))
    assert {key.rpartition(" ")[2] for key in told["notes"]["counts"]} == {"(north)", "(south)"}
    files = told["inputs"]
    assert sum(name.endswith("chartevents.csv.gz") for name in files) == 2  # one of each hospital


def test_it_is_open_only_if_every_site_is(both: Config) -> None:
    assert not sources.chosen(both).is_open()  # MIMIC-IV, put in place by hand
    generated = {"source": {"name": "synthetic", "stays": 60}, "raw_dir": "south", "seed": 9}
    two = dataclasses.replace(both, source=of({"a": generated, "b": generated}))
    assert sources.chosen(two).is_open() and sources.chosen(two).open_files()
    assert privacy.credentialed(both)


def test_signals_of_all_sites_are_features_and_a_code_of_two_meanings_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "raw" / name).mkdir(parents=True)
        own_tables.generate(tmp_path / "raw" / name)
    b = tmp_path / "raw" / "b" / "dynamic.csv"
    b.write_text(b.read_text().replace(",lactate,", ",lactic_acid,"))
    sites = {name: {"source": {"name": "tables"}, "raw_dir": name} for name in ("a", "b")}
    source = sources.chosen(config(tmp_path, of(sites), "given"))
    assert {"glucose", "lactate", "lactic_acid"} <= {signal.name for signal in source.signals()}
    sites["b"]["source"] = {"name": "tables", "units": {"glucose": "mg/dL"}}
    with pytest.raises(UserError, match="'glucose' is not the same at a and b") as error:
        sources.chosen(config(tmp_path, of(sites), "given")).signals()
    assert "mg/dL" in str(error.value)


def test_sites_of_one_population_are_refused_unless_it_is_allowed_and_told(hospitals: Path) -> None:
    sites = {"old": {"source": "mimic3", "raw_dir": "x"}, "new": {"source": "mimic4", "raw_dir": "north"}}
    with pytest.raises(UserError, match=r"old and new hold persons of .*mimic3-carevue") as error:
        sources.chosen(config(hospitals, of(sites)))
    assert "\n" not in str(error.value)
    subset = {**sites, "old": {"source": {"name": "mimic3", "project": "mimic3-carevue"}, "raw_dir": "x"}}
    sources.chosen(config(hospitals, of(subset)))
    twice = {"new": sites["new"], "south": SITES["south"], "again": sites["new"]}
    allowed = sources.chosen(config(hospitals, of(twice, shared_persons=True))).stays()
    assert "new and again hold persons" in allowed.warnings[0]


WRONG = {
    "one site": ({"a": SITES["north"]}, "fewer than two sites"),
    "a name that cannot begin an id": ({"a-1": SITES["north"], "b": SITES["south"]}, "'a-1': a site's name"),
    "a misspelt key": (
        {"a": {"sorce": "mimic4", "raw_dir": "a"}, "b": SITES["south"]},
        "did you mean 'sites.a.source'",
    ),
    "no folder": ({"a": {"source": "mimic4"}, "b": SITES["south"]}, "sites.a.raw_dir' is missing"),
    "an unknown source": ({"a": {"source": "mimic5", "raw_dir": "a"}, "b": SITES["south"]}, "mimic5"),
    "an unknown option": (
        {"a": {"source": {"name": "mimic4", "stays": 3}, "raw_dir": "a"}, "b": SITES["south"]},
        "stays",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_site_is_told_in_one_line(wrong: str, tmp_path: Path) -> None:
    sites, told = WRONG[wrong]
    with pytest.raises(UserError) as error:
        sources.chosen(config(tmp_path, of(sites)))
    assert told in str(error.value) and "\n" not in str(error.value)


def test_a_site_that_lacks_records_is_named(hospitals: Path, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    own_tables.generate(tmp_path / "own")
    sites = {"north": SITES["north"], "ward": {"source": "tables", "raw_dir": str(tmp_path / "own")}}
    with pytest.raises(UserError, match=r"source.sites.ward"):
        sources.chosen(config(hospitals, of(sites), "readmission")).records("admissions")


def test_a_plug_of_another_package_at_a_site_is_recorded(hospitals: Path) -> None:
    sites = {"north": {"source": "tests.datasets.sources.examples.mimic4", "raw_dir": "north"}, "south": SITES["south"]}
    assert components.from_elsewhere(config(hospitals, of(sites)), ["source"]) == [
        "tests.datasets.sources.examples.mimic4"
    ]
