"""Reads the tables on which a finished run is evaluated: those of new patients, with outcomes, without the persons it has learned
from."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from emerge_ehr import components, decides
from emerge_ehr.datasets import sources
from emerge_ehr.datasets.convert import told
from emerge_ehr.datasets.convert.cohort import known_in_window
from emerge_ehr.datasets.tasks import Task
from emerge_ehr.datasets.timing import DEATH
from emerge_ehr.fields import UserError, listed, plural
from emerge_ehr.prediction.predictor import Predictor
from emerge_ehr.preprocess.inputs import checks, landmarks, new_patients, raw_patients, tables
from emerge_ehr.preprocess.inputs.tables import CheckedTables
from emerge_ehr.storage import artefacts, schema, table_files
from emerge_ehr.transfer import trained_on
from emerge_ehr.transfer.trained_on import Known

FEW = 10  # fewer samples with the outcome are told


@dataclass(frozen=True)
class LabelledTables:
    """The tables of the N samples that are evaluated. ``judged``: the same with the outcomes that the run reports in place of the
    labels that its model learned. ``known``: who was left out as the run has learned from them;
    ``unlabelled``: how many samples were left out because none of the run's outcomes is defined for them."""

    tables: CheckedTables
    judged: CheckedTables
    known: Known
    unlabelled: int
    warnings: list[str]


def read(folder: Path, run: Predictor) -> LabelledTables:
    """Read the tables in ``folder`` with the outcomes that the ``run`` predicts.

    Raises:
        UserError: they do not fit each other or the run, hold none of its outcomes, or nobody is left.
    """
    if not table_files.place(folder, schema.LABEL).is_file():
        raise UserError(
            f"{folder / schema.LABEL.file}: missing; --stage evaluate needs outcomes: {', '.join(schema.LABEL.names)}"
        )
    patients = run.tables(folder)
    raw = raw_patients.are_raw(folder, run.trained.config)
    task: Task = components.build("task", run.trained.config.task)
    names = (DEATH,) if task.timing else patients.label_names
    rows, warnings = (_raw_outcomes if raw else _outcomes)(folder, run, patients, names)
    path = folder / schema.LABEL.file
    cohort, label, mask = tables.labelled(path, rows, patients.cohort, task, list(patients.label_names))
    patients = dataclasses.replace(patients, cohort=cohort, label=label, label_mask=mask)
    known = trained_on.find(run.trained, patients)
    defined = mask.any(axis=1)
    kept, unlabelled = np.flatnonzero(defined & ~known.rows), int((~defined & ~known.rows).sum())
    if not len(kept):
        raise UserError(f"{folder}: nobody to evaluate on: {_why_nobody(known, unlabelled)}")
    patients = new_patients.of_rows(patients, kept)
    if hours := run.trained.config.cohort.landmarks:
        told.refuse_other_landmarks(folder, patients.provenance, hours)
        patients, _ = landmarks.expand(patients, {}, hours, task.timing)
    reported = run.trained.reported
    outcome, defined = reported.outcomes(patients.label, patients.label_mask)
    judged = dataclasses.replace(
        patients,
        label_names=tuple(reported.names),
        label=outcome.astype(np.float32),
        label_mask=defined.astype(np.float32),
    )
    every = [*patients.warnings, *warnings, *known.warnings, *_doubts(judged)]
    return LabelledTables(patients, judged, known, unlabelled, every)


