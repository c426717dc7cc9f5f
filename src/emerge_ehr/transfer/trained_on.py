"""Recognises persons from whom a run has learned (training and validation), so that nobody is judged on what was learned.

Persons are recognised by ``subject_id``. Another hospital may number its persons from 1 too: where its tables were made of a
dataset with another name, and persons with the same ids mostly differ in sex and in age, they are taken as other persons.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emerge_ehr.fields import plural
from emerge_ehr.preprocess.inputs.tables import CheckedTables
from emerge_ehr.storage.dataset import load_patients
from emerge_ehr.storage.ids import form_free
from emerge_ehr.storage.schema import SITE
from emerge_ehr.training.trained import Trained

AGREEING = 0.75  # share of persons with the same ids who agree in sex, or in age, above which they are the same persons
YEARS = 5  # between two stays of one person, at most, for ages to agree


@dataclass(frozen=True)
class Known:
    """Who of N samples is of a person from whom the run has learned. ``rows`` [N]; ``samples`` and ``persons`` are counts."""

    rows: NDArray[np.bool_]
    persons: int
    warnings: list[str]

    @property
    def samples(self) -> int:
        """The number of samples."""
        return int(self.rows.sum())


def find(run: Trained, patients: CheckedTables) -> Known:
    """Find the samples of persons who are in the training or validation split of the ``run``, or in a fold of it."""
    here = patients.cohort.select("patient_id", "subject_id", "age", "sex").with_columns(
        form_free(pl.col("subject_id")).alias("person")
    )
    learned = _learned(run)
    if learned is None:
        rows = here["patient_id"].is_in([*run.dataset.split["train"], *run.dataset.split["val"]]).to_numpy()
        told = (
            "the run's artefacts do not name persons: those from whom it has learned are recognised by patient_id alone"
        )
        return Known(rows, here.filter(pl.Series(rows))["person"].n_unique(), [told])
    own, *of_sites = learned
    rows, told = _of(here, own, surely=_dataset(patients) == run.config.dataset)
    warnings = [told] if told else []
    for of_site in of_sites:  # whose own tables may be these
        found, _ = _of(here, of_site, surely=False)
        rows |= found
    if rows.any():
        persons = here.filter(pl.Series(rows))["person"].n_unique()
        warnings.append(
            f"{int(rows.sum())} samples of {persons} persons are left out, as the run has learned from these persons (its "
            "training and validation splits)"
        )
        return Known(rows, persons, warnings)
    return Known(rows, 0, warnings)


def _of(here: pl.DataFrame, learned: pl.DataFrame, *, surely: bool) -> tuple[NDArray[np.bool_], str]:
    """Which samples are of ``learned`` persons, by their ids; and a line where those with the same ids are others.

    ``surely``: these are the run's own tables by name, whatever sex and age say.
    """
    rows: NDArray[np.bool_] = (
        here["person"].is_in(learned["person"].unique().to_list()).fill_null(value=False).to_numpy()
    )
    persons = here.filter(pl.Series(rows))["person"].n_unique()
    if not persons or surely or max(_agreeing(here, learned).values()) > AGREEING:
        return rows.copy(), ""
    return np.zeros_like(rows), (
        f"{plural(persons, 'person has', 'persons have')} the ids of persons from whom the run has learned, but another "
        "sex or age than these: they are "
        "taken as others"
    )


def _dataset(patients: CheckedTables) -> Any:
    """The dataset of which the tables were made; None for a user's own."""
    return patients.provenance.get("dataset")


def _learned(run: Trained) -> list[pl.DataFrame] | None:
    """``person, age, sex`` of the samples from which the run has learned; None where the artefacts do not name persons.

    Where the run pooled several hospitals, a table for each follows, with the ids that the hospital itself has.
    """
    table = load_patients(run.config.processed_dir, run.dataset.patient_id)
    if table is None:
        return None
    of = table.filter(pl.col("patient_id").is_in([*run.dataset.split["train"], *run.dataset.split["val"]]))
    person = form_free(pl.col("subject_id")).alias("person")
    sites = of[SITE].drop_nulls().unique().sort().to_list() if SITE in of.columns else []
    each = (
        of.filter(pl.col(SITE) == site).with_columns(pl.col("subject_id").str.strip_prefix(f"{site}-"))
        for site in sites
    )
    return [one.select(person, "age", "sex") for one in (of, *each)]


def _agreeing(here: pl.DataFrame, learned: pl.DataFrame) -> dict[str, float]:
    """The shares of the persons of both tables whose sexes, and whose ages, agree in some pair of samples, or are unknown."""
    pairs = here.join(learned, on="person", suffix="_learned")
    agree = {
        "sex": (pl.col("sex") == pl.col("sex_learned")).fill_null(value=True),
        "age": ((pl.col("age") - pl.col("age_learned")).abs() <= YEARS).fill_null(value=True),
    }
    shares = pairs.group_by("person").agg(**{name: rule.any() for name, rule in agree.items()})
    return {name: float(shares.select(pl.col(name).mean()).item()) for name in agree}
