"""What a risk becomes when a disease or an abnormal signal is removed from the model's input (a modality: ``donors.py``).

A disease is removed from the texts that the model reads: the statements of the summary that rest on it, and its mentions in the
notes. Signals stay, because no measurement is known to be caused by the disease. Nothing is retrieved again, so other diseases'
statements stay as they are, even those that name the removed disease as a neighbour.

A signal is replaced by its ordinary course (``ordinary.py``), and the summary's statements that rest on it go. A statement that
joins it to a disease stays: it tells of the disease as well, and goes with that.

Small changes of a text move every number of its embedding a little. What they do to the risk is noise where the members of the
run do not agree on its direction, and is told apart by that.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emerge_ehr.embeddings import FittedEncoder
from emerge_ehr.evaluation.calibration import logit
from emerge_ehr.models import window_statistics
from emerge_ehr.models.batch import MODALITIES, Batch
from emerge_ehr.prediction.ordinary import Ordinary
from emerge_ehr.preprocess import texts
from emerge_ehr.preprocess.fitted import Fitted
from emerge_ehr.rag.records_file import Record
from emerge_ehr.rag.summaries import OfSignal, Statement
from emerge_ehr.training.trained import Hours, Trained

ROUNDING = 1e-5  # a change in log-odds that may come from computing other patients beside
PAIRS = 2048  # pairs of patient and disease, or of patient and signal, per call of the model


@dataclass(frozen=True)
class Told:
    """What a patient's two texts were made from. ``notes``: as ``rag.joined_notes`` gives them; None if not available."""

    notes: str | None
    record: Record


@dataclass(frozen=True)
class Without:
    """The ``risk`` [K] without a disease or a signal. ``agreed`` [K]: whether no two members of the run change their own risks
    in opposite directions; so always with a single member."""

    risk: NDArray[np.float64]
    agreed: NDArray[np.bool_]


def reads_texts(trained: Trained) -> bool:
    """Whether the method reads notes or summaries, and so reads of diseases."""
    return bool({"note", "summary"} & set(trained.reads))


def reads_signals(trained: Trained) -> bool:
    """Whether the method reads the series or summaries, and so reads of abnormal signals."""
    return bool({"ehr", "summary"} & set(trained.reads))


def without_diseases(
    trained: Trained,
    fitted: Fitted | None,
    batch: Batch,
    patients: Sequence[Told],
    own: Tensor | None = None,
    hours: Hours | None = None,
) -> list[dict[int, Without]]:
    """For each patient, a dict from the node_index of every linked disease to the risks without that disease.

    ``own`` and ``hours``: the members' logits of ``batch``, and what the method ``hours`` returned for it, where they are known.

    ``patients`` are those of ``batch``, in its order; ``fitted`` is what was saved with the artefacts the run was trained on,
    which may be None for a method that reads no text. Where a patient's notes are not available, only the summary changes. The
    dicts are empty where the method reads neither notes nor summaries.
    """
    found: list[dict[int, Without]] = [{} for _ in patients]
    if fitted is None or not reads_texts(trained):
        return found
    hours = trained.hours(batch) if hours is None else hours
    own = trained.of_members(batch, hours) if own is None else own
    pairs = [(n, node.node_index) for n, patient in enumerate(patients) for node in patient.record.nodes]
    for at in range(0, len(pairs), PAIRS):
        chunk = pairs[at : at + PAIRS]
        rows = torch.tensor([n for n, _ in chunk])
        changed = _without(trained, fitted, batch.select(rows), patients, chunk)
        without = trained.of_members(changed, hours.shared(rows) if hours else None)
        for (n, node), one in zip(chunk, judged(trained, without, own[:, rows]), strict=True):
            found[n][node] = one
    return found


def without_signals(
    trained: Trained,
    fitted: Fitted | None,
    batch: Batch,
    patients: Sequence[Told],
    ordinary: Ordinary,
    own: Tensor | None = None,
    asked: Sequence[Sequence[str]] | None = None,
) -> list[dict[str, Without]]:
    """For each patient, a dict from the code of every abnormal signal to the risks without that signal.

    ``patients``, ``fitted`` and ``own`` as for ``without_diseases``. ``asked``: the signals of each patient to ask about, if not
    the abnormal ones. The dicts are empty where the method reads neither series nor summaries.
    """
    found: list[dict[str, Without]] = [{} for _ in patients]
    if not reads_signals(trained):
        return found
    read = trained.reads
    own = trained.of_members(batch) if own is None else own
    if trained.experts and "ehr" in read:
        window_statistics.of_batch(batch, torch.float64)  # the batches of pairs that follow change one signal's of them
    codes = [abnormal(one.record) for one in patients] if asked is None else asked
    pairs = [(n, code) for n, of_patient in enumerate(codes) for code in of_patient]
    for at in range(0, len(pairs), PAIRS):
        chunk = pairs[at : at + PAIRS]
        numbers = torch.tensor([n for n, _ in chunk])
        rows = batch.select(numbers)
        if "ehr" in read:
            rows = with_ordinary(trained, rows, [code for _, code in chunk], ordinary)
        if "summary" in read and fitted is not None:
            summaries = [summary_without_signal(patients[n].record, code) for n, code in chunk]
            rows = with_texts(trained, fitted, rows, "summary", summaries)
        for (n, code), one in zip(chunk, judged(trained, trained.of_members(rows), own[:, numbers]), strict=True):
            found[n][code] = one
    return found


