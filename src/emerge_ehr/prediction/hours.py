"""Which hours of the series moved a risk: the measurements of a few hours are exchanged for the ordinary course, block by block.

What was carried forward from these measurements goes with them, until the next measurement of the patient's own. Texts stay as
they are: a statement of the summary does not tell which of a signal's hours it rests on.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from emerge_ehr.models.batch import Batch
from emerge_ehr.prediction import what_if
from emerge_ehr.prediction.ordinary import Ordinary
from emerge_ehr.prediction.what_if import Without
from emerge_ehr.training.trained import Trained


@dataclass(frozen=True)
class Asked:
    """Steps ``start`` to ``end`` (exclusive) of the series of patient ``row``. ``code``: the signal; None for all of them."""

    row: int
    code: str | None
    start: int
    end: int


def blocks(trained: Trained, batch: Batch, row: int, code: str | None, size: int) -> list[Asked]:
    """The blocks of ``size`` steps in which the patient in this row has measurements of the signal, or of any signal."""
    length = int(batch.ehr_length[row])
    mask = batch.ehr_mask[row, :length]
    measured = (mask if code is None else mask[:, [what_if.columns(trained)[code]]]).any(dim=1)
    return [
        Asked(row, code, start, end)
        for start in range(0, length, size)
        if measured[start : (end := min(start + size, length))].any()
    ]


def without_hours(
    trained: Trained, batch: Batch, asked: Sequence[Asked], ordinary: Ordinary, own: Tensor | None = None
) -> list[Without]:
    """The risks without the measurements of each block. ``own``: the members' logits of ``batch``, where they are known.

    The method must read the series.
    """
    own = trained.of_members(batch) if own is None else own
    found: list[Without] = []
    for at in range(0, len(asked), what_if.PAIRS):
        chunk = asked[at : at + what_if.PAIRS]
        rows = torch.tensor([block.row for block in chunk])
        changed = _exchanged(trained, batch.select(rows), chunk, ordinary)
        found += what_if.judged(trained, trained.of_members(changed), own[:, rows])
    return found


def _exchanged(trained: Trained, rows: Batch, asked: Sequence[Asked], ordinary: Ordinary) -> Batch:
    value, mask = rows.ehr.clone(), rows.ehr_mask.clone()
    column = what_if.columns(trained)
    for n, (block, length) in enumerate(zip(asked, rows.ehr_length.tolist(), strict=True)):
        which = slice(None) if block.code is None else slice(column[block.code], column[block.code] + 1)
        _exchange(value[n, :length, which], mask[n, :length, which], ordinary.courses(length), which, block)
    return dataclasses.replace(rows, ehr=value, ehr_mask=mask)


def _exchange(value: Tensor, mask: Tensor, courses: tuple[Tensor, Tensor], which: slice, block: Asked) -> None:
    """Change the ``value`` and ``mask`` [L,f] of a patient's signals within the block, and what is carried forward from it."""
    hours = slice(block.start, block.end)
    for own, course in zip((value, mask), courses, strict=True):
        own[hours] = course[hours, which]
    carried = mask[block.end :].cumsum(dim=0) == 0
    value[block.end :] = torch.where(carried, value[block.end - 1], value[block.end :])
