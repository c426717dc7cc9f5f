"""Which passages of the notes moved a risk: each is cut out, one after the other.

With a passage goes what was known from it alone: the summary's statements on a disease that no other passage mentions, and those
that repeat its words. A disease that stands elsewhere in the notes too stays in the summary. Measurements stay, and nothing is
retrieved again, as for a disease (``what_if.py``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import torch
from torch import Tensor

from emerge_ehr.models.batch import Batch
from emerge_ehr.prediction import what_if
from emerge_ehr.prediction.what_if import Told, Without
from emerge_ehr.preprocess.fitted import Fitted
from emerge_ehr.rag.mentions.lines import sentences
from emerge_ehr.rag.records_file import Record, RecordedMention
from emerge_ehr.rag.summaries import OfNotes, Statement
from emerge_ehr.training.trained import Trained

PASSAGES = 16  # of a patient's notes; sentences of longer notes are cut out several together


@dataclass(frozen=True)
class Passage:
    """Characters ``start`` to ``end`` (exclusive) of a patient's joined notes: whole sentences."""

    start: int
    end: int

    def holds(self, mention: RecordedMention) -> bool:
        """Whether the mention lies within the passage."""
        return self.start <= mention.start and mention.end <= self.end


def passages(notes: str, most: int = PASSAGES) -> list[Passage]:
    """The sentences of the notes, in order; where there are more than ``most``, neighbours together, of about equal length.

    >>> text = "No fever. CHF. Started on furosemide."
    >>> [text[passage.start : passage.end] for passage in passages(text)]
    ['No fever.', ' CHF.', ' Started on furosemide.']
    >>> [text[passage.start : passage.end] for passage in passages(text, most=2)]
    ['No fever. CHF.', ' Started on furosemide.']
    """
    ends = sorted(set(sentences(notes)))
    spans = [Passage(start, end) for start, end in pairwise([0, *ends]) if notes[start:end].strip()]
    if len(spans) <= most:
        return spans
    shares = groupby(
        spans, key=lambda span: (span.start + span.end) * most // (2 * len(notes))
    )  # by where its middle lies
    together = [list(of_share) for _, of_share in shares]
    return [Passage(of_share[0].start, of_share[-1].end) for of_share in together]


def without_passages(
    trained: Trained, fitted: Fitted | None, batch: Batch, patients: Sequence[Told], own: Tensor | None = None
) -> list[list[tuple[Passage, Without]]]:
    """For each patient, the passages of the notes in their order, each with the risks without it.

    ``patients``, ``fitted`` and ``own`` as for ``what_if.without_diseases``. The lists are empty where notes are not available,
    and where the method reads neither notes nor summaries.
    """
    found: list[list[tuple[Passage, Without]]] = [[] for _ in patients]
    if fitted is None or not what_if.reads_texts(trained):
        return found
    hours = trained.hours(batch)  # the series stay, and are read once for all passages
    own = trained.of_members(batch, hours) if own is None else own
    asked = [(n, passage) for n, patient in enumerate(patients) for passage in passages(patient.notes or "")]
    for at in range(0, len(asked), what_if.PAIRS):
        chunk = asked[at : at + what_if.PAIRS]
        numbers = torch.tensor([n for n, _ in chunk])
        changed = _without(trained, fitted, batch.select(numbers), patients, chunk)
        without = trained.of_members(changed, hours.shared(numbers) if hours else None)
        for (n, passage), one in zip(chunk, what_if.judged(trained, without, own[:, numbers]), strict=True):
            found[n].append((passage, one))
    return found


def _without(
    trained: Trained, fitted: Fitted, rows: Batch, patients: Sequence[Told], asked: Sequence[tuple[int, Passage]]
) -> Batch:
    read = trained.reads
    if "note" in read:
        texts = [notes_without(patients[n].notes or "", passage) for n, passage in asked]
        rows = what_if.with_texts(trained, fitted, rows, "note", texts)
    if "summary" in read:
        texts = [summary_without(patients[n].record, passage) for n, passage in asked]
        rows = what_if.with_texts(trained, fitted, rows, "summary", texts)
    return rows


def notes_without(notes: str, passage: Passage) -> str:
    """The notes without the passage."""
    return notes[: passage.start] + notes[passage.end :]


def known_alone(record: Record, passage: Passage) -> set[int]:
    """The diseases (their node_index) that the passage alone mentions."""
    inside, outside = _mentions(record, passage)
    nodes = {mention.node_index for mention in inside} - {mention.node_index for mention in outside}
    return {node for node in nodes if node is not None}


def summary_without(record: Record, passage: Passage) -> str:
    """The summary without the statements on diseases that the passage alone mentions, and those that repeat its words alone."""
    inside, outside = _mentions(record, passage)
    nodes = known_alone(record, passage)
    words = {mention.surface for mention in inside} - {mention.surface for mention in outside}

    def goes(statement: Statement) -> bool:
        repeated = [item.surfaces for item in statement.items if isinstance(item, OfNotes)]
        return not nodes.isdisjoint(statement.nodes) or any(words.issuperset(surfaces) for surfaces in repeated)

    return " ".join(statement.text for statement in record.provenance if not goes(statement))


def _mentions(record: Record, passage: Passage) -> tuple[list[RecordedMention], list[RecordedMention]]:
    """The mentions that lie within the passage, and the others."""
    inside: list[RecordedMention] = []
    outside: list[RecordedMention] = []
    for mention in record.entities:
        (inside if passage.holds(mention) else outside).append(mention)
    return inside, outside
