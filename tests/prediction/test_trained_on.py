"""Whom a run has learned from, where it pooled several hospitals that number their persons alike."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import polars as pl
import pytest

from emerge_ehr.transfer import trained_on

SEXES = ("F", "M")


def patients(site: str, old: int, count: int = 40) -> pl.DataFrame:
    """Persons 0 to ``count`` of a hospital, the odd ones of another sex than the even; their ages begin at ``old``."""
    return pl.DataFrame(
        {
            "patient_id": [f"{site}-{100 + n}" for n in range(count)],
            "subject_id": [f"{site}-{n}" for n in range(count)],
            "age": [float(old + n) for n in range(count)],
            "sex": [SEXES[(n + (site == "b")) % 2] for n in range(count)],
            "ethnicity": None,
            "icu_type": None,
            "site": site,
        }
    )


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """Learned from persons 0 to 29 of both hospitals."""
    table = pl.concat([patients("a", 20), patients("b", 60)])
    table.write_csv(tmp_path / "patients.csv")
    ids = table["patient_id"].to_numpy().astype(str)
    number = table["subject_id"].str.split("-").list.last().cast(pl.Int64)
    split = {
        "train": table.filter(number < 20)["patient_id"].to_list(),
        "val": table.filter((number >= 20) & (number < 30))["patient_id"].to_list(),
        "test": table.filter(number >= 30)["patient_id"].to_list(),
    }
    dataset = SimpleNamespace(patient_id=ids, split=split)
    return SimpleNamespace(config=SimpleNamespace(dataset="both", processed_dir=tmp_path), dataset=dataset)


def here(cohort: pl.DataFrame, dataset: str) -> Any:
    return SimpleNamespace(cohort=cohort, provenance={"dataset": dataset})


def alone(site: str, old: int) -> pl.DataFrame:
    """The hospital's own tables: ids without the site."""
    ids = ("patient_id", "subject_id")
    return patients(site, old).with_columns(pl.col(name).str.strip_prefix(f"{site}-") for name in ids)


@pytest.mark.parametrize(("site", "old"), [("a", 20), ("b", 60)])
def test_a_sites_own_tables_lose_the_persons_of_that_site_alone(run: Any, site: str, old: int) -> None:
    known = trained_on.find(run, here(alone(site, old), f"only {site}"))
    assert known.rows.tolist() == [True] * 30 + [False] * 10 and known.persons == 30


def test_the_pools_own_tables_and_those_of_a_third_hospital(run: Any) -> None:
    both = trained_on.find(run, here(pl.concat([patients("a", 20), patients("b", 60)]), "both"))
    assert (both.samples, both.persons) == (60, 60)
    stranger = alone("a", 40).with_columns(sex=pl.lit("F"))  # half agree by sex, none by age
    found = trained_on.find(run, here(stranger, "another"))
    assert cast("int", found.samples) == 0
