"""How a metric is printed in a grid's table and plots, and which end of it is better."""

from dataclasses import dataclass

from emerge_ehr.comparison.grid import Metric
from emerge_ehr.training.tables import CALIBRATION, RANKING


@dataclass(frozen=True)
class Scale:
    """``factor``: 100 for percent. ``better``: 1 where higher values are, -1 where lower are, 0 where neither is."""

    title: str
    factor: float = 100.0
    digits: int = 1
    better: int = 1

    @property
    def axis(self) -> str:
        """The title with the unit."""
        return f"{self.title} (%)" if self.factor == 100.0 else self.title


SCALES: dict[Metric, Scale] = {
    "auroc": Scale(RANKING["auroc"]),
    "auprc": Scale(RANKING["auprc"]),
    "min_precision_sensitivity": Scale(RANKING["min_precision_sensitivity"]),
    "f1": Scale(RANKING["f1"]),
    "accuracy": Scale(RANKING["accuracy"]),
    "brier": Scale(CALIBRATION["brier"], better=-1),
    "ece": Scale(CALIBRATION["ece"], better=-1),
    "calibration_slope": Scale("calibration slope", factor=1.0, digits=2, better=0),  # 1 is ideal
}