def _asked(run: Predictor, task: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a recorded task without those that name files, which lie elsewhere for another hospital's records."""
    options = components.options("task", run.trained.config.task)
    return {
        name: value for name, value in task["options"].items() if not isinstance(getattr(options, name, None), Path)
    }


def _outcomes(
    folder: Path, run: Predictor, patients: CheckedTables, names: Sequence[str]
) -> tuple[pl.DataFrame, list[str]]:
    """The rows of label.csv, which is as ``convert`` wrote it, or a user's own; ``names``: the codes that the run needs of it.

    Raises:
        UserError: the file was changed, its outcomes were made by other rules, or none is the run's.
    """
    provenance, own = patients.provenance, decides.compared(run.trained.config, "tables")["task"]
    if provenance:
        artefacts.refuse_changed(
            folder, {schema.LABEL.file: provenance["tables"].get(schema.LABEL.file, "")}, "convert"
        )
        made = provenance["task"]
        if made.get("name") == own["name"] and _asked(run, made) != _asked(run, own):
            raise UserError(
                f"{folder}: outcomes of task '{own['name']}' with options {made.get('options')}, the run learned from "
                f"{own['options']}; convert with the run's [task]"
            )
    rows = table_files.read_table(folder, schema.LABEL)
    checks.refuse_respelt(folder / schema.LABEL.file, rows, patients.cohort)
    return rows, _unlike(folder / schema.LABEL.file, sorted(rows["label_code"].unique()), names)


def _raw_outcomes(
    folder: Path, run: Predictor, patients: CheckedTables, names: Sequence[str]
) -> tuple[pl.DataFrame, list[str]]:
    """The labels that ``convert`` would make of the raw files in ``folder``, by the run's task.

    As there, outcomes that were known before the observation window ended are left out.
    """
    config = run.trained.config
    there = dataclasses.replace(config, paths=dataclasses.replace(config.paths, raw_dir=folder))
    task: Task = components.build("task", config.task)
    rows = task.labels(patients.cohort, sources.chosen(there)).table
    path = folder / schema.LABEL.file
    warnings = _unlike(path, sorted(rows["label_code"].unique()), names)
    early = known_in_window(rows.filter(pl.col("label_code").is_in(list(names))), patients.cohort)
    if early.height:
        warnings.append(
            f"{path.name}: {plural(early.height, 'outcome was', 'outcomes were')} known before the observation window "
            "ended, and are left out"
        )
    return rows.join(early, on=["patient_id", "label_code"], how="anti"), warnings


def _unlike(path: Path, there: list[str], names: Sequence[str]) -> list[str]:
    """Warnings of outcomes that only the tables or only the run have.

    Raises:
        UserError: they have none in common.
    """
    if not {*there} & {*names}:
        raise UserError(
            f"{path}: has label_code {', '.join(there) or 'none'}, and the run predicts {', '.join(names)}; none of them can be "
            "evaluated"
        )
    more, fewer = ([name for name in one if name not in other] for one, other in ((there, names), (names, there)))
    return [
        *([f"{path.name}: the run does not predict {listed(more)}, which is passed over"] if more else []),
        *([f"{path.name}: has no {listed(fewer)}, which the run predicts: it is not evaluated"] if fewer else []),
    ]


def _doubts(patients: CheckedTables) -> list[str]:
    """Warnings of outcomes that are all alike or rare among the samples that are left."""
    told = []
    for name, label, mask in zip(patients.label_names, patients.label.T, patients.label_mask.T, strict=True):
        values = label[mask > 0]
        positives = int(values.sum())
        if len(values) and positives in (0, len(values)):
            told.append(
                f"{name}: all {plural(len(values), 'sample has', 'samples have')} the outcome {int(positives > 0)}: what "
                "needs both classes is "
                "undefined"
            )
        elif len(values) and positives < FEW:
            told.append(
                f"{name}: only {positives} of {len(values)} samples have the outcome; its metrics are mostly chance"
            )
    return told


def _why_nobody(known: Known, lost: int) -> str:
    reasons = []
    if known.samples:
        reasons.append(
            f"{plural(known.samples, 'sample is', 'samples are')} of persons from whom the run has learned (if these are "
            "other persons with the same "
            "ids, convert the tables under another `dataset`)"
        )
    if lost:
        reasons.append(f"for {plural(lost, 'sample')} no outcome of the run is defined")
    return "; ".join(reasons)
