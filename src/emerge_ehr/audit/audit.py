"""Stage audit: does information reach the model that must not reach it?

It checks the tables, the split, the fitted statistics and single features again, independently of the stages that made them, and
with ``--deep`` much more, the finished run included. It prints its findings and writes them to ``audit.json`` beside the
artefacts.
"""

import dataclasses
import logging

import numpy as np

from emerge_ehr import components
from emerge_ehr.audit import contradictions, persons, refits, single_features, times
from emerge_ehr.audit.deep import deep as deep_checks
from emerge_ehr.audit.deep.examined import Examined
from emerge_ehr.audit.findings import Finding
from emerge_ehr.compute.local import LOCAL
from emerge_ehr.config import Config
from emerge_ehr.datasets import sources
from emerge_ehr.fields import UserError
from emerge_ehr.preprocess import fitted
from emerge_ehr.preprocess.inputs import converted, landmarks
from emerge_ehr.preprocess.run import tables_and_split
from emerge_ehr.rag import records as rag
from emerge_ehr.rag import records_file as rag_records
from emerge_ehr.signals import hourly as tensors
from emerge_ehr.storage import artefacts, publishing, schema, table_files
from emerge_ehr.storage.dataset import Dataset, load_dataset

log = logging.getLogger(__name__)
SOCKETS = ("task", "embedding")
AUDIT = "audit.json"


def run(config: Config) -> None:
    """Make the checks, print the verdict of each and write ``audit.json``; with cross-validation, first for each fold.

    Raises:
        UserError: a check failed, or tables or artefacts are missing.
    """
    _run(config, deep=False)


def run_deep(config: Config) -> None:
    """As ``run``, with the checks of the deep audit after the others.

    Raises:
        UserError: as ``run``.
    """
    _run(config, deep=True)


def _run(config: Config, *, deep: bool) -> None:
    publishing.finish_interrupted(config.table_dir)
    for number, of_fold in enumerate(config.of_folds(), 1):
        print(f"fold {number} of {config.split.folds}")
        _audit(of_fold, number, deep=deep)
    if config.split.folds:
        print("the run's own model, fitted on the patients of all folds")
    _audit(config, 0, deep=deep)


def _audit(config: Config, fold: int, *, deep: bool) -> None:
    """Audit the artefacts of a fold, from 1; with 0, those that the run's own model is trained on."""
    publishing.finish_interrupted(config.processed_dir)
    provenance = converted.recorded(config.table_dir)
    dataset = load_dataset(config.processed_dir)
    cohort = table_files.read_table(config.table_dir, schema.COHORT)
    split = dataset.split
    if config.cohort.landmarks:
        cohort = landmarks.samples(cohort, config.cohort.landmarks)
    if config.split.folds and not fold:  # its test patients are those of the folds: everyone
        split = {name: ids for name, ids in split.items() if name != "test"}
    findings = [
        *persons.check(cohort, split),
        *times.check(config.table_dir, provenance),
        *contradictions.check(config.table_dir, one_calendar=sources.chosen(config).one_calendar),
    ]
    if any(finding.verdict == "failed" for finding in findings):
        findings.append(Finding("fits and single features", "warning", "not looked at, since a check above failed"))
    else:
        examined = _examined(config, dataset, fold)
        findings += _of_arrays(examined)
        if deep:
            findings += _deep(examined, fold)
    _print(findings)
    with artefacts.replacing(config.processed_dir / AUDIT) as aside:
        metadata = artefacts.checksum(config.processed_dir / schema.METADATA)
        entries = [dataclasses.asdict(finding) for finding in findings]
        artefacts.write_json(aside, {"metadata": metadata, "findings": entries})
    failed = [finding for finding in findings if finding.verdict == "failed"]
    if failed:
        raise UserError(
            f"audit: {len(failed)} of {len(findings)} checks failed, first: {failed[0].check}: {failed[0].detail}; "
            f"see {config.processed_dir / AUDIT}, and run --stage preprocess again"
        )


def _examined(config: Config, dataset: Dataset, fold: int) -> Examined:
    """The artefacts beside the tables, as ``preprocess`` reads them, and what these fit anew."""
    inputs, _ = tables_and_split(config, components.build("task", config.task), fold)
    training = inputs.cohort["patient_id"].is_in(dataset.split["train"]).to_numpy()
    records = rag_records.read(config.processed_dir)
    if [record.patient_id for record in records] != dataset.patient_id.tolist():
        raise UserError(
            f"{config.processed_dir / schema.RAG_RECORDS}: not one row for each patient, in the order of the arrays; "
            "run --stage preprocess again"
        )
    notes = rag.joined_notes(inputs.notes, inputs.cohort["patient_id"].to_list())
    statistics = tensors.fit(inputs.hourly.value[training])
    summaries = [record.summary for record in records]
    refitted = fitted.fit(statistics, fitted.encoders(config, LOCAL), inputs.cohort, notes, summaries, training)
    return Examined(config, dataset, inputs, notes, records, refitted)


def _of_arrays(examined: Examined) -> list[Finding]:
    """The findings on the fitted statistics and on single features."""
    dataset, saved = examined.dataset, examined.config.processed_dir / schema.FITTED
    rows = np.flatnonzero(np.isin(dataset.patient_id, dataset.split["train"]))
    notes = [examined.notes[int(row)] for row in rows]
    diseases = [{node.name for node in examined.records[int(row)].nodes} for row in rows]
    return [
        *refits.check(saved, examined.refitted, dataset, examined.tables.hourly),
        *single_features.check(dataset, rows, notes, diseases),
    ]


def _deep(examined: Examined, fold: int) -> list[Finding]:
    if examined.config.split.folds and not fold:
        return [Finding("deep audit", "skipped", "everyone is in training; each fold was looked at")]
    if examined.dataset.patient_id.tolist() != examined.tables.cohort["patient_id"].to_list():
        return [Finding("samples of the arrays", "failed", "they are not those of cohort.csv, in order of patient_id")]
    return deep_checks.check(examined)


def _print(findings: list[Finding]) -> None:
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        print(f"{finding.verdict:<8} {finding.check:<{width}}  {finding.detail}")
