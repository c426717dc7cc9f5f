"""Predicts for new patients with a finished run, as in training, and computes what each modality, disease and signal changes.

Everything fitted comes from the run's artefacts; the knowledge graph and the encoders must be those of training.
"""

import dataclasses
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from emerge_ehr import components, privacy
from emerge_ehr.compute.local import LOCAL
from emerge_ehr.datasets.tasks import Outcome, Task
from emerge_ehr.fields import UserError
from emerge_ehr.llm.client import connect
from emerge_ehr.models import absence
from emerge_ehr.models.batch import MODALITIES, SHAPES, Batch
from emerge_ehr.prediction import carried, donors, ordinary, what_if
from emerge_ehr.prediction.donors import Donors
from emerge_ehr.prediction.fhir import folder as fhir_folder
from emerge_ehr.prediction.ordinary import Ordinary
from emerge_ehr.prediction.what_if import Told, Without
from emerge_ehr.preprocess import evidence, fitted, texts
from emerge_ehr.preprocess import run as preprocess
from emerge_ehr.preprocess.evidence import NewEvidence
from emerge_ehr.preprocess.fitted import Fitted
from emerge_ehr.preprocess.inputs import new_patients, raw_patients
from emerge_ehr.preprocess.inputs import tables as checked
from emerge_ehr.preprocess.inputs.new_patients import Expected
from emerge_ehr.preprocess.inputs.tables import CheckedTables
from emerge_ehr.rag import records as rag
from emerge_ehr.rag.faithfulness.faithfulness import Auditor
from emerge_ehr.rag.records_file import Record
from emerge_ehr.storage import artefacts, publishing
from emerge_ehr.storage.schema import FITTED
from emerge_ehr.training import trained as runs
from emerge_ehr.training.trained import Hours, Trained

BLOCK = 512  # patients at a time: bounds memory; progress is logged after each block
Risks = NDArray[np.float64]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """What the run predicts for one patient. ``risk`` [K]; ``lowest`` and ``highest`` [K]: the extremes over its members.

    ``lacking``: the modalities that the run reads and the patient does not have. ``without``: the risks [K] without each of the
    others. ``without_disease``: those without each linked disease, by node_index; empty where the run reads no texts.
    ``without_signal``: those without each abnormal signal, by code; empty where the run reads neither series nor summaries. All
    are empty where no explanation was asked for. ``possible``: the sets [K,2] of outcomes that are possible, where the run has
    sets.
    """

    patient_id: str
    risk: Risks
    lowest: Risks
    highest: Risks
    lacking: tuple[str, ...]
    without: dict[str, Risks]
    without_disease: dict[int, Without]
    without_signal: dict[str, Without]
    record: Record
    possible: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Predictor:
    """A run that can be asked. ``thresholds`` [K]: a risk at or above its label's threshold is called positive.

    ``outcomes`` [K]: the labels in words. ``donors`` and ``ordinary``: see the modules of these names; None where the model
    holds no patients, or answers are not explained.
    """

    trained: Trained
    expected: Expected
    fitted: Fitted
    tools: rag.Tools
    auditor: Auditor
    donors: Donors | None
    ordinary: Ordinary | None
    thresholds: Risks
    outcomes: tuple[Outcome, ...]

    def tables(self, folder: Path) -> CheckedTables:
        """Read the tables in ``folder``: those that ``convert`` makes, what the run's own source reads, or FHIR bundles (also a
        single file).

        Raises:
            UserError: they do not fit each other or the run.
        """
        if fhir_folder.are_bundles(folder):
            return fhir_folder.read(folder, self.expected)
        publishing.finish_interrupted(folder)
        if raw_patients.are_raw(folder, self.trained.config):
            return raw_patients.read(folder, self.expected, self.trained.config)
        return new_patients.read(folder, self.expected)

    def answers(self, tables: CheckedTables, *, explain: bool = True, audit: bool = True) -> Iterator[Answer]:
        """Yield an answer per patient, ordered by ``patient_id``. No answer depends on the other patients.

        ``audit``: whether the summaries are audited, which no risk depends on.
        """
        people, at = checked.patients(tables.cohort), 0
        for batch, block_evidence in self.blocks(tables, audit=audit):
            yield from self.ask(batch, block_evidence, people[at : at + len(batch)], explain=explain)
            at += len(batch)

    def blocks(self, tables: CheckedTables, *, audit: bool = True) -> Iterator[tuple[Batch, NewEvidence]]:
        """Yield what the model reads and the evidence behind it, for some patients at a time, ordered by ``patient_id``.

        ``audit``: as for ``answers``.
        """
        patients = tables.cohort.height
        for at in range(0, patients, BLOCK):
            block = new_patients.learned(new_patients.part(tables, at, BLOCK), self.expected)
            block_evidence = self.read(block, audit=audit)
            yield self.encode(block, block_evidence), block_evidence
            if patients > BLOCK:
                log.info("predicted %d of %d patients", min(at + BLOCK, patients), patients)

    def read(self, tables: CheckedTables, *, audit: bool = True) -> NewEvidence:
        """Find the patients' abnormal signals, notes, diseases and summaries."""
        auditor = self.auditor if audit else None
        return evidence.of_new(self.trained.config, self.tools, auditor, tables, self.fitted.statistics)

    def encode(self, tables: CheckedTables, found: NewEvidence) -> Batch:
        """Encode what the model reads; texts have at least as many places for pieces as in training."""
        limits, data = self.trained.config.token_level, self.trained.dataset
        arrays = evidence.arrays(tables, self.fitted, found)
        for name, encoder, written, limit, seen in (
            ("note", self.fitted.note, found.notes, limits.note_chunks, data.note_tokens),
            ("summary", self.fitted.summary, found.summaries, limits.summary_chunks, data.summary_tokens),
        ):
            arrays |= texts.in_pieces(name, encoder, written, limit, seen.shape[1])
        return Batch(**{name: torch.from_numpy(arrays[name]) for name in SHAPES})

    def ask(self, batch: Batch, found: NewEvidence, people: pl.DataFrame, *, explain: bool = True) -> Iterator[Answer]:
        """Compute the patients' risks from all of their data and, to ``explain`` them, without each modality, disease and
        abnormal signal.

        ``people``: the rows of patients.csv.
        """
        hours = self.trained.hours(batch) if explain else None
        logits = self.trained.of_members(batch, hours)
        risks, of_each = self.trained.together(logits), self.trained.risks(logits)
        possible = None if self.trained.sets is None else self.trained.sets.of(risks, people)
        lowest, highest = of_each.min(axis=0), of_each.max(axis=0)
        nothing: list[dict[Any, Without]] = [{} for _ in found.records]
        diseases, signals, without = self._explained(batch, found, logits, hours) if explain else (nothing, nothing, {})
        has = dict(zip(MODALITIES, absence.has(batch, list(MODALITIES)).T, strict=True))
        for n, record in enumerate(found.records):
            yield Answer(
                patient_id=record.patient_id,
                risk=risks[n],
                lowest=lowest[n],
                highest=highest[n],
                lacking=tuple(name for name in self.trained.reads if not has[name][n]),
                without={name: risk[n] for name, risk in without.items() if has[name][n]},
                without_disease=diseases[n],
                without_signal=signals[n],
                record=record,
                possible=None if possible is None else possible[n],
            )

    def _explained(
        self, batch: Batch, found: NewEvidence, own: Tensor, hours: Hours | None
    ) -> tuple[list[dict[int, Without]], list[dict[str, Without]], dict[str, Risks]]:
        """The risks of the patients without each disease and without each abnormal signal of theirs, and [N,K] without each
        modality. ``own`` and ``hours``: the members' logits, and what their encoders read of the series."""
        nothing: list[dict[str, Without]] = [{} for _ in found.records]
        sources = [Told(notes, record) for notes, record in zip(found.notes, found.records, strict=True)]
        diseases = what_if.without_diseases(self.trained, self.fitted, batch, sources, own, hours)
        if self.donors is None or self.ordinary is None:
            return diseases, nothing, {}
        signals = what_if.without_signals(self.trained, self.fitted, batch, sources, self.ordinary, own)
        return diseases, signals, donors.without_modalities(self.trained, batch, self.donors, hours)


