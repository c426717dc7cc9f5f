"""What a risk becomes when a modality or a disease is removed from the model's input.

A modality that is simply blanked is an input the model never saw: a learned "no note" vector, for example, means nothing where
every training patient has a note. Therefore a patient's modality is replaced by that of training patients, the ``donors``, one
after the other, and the risks are averaged: the expectation over an uninformative modality (the interventional, or marginal,
contribution).

A disease is removed from the texts that the model reads: the statements of the summary that rest on it, and its mentions in the
notes. Signals stay, because no measurement is known to be caused by the disease. Nothing is retrieved again, so other diseases'
statements stay as they are, even those that name the removed disease as a neighbour.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emerge_ehr import components
from emerge_ehr.embeddings import FittedEncoder
from emerge_ehr.models import emerge
from emerge_ehr.models.batch import MODALITIES, Batch
from emerge_ehr.preprocess import texts
from emerge_ehr.preprocess.fitted import Fitted
from emerge_ehr.rag.records_file import Record
from emerge_ehr.storage.dataset import Dataset
from emerge_ehr.training import inputs
from emerge_ehr.training.trained import Hours, Trained

DONORS = 16
PAIRS = 2048  # pairs of patient and disease per call of the model


@dataclass(frozen=True)
class Told:
    """What a patient's two texts were made from. ``notes``: as ``rag.joined_notes`` gives them; None if not available."""

    notes: str | None
    record: Record


def donors(trained: Trained, count: int = DONORS) -> Batch:
    """At most ``count`` training patients, drawn with the run's seed; the same ones for every patient."""
    dataset: Dataset = trained.dataset
    train = inputs.mapped(dataset, "train")
    chosen = np.random.default_rng(trained.config.seed).permutation(len(train))[:count]
    return train.select(torch.from_numpy(np.sort(chosen)))


def modalities(trained: Trained) -> tuple[str, ...]:
    """The modalities that the method reads, and that can therefore be removed, in the order of ``MODALITIES``."""
    config = trained.config
    if config.baseline is None:
        return emerge.modalities_read(config.model)
    read = components.stated("baseline", config.baseline, "reads")
    return tuple(name for name in MODALITIES if name in read)


def reads_texts(trained: Trained) -> bool:
    """Whether the method reads notes or summaries, and so reads of diseases."""
    return bool({"note", "summary"} & set(modalities(trained)))


def without_modality(trained: Trained, batch: Batch, name: str, others: Batch) -> NDArray[np.float64]:
    """The risks [N,K] of the patients when modality ``name`` comes from ``others`` instead, averaged over ``others``."""
    of_others = trained.hours(others) if name == "ehr" else None
    # all pairs of a few patients in one call: a call costs as much as a hundred rows
    parts = torch.split(torch.arange(len(batch)), max(1, trained.config.training.batch_size // len(others)))
    return np.concatenate([_averaged(trained, batch.select(part), name, others, of_others) for part in parts])


def _averaged(trained: Trained, batch: Batch, name: str, others: Batch, of_others: Hours | None) -> NDArray[np.float64]:
    """As ``without_modality``. ``of_others``: what the encoders of the series return for the ``others``, who lend theirs."""
    row, donor = torch.arange(len(batch)).repeat_interleave(len(others)), torch.arange(len(others)).repeat(len(batch))
    lent = {field: getattr(others, field)[donor] for field in MODALITIES[name]}
    hours, whose = (of_others, donor) if name == "ehr" else (trained.hours(batch), row)
    risks = trained.probability(dataclasses.replace(batch.select(row), **lent), hours.select(whose) if hours else None)
    mean: NDArray[np.float64] = risks.reshape(len(batch), len(others), -1).mean(axis=1)
    return mean


def without_diseases(
    trained: Trained, fitted: Fitted, batch: Batch, patients: Sequence[Told]
) -> list[dict[int, NDArray[np.float64]]]:
    """For each patient, a dict from the node_index of every linked disease to the risks [K] without that disease.

    ``patients`` are those of ``batch``, in its order; ``fitted`` is what was saved with the artefacts the run was trained on.
    Where a patient's notes are not available, only the summary changes. The dicts are empty where the method reads neither
    notes nor summaries.
    """
    risks_without: list[dict[int, NDArray[np.float64]]] = [{} for _ in patients]
    if not reads_texts(trained):
        return risks_without
    pairs = [(n, node.node_index) for n, patient in enumerate(patients) for node in patient.record.nodes]
    for at in range(0, len(pairs), PAIRS):
        chunk = pairs[at : at + PAIRS]
        rows = torch.tensor([n for n, _ in chunk])
        distinct, which = torch.unique(rows, return_inverse=True)
        hours = trained.hours(batch.select(distinct))
        changed = _without(trained, fitted, batch.select(rows), patients, chunk)
        risks = trained.probability(changed, hours.select(which) if hours else None)
        for (n, node), risk in zip(chunk, risks, strict=True):
            risks_without[n][node] = risk
    return risks_without


def _without(
    trained: Trained, fitted: Fitted, rows: Batch, patients: Sequence[Told], pairs: Sequence[tuple[int, int]]
) -> Batch:
    """Remove the disease from the texts of ``rows``, which holds a row per pair of patient and disease."""
    read, limits = modalities(trained), trained.config.token_level
    if "summary" in read:
        summaries = [summary_without(patients[n].record, node) for n, node in pairs]
        least = rows.summary_tokens.shape[1]
        changed = _encoded("summary", fitted.summary, summaries, limits.summary_chunks, least)
        rows = dataclasses.replace(rows, **changed)
    known = [
        (at, source.notes, source.record, node) for at, (n, node) in enumerate(pairs) if (source := patients[n]).notes
    ]
    if "note" in read and known:
        notes = [notes_without(text, record, node) for _, text, record, node in known if text]
        changed = _encoded("note", fitted.note, notes, limits.note_chunks, rows.note_tokens.shape[1])
        at = torch.tensor([at for at, *_ in known])
        replaced = {name: getattr(rows, name).index_copy(0, at, changed_rows) for name, changed_rows in changed.items()}
        rows = dataclasses.replace(rows, **replaced)
    return rows


def _encoded(name: str, encoder: FittedEncoder, written: Sequence[str], limit: int, least: int) -> dict[str, Tensor]:
    """The fields of a batch that hold the encoded texts, with ``least`` places for pieces."""
    arrays = {
        **texts.whole(name, encoder, written),
        **texts.in_pieces(name, encoder, written, min(limit, least), least),
    }
    return {field: torch.from_numpy(array) for field, array in arrays.items()}


def summary_without(record: Record, node_index: int) -> str:
    """The summary without the statements that rest on the disease."""
    return " ".join(statement.text for statement in record.provenance if node_index not in statement.nodes)


def notes_without(notes: str, record: Record, node_index: int) -> str:
    """The notes with the disease's mentions cut out; negated mentions and those of relatives were never linked, and stay."""
    kept, end = [], 0
    for entity in record.entities:
        if entity.node_index == node_index:
            kept.append(notes[end : entity.start])
            end = entity.end
    return "".join([*kept, notes[end:]])
