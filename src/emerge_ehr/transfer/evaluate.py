"""Stage evaluate: a finished run on tables with outcomes, such as another hospital's: its metrics there, and what shifted.

Writes ``evaluation.json``, ``evaluation.md``, ``predictions.csv``, ``subgroups.csv`` and ``drift.csv`` into one folder, all
or none; for a run with sets also ``sets.csv`` and ``coverage.csv``.
"""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from emerge_ehr import privacy
from emerge_ehr.datasets import sources
from emerge_ehr.evaluation.metrics import Array
from emerge_ehr.evaluation.recalibration import Method
from emerge_ehr.evaluation.resampling import Sampling
from emerge_ehr.evaluation.subgroups import Subgroup
from emerge_ehr.fields import UserError, plural
from emerge_ehr.prediction import carried, predictor
from emerge_ehr.prediction.predictor import Predictor
from emerge_ehr.preprocess.inputs import tables as checked
from emerge_ehr.preprocess.inputs.tables import CheckedTables
from emerge_ehr.rag.records_file import Record
from emerge_ehr.storage import artefacts, publishing, schema, table_files
from emerge_ehr.training import horizons, results, sets
from emerge_ehr.training.results import Predictions, Thresholds
from emerge_ehr.transfer import drift, judging, labelled, pages, profile
from emerge_ehr.transfer.drift import Shift
from emerge_ehr.transfer.judging import Judged
from emerge_ehr.transfer.labelled import LabelledTables

OWN_TEST, HERE, BEFORE, AFTER = "run_test", "tables", "before", "after"

log = logging.getLogger(__name__)


@privacy.owner_only()
def run(run: Path, tables: Path, output: Path, recalibrate: int | None, recalibrate_by: Method, offline: bool) -> None:
    """Evaluate the ``run`` on the ``tables`` and write the folder ``output``.

    ``recalibrate``: on how many persons risks are recalibrated, by the method ``recalibrate_by``.

    Raises:
        UserError: the run or the tables do not fit, the persons do not allow to recalibrate, or ``output`` cannot be written.
    """
    artefacts.require_output_folder(output, [run, tables], schema.EVALUATION)
    if carried.is_model(run):
        raise UserError(
            f"{run}: a model folder of --stage export holds no patients to compare with; name the run that it was made of"
        )
    ready = predictor.load(run, offline=offline, explain=False)
    found = labelled.read(tables, ready)
    for warning in found.warnings:
        log.warning("%s", warning)
    patients = checked.patients(found.tables.cohort)
    drawn = judging.drawn(patients, recalibrate, ready.trained.config.seed)
    judging.refuse_unfit(found.judged, drawn)
    log.info("evaluate: %d samples of %s with %s", patients.height, tables, run)
    probability, shifts, told = _predicted(ready, found)
    here = _predictions(ready, found.judged, probability)
    maps, unfit = judging.fitted(here, drawn, recalibrate_by) if recalibrate else ((), [])
    judged = Judged(patients, here, drawn, maps)
    evaluation, groups = _evaluated(ready, judged)
    evaluation |= _about(ready, tables, found, judged, recalibrate_by, shifts)
    of_sets, files = _sets(ready, judged)
    evaluation |= of_sets
    evaluation["warnings"] = [*found.warnings, *told, *unfit, *judging.turned_around(judged)]
    for warning in evaluation["warnings"][len(found.warnings) :]:
        log.warning("%s", warning)
    with publishing.publish(output) as folder:
        artefacts.write_json(folder / schema.EVALUATION, evaluation)
        results.write_rows(folder / schema.EVALUATED.file, schema.EVALUATED.names, judging.rows(judged))
        results.write_csv(folder / schema.SUBGROUPS, Subgroup, [dataclasses.astuple(row) for row in groups])
        results.write_csv(folder / schema.DRIFT, Shift, [dataclasses.astuple(row) for row in shifts])
        for name, (columns, rows) in files.items():
            results.write_rows(folder / name, columns, rows)
        if sources.bring_predictions(ready.trained.config):
            results.write_for_meds(folder, judging.evaluated(judged), {})
        (folder / schema.EVALUATION_PAGE).write_text(pages.page(evaluation, groups, shifts), "utf-8")
    print(pages.printed(evaluation, shifts))
    print(f"evaluation: {output / schema.EVALUATION_PAGE}")


def _predicted(ready: Predictor, found: LabelledTables) -> tuple[Array, list[Shift], list[str]]:
    """The risks [N,H], the drift table (empty where the run's artefacts do not name patients), and warnings."""
    data, config = ready.trained.dataset, ready.trained.config
    bounds, vocabulary = profile.training_range(data), profile.known_words(ready.trained)
    risks, series, notes = [], [], []
    records: list[Record] = []
    for batch, evidence in ready.blocks(found.tables, audit=False):
        risks.append(ready.trained.probability(batch))
        arrays = (batch.ehr.numpy(), batch.ehr_mask.numpy(), batch.ehr_length.numpy())
        series.append(profile.series(*arrays, bounds))
        notes += evidence.notes
        records += evidence.records
    told = []
    if failures := sum(bool(record.failures) for record in records):
        told.append(
            f"{plural(failures, 'sample')}: the language model gave no entities or no summary, and their risks were "
            "computed without them"
        )
    before = profile.of_training(ready.trained, bounds, vocabulary)
    if before is None:
        return np.concatenate(risks), [], [*told, "the run's artefacts do not name patients: drift is not measured"]
    if before.noted.any() and not vocabulary:
        told.append("the words of the training notes are not known any more: words are not compared")
    here = profile.of_tables(
        found.judged, profile.joined(series, found.tables.hourly.value), notes, records, vocabulary
    )
    signals = ready.expected.signals
    scale = drift.Scale(
        [signal.name for signal in signals],
        [signal.unit for signal in signals],
        ready.fitted.statistics.mean,
        ready.fitted.statistics.std,
    )
    shifts = drift.table(before, here, ready.trained.label_names, scale, config.seed)
    return np.concatenate(risks), shifts, told


