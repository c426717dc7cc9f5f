"""Reads raw records of patients whom a trained model has not seen, such as a folder of the user's own tables.

``predict`` then takes the same files as ``convert`` did for training, and makes the run's features and windows of them. Sources
that can do so have a function ``of_run``. Nothing is written but a temporary folder. No outcome is read; where ``label.csv`` is
there, its times end the records as they did in training.
"""

import dataclasses
import tempfile
from datetime import timedelta
from pathlib import Path

import polars as pl

from emerge_ehr import components
from emerge_ehr.config import Config
from emerge_ehr.datasets import sources
from emerge_ehr.datasets.convert import unlabelled
from emerge_ehr.datasets.sources import Source
from emerge_ehr.datasets.wording import sample
from emerge_ehr.fields import UserError, plural
from emerge_ehr.preprocess.inputs import checks, new_patients
from emerge_ehr.preprocess.inputs.new_patients import Expected
from emerge_ehr.preprocess.inputs.tables import CheckedTables
from emerge_ehr.storage import schema, table_files


def are_raw(folder: Path, config: Config) -> bool:
    """Whether the run's source reads the files in ``folder``: it can, and these are no tables that ``convert`` wrote."""
    return not (folder / schema.PROVENANCE).is_file() and components.offers("source", config.source, "of_run")


def read(folder: Path, run: Expected, config: Config) -> CheckedTables:
    """Read the raw files in ``folder`` as those that the run with this ``config`` learned from.

    Patients who do not satisfy the cohort's rules, or whose window has another length than all of training, are left out; a
    warning says how many, and why.

    Raises:
        UserError: a file is missing or faulty, or no patient is left.
    """
    codes = sources.source_labels(config) or run.label_names
    learned = {"signals": run.signals, "dated": run.dated, "label_codes": codes}
    source: Source = components.call("of_run", "source", config.source, raw_dir=folder, **learned)
    with tempfile.TemporaryDirectory(prefix="emerge-") as aside:
        records = unlabelled.convert(config, source, Path(aside))
        short = span() <= timedelta(hours=run.shortest - 1)
        fitting = records.stays.filter(~short & (span() <= timedelta(hours=run.longest)))
        left_out = [*records.lost]
        if lost := records.stays.height - fitting.height:
            word = sample(config).word
            left_out.append(
                f"{plural(lost, f'{word} is', f'{word}s are')} not predicted, with windows that are not {run.shortest} to "
                f"{run.longest} h long, "
                "as those that the run learned from"
            )
        if fitting.is_empty():
            raise UserError(
                f"{folder}: no patient can be predicted: {'; '.join(left_out)}; see [cohort] of the run's config, and "
                "docs/prediction_tables.md for patients who are still in hospital"
            )
        ids = fitting.select("patient_id")
        dynamic = table_files.scan_table(Path(aside), schema.DYNAMIC).join(ids.lazy(), on="patient_id", how="semi")
        notes = records.notes.join(ids, on="patient_id", how="semi")
        treatments = None if records.treatments is None else records.treatments.join(ids, on="patient_id", how="semi")
        result = new_patients.checked(
            run, fitting, dynamic, lambda: None, notes, lambda table: folder / table.file, treatments
        )
    there = (folder / schema.TREATMENTS.file).is_file()
    ignored = [new_patients.IGNORED] if there and not run.treatments else []
    warnings = [*records.warnings, *left_out, *ignored]
    return dataclasses.replace(result, warnings=[*warnings, *checks.note_warnings(notes, fitting), *result.warnings])


def span() -> pl.Expr:
    """The length of a record's observation window."""
    return pl.col("window_end") - pl.col("window_start")
