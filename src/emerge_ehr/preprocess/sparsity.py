"""Removes a share of patients, notes or measurements before anything is fitted or retrieved, for experiments with less data.

The seed decides a random order for each of the three, and its first items are removed, so that a larger share removes all that
a smaller one removes. The rest of ``preprocess`` sees only what is left: statistics and encoders are fitted on it, and if a
patient's notes were removed, the summary names none of the diseases in them. Validation and test patients keep their notes and
measurements unless ``splits`` is "all"; they are never removed themselves.
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
    """The tables and the split without what ``rule`` removes; removed patients stay in the tables, but are in no split."""
    orders = dict(zip(("patients", "notes", "measurements"), np.random.SeedSequence([seed, 1]).spawn(3), strict=True))
    affected = {patient for part in (split if rule.splits == "all" else ("train",)) for patient in split[part]}
    draw = {name: np.random.default_rng(order) for name, order in orders.items()}
    remaining = {**split, "train": kept_patients(tables.cohort, split["train"], rule.patients, draw["patients"])}
    notes = thinned_notes(tables.notes, affected, rule.notes, draw["notes"])
    rows = tables.cohort["patient_id"].is_in(sorted(affected)).to_numpy()
    hourly = thinned_measurements(tables.hourly, rows, rule.measurements, draw["measurements"])
    warnings = [*tables.warnings, *_told(rule, tables.hourly.bin_hours)]
    return dataclasses.replace(tables, notes=notes, hourly=hourly, warnings=warnings), remaining


def kept_patients(cohort: pl.DataFrame, patients: list[str], share: float, draw: np.random.Generator) -> list[str]:
    """The ``patients`` that are left when a ``share`` of persons is removed.

    Of persons with and without a positive outcome the same share is removed, but at least one person of each kind is kept.
    ``cohort`` has ``patient_id, subject_id, positive``.
    """
    samples = cohort.filter(pl.col("patient_id").is_in(patients))
    persons = samples.group_by("subject_id").agg(pl.col("positive").max()).sort("subject_id")
    kept: set[str] = set()
    for positive in (0, 1):
        names = persons.filter(pl.col("positive") == positive)["subject_id"].to_list()
        order = draw.permutation(len(names))
        kept |= {names[index] for index in order[min(round(share * len(names)), len(names) - 1) :]} if names else set()
    subject = dict(samples.select("patient_id", "subject_id").rows())
    return [patient for patient in patients if subject[patient] in kept]


def thinned_notes(
    notes: pl.DataFrame, affected: Collection[str], share: float, draw: np.random.Generator
) -> pl.DataFrame:
    """The notes without a ``share`` of those of the ``affected`` patients."""
    if not share:
        return notes
    ordered = notes.sort(["patient_id", "note_time", "note_type", "text"], nulls_last=True)
    candidates = np.flatnonzero(ordered["patient_id"].is_in(sorted(affected)).to_numpy())
    removed = candidates[draw.permutation(len(candidates))[: round(share * len(candidates))]]
    keep = np.ones(ordered.height, dtype=np.bool_)
    keep[removed] = False
    return ordered.filter(pl.Series(keep)) if len(removed) else notes


def thinned_measurements(hourly: Hourly, rows: NDArray[np.bool_], share: float, draw: np.random.Generator) -> Hourly:
    """The hourly values without a ``share`` of the measured ones of the patients in ``rows`` [N] bool."""
    if not share:
        return hourly
    measured = np.flatnonzero(~np.isnan(hourly.value) & rows[:, None, None])
    removed = measured[draw.permutation(len(measured))[: round(share * len(measured))]]
    if not len(removed):
        return hourly
    value = hourly.value.copy()
    value.reshape(-1)[removed] = np.nan
    return dataclasses.replace(hourly, value=value)


def _told(rule: Sparsity, bin_hours: int) -> list[str]:
    whose = "all" if rule.splits == "all" else "training"
    shares = {
        "training patients": rule.patients,
        f"notes of {whose} patients": rule.notes,
        f"measured {'hours' if bin_hours == 1 else 'bins'} of {whose} patients": rule.measurements,
    }
    return [f"sparsity: {share:.0%} of the {items} removed" for items, share in shares.items() if share]
