"""What a risk becomes when something is taken from the model's input: a modality, or a disease.

A modality that is simply blanked is an input the model never saw: a learned "no note" vector, say, means nothing where every
training patient has a note. Therefore a patient's modality is replaced by that of training patients, the ``donors``, one after
the other, and the risks are averaged: the expectation over an uninformative modality (interventional, or marginal, contribution).

A disease is taken from what the model reads of it: the statements of the summary that rest on it, and its mentions in the notes.
Signals stay: no measurement is known to be the disease's doing. Without retrieving anew, other diseases' statements stay as they
are too, also those that name this one as a neighbour.
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
from emerge_ehr.training.trained import Trained

DONORS = 16
PAIRS = 2048  # of patient and disease, that the model is asked about at once


@dataclass(frozen=True)
class Told:
    """What the two texts of a patient were made from. ``notes``: as ``rag.joined_notes`` gives them; None: not at hand."""

    notes: str | None
    record: Record


def donors(trained: Trained, count: int = DONORS) -> Batch:
    """At most ``count`` training patients, drawn with the run's seed; the same for every patient asked about."""
    dataset: Dataset = trained.dataset
    train = inputs.mapped(dataset, "train")
    chosen = np.random.default_rng(trained.config.seed).permutation(len(train))[:count]
    return train.select(torch.from_numpy(np.sort(chosen)))


def modalities(trained: Trained) -> tuple[str, ...]:
    """What the method reads, and therefore can be taken from it, in the order of ``MODALITIES``."""
    config = trained.config
    if config.baseline is None:
        read = (*(name for name in config.model.modalities if name == "ehr"), *emerge.texts_read(config.model))
    else:
        read = components.options("baseline", config.baseline).reads
    return tuple(name for name in MODALITIES if name in read)


def reads_texts(trained: Trained) -> bool:
    """Whether the method reads note or summary, and with them diseases."""
    return bool({"note", "summary"} & set(modalities(trained)))


def without_modality(trained: Trained, batch: Batch, name: str, others: Batch) -> NDArray[np.float64]:
    """Risks [N,K] of the patients when modality ``name`` comes from ``others`` instead, averaged over these."""
    parts = torch.split(torch.arange(len(batch)), trained.config.training.batch_size)
    return np.concatenate([_averaged(trained, batch.select(part), name, others) for part in parts])


def _averaged(trained: Trained, batch: Batch, name: str, others: Batch) -> NDArray[np.float64]:
    hours = trained.hours(others if name == "ehr" else batch)
    risks = []
    for n in range(len(others)):
        theirs = hours.select(torch.full((len(batch),), n)) if hours and name == "ehr" else hours
        risks.append(trained.probability(_given(batch, name, others, n), theirs))
    mean: NDArray[np.float64] = np.mean(risks, axis=0)
    return mean


def _given(batch: Batch, name: str, others: Batch, n: int) -> Batch:
    """The patients with modality ``name`` of the n-th of ``others``."""
    rows = torch.full((len(batch),), n)
    return dataclasses.replace(batch, **{field: getattr(others, field)[rows] for field in MODALITIES[name]})


def without_diseases(
    trained: Trained, fitted: Fitted, batch: Batch, patients: Sequence[Told]
) -> list[dict[int, NDArray[np.float64]]]:
    """For each patient: node_index of every linked disease -> risks [K] without it.

    ``patients`` are those of ``batch``, in its order; ``fitted`` is what was saved with the artefacts the run was trained on.
    Of a patient whose notes are not at hand only the summary changes. Empty where the method reads neither note nor summary.
    """
    found: list[dict[int, NDArray[np.float64]]] = [{} for _ in patients]
    if not reads_texts(trained):
        return found
    pairs = [(n, node.node_index) for n, told in enumerate(patients) for node in told.record.nodes]
    for at in range(0, len(pairs), PAIRS):
        some = pairs[at : at + PAIRS]
        rows = torch.tensor([n for n, _ in some])
        distinct, which = torch.unique(rows, return_inverse=True)
        hours = trained.hours(batch.select(distinct))
        changed = _without(trained, fitted, batch.select(rows), patients, some)
        risks = trained.probability(changed, hours.select(which) if hours else None)
        for (n, node), risk in zip(some, risks, strict=True):
            found[n][node] = risk
    return found


def _without(
    trained: Trained, fitted: Fitted, rows: Batch, patients: Sequence[Told], pairs: Sequence[tuple[int, int]]
) -> Batch:
    """``rows``, one for each pair of patient and disease, without the disease."""
    read, limits = modalities(trained), trained.config.token_level
    if "summary" in read:
        summaries = [summary_without(patients[n].record, node) for n, node in pairs]
        least = rows.summary_tokens.shape[1]
        changed = _encoded("summary", fitted.summary, summaries, limits.summary_chunks, least)
        rows = dataclasses.replace(rows, **changed)
    known = [(at, told.notes, told.record, node) for at, (n, node) in enumerate(pairs) if (told := patients[n]).notes]
    if "note" in read and known:
        notes = [notes_without(text, record, node) for _, text, record, node in known if text]
        changed = _encoded("note", fitted.note, notes, limits.note_chunks, rows.note_tokens.shape[1])
        at = torch.tensor([at for at, *_ in known])
        whole = {name: getattr(rows, name).index_copy(0, at, own) for name, own in changed.items()}
        rows = dataclasses.replace(rows, **whole)
    return rows


def _encoded(name: str, encoder: FittedEncoder, written: Sequence[str], limit: int, least: int) -> dict[str, Tensor]:
    """The fields of a batch that carry the texts, with as many pieces as the others have."""
    arrays = {
        **texts.whole(name, encoder, written),
        **texts.in_pieces(name, encoder, written, min(limit, least), least),
    }
    return {field: torch.from_numpy(array) for field, array in arrays.items()}


def summary_without(record: Record, node_index: int) -> str:
    """The summary without the statements that rest on the disease."""
    return " ".join(statement.text for statement in record.provenance if node_index not in statement.nodes)


def notes_without(notes: str, record: Record, node_index: int) -> str:
    """The notes with the disease's mentions cut out; denied ones, and those of relatives, were never linked, and stay."""
    kept, end = [], 0
    for entity in record.entities:
        if entity.node_index == node_index:
            kept.append(notes[end : entity.start])
            end = entity.end
    return "".join([*kept, notes[end:]])
