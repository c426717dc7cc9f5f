"""Every metric: how it is computed, which values it may have, what it is called and where it is shown.

A new metric is an entry of ``METRICS`` and a test against its definition; everything else is derived from the entry.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from emerge_ehr.evaluation import metrics
from emerge_ehr.evaluation.calibration import Calibration
from emerge_ehr.evaluation.metrics import Array, Confusion, Curve
from emerge_ehr.fields import listed

Place = Literal["splits", "operating_points", "subgroups", "report_subgroups", "grids"]
ONE_CLASS = "undefined: all patients have the same label"
AT_CHOSEN = "At the threshold chosen on validation."
CALIBRATED = "Whether risks mean what they say: 0, 1 and 0 are perfect."
ALARMS = "How often an alarm, or its absence, is right; and how many patients raise one."


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric.

    Exactly one of ``ranked``, ``called`` and ``calibrated`` computes it for all resamples at once [R]: from the ranking, from who
    is called positive at a threshold, or from the probabilities themselves. The value is NaN where the metric is undefined.

    ``shown``: the places that show it. ``splits``: every split and label of metrics.json, printed tables, the report and
    ``--stage compare``. ``operating_points``: each target sensitivity. ``subgroups``: subgroups.csv. ``report_subgroups``: the
    report's tables of subgroups. ``grids``: a grid that asks for it. Tables keep the order in which metrics stand here.
    ``bounds``: its least and its greatest value. ``ideal``: the value of a perfectly calibrated model that ranks perfectly; None
    where there is no such value. ``one_class``: whether it is defined where all patients have the same label. ``undefined``: the
    other reason for which it may have no value. ``percent``: whether grids print it in percent. ``column`` and ``title``: its
    name in printed tables and in the report, if that is not ``label``. ``meaning``: one sentence for the report, in which
    ``{share}`` is the share of patients with the outcome; neighbouring metrics may share a sentence. ``gap``: whether the report
    shows the gap between each group and all other patients.
    """

    key: str
    label: str
    shown: tuple[Place, ...]
    ranked: Callable[[Curve], Array] | None = None
    called: Callable[[Confusion], Array] | None = None
    calibrated: Callable[[Calibration, Array], Array] | None = None
    bounds: tuple[float, float] = (0.0, 1.0)
    ideal: float | None = 1.0
    one_class: bool = False
    undefined: str = ONE_CLASS
    percent: bool = True
    column: str = ""
    title: str = ""
    meaning: str = ""
    gap: bool = False

    @property
    def printed(self) -> str:
        """Its name in printed tables."""
        return self.column or self.label

    @property
    def reported(self) -> str:
        """Its name in the report."""
        return self.title or self.label

    @property
    def better(self) -> int:
        """1 where higher values are better, -1 where lower values are, 0 where the best value lies between.

        >>> [metric("auroc").better, metric("brier").better, metric("calibration_slope").better]
        [1, -1, 0]
        """
        low, high = self.bounds
        return (self.ideal == high) - (self.ideal == low)

    @property
    def factor(self) -> float:
        """The number by which grids multiply its values."""
        return 100.0 if self.percent else 1.0

    @property
    def digits(self) -> int:
        """Decimal places in grids."""
        return 1 if self.percent else 2

    @property
    def axis(self) -> str:
        """Its name on the axis of a grid's plot, with the unit."""
        return f"{self.label} (%)" if self.percent else self.label