def load(run_dir: Path, *, offline: bool, explain: bool = True) -> Predictor:
    """Load the run in ``run_dir``, or the model that was exported there, and everything that it needs to predict.

    ``explain``: also the patients who lend what an explanation takes away, which are chosen when a run is loaded.

    Raises:
        UserError: the run is not finished, its artefacts have changed, an encoder's model or the knowledge graph is missing or
            has changed, or new patients' records may not be sent to its language model.
    """
    is_model = carried.is_model(run_dir)
    trained = carried.load(run_dir) if is_model else runs.load(run_dir)
    config = dataclasses.replace(trained.config, offline=offline)
    # New patients count as credentialed even where the run's own data are open.
    # An answer that fails is told with its patient; a share of one patient's questions says nothing of the endpoint.
    llm = dataclasses.replace(config.llm, max_failures=1.0)
    of_new_patients = dataclasses.replace(config, credentialed=True, dataset="new patients", llm=llm)
    privacy.check(of_new_patients)
    saved = fitted.load(config.processed_dir / FITTED, config.paths.cache_dir)
    expected = new_patients.expected(config, trained.dataset)
    task: Task = components.build("task", config.task)
    tools = evidence.tools(config, task, evidence.graph(config), connect(of_new_patients), LOCAL)
    tools = evidence.with_phenotypes(config, tools, expected.signals)
    _refuse_other_files(trained, tools)
    lenders, courses = None, None
    if explain:
        lenders, courses = carried.patients(run_dir) if is_model else (donors.of(trained), ordinary.of(trained))
    return Predictor(
        trained,
        expected,
        saved,
        tools,
        evidence.auditor(config, task, tools, expected.signals),
        lenders,
        courses,
        _thresholds(trained),
        task.outcomes(trained.label_names),
    )


def _refuse_other_files(trained: Trained, tools: rag.Tools) -> None:
    """Refuse a knowledge graph, a file that an option names, or a plug of another package that preprocessing did not use.

    Raises:
        UserError: one of them has changed since.
    """
    known = set(trained.dataset.metadata["inputs"].values())
    if other := components.changed(trained.config, preprocess.SOCKETS, trained.dataset.metadata):
        raise UserError(
            f"{trained.run_dir}: its artefacts were made with another version of the plug '{other}'; bring that back, or run "
            "--stage preprocess and --stage train again"
        )
    named = components.files(trained.config, preprocess.SOCKETS)
    for path, checksum in [*tools.graph.inputs().items(), *((path, artefacts.checksum(path)) for path in named)]:
        if checksum not in known:
            raise UserError(
                f"{path}: not what {trained.run_dir} was trained with; bring that file back, or run --stage preprocess and "
                "--stage train again"
            )


def _thresholds(trained: Trained) -> Risks:
    chosen = artefacts.read_json(trained.run_dir / "metrics.json", "train")["thresholds"]
    return np.array([chosen[name]["value"] for name in trained.label_names])
