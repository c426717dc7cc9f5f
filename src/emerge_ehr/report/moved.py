"""Which vital sign or lab, and which hours of it, moved a patient's risk: what it becomes with the ordinary course instead."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from emerge_ehr.models.batch import Batch
from emerge_ehr.prediction import hours
from emerge_ehr.prediction.ordinary import Ordinary
from emerge_ehr.prediction.what_if import Without
from emerge_ehr.report import series
from emerge_ehr.report.material import Material
from emerge_ehr.report.wording import span

BLOCKS = 8  # parts of the window in which hours are exchanged together
CLOSER = 4  # signals of a patient of which the hours are looked at: those that change the risk most
HEIGHT = 22  # of a strip, half above and half below its line
T = TypeVar("T")


@dataclass(frozen=True)
class Block:
    """A few hours. ``words`` names them; ``risk`` and ``change`` are those without their measurements; ``agreed`` as in
    ``what_if.Without``. ``x`` and ``width`` are its place in the strip, ``size`` the change's share of the patient's greatest."""

    words: str
    risk: float
    change: float
    agreed: bool
    x: float
    width: float
    size: float


@dataclass(frozen=True)
class Moved:
    """What moved the risk of one patient. ``signals``: signal -> its risk without it, the change, and whether the members agree.

    ``by_hour``: signal -> its blocks, of the signals that change the risk most; ``together``: the blocks of all signals. Both are
    empty where the method reads no series.
    """

    signals: dict[str, tuple[float, float, bool]]
    by_hour: dict[str, tuple[Block, ...]]
    together: tuple[Block, ...]

    def most(self, code: str | None) -> Block | None:
        """The block of the signal, or of all signals, that changes the risk most; None where the members agree on none."""
        blocks = self.together if code is None else self.by_hour.get(code, ())
        return max((block for block in blocks if block.agreed), key=lambda block: abs(block.change), default=None)


def moved(
    material: Material, batch: Batch, own: Tensor, without: Sequence[dict[str, Without]], ordinary: Ordinary
) -> list[Moved]:
    """What moved the chosen label's risk of each patient. ``own``: the members' logits [M,N,K]; ``without``: the risks without
    each signal."""
    column = material.main.column
    base = material.trained.together(own)[:, column].tolist()
    signals = [
        {code: told_of(of, column, base[n]) for code, of in of_patient.items()} for n, of_patient in enumerate(without)
    ]
    if "ehr" not in material.reads:
        return [Moved(of_patient, {}, ()) for of_patient in signals]
    size = -(-batch.ehr.shape[1] // BLOCKS)
    asked: list[hours.Asked] = []
    for row, of_patient in enumerate(signals):
        closer = sorted(of_patient, key=lambda code: -abs(of_patient[code][1]))[:CLOSER]
        for code in (None, *closer):
            asked += hours.blocks(material.trained, batch, row, code, size)
    found = hours.without_hours(material.trained, batch, asked, ordinary, own)
    told: list[list[tuple[hours.Asked, tuple[float, float, bool]]]] = [[] for _ in signals]
    for block, of_block in zip(asked, found, strict=True):
        told[block.row].append((block, told_of(of_block, column, base[block.row])))
    steps, bin_hours = batch.ehr.shape[1], material.config.cohort.bin_hours
    return [_of_patient(of, told[row], steps, bin_hours) for row, of in enumerate(signals)]


def asked_signals(material: Material, batch: Batch, abnormal: Sequence[Sequence[str]]) -> list[list[str]]:
    """The signals to ask about: all measured ones where the method reads the series, else the ``abnormal`` ones of each."""
    if "ehr" not in material.reads:
        return [list(codes) for codes in abnormal]
    names = [feature["name"] for feature in material.metadata["features"]]
    measured = batch.ehr_mask.any(dim=1)
    return [
        list(dict.fromkeys([*codes, *(name for f, name in enumerate(names) if measured[n, f])]))
        for n, codes in enumerate(abnormal)
    ]


def told_of(without: Without, column: int, base: float) -> tuple[float, float, bool]:
    """The risk without something, by how much it differs from the ``base``, and whether the members agree on the direction."""
    risk = float(without.risk[column])
    return risk, risk - float(base), bool(without.agreed[column])


def telling(changes: Iterable[tuple[T, float, bool]], least: float) -> list[T]:
    """What changes the risk by ``least`` or more, with the members agreeing on the direction; the greatest change first.

    >>> telling([("a", 0.02, True), ("b", -0.03, True), ("c", 0.5, False), ("d", 0.001, True)], least=0.01)
    ['b', 'a']
    """
    kept = [(of, change) for of, change, agreed in changes if agreed and round(abs(change), 3) >= least]
    return [of for of, _ in sorted(kept, key=lambda pair: -abs(pair[1]))]


def _of_patient(
    signals: dict[str, tuple[float, float, bool]],
    told: Sequence[tuple[hours.Asked, tuple[float, float, bool]]],
    steps: int,
    bin_hours: int,
) -> Moved:
    greatest = max((abs(change) for _, (_, change, agreed) in told if agreed), default=0.0) or 1.0
    unit = series.WIDTH / steps
    blocks: dict[str | None, list[Block]] = {}
    for asked, (risk, change, agreed) in told:
        blocks.setdefault(asked.code, []).append(
            Block(
                words=span(asked.start * bin_hours, asked.end * bin_hours - 1),
                risk=risk,
                change=change,
                agreed=agreed,
                x=round(asked.start * unit, 1),
                width=round((asked.end - asked.start) * unit, 1),
                size=round(min(1.0, abs(change) / greatest), 3),
            )
        )
    by_hour = {code: tuple(of_code) for code, of_code in blocks.items() if code is not None}
    return Moved(signals, by_hour, tuple(blocks.get(None, ())))


def rows(moved: Moved, abnormal: Sequence[str], least: float) -> list[str]:
    """The signals that the table of changes lists: the abnormal ones, then others on whose change of ``least`` members agree."""
    others = ((code, change, agreed) for code, (_, change, agreed) in moved.signals.items() if code not in abnormal)
    return [*(code for code in abnormal if code in moved.signals), *telling(others, least)]
