"""Takes a share of patients, notes or measurements away, before anything is fitted or retrieved: experiments with less data.

What is removed is the start of a random order that the seed decides: a larger share removes all that a smaller one does. Each
kind has an order of its own. The rest of ``preprocess`` sees only what is left: statistics and encoders are fitted on it, and the
summary of a patient whose notes went tells none of their diseases. Validation and test patients keep all, unless ``splits``
is "all"; none of them is ever dropped.
"""

import dataclasses
from collections.abc import Collection, Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from emerge_ehr.config import Sparsity
from emerge_ehr.preprocess.inputs.tables import CheckedTables
from emerge_ehr.signals.hourly import Hourly

Split = dict[str, list[str]]


def thin(
    tables: CheckedTables, split: Mapping[str, list[str]], rule: Sparsity, seed: int
) -> tuple[CheckedTables, Split]:
    """The tables and the split with what ``rule`` leaves; patients who go are in no split any more, but in the tables."""
    orders = dict(zip(("patients", "notes", "measurements"), np.random.SeedSequence([seed, 1]).spawn(3), strict=True))
    affected = {patient for part in (split if rule.splits == "all" else ("train",)) for patient in split[part]}
    draw = {name: np.random.default_rng(order) for name, order in orders.items()}
    left = {**split, "train": kept_patients(tables.cohort, split["train"], rule.patients, draw["patients"])}
    notes = thinned_notes(tables.notes, affected, rule.notes, draw["notes"])
    rows = tables.cohort["patient_id"].is_in(sorted(affected)).to_numpy()
    hourly = thinned_measurements(tables.hourly, rows, rule.measurements, draw["measurements"])
    warnings = [*tables.warnings, *_told(rule)]
    return dataclasses.replace(tables, notes=notes, hourly=hourly, warnings=warnings), left


def kept_patients(cohort: pl.DataFrame, patients: list[str], share: float, draw: np.random.Generator) -> list[str]:
    """Those of ``patients`` whose person stays. Persons with and without a positive outcome go at the same share.

    ``cohort`` has ``patient_id, subject_id, positive``. Of either class at least one person stays.
    """
    own = cohort.filter(pl.col("patient_id").is_in(patients))
    persons = own.group_by("subject_id").agg(pl.col("positive").max()).sort("subject_id")
    stays: set[str] = set()
    for positive in (0, 1):
        names = persons.filter(pl.col("positive") == positive)["subject_id"].to_list()
        order = draw.permutation(len(names))
        stays |= {names[index] for index in order[min(round(share * len(names)), len(names) - 1) :]} if names else set()
    subject = dict(own.select("patient_id", "subject_id").rows())
    return [patient for patient in patients if subject[patient] in stays]


def thinned_notes(
    notes: pl.DataFrame, affected: Collection[str], share: float, draw: np.random.Generator
) -> pl.DataFrame:
    """The notes but ``share`` of those of the ``affected`` patients."""
    if not share:
        return notes
    ordered = notes.sort(["patient_id", "note_time", "note_type", "text"], nulls_last=True)
    own = np.flatnonzero(ordered["patient_id"].is_in(sorted(affected)).to_numpy())
    gone = own[draw.permutation(len(own))[: round(share * len(own))]]
    keep = np.ones(ordered.height, dtype=np.bool_)
    keep[gone] = False
    return ordered.filter(pl.Series(keep)) if len(gone) else notes


def thinned_measurements(hourly: Hourly, rows: NDArray[np.bool_], share: float, draw: np.random.Generator) -> Hourly:
    """The hourly values but ``share`` of the measured ones of the patients in ``rows`` [N] bool."""
    if not share:
        return hourly
    measured = np.flatnonzero(~np.isnan(hourly.value) & rows[:, None, None])
    gone = measured[draw.permutation(len(measured))[: round(share * len(measured))]]
    if not len(gone):
        return hourly
    value = hourly.value.copy()
    value.reshape(-1)[gone] = np.nan
    return dataclasses.replace(hourly, value=value)


def _told(rule: Sparsity) -> list[str]:
    whose = "all" if rule.splits == "all" else "training"
    shares = {
        "training patients": rule.patients,
        f"notes of {whose} patients": rule.notes,
        f"measured hours of {whose} patients": rule.measurements,
    }
    return [f"sparsity: {share:.0%} of the {what} removed" for what, share in shares.items() if share]
