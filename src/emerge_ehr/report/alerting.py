"""What acting on the risk would mean: alerts, found and missed outcomes of 100 samples, at every threshold."""

from dataclasses import dataclass

import numpy as np

from emerge_ehr.evaluation import curves
from emerge_ehr.report.material import Material
from emerge_ehr.report.wording import NO_BREAK

SOME = (5, 10, 20, 30, 40, 50, 70, 90)  # percent
THRESHOLDS = np.round(np.arange(0.01, 1.0, 0.01), 2)


@dataclass(frozen=True)
class AlertRow:
    """One threshold, in percent. Per 100 samples: how many raise an alert, how many do with and without the outcome, and how many
    with the outcome raise none. ``sensitivity`` and ``ppv`` are shares; texts, as the page shows them."""

    percent: int
    alerts: str
    right: str
    false: str
    missed: str
    sensitivity: str
    specificity: str
    ppv: str


@dataclass(frozen=True)
class Alerting:
    """The rows of all thresholds from 1 to 99 %, and the one that was chosen on validation, rounded into these."""

    rows: tuple[AlertRow, ...]
    chosen: int

    @property
    def some(self) -> list[AlertRow]:
        """A few of the rows, the chosen one among them."""
        return [row for row in self.rows if row.percent in (*SOME, self.chosen)]


def alerting(material: Material) -> Alerting | None:
    """The alerts of the chosen label on the test split; None where its outcome is known for nobody."""
    found = curves.alerts(*material.test.known(material.main.column), THRESHOLDS)
    if found is None:
        return None
    rows = []
    for n, threshold in enumerate(THRESHOLDS.tolist()):
        alerts, right, missed = (float(of[n]) for of in (found.alerts, found.right, found.missed))
        rows.append(
            AlertRow(
                percent=round(100 * threshold),
                alerts=f"{100 * alerts:.1f}",
                right=f"{100 * right:.1f}",
                false=f"{100 * (alerts - right):.1f}",
                missed=f"{100 * missed:.1f}",
                sensitivity=_share(right, found.share),
                specificity=_share(1 - found.share - (alerts - right), 1 - found.share),
                ppv=_share(right, alerts),
            )
        )
    chosen = material.metrics["thresholds"][material.main.code]["value"]
    return Alerting(tuple(rows), int(np.clip(round(100 * chosen), 1, 99)))


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f}{NO_BREAK}%" if whole > 1e-12 else "–"