def _predictions(ready: Predictor, tables: CheckedTables, probability: Array) -> Predictions:
    """The risks and the outcomes, with the run's own thresholds."""
    metrics = artefacts.read_json(ready.trained.run_dir / "metrics.json", "train")
    names = ready.trained.label_names
    points = {name: metrics["splits"]["val"][name]["operating_points"] for name in names}
    thresholds = {
        name: Thresholds(
            float(metrics["thresholds"][name]["value"]),
            {target: point["threshold"] for target, point in points[name].items()},
        )
        for name in names
    }
    return Predictions(
        split=HERE,
        patient_id=tables.cohort["patient_id"].to_list(),
        label_names=names,
        label=tables.label.astype(np.float64),
        defined=tables.label_mask > 0,
        probability=probability,
        thresholds=thresholds,
    )


def _evaluated(ready: Predictor, judged: Judged) -> tuple[dict[str, Any], list[Subgroup]]:
    """The metrics on the tables, beside those on the run's own test split and, where it is recalibrated, before and after that
    on the persons who were not drawn; and the rows of subgroups.csv."""
    here, sampling = judged.here, _sampling(ready)
    metrics = artefacts.read_json(ready.trained.run_dir / "metrics.json", "train")
    cuts = here.thresholds or {}
    splits = {OWN_TEST: metrics["splits"]["test"], HERE: results.judged(here, cuts, sampling, judged.patients)}
    if judged.maps:
        for name, part in zip((BEFORE, AFTER), judging.others(judged), strict=True):
            splits[name] = results.judged(part, cuts, sampling, judged.patients)
    groups = results.subgroups([here, here], metrics["thresholds"], sampling, judged.patients)
    found = {"thresholds": metrics["thresholds"], "splits": splits}
    if of_run := metrics.get(results.IN_TIME):
        parts = {HERE: here, **(dict(zip((BEFORE, AFTER), judging.others(judged), strict=True)) if judged.maps else {})}
        told, constant = ready.trained.reported, np.array(of_run["constant"])
        whole = {name: part for name, part in parts.items() if part.label_names == told.names}
        over_all = {name: horizons.of(part, told, constant, judged.patients, sampling) for name, part in whole.items()}
        found[results.IN_TIME] = {**of_run, "splits": {OWN_TEST: of_run["splits"]["test"], **over_all}}
    return {**results.resampled(sampling, judged.patients), **found}, groups


def _sets(ready: Predictor, judged: Judged) -> tuple[dict[str, Any], sets.Files]:
    """How often the run's sets hold the outcome here, and files of that; nothing for a run without sets."""
    of_run = ready.trained.sets
    if of_run is None:
        return {}, {}
    possible = of_run.of(judged.here.probability, judged.patients)
    about, files = sets.judge(ready.trained.config, of_run, judged.here, possible, judged.patients, _sampling(ready))
    return {"sets": about}, files


def _sampling(ready: Predictor) -> Sampling:
    config = ready.trained.config
    return Sampling(config.training.bootstrap_resamples, config.seed, config.evaluation.interval)


def _about(
    ready: Predictor,
    tables: Path,
    found: LabelledTables,
    judged: Judged,
    method: Method,
    shifts: Sequence[Shift],
) -> dict[str, Any]:
    """What was evaluated on what."""
    config, provenance = ready.trained.config, found.tables.provenance
    samples, persons = found.tables.cohort.height, found.tables.cohort["subject_id"].n_unique()
    about: dict[str, Any] = {
        "run": {"name": config.run_name, "dataset": config.dataset, "source": config.source.name},
        "tables": {
            "dataset": provenance.get("dataset"),
            "source": (provenance.get("source") or {}).get("name"),
            "files": artefacts.hashes(table_files.all_files(tables)),
        },
        "manifest": artefacts.checksum(ready.trained.run_dir / schema.MANIFEST),
        "samples": samples,
        "persons": persons,
        "left_out": {
            "learned_from": {"samples": found.known.samples, "persons": found.known.persons},
            "without_outcome": {"samples": found.unlabelled},
        },
        "shifted": sum(shift.shifted for shift in shifts),
        "compared": len(shifts),
        "seed": config.seed,
    }
    if judged.maps:
        names = judged.here.label_names
        drawn = judged.patients.filter(pl.Series(judged.drawn))
        about["recalibration"] = {
            "method": method,
            "persons": drawn["subject_id"].n_unique(),
            "samples": drawn.height,
            "labels": {name: of and of.described() for name, of in zip(names, judged.maps, strict=True)},
        }
    return about
