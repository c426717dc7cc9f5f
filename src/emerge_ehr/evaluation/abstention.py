"""The decision to abstain: how well a model does among the patients whom it answers, if it answers the surest first.

A patient is called positive from a risk of 0.5 on. The model is as sure of a call as the risk makes it likely to be right:
max(p, 1 - p). Dimensions: R resamples, N patients, C distinct sureness.
"""

from dataclasses import dataclass

import numpy as np

from emerge_ehr.evaluation import metrics
from emerge_ehr.evaluation.metrics import Array

SHARES = tuple(round(0.1 * tenth, 1) for tenth in range(1, 11))  # of the curve


@dataclass(frozen=True)
class Answered:
    """The model's results among the surest ``patients``, a ``share`` of all: how sure it is of each at least, the share of wrong
    calls, and AUROC (None with one class only)."""

    share: float
    patients: int
    positives: int
    sureness: float
    error: float
    auroc: float | None


class Surest:
    """Label [N] and risk [N], the surest first; patients of whom the model is equally sure are answered together."""

    def __init__(self, label: Array, probability: Array) -> None:
        sureness = np.maximum(probability, 1 - probability)
        self._order = np.argsort(-sureness, kind="stable")
        self._label, self._risk, self._sure = label[self._order], probability[self._order], sureness[self._order]
        self._wrong = ((self._risk >= 0.5) != (self._label > 0)).astype(np.float64)
        self._starts = np.flatnonzero(np.diff(self._sure, prepend=np.inf))

    def aurc(self, counts: Array) -> Array:
        """Area under the risk-coverage curve [R] of counts [R,N]: the share of wrong calls among the surest k patients, averaged
        over k = 1..N (Geifman, Uziel & El-Yaniv 2019, arXiv 1805.08206). Lower is better; a model that cannot tell where it errs
        has its share of wrong calls."""
        drawn = counts[:, self._order]
        patients, wrong = (
            np.add.reduceat(values, self._starts, axis=1).cumsum(axis=1) for values in (drawn, drawn * self._wrong)
        )
        each = np.diff(patients, axis=1, prepend=0)
        share = np.divide(wrong, patients, out=np.zeros_like(wrong), where=patients > 0)
        value: Array = (share * each).sum(axis=1) / patients[:, -1]
        return value

    def curve(self) -> list[Answered]:
        """The results at each of ``SHARES``, or at the next share that leaves nobody out of whom the model is as sure."""
        ends = np.append(self._starts[1:], len(self._label))
        wanted = [int(np.ceil(share * len(self._label) - 1e-9)) for share in SHARES]
        counts = dict.fromkeys(int(ends[np.searchsorted(ends, count)]) for count in wanted)
        return [self._first(count) for count in counts]

    def _first(self, count: int) -> Answered:
        label = self._label[:count]
        return Answered(
            share=count / len(self._label),
            patients=count,
            positives=int(label.sum()),
            sureness=float(self._sure[count - 1]),
            error=float(self._wrong[:count].mean()),
            auroc=metrics.point(metrics.auroc, label, self._risk[:count]),
        )
