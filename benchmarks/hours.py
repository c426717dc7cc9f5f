"""Do the hours that the report names hold what was planted? Blocks of hours against the truth of generated hospitals.

    python -m benchmarks.hours --seeds 1 2 --members 3

With the runs of ``benchmarks.evidence`` (trained unless they are there), on the patients of the test split: the measurements of
an eighth of the window are exchanged for the ordinary course, signal by signal and for all signals together, as the report does
it (``prediction/hours.py``).

The generator plants a drift S d(h) in six signals, where d rises from -1 to +1 over the window, and S is the series part of the
risk. What the hours of a block tell of S is S times the mean of d(h)^2: much at both ends of the window, nothing in the middle.
*Right way*: the share of blocks at the ends (mean of d(h)^2 of a half or more), of patients with an S of at least 1 or at most
-1, that move the log-odds the way of S. *Shown*: the share of these on which the members agree, which alone the report names, and
their share of right ways. *Rank*: Spearman's correlation, over patients and blocks, of the change in log-odds with S times the
mean of d(h)^2. *Size*: the median of the size of the change, at the ends and elsewhere. Then how often the most telling block of
a patient, over the signals with the drift, lies at an end.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.evidence import DRIFTING, Tested, arguments, correlation, tested
from emerge_ehr.datasets.sources.synthetic.series import drift
from emerge_ehr.evaluation.calibration import logit
from emerge_ehr.prediction import hours
from emerge_ehr.report.moved import BLOCKS

Array = NDArray[np.float64]
END = 0.5  # mean of d(h)^2 from which a block lies at an end of the window


@dataclass(frozen=True)
class Blocks:
    """B blocks: by how much their hours had changed the log-odds, S times the mean of d(h)^2, S, and the patient's number."""

    change: Array
    true: Array
    series: Array
    at_end: NDArray[np.bool_]
    agreed: NDArray[np.bool_]
    patient: NDArray[np.int64]

    def where(self, chosen: NDArray[np.bool_]) -> "Blocks":
        """Those ``chosen`` [B]."""
        return Blocks(*(value[chosen] for value in self.__dict__.values()))


def main() -> None:
    """Print a row per kind of signals, then what would be named first."""
    options = arguments(__doc__)
    hospitals = [tested(seed, options) for seed in options.seeds]
    print(
        f"{'':<34}{'blocks':>8}{'right way':>11}{'shown':>8}{'right way':>11}{'rank':>7}{'size: ends':>12}{'middle':>8}"
    )
    found: dict[str, list[Blocks]] = {}
    for one in hospitals:
        names = [feature["name"] for feature in one.trained.dataset.metadata["features"]]
        for kind, codes in (
            ("all signals together", [None]),
            ("signals with the drift", [name for name in names if name in DRIFTING]),
            ("other signals", [name for name in names if name not in DRIFTING]),
        ):
            found.setdefault(kind, []).append(of_signals(one, codes))
    for kind, each in found.items():
        print(f"{kind:<34}{row(joined(each))}", flush=True)
    drifting = found["signals with the drift"]
    share = np.concatenate([named_first(each) for each in drifting]).mean()
    ends = np.concatenate([each.at_end for each in drifting]).mean()
    print(
        f"\nthe most telling block lies at an end in {100 * share:.1f} % of patients; of all blocks {100 * ends:.1f} % do"
    )


def of_signals(one: Tested, codes: Sequence[str | None]) -> Blocks:
    """All blocks of these signals with measurements."""
    size = -(-one.batch.ehr.shape[1] // BLOCKS)
    asked = [
        block
        for row in range(len(one.batch))
        for code in codes
        for block in hours.blocks(one.trained, one.batch, row, code, size)
    ]
    without = hours.without_hours(one.trained, one.batch, asked, one.ordinary)
    base = logit(one.trained.probability(one.batch)[:, 0])
    patient = np.array([block.row for block in asked])
    squared = np.array(
        [float((drift(np.arange(block.start, block.end, dtype=np.float64)) ** 2).mean()) for block in asked]
    )
    series = one.hospital.series[one.row[patient]]
    return Blocks(
        change=base[patient] - logit(np.array([float(of.risk[0]) for of in without])),
        true=series * squared,
        series=series,
        at_end=squared >= END,
        agreed=np.array([bool(of.agreed[0]) for of in without]),
        patient=patient,
    )


def joined(each: Sequence[Blocks]) -> Blocks:
    """The blocks of all hospitals; the patients of one are not those of another."""
    parts = [list(of.__dict__.values()) for of in each]
    start = np.cumsum([0, *(of.patient.max() + 1 for of in each)])
    for n, part in enumerate(parts):
        part[-1] = part[-1] + start[n]
    return Blocks(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def row(blocks: Blocks) -> str:
    """The cells of a row but the first."""
    planted = blocks.where(blocks.at_end & (np.abs(blocks.series) >= 1))
    shown = planted.where(planted.agreed)
    ends, middle = (np.median(np.abs(blocks.change[where])) for where in (blocks.at_end, ~blocks.at_end))
    right = [f"{100 * (np.sign(of.change) == np.sign(of.series)).mean():.1f} %" for of in (planted, shown)]
    share = f"{100 * planted.agreed.mean():.0f} %"
    rank = correlation(blocks.change, blocks.true)
    return f"{len(blocks.change):>8}{right[0]:>11}{share:>8}{right[1]:>11}{rank:>7.2f}{ends:>12.3f}{middle:>8.3f}"


def named_first(blocks: Blocks) -> NDArray[np.bool_]:
    """For each patient with \\|S\\| of one or more, whether the block with the largest change lies at an end."""
    told = blocks.where(blocks.agreed & (np.abs(blocks.series) >= 1))
    first = []
    for patient in np.unique(told.patient):
        own = np.flatnonzero(told.patient == patient)
        first.append(told.at_end[own[np.abs(told.change[own]).argmax()]])
    return np.array(first, dtype=bool)


if __name__ == "__main__":
    main()
