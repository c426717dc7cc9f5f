"""Recognises persons from whom a run has learned (training and validation), so that nobody is judged on what was learned.

Persons are recognised by ``subject_id``. Another hospital may number its persons from 1 too: where its tables were made of a
dataset with another name, and persons with the same ids mostly differ in sex and in age, they are taken as other persons.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

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
    rows = here["person"].is_in(learned["person"].unique().to_list()).fill_null(value=False).to_numpy()
    persons = here.filter(pl.Series(rows))["person"].n_unique()
    same_name = _dataset(patients) == run.config.dataset
    if persons and not same_name and max(_agreeing(here, learned).values()) <= AGREEING:
        told = (
            f"{persons} persons have the ids of persons from whom the run has learned, but another sex or age than these: they "
            "are taken as others"
        )
        return Known(np.zeros_like(rows), 0, [told])
    told = (
        f"{int(rows.sum())} samples of {persons} persons are left out, as the run has learned from these persons (its training "
        "and validation splits)"
    )
    return Known(rows, persons, [told] if persons else [])


def _dataset(patients: CheckedTables) -> Any:
    """The dataset of which the tables were made; None for a user's own."""
    return patients.provenance.get("dataset")


def _learned(run: Trained) -> pl.DataFrame | None:
    """``person, age, sex`` of the samples from which the run has learned; None where the artefacts do not name persons.

    Where the run pooled several hospitals, a person is there under the pool's id and under the hospital's own.
    """
    table = load_patients(run.config.processed_dir, run.dataset.patient_id)
    if table is None:
        return None
    of = table.filter(pl.col("patient_id").is_in([*run.dataset.split["train"], *run.dataset.split["val"]]))
    learned = of.select(form_free(pl.col("subject_id")).alias("person"), "age", "sex")
    if SITE not in of.columns:
        return learned
    own_id = pl.col("subject_id").str.strip_prefix(pl.concat_str(SITE, pl.lit("-")))  # as the hospital itself has it
    return pl.concat([learned, of.select(form_free(own_id).alias("person"), "age", "sex")])


def _agreeing(here: pl.DataFrame, learned: pl.DataFrame) -> dict[str, float]:
    """The shares of the persons of both tables whose sexes, and whose ages, agree in some pair of samples, or are unknown."""
    pairs = here.join(learned, on="person", suffix="_learned")
    agree = {
        "sex": (pl.col("sex") == pl.col("sex_learned")).fill_null(value=True),
        "age": ((pl.col("age") - pl.col("age_learned")).abs() <= YEARS).fill_null(value=True),
    }
    shares = pairs.group_by("person").agg(**{name: rule.any() for name, rule in agree.items()})
    return {name: float(shares.select(pl.col(name).mean()).item()) for name in agree}