def judged(trained: Trained, without: Tensor, own: Tensor) -> list[Without]:
    """What the members' logits [M,N,K] without something say of N patients, whose ``own`` logits are these."""
    if trained.reported.intervals:  # a member's own risk follows from all of its hazards together
        own, of_each = (torch.from_numpy(logit(trained.reported.risks(logits))) for logits in (own, without))
    else:
        of_each = without
    change = own - of_each
    agreed = ~((change > ROUNDING).any(dim=0) & (change < -ROUNDING).any(dim=0)).numpy()
    return [Without(*one) for one in zip(trained.together(without), agreed, strict=True)]


def abnormal(record: Record) -> list[str]:
    """The codes of the patient's abnormal signals, the most extreme first; one that was both high and low stands once."""
    return list(dict.fromkeys(signal.code for signal in record.abnormal_signals))


def columns(trained: Trained) -> dict[str, int]:
    """The code of each signal -> its column in the series."""
    return {feature["name"]: f for f, feature in enumerate(trained.dataset.metadata["features"])}


def with_ordinary(trained: Trained, rows: Batch, codes: Sequence[str], ordinary: Ordinary) -> Batch:
    """The patients with the ordinary course of a signal in place of their own; ``codes`` names the signal of each."""
    column = columns(trained)
    value, mask = rows.ehr.clone(), rows.ehr_mask.clone()
    for n, (code, length) in enumerate(zip(codes, rows.ehr_length.tolist(), strict=True)):
        of_value, of_mask = ordinary.courses(length)
        value[n, :length, column[code]] = of_value[:, column[code]]
        mask[n, :length, column[code]] = of_mask[:, column[code]]
    changed = dataclasses.replace(rows, ehr=value, ehr_mask=mask)
    at = torch.tensor([column[code] for code in codes])
    for dtype, known in rows.statistics.items():
        changed.statistics[dtype] = window_statistics.with_other_column(changed, at, known)
    return changed


def with_texts(
    trained: Trained, fitted: Fitted, rows: Batch, name: Literal["note", "summary"], written: Sequence[str]
) -> Batch:
    """The patients with these notes or summaries in place of their own."""
    limits, least = trained.config.token_level, getattr(rows, f"{name}_tokens").shape[1]
    limit = limits.note_chunks if name == "note" else limits.summary_chunks
    encoder: FittedEncoder = fitted.note if name == "note" else fitted.summary
    arrays = {
        **texts.whole(name, encoder, written),
        **texts.in_pieces(name, encoder, written, min(limit, least), least),
    }
    return dataclasses.replace(rows, **{field: torch.from_numpy(array) for field, array in arrays.items()})


def _without(
    trained: Trained, fitted: Fitted, rows: Batch, patients: Sequence[Told], pairs: Sequence[tuple[int, int]]
) -> Batch:
    """Remove the disease from the texts of ``rows``, which holds a row per pair of patient and disease."""
    read = trained.reads
    if "summary" in read:
        summaries = [summary_without(patients[n].record, node) for n, node in pairs]
        rows = with_texts(trained, fitted, rows, "summary", summaries)
    known = [
        (at, source.notes, source.record, node) for at, (n, node) in enumerate(pairs) if (source := patients[n]).notes
    ]
    if "note" in read and known:
        notes = [notes_without(text, record, node) for _, text, record, node in known if text]
        at = torch.tensor([at for at, *_ in known])
        changed = with_texts(trained, fitted, rows.select(at), "note", notes)
        fields = MODALITIES["note"]
        replaced = {field: getattr(rows, field).index_copy(0, at, getattr(changed, field)) for field in fields}
        rows = dataclasses.replace(rows, **replaced)
    return rows


def summary_without(record: Record, node_index: int) -> str:
    """The summary without the statements that rest on the disease."""
    return " ".join(statement.text for statement in record.provenance if node_index not in statement.nodes)


def summary_without_signal(record: Record, code: str) -> str:
    """The summary without the statements that rest on the signal, and on no disease."""
    return " ".join(statement.text for statement in record.provenance if not _of_signal(statement, code))


def _of_signal(statement: Statement, code: str) -> bool:
    return not statement.nodes and any(isinstance(item, OfSignal) and item.code == code for item in statement.items)


def notes_without(notes: str, record: Record, node_index: int) -> str:
    """The notes with the disease's mentions cut out; negated mentions and those of relatives were never linked, and stay."""
    kept, end = [], 0
    for entity in record.entities:
        if entity.node_index == node_index:
            kept.append(notes[end : entity.start])
            end = entity.end
    return "".join([*kept, notes[end:]])