METRICS = (
    Metric(
        key="auroc",
        label="AUROC",
        ranked=metrics.auroc,
        shown=("splits", "subgroups", "report_subgroups", "grids"),
        gap=True,
        meaning="Share of pairs, one with and one without the outcome, that the risks order rightly. 0.5 is chance, 1 perfect.",
    ),
    Metric(
        key="auprc",
        label="AUPRC",
        ranked=metrics.auprc,
        shown=("splits", "subgroups", "grids"),
        meaning="Average precision over all sensitivities. Chance is the share with the outcome ({share} here).",
    ),
    Metric(
        key="min_precision_sensitivity",
        label="min(+P,Se)",
        title="min(+P, Se)",
        ranked=metrics.min_precision_sensitivity,
        shown=("splits", "grids"),
        meaning="The best threshold's lower one of precision and sensitivity.",
    ),
    Metric(key="f1", label="F1", called=metrics.f1, shown=("splits", "grids"), meaning=AT_CHOSEN),
    Metric(
        key="accuracy",
        label="accuracy",
        called=metrics.accuracy,
        shown=("splits", "grids"),
        one_class=True,
        meaning=AT_CHOSEN,
    ),
    Metric(
        key="brier",
        label="Brier",
        title="Brier score",
        calibrated=Calibration.brier,
        shown=("splits", "subgroups", "report_subgroups", "grids"),
        ideal=0.0,
        one_class=True,
        meaning="Mean squared distance between risk and outcome; 0 is perfect.",
    ),
    Metric(
        key="ece",
        label="ECE",
        calibrated=Calibration.ece,
        shown=("splits", "grids"),
        ideal=0.0,
        one_class=True,
        meaning=CALIBRATED,
    ),
    Metric(
        key="calibration_slope",
        label="calibration slope",
        column="slope",
        calibrated=Calibration.slope,
        shown=("splits", "grids"),
        bounds=(-math.inf, math.inf),
        undefined="undefined: the probabilities separate the classes or are all alike, so no one slope fits best",
        percent=False,
        meaning=CALIBRATED,
    ),
    Metric(
        key="calibration_intercept",
        label="calibration intercept",
        column="intercept",
        calibrated=Calibration.intercept,
        shown=("splits",),
        bounds=(-math.inf, math.inf),
        ideal=0.0,
        percent=False,
        meaning=CALIBRATED,
    ),
    Metric(
        key="overprediction",
        label="mean risk − observed share",
        calibrated=Calibration.overprediction,
        shown=("subgroups", "report_subgroups"),
        bounds=(-1.0, 1.0),
        ideal=0.0,
        one_class=True,
    ),
    Metric(
        key="sensitivity",
        label="sensitivity",
        called=metrics.sensitivity,
        shown=("operating_points", "subgroups", "report_subgroups"),
    ),
    Metric(key="specificity", label="specificity", called=metrics.specificity, shown=("operating_points", "subgroups")),
    Metric(
        key="ppv",
        label="PPV",
        called=metrics.ppv,
        shown=("operating_points", "subgroups"),
        one_class=True,
        undefined="undefined: nobody is called positive",
        meaning=ALARMS,
    ),
    Metric(
        key="npv",
        label="NPV",
        called=metrics.npv,
        shown=("operating_points",),
        one_class=True,
        undefined="undefined: everybody is called positive",
        meaning=ALARMS,
    ),
    Metric(
        key="alert_rate",
        label="alert rate",
        called=metrics.alert_rate,
        shown=("operating_points", "subgroups", "report_subgroups"),
        ideal=None,
        one_class=True,
        meaning=ALARMS,
    ),
)
_BY_KEY = {entry.key: entry for entry in METRICS}


def metric(key: str) -> Metric:
    """The metric with this key.

    Raises:
        ValueError: no metric has this key.
    """
    if (entry := known(key)) is None:
        raise ValueError(f"no such metric: {key}")
    return entry


def known(key: str) -> Metric | None:
    """The metric with this key; None where there is none, as in files that another version wrote."""
    return _BY_KEY.get(key)


def shown(place: Place) -> tuple[Metric, ...]:
    """The metrics that are shown at ``place``, in the order of ``METRICS``."""
    return tuple(entry for entry in METRICS if place in entry.shown)


def keys(place: Place) -> tuple[str, ...]:
    """The keys of the metrics that are shown at ``place``.

    >>> keys("splits")[:2]
    ('auroc', 'auprc')
    """
    return tuple(entry.key for entry in shown(place))


def at_chosen_threshold() -> str:
    """The metrics of a split that depend on the threshold chosen on validation: "F1 and accuracy"."""
    return listed([entry.label for entry in shown("splits") if entry.called])
